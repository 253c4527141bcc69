"""Data sources, validation, packing."""

from __future__ import annotations

import os

from recipec.language.data import COLUMNS
from recipec.plan import Data, DataSource
from recipec.resolve.draft import Draft, indexed
from recipec.resolve.methods import METHODS
from recipec.resolve.script import wanted
from recipec.rows import ONE_MESSAGE
from recipec.suggest import nearest

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
REPEATED = 0.2  # share of repeated rows above which it is told: some repeat rows on purpose, to weigh them
GROUPS = ("train", "validation")
SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")


def data(d: Draft) -> None:
    """Name every column of every source; judge formats against the method."""
    if d.get("train") is None:
        return
    if d.get("data") is None and wanted(d):
        d.values["train.data"] = NONE
        d.values["train.data.train"] = NONE.train
        return
    if d.get("data") is None:
        d.error("P040", "train", "there is a training, but no data", "add data: {train: […]}")
        return
    method = d.get("train.method")
    sources = {name: _sources(d, name, method) for name in GROUPS}
    d.values["train.data.train"], d.values["train.data.validation"] = sources["train"], sources["validation"]
    _holdout(d)
    packing = d.copy("train.data.packing", "data.packing")
    if packing and method not in ("sft", "pretrain"):
        d.error("P041", "data.packing", f"the rows of {method} cannot be packed", "drop packing")
    d.copy("train.data.train_on", "data.train_on")
    d.copy("train.data.shuffle", "data.shuffle")
    if d.copy("train.data.group_by_length", "data.group_by_length") and packing:
        d.error("P053", "data.group_by_length", "packed rows have one length", "drop group_by_length, or packing")
    cpu = d.values["hardware.device"] == "cpu"
    d.copy("train.data.workers", "data.workers", 0 if cpu else 4, "none on CPU" if cpu else "4 per GPU")
    if d.copy("train.data.streaming", "data.streaming"):
        if method != "pretrain":
            d.error("P042", "data.streaming", f"{method} cannot stream its data", "streaming is for method: pretrain")
        if d.get("train.steps") is None:
            d.error("P043", "data.streaming", "streamed data has no known length", "give train.steps instead of epochs")
    if d.said("data.train_on") and method != "sft":
        d.error("P044", "data.train_on", f"{method} decides itself which tokens carry loss", "drop train_on")
    folder = f"prepared-{d.part.name}" if d.several else "prepared"
    d.put("train.data.cache", f"runs/{d.recipe.name}/{folder}", "tokenised data, beside the run")
    d.values["train.data"] = d.make(Data, "train.data")


def _sources(d: Draft, group: str, method: str) -> tuple[DataSource, ...]:
    given = d.get(f"data.{group}") or []
    made = []
    for index, source in enumerate(given):
        here, there = indexed(f"data.{group}", index), f"train.data.{group}.{index}"
        so_far = len(d.findings)
        if (source.path is None) == (source.hub is None):
            d.error("P045", here, "a data source has exactly one of path, hub", "give the file, or the hub name")
        if source.path is not None and not source.path.endswith(SUFFIXES):
            d.error("P046", f"{here}.path", "the kind of file is not known", f"use one of {', '.join(SUFFIXES)}")
        if source.path is not None:
            for word in ("subset", "revision"):
                if d.said(f"{here}.{word}"):
                    d.error("P047", f"{here}.{word}", f"a local file has no {word}", "it belongs to hub")
        if source.format not in METHODS[method].formats:
            expected = " or ".join(METHODS[method].formats)
            d.error(
                "P048",
                f"{here}.format",
                f"{method} cannot learn from rows of format {source.format}",
                f"expected {expected}",
            )
        for word in ("path", "hub", "subset", "split", "revision", "format", "weight"):
            d.copy(f"{there}.{word}", f"{here}.{word}")
        names = COLUMNS[source.format]
        for name in source.columns:
            if name not in names:
                close = nearest(name, names)
                d.error(
                    "P049",
                    indexed(f"{here}.columns", name),
                    f'"{name}" is not a column of format {source.format}',
                    f"its columns: {', '.join(names)}",
                    close,
                )
        columns = {name: source.columns.get(name, name) for name in names}
        if source.format == "prompt" and "answer" not in source.columns:
            columns.pop("answer")
        if source.format == "preference":
            columns.pop("messages" if "prompt" in source.columns else "prompt")
        if source.format == "instruction":
            columns = {name: column for name, column in columns.items() if name != "system" or name in source.columns}
        d.put(
            f"{there}.columns",
            columns,
            "standard names, as mapped",
            *(indexed(f"{here}.columns", name) for name in source.columns),
        )
        roles = {role: tuple(names) for role, names in source.roles.items()}
        d.put(f"{there}.roles", roles, "as mapped", *(f"{here}.roles.{role}" for role in source.roles))
        for role, names_ in source.roles.items():
            d.origins[f"{there}.roles"] = d.origins[f"{there}.roles"]._replace(
                reads=(*d.origins[f"{there}.roles"].reads, *(f"{here}.roles.{role}[{i}]" for i in range(len(names_))))
            )
        if source.roles and "role" not in names:
            d.error("P050", f"{here}.roles", f"rows of format {source.format} have no roles", "drop roles")
        made.append(d.make(DataSource, there))
        if source.path is not None and len(d.findings) == so_far:
            _survey(d, here, made[-1])
    return tuple(made)


