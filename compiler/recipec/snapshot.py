"""`NAME.tokens.json` beside a recipe: rows as they were rendered once, and what a check can compare without any tool.

`recipe data FILE --snapshot` writes it, `recipe data FILE` compares tokens and masks, `recipe check` what decides them.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Literal, TypedDict, TypeGuard

from recipec.diagnostics import Finding
from recipec.kinds.train.records import DataSource, Train
from recipec.output import file_digest
from recipec.plan import Resolved
from recipec.regular_file import read_regular
from recipec.source import Plain, Span

FORMAT = 1
SUFFIX = ".tokens.json"


class Decisive(TypedDict):
    """What decides the tokens of a stage's first rows; `rows` holds the digest of each source's, None where it has none."""

    release: Plain
    tokenizer: Plain
    chat_template: Plain
    rows: dict[str, Plain]


class StageSnapshot(TypedDict):
    """The part of a snapshot that a check reads of one stage."""

    decides: Decisive
    sources: list[dict[str, Plain]]


class Snapshot(TypedDict):
    """What a snapshot holds: stages by name, and how many rows of each source."""

    format: int
    rows: int
    stages: dict[str, StageSnapshot]


def path_of(recipe: str, name: str) -> Path:
    """Return where the snapshot of a recipe stands."""
    return Path(recipe).with_name(name + SUFFIX)


def read(path: Path) -> Snapshot | None:
    """Return a snapshot; None where the file is none."""
    try:
        held: Plain = json.loads(read_regular(path))
    except (OSError, ValueError):
        return None
    return held if _whole(held) else None


def _whole(held: Plain) -> TypeGuard[Snapshot]:
    """Return whether a document has the shape that is written: a hand may have been at it."""
    if not isinstance(held, dict) or held.get("format") != FORMAT or not isinstance(held.get("rows"), int):
        return False
    stages = held.get("stages")
    return isinstance(stages, dict) and all(
        isinstance(stage, dict)
        and isinstance(decided := stage.get("decides"), dict)
        and {"release", "tokenizer", "chat_template"} <= set(decided)
        and isinstance(decided.get("rows"), dict)
        and isinstance(sources := stage.get("sources"), list)
        and all(isinstance(source, dict) and "name" in source and _rows(source.get("rows")) for source in sources)
        for stage in stages.values()
    )


def _rows(rows: Plain) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, dict) and ({"ids", "mask", "text"} <= set(row) or isinstance(row.get("texts"), dict))
        for row in rows
    )


def decides(stage: Train, rows: int) -> Decisive:
    """Return what decides the first rows' tokens, as far as a recipe and its files say it."""
    template = stage.model.chat_template_file
    return {
        "release": f"{stage.trainer} {stage.release}".rstrip(),
        "tokenizer": stage.model.tokenizer,
        "chat_template": stage.model.chat_template if template is None else file_digest(template),
        "rows": {(source.path or source.hub or ""): rows_digest(source, rows) for source in stage.data.train},
    }


def rows_digest(source: DataSource, rows: int) -> str | None:
    """Return the SHA-256 of the bytes of the first rows; None for what is not here, on a hub, or too large.

    Lines stand for rows; files of one document (JSON, Parquet) are taken whole.
    """
    if source.path is None:
        return None
    path = Path(source.path)
    if path.suffix not in (".jsonl", ".csv"):
        return file_digest(source.path)
    try:
        with path.open("rb") as stream:
            wanted = rows + (path.suffix == ".csv")
            lines = islice((line for line in stream if line.strip()), wanted)
            return hashlib.sha256(b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines)).hexdigest()
    except OSError:
        return None


def findings(path: Path, resolved: Resolved, recipe: str) -> list[Finding]:
    """Return D093 for each thing that decides tokens and is not what it was when the snapshot was taken."""
    advice = f"look at the rows with `recipe data {recipe}`; `recipe data {recipe} --snapshot` updates the snapshot"
    held = read(path)
    if held is None:
        return [Finding("D093", f"{path.name} is no snapshot of tokens", None, None, advice, "warning", str(path))]
    found: list[Finding] = []
    for stage in resolved.plan.stages:
        then = held["stages"].get(stage.name) if stage.kind == "train" else None
        if then is None:
            continue
        for message, leaf in _changes(then["decides"], decides(stage.body, held["rows"]), stage.body):
            span = _span(resolved, stage.name, leaf)
            text = f"{message} since the snapshot of tokens was taken"
            found.append(Finding("D093", text, span, None, advice, "warning", None if span else recipe))
    return found


def _changes(then: Decisive, now: Decisive, stage: Train) -> list[tuple[str, str]]:
    """Return what changed, and the plan leaf to blame."""
    found: list[tuple[str, str]] = []
    names: tuple[tuple[Literal["release", "tokenizer"], str, str], ...] = (
        ("release", "the trainer", "release"),
        ("tokenizer", "the tokenizer", "model.tokenizer"),
    )
    for word, name, leaf in names:
        if then[word] != now[word]:
            found.append((f"{name} went from {then[word]} to {now[word]}", leaf))
    if then["chat_template"] != now["chat_template"]:
        own = stage.model.chat_template_file
        found.append(
            (f"{own} has changed", "model.chat_template_file")
            if own is not None
            else (
                f"the chat template went from {then['chat_template']} to {now['chat_template']}",
                "model.chat_template",
            )
        )
    for index, source in enumerate(stage.data.train):
        name = source.path or source.hub or ""
        leaf = f"data.train.{index}.{'path' if source.path is not None else 'hub'}"
        if name not in then["rows"]:
            found.append((f"{name} has been added", leaf))
        elif None not in (digests := (then["rows"][name], now["rows"][name])) and digests[0] != digests[1]:
            found.append((f"the first rows of {name} have changed", leaf))
    return found


def _span(resolved: Resolved, stage: str, leaf: str) -> Span | None:
    for path in (leaf, "model.path" if leaf.startswith("model.") else "trainer"):
        origin = resolved.origins.get(f"{stage}.{path}")
        if origin is not None and origin.span is not None:
            return origin.span
    return None
