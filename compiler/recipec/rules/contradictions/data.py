"""Contradictions about the data: sources, formats, what is held out."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import DataSource, Train
from recipec.language.data import COLUMNS
from recipec.language.data import DataSource as SourceWords
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
GROUPS = ("train", "validation")
SOURCES = ("data.train", "data.validation", "train.method")


def sources(s: Train) -> Iterator[tuple[str, DataSource]]:
    """Yield every source of a training with its recipe path."""
    for group in GROUPS:
        for index, source in enumerate(getattr(s.data, group)):
            yield indexed(f"data.{group}", index), source


def _written(see: Context) -> Iterator[tuple[str, SourceWords]]:
    data = see.said.recipe.data
    for group in GROUPS if data is not None else ():
        for index, source in enumerate(getattr(data, group) or ()):
            yield indexed(f"data.{group}", index), source


@contradiction("P041", "packing-of-pairs", words=("data.packing", "train.method"))
def packed_pairs(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds packing with a method whose rows are not single sequences."""
    if s.data.packing and s.method not in ("sft", "pretrain"):
        yield Fault("data.packing", f"the rows of {s.method} cannot be packed", "drop packing")


@contradiction("P042", "streaming-of-conversations", words=("data.streaming", "train.method"))
def streamed_method(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds streaming with another method than pretrain."""
    if s.data.streaming and s.method != "pretrain":
        yield Fault("data.streaming", f"{s.method} cannot stream its data", "streaming is for method: pretrain")


@contradiction("P043", "streaming-for-epochs", words=("data.streaming", "train.steps"))
def endless_stream(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds streamed data without a number of steps."""
    if s.data.streaming and s.length.unit != "steps":
        advice = "give train.steps instead of epochs"
        yield Fault("data.streaming", "streamed data has no known length", advice)


@contradiction("P044", "loss-that-the-method-decides", words=("data.train_on", "train.method"))
def train_on(see: Context, s: Train) -> Iterator[Fault]:
    """Finds `train_on` with a method that decides itself which tokens carry loss."""
    if see.said.wrote("data.train_on") and s.method != "sft" and s.data.train_on != "assistant":
        message = f"{s.method} decides itself which tokens carry loss"
        yield Fault("data.train_on", message, "drop train_on")


@contradiction("P045", "source-of-two-places", words=SOURCES)
def one_place(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a source that has neither path nor hub, or both."""
    for here, source in sources(s):
        if (source.path is None) == (source.hub is None):
            advice = "give the file, or the hub name"
            yield Fault(here, "a data source has exactly one of path, hub", advice)


@contradiction("P046", "unknown-kind-of-file", words=SOURCES)
def kind_of_file(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a data file of a kind that no trainer reads."""
    for here, source in sources(s):
        if source.path is not None and not source.path.endswith(SUFFIXES):
            yield Fault(f"{here}.path", "the kind of file is not known", f"use one of {', '.join(SUFFIXES)}")


@contradiction("P047", "word-of-a-hub-dataset", words=SOURCES)
def hub_words(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a subset or a revision of a local file."""
    for here, source in sources(s):
        for word in ("subset", "revision") if source.path is not None else ():
            if see.said.wrote(f"{here}.{word}"):
                yield Fault(f"{here}.{word}", f"a local file has no {word}", "it belongs to hub")


@contradiction("P048", "format-of-another-method", words=SOURCES)
def formats(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds rows of a format that the method cannot learn from."""
    known = METHODS[s.method].formats
    for here, source in sources(s):
        if source.format not in known:
            message = f"{s.method} cannot learn from rows of format {source.format}"
            yield Fault(f"{here}.format", message, f"expected {' or '.join(known)}")


@contradiction("P049", "unknown-column", words=SOURCES)
def columns(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds a column that the format does not have."""
    for here, source in _written(see):
        names = COLUMNS[source.format]
        for name in source.columns:
            if name not in names:
                message = f'"{name}" is not a column of format {source.format}'
                there = indexed(f"{here}.columns", name)
                yield Fault(there, message, f"its columns: {', '.join(names)}", nearest(name, names))


@contradiction("P050", "roles-without-turns", words=SOURCES)
def roles(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds names of roles for rows that have none."""
    for here, source in sources(s):
        if source.roles and "role" not in COLUMNS[source.format]:
            yield Fault(f"{here}.roles", f"rows of format {source.format} have no roles", "drop roles")


@contradiction("P051", "validation-given-twice", words=("data.holdout", "data.validation"))
def which_validation(see: Context, s: Train) -> Iterator[Fault]:
    """Finds both held out rows and sources for validation."""
    if see.said.wrote("data.holdout") and s.data.validation:
        yield Fault("data.holdout", "both holdout and validation are given", "give one of them")


@contradiction("P052", "holdout-of-everything", words=("data.holdout",))
def holdout(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds a share of rows held out that leaves nothing to train or to validate on."""
    data = see.said.recipe.data
    given = data.holdout if data is not None else None
    if isinstance(given, str) and not 0 < float(given.rstrip("%")) < 100:
        message = f"holdout {given} leaves nothing to train or to validate on"
        yield Fault("data.holdout", message, "choose between 0.1% and 50%")


@contradiction("P053", "packing-beside-grouping", words=("data.packing", "data.group_by_length"))
def packed_and_grouped(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds rows that are packed and grouped by length."""
    if s.data.group_by_length and s.data.packing:
        advice = "drop group_by_length, or packing"
        yield Fault("data.group_by_length", "packed rows have one length", advice)


RULES = (
    packed_pairs,
    streamed_method,
    endless_stream,
    train_on,
    one_place,
    kind_of_file,
    hub_words,
    formats,
    columns,
    roles,
    which_validation,
    holdout,
    packed_and_grouped,
)
