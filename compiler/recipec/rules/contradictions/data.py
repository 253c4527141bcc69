"""Contradictions about the data: sources, formats, what is held out."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.quantize import Quantize
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import DataSource, Train
from recipec.language.data import COLUMNS
from recipec.language.data import DataSource as SourceWords
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
GROUPS = ("train", "validation")
CALIBRATION = "quantize.calibration.data"
OF_MESSAGES = ("role", "content")  # columns of a message, not of a row
SOURCES = ("data.train", "data.validation", "train.method", CALIBRATION)


def sources(see: Context, s: Train | Quantize) -> Iterator[tuple[str, DataSource]]:
    """Yield every source that is written for a training, or for a calibration, with its recipe path."""
    if isinstance(s, Quantize):
        for index, source in enumerate(s.sources if see.said.wrote(CALIBRATION) else ()):
            yield indexed(CALIBRATION, index), source
        return
    for group in GROUPS:
        for index, source in enumerate(getattr(s.data, group)):
            yield indexed(f"data.{group}", index), source


def written(see: Context) -> Iterator[tuple[str, SourceWords]]:
    """Yield every source of the data of a part as it is written, with its recipe path."""
    data, bits = see.said.recipe.data, see.said.part.quantize
    if bits is not None:
        for index, source in enumerate(bits.calibration.data or ()):
            yield indexed(CALIBRATION, index), source
        return
    for group in GROUPS if data is not None else ():
        for index, source in enumerate(getattr(data, group) or ()):
            yield indexed(f"data.{group}", index), source


@contradiction("P041", "packing-of-pairs", words=("data.packing", "train.method"))
def packed_pairs(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds packing with a method whose rows are not single sequences.

    Why is this bad:
    Packing joins rows to one sequence. A pair of answers, or a prompt without one, must stay by itself.

    Example:
        adapter: {rank: 16}
        data: {train: [{path: data/pairs.jsonl, format: preference}], packing: true}
        train: {method: dpo, learning_rate: 5e-6}

    Use instead:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
    """
    if s.data.packing and s.method not in ("sft", "pretrain"):
        yield Fault("data.packing", f"the rows of {s.method} cannot be packed", "drop packing")


@contradiction("P200", "system-prompt-of-conversations", "train", "quantize", words=SOURCES)
def system_prompt(see: Context, _s: Train | Quantize) -> Iterator[Fault]:
    """Finds a system prompt of a source whose rows hold whole conversations, or text as it is.

    Why is this bad:
    In a conversation the system prompt is a turn of its own, which the data says; text as it is has no turns.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat, system: You are helpful.}]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
    """
    for at, source in written(see):
        if source.system is not None and source.format not in ("instruction", "prompt"):
            message = f"rows of format {source.format} take no system prompt of the recipe's"
            yield Fault(f"{at}.system", message, "put it into the data, or drop it")


@contradiction("P042", "streaming-of-conversations", words=("data.streaming", "train.method"))
def streamed_method(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds streaming with another method than pretrain.

    Why is this bad:
    The other methods read all rows before the first step, to render and to filter them.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], streaming: true}
        train: {learning_rate: 1e-5, steps: 100}

    Use instead:
        data: {train: [{path: data/text.jsonl, format: text}], streaming: true}
        train: {method: pretrain, learning_rate: 1e-5, steps: 100}
    """
    if s.data.streaming and s.method != "pretrain":
        yield Fault("data.streaming", f"{s.method} cannot stream its data", "streaming is for method: pretrain")


@contradiction("P043", "streaming-for-epochs", words=("data.streaming", "train.steps"))
def endless_stream(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds streamed data without a number of steps.

    Why is this bad:
    The length of a stream is not known before it ends, so neither is that of an epoch, of warmup or of the schedule.

    Example:
        data: {train: [{path: data/text.jsonl, format: text}], streaming: true}
        train: {method: pretrain, learning_rate: 1e-5, epochs: 1}

    Use instead:
        train: {method: pretrain, learning_rate: 1e-5, steps: 100}
    """
    if s.data.streaming and s.length.unit != "steps":
        advice = "give train.steps instead of epochs"
        yield Fault("data.streaming", "streamed data has no known length", advice)


