"""Data sources, validation, packing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from recipec.decide.graph import Graph
from recipec.decide.said import Decided, Said, indexed, plain, section, several
from recipec.kinds.train.records import Data, DataSource
from recipec.language import data as recipe
from recipec.language.data import COLUMNS
from recipec.plan import Hardware, Record

NONE = Data(
    train=(),
    validation=(),
    holdout=0,
    packing=False,
    train_on="assistant",
    shuffle=True,
    group_by_length=False,
    workers=0,
    streaming=False,
    cache="",
)


class Talk(Record, frozen=True):
    """Whether a model talks through a chat template, and the recipe paths that decide it."""

    templated: bool
    because: tuple[str, ...]


def data(say: Said, machine: Hardware, folder: str, talk: Talk, graph: Graph) -> Decided[Data]:
    """Name every column of every source; `folder` is where tokenised rows are kept."""
    given = say.recipe.data
    if given is None:
        return plain(NONE)
    cpu = machine.device == "cpu"
    return section(
        Data,
        train=several(sources(say, "data.train", given.train, talk, graph)),
        validation=several(sources(say, "data.validation", given.validation or (), talk, graph)),
        holdout=_holdout(say, given),
        packing=say.word("data.packing", given.packing),
        train_on=say.word("data.train_on", given.train_on),
        shuffle=say.word("data.shuffle", given.shuffle),
        group_by_length=say.word("data.group_by_length", given.group_by_length),
        workers=say.take("data.workers", given.workers, 0 if cpu else 4, "none on CPU" if cpu else "4 per GPU"),
        streaming=say.word("data.streaming", given.streaming),
        cache=say.rule(folder, "tokenised data, beside the run"),
    )


def sources(
    say: Said, here: str, given: Iterable[recipe.DataSource], talk: Talk, graph: Graph
) -> Iterator[Decided[DataSource]]:
    """Yield the sources of a list that stands at a recipe path; what a stage made stands where that wrote it."""
    for index, source in enumerate(given):
        yield _source(say, indexed(here, index), source, talk, graph)


def _source(say: Said, here: str, given: recipe.DataSource, talk: Talk, graph: Graph) -> Decided[DataSource]:
    made = graph.rows.get(given.stage) if given.stage is not None and given.path is None else None
    path = say.word(f"{here}.path", given.path)
    if made is not None:
        path = say.rule(made.place, f"what {given.stage} makes", f"{here}.stage")
    mapped = tuple(indexed(f"{here}.columns", name) for name in given.columns)
    named = [
        f"{here}.roles.{role}{item}"
        for role, names in given.roles.items()
        for item in ("", *(f"[{index}]" for index in range(len(names))))
    ]
    roles = {role: tuple(names) for role, names in given.roles.items()}
    return section(
        DataSource,
        path=path,
        hub=say.word(f"{here}.hub", given.hub),
        subset=say.word(f"{here}.subset", given.subset),
        split=say.word(f"{here}.split", given.split),
        revision=say.word(f"{here}.revision", given.revision),
        format=say.word(f"{here}.format", given.format),
        columns=say.rule(_columns(given), "standard names, as mapped", *mapped),
        roles=say.rule(roles, "as mapped", *named),
        system=say.word(f"{here}.system", given.system),
        weight=say.word(f"{here}.weight", given.weight),
        turns=_turns(say, here, given, talk),
    )


def _turns(say: Said, here: str, given: recipe.DataSource, talk: Talk) -> Decided[bool]:
    """Decide whether rows are turns: conversations always, instructions and prompts where the model talks in turns."""
    if given.format in ("instruction", "prompt"):
        talks = talk.templated
        why = "the model talks through a chat template" if talks else "the model has no chat template to talk through"
        if given.format == "instruction" and say.recipe.model.chat_template == "alpaca":
            talks, why = False, "they are rows of Alpaca, whose text is asked for"
        return say.rule(talks, why, f"{here}.format", *talk.because)
    return plain(given.format == "chat" or (given.format == "preference" and "prompt" not in given.columns))


def _columns(source: recipe.DataSource) -> dict[str, str]:
    """Return the columns that are read, by their standard names: optional ones only where they are mapped."""
    mapped = source.columns
    columns = {name: mapped.get(name, name) for name in COLUMNS[source.format]}
    if source.format == "prompt" and "answer" not in mapped:
        columns.pop("answer")
    if source.format == "preference":
        columns.pop("messages" if "prompt" in mapped else "prompt")
    if source.format == "instruction" and "system" not in mapped:
        columns.pop("system")
    return columns


def _holdout(say: Said, given: recipe.Data) -> Decided[float | int]:
    if isinstance(given.holdout, str):
        return say.rule(float(given.holdout.rstrip("%")) / 100, f"{given.holdout} of the rows", "data.holdout")
    return say.take("data.holdout", given.holdout, 0, "nothing is held out")