def _survey(d: Draft, here: str, source: DataSource) -> None:
    """Hold the rows of a file that is here against the format, columns and roles that the recipe gives."""
    assert source.path is not None
    if not source.path.isprintable():
        return
    if not os.path.isfile(source.path):  # noqa: PTH113  # pathlib takes longer to load
        _misspelt(d, here, source.path)
        return
    from recipec.rows.judge import RowSource, survey_rows  # json and csv are off the way of what cannot be looked at

    one = d.get("trainer") in ONE_MESSAGE
    survey = survey_rows(RowSource(source.path, source.format, source.columns, source.roles, one))
    if survey is None:
        return
    d.surveys[here] = survey
    for found in survey.problems:
        mapped = f"{here}.columns.{found.column}"
        where = mapped if found.column and d.said(mapped) else f"{here}.path"
        tell = d.error if found.severity == "error" else d.warn
        tell(found.code, where, found.message, found.advice, found.suggestion)


def _misspelt(d: Draft, here: str, path: str) -> None:
    """Tell of a file that is not here where one of nearly its name is; else it may be where the recipe runs."""
    folder, _, name = path.rpartition("/")
    if not os.path.isdir(folder or "."):  # noqa: PTH112
        return
    stem, _, suffix = name.rpartition(".")
    stems = [
        entry.name.removesuffix(f".{suffix}") for entry in os.scandir(folder or ".") if entry.name.endswith(suffix)
    ]
    close = nearest(stem, stems)
    if close is not None:
        there = f"{folder}/{close}.{suffix}" if folder else f"{close}.{suffix}"
        d.warn(
            "D015", f"{here}.path", f"{path} is not here", "correct the path, if it is not where the recipe runs", there
        )


def rows(d: Draft) -> None:
    """Judge what the sources hold together: enough rows for a step, none that is both trained and validated on."""
    seen = {
        group: [(here, survey) for here, survey in d.surveys.items() if here.startswith(f"data.{group}[")]
        for group in GROUPS
    }
    train = {row for _, survey in seen["train"] for row in survey.row_hashes}
    for here, survey in seen["validation"]:
        both = sum(count for row, count in survey.row_hashes.items() if row in train)
        if both:
            message = f"{both:,} of {sum(survey.row_hashes.values()):,} validation rows are trained on too"
            advice = "take them out of one of the two: their loss says nothing of new rows"
            d.warn("D013", f"{here}.path", message, advice)
    held = d.values["train.data"].holdout
    for here, survey in seen["train"]:
        known, repeated = sum(survey.row_hashes.values()), sum(survey.row_hashes.values()) - len(survey.row_hashes)
        if held and known >= 10 and repeated > REPEATED * known:
            message = f"{repeated:,} of {known:,} rows are repeated: most of what is held out is trained on too"
            d.warn("D012", f"{here}.path", message, "drop them and weigh sources by weight, or give data.validation")
    counts = [survey.total for _, survey in seen["train"]]
    sources: tuple[DataSource, ...] = d.values["train.data"].train
    if not sources or len(counts) < len(sources) or any(count is None for count in counts):
        return
    total = sum((count or 0) * source.weight for count, source in zip(counts, sources, strict=True))
    left = total - (held if isinstance(held, int) else int(total * held))
    if total and left < 1:
        message = f"holdout {held} leaves nothing of {total:,} rows to train on"
        d.error("P052", "data.holdout", message, "hold out fewer rows")
    elif total and left < d.values["train.batch.total"] and not METHODS[d.values["train.method"]].online:
        batch = d.values["train.batch.total"]
        message = (
            f"{left:,} row{'s' * (left != 1)} for batches of {batch:,}: an epoch is a single step that is not full"
        )
        d.warn("D014", "train.batch_size", message, "lower batch_size, or is it the right file?")


def _holdout(d: Draft) -> None:
    said = d.get("data.holdout")
    if said is not None and d.get("data.validation"):
        d.error("P051", "data.holdout", "both holdout and validation are given", "give one of them")
    if isinstance(said, str):
        share = float(said.rstrip("%")) / 100
        if not 0 < share < 1:
            d.error(
                "P052",
                "data.holdout",
                f"holdout {said} leaves nothing to train or to validate on",
                "choose between 0.1% and 50%",
            )
        d.put("train.data.holdout", share, f"{said} of the rows", "data.holdout")
    else:
        d.copy("train.data.holdout", "data.holdout", 0, "nothing is held out")