@contradiction("P044", "loss-that-the-method-decides", words=("data.train_on", "train.method"))
def train_on(see: Context, s: Train) -> Iterator[Fault]:
    """Finds `train_on` with a method that decides itself which tokens carry loss.

    Why is this bad:
    Preference and reinforcement methods score answers, pre-training all tokens. The key has no effect.

    Example:
        adapter: {rank: 16}
        data: {train: [{path: data/pairs.jsonl, format: preference}], train_on: all}
        train: {method: dpo, learning_rate: 5e-6}

    Use instead:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
    """
    if see.otherwise("data.train_on") and s.method != "sft":
        message = f"{s.method} decides itself which tokens carry loss"
        yield Fault("data.train_on", message, "drop train_on")


@contradiction("P045", "source-of-two-places", "train", "quantize", words=SOURCES)
def one_place(see: Context, _s: Train | Quantize) -> Iterator[Fault]:
    """Finds a data source with none of path, hub and stage, or with several.

    Why is this bad:
    It is not clear which rows are read.

    Example:
        data: {train: [{path: data/chat.jsonl, hub: my-lab/chat, format: chat}]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
    """
    for here, source in written(see):
        if sum(place is not None for place in (source.path, source.hub, source.stage)) != 1:
            advice = "give the file, the hub name, or the stage that makes the rows"
            yield Fault(here, "a data source needs exactly one of path, hub, stage", advice)


@contradiction("P046", "unknown-kind-of-file", "train", "quantize", words=SOURCES)
def kind_of_file(see: Context, s: Train | Quantize) -> Iterator[Fault]:
    """Finds a data file of a kind that no trainer reads.

    Why is this bad:
    Trainers choose how to read a file by its suffix.

    Example:
        data: {train: [{path: data/chat.txt, format: chat}]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
    """
    for here, source in sources(see, s):
        if source.path is not None and not source.path.endswith(SUFFIXES):
            yield Fault(f"{here}.path", "this file type is not supported", f"use one of {', '.join(SUFFIXES)}")


@contradiction("P047", "word-of-a-hub-dataset", "train", "quantize", words=SOURCES)
def hub_words(see: Context, s: Train | Quantize) -> Iterator[Fault]:
    """Finds a subset or a revision of a local file.

    Why is this bad:
    They choose a part and a version of a dataset on a hub. A file has neither.

    Example:
        data: {train: [{path: data/chat.jsonl, revision: v1, format: chat}]}

    Use instead:
        data: {train: [{hub: my-lab/chat, revision: v1, format: chat}]}
    """
    for here, source in sources(see, s):
        for word in ("subset", "revision") if source.path is not None else ():
            if see.otherwise(f"{here}.{word}"):
                yield Fault(f"{here}.{word}", f"a local file has no {word}", "it belongs to hub")


@contradiction("P048", "format-of-another-method", words=SOURCES)
def formats(see: Context, s: Train) -> Iterator[Fault]:
    """Finds rows in a format that the method cannot learn from.

    Why is this bad:
    A preference method needs two answers to compare, a supervised one an answer, a reinforcement method a prompt.

    Example:
        adapter: {rank: 16}
        train: {method: dpo, learning_rate: 5e-6}

    Use instead:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
    """
    known = METHODS[s.method].formats
    for here, source in sources(see, s):
        if source.format not in known:
            message = f"{s.method} cannot learn from rows of format {source.format}"
            yield Fault(f"{here}.format", message, f"expected {' or '.join(known)}")


_TALKS = "or drop columns.prompt, if the rows hold conversations"


def _of_texts(source: DataSource | SourceWords) -> bool:
    """Return whether the rows of a source are pairs of texts with a prompt, not of conversations."""
    return source.format == "preference" and "prompt" in source.columns


@contradiction("P049", "unknown-column", "train", "quantize", words=SOURCES)
def columns(see: Context, _s: Train | Quantize) -> Iterator[Fault]:
    """Finds a column that the format does not have, or that rows with a prompt do not have.

    Why is this bad:
    The mapping would be read by nothing, and the column that was meant keeps its usual name.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat, columns: {mesages: turns}}]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat, columns: {messages: turns}}]}
    """
    for here, source in written(see):
        names = COLUMNS[source.format]
        for name, column in source.columns.items():
            if name not in names:
                message = f'"{name}" is not a column of format {source.format}'
                there = indexed(f"{here}.columns", name)
                yield Fault(there, message, f"its columns: {', '.join(names)}", nearest(name, names))
            elif _of_texts(source) and (name == "messages" or (name in ("role", "content") and column != name)):
                message = f"rows with a prompt hold texts: they have no {name}"
                yield Fault(indexed(f"{here}.columns", name), message, f"drop it; {_TALKS}")


@contradiction("P210", "columns-mapped-to-one", "train", "quantize", words=SOURCES)
def mapped_to_one(see: Context, s: Train | Quantize) -> Iterator[Fault]:
    """Finds two standard columns that are read from one column of the data.

    Why is this bad:
    The answer would be the question, or both answers the same: there is nothing to learn from such rows.

    Example:
        data: {train: [{path: data/rows.jsonl, format: instruction, columns: {instruction: question, output: question}}]}

    Use instead:
        data: {train: [{path: data/rows.jsonl, format: instruction, columns: {instruction: question, output: response}}]}
    """
    for here, source in sources(see, s):
        for names in (
            [n for n in source.columns if n not in OF_MESSAGES],
            [n for n in source.columns if n in OF_MESSAGES],
        ):
            first: dict[str, str] = {}
            for name in names:
                column = source.columns[name]
                other = first.setdefault(column, name)
                if other != name:
                    mapped = [indexed(f"{here}.columns", word) for word in (name, other) if column != word]
                    message = f"{other} and {name} are both read from the column {column}"
                    yield Fault((mapped or [here])[0], message, f"map {name} to a column of its own")


@contradiction("P050", "roles-without-turns", "train", "quantize", words=SOURCES)
def roles(see: Context, s: Train | Quantize) -> Iterator[Fault]:
    """Finds names of roles for rows without roles.

    Why is this bad:
    Only the turns of a conversation have roles.

    Example:
        data: {train: [{path: data/chat.jsonl, format: instruction, roles: {user: [human]}}]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat, roles: {user: [human]}}]}
    """
    for here, source in sources(see, s):
        if source.roles and "role" not in COLUMNS[source.format]:
            yield Fault(f"{here}.roles", f"rows of format {source.format} have no roles", "drop roles")
        elif source.roles and _of_texts(source):
            yield Fault(f"{here}.roles", "rows with a prompt hold texts, which have no roles", f"drop roles; {_TALKS}")


@contradiction("P051", "validation-given-twice", words=("data.holdout", "data.validation"))
def which_validation(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds both held-out rows and sources for validation.

    Why is this bad:
    Only one set is used for validation. Held-out rows would be lost for training.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], validation: [{path: data/held.jsonl, format: chat}], holdout: 5%}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
    """
    if s.data.holdout and s.data.validation:
        yield Fault("data.holdout", "both holdout and validation are given", "give one of them")


@contradiction("P052", "holdout-of-everything", words=("data.holdout",))
def holdout(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds a share of rows held out that leaves nothing to train or to validate on.

    Why is this bad:
    With 0% there is no validation although the recipe reads as if there were; with 100% there is no training.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 100%}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
    """
    data = see.said.recipe.data
    given = data.holdout if data is not None else None
    if isinstance(given, str) and not 0 < float(given.rstrip("%")) < 100:
        message = f"holdout {given} leaves nothing to train or to validate on"
        yield Fault("data.holdout", message, "choose between 0.1% and 50%")


@contradiction("P053", "packing-beside-grouping", words=("data.packing", "data.group_by_length"))
def packed_and_grouped(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds rows that are packed and grouped by length.

    Why is this bad:
    Packed rows all have the whole length: there is nothing to group.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], packing: true, group_by_length: true}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}], packing: true}
    """
    if s.data.group_by_length and s.data.packing:
        advice = "drop group_by_length, or packing"
        yield Fault("data.group_by_length", "packed rows have one length", advice)


@contradiction("P260", "answers-exchanged", words=("data.train", "data.validation"))
def exchanged(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a preference whose chosen answer is taken from the column `rejected`, and the reverse.

    Why is this bad:
    The model learns to prefer the bad answers, and the loss falls as it does so.

    Example:
        trainer: trl
        data: {train: [{path: data/pairs.jsonl, format: preference, columns: {chosen: rejected, rejected: chosen}}]}
        train: {method: dpo, learning_rate: 5e-6}

    Use instead:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
    """
    for here, source in sources(see, s):
        if source.columns.get("chosen") == "rejected" and source.columns.get("rejected") == "chosen":
            message = "the chosen answers are taken from the column rejected, and the rejected from chosen"
            yield Fault(f"{here}.columns.chosen", message, "drop columns, or exchange the names")


RULES = (
    exchanged,
    packed_pairs,
    system_prompt,
    streamed_method,
    endless_stream,
    train_on,
    one_place,
    kind_of_file,
    hub_words,
    formats,
    columns,
    mapped_to_one,
    roles,
    which_validation,
    holdout,
    packed_and_grouped,
)
