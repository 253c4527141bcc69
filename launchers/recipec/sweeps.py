"""What is on disk of a sweep beside the trees of its variants: the list of them, in `build/NAME` and in `runs/NAME`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from recipec import output
from recipec.diagnostics import Finding, RecipeError
from recipec.json_files import read_object
from recipec.plural import counted

LIST, PAGE = "sweep.json", "SWEEP.md"
FORMAT = 1
SHOWN = 40  # variants that the terminal shows


class Row(msgspec.Struct, frozen=True):
    """A variant: its name, its values by their paths, and the rule that refuses it with its reason, if one does."""

    variant: str
    values: dict[str, Any]
    rule: str | None = None
    reason: str | None = None


class Listed(msgspec.Struct, frozen=True):
    """The variants of a sweep in order; `best` is what marks the best of them.

    Of a search, those so far: `search` is its key, and `trials` how many there will be at most.
    """

    name: str
    recipe: str
    best: str | None
    variants: tuple[Row, ...]
    format: int = FORMAT
    search: str | None = None
    trials: int | None = None

    @property
    def accepted(self) -> tuple[Row, ...]:
        """Those that no rule refuses."""
        return tuple(one for one in self.variants if one.rule is None)

    @property
    def refused(self) -> tuple[Row, ...]:
        """Those that a rule refuses."""
        return tuple(one for one in self.variants if one.rule is not None)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of what varies, in order."""
        return tuple(dict.fromkeys(path for one in self.variants for path in one.values))


class Told(NamedTuple):
    """A variant in the terminal's table: its row, and what is said of it."""

    row: Row
    said: str


def read_list(folder: Path) -> Listed | None:
    """Return the list of variants in a folder; None where there is none of this format."""
    found = read_object(folder / LIST)
    if found is None or found.get("format") != FORMAT:
        return None
    try:
        return msgspec.convert(found, Listed)
    except msgspec.ValidationError:
        return None


def write_list(folder: Path, listed: Listed) -> bool:
    """Write the list of variants, and the page that shows it; return whether anything changed. Raises RecipeError."""
    head = {name: getattr(listed, name) for name in ("format", "name", "recipe", "best", "search", "trials")}
    head = {name: value for name, value in head.items() if value is not None or name == "best"}
    rows = [json.dumps(msgspec.to_builtins(one), ensure_ascii=False) for one in listed.variants]
    text = json.dumps(head, ensure_ascii=False)[:-1] + ', "variants": [\n ' + ",\n ".join(rows) + "\n]}\n"
    changed = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((LIST, text), (PAGE, page(listed))):
            path = folder / name
            if path.is_file() and path.read_text(encoding="utf-8") == content:
                continue
            fresh = folder / f".{name}.new-{os.getpid()}"
            fresh.write_text(content, encoding="utf-8")
            fresh.replace(path)
            changed = True
    except OSError as error:
        advice = "check the path, its permissions, and the space left"
        raise RecipeError([Finding("O004", f"cannot be written: {error.strerror}", help=advice, file=str(folder))]) from None  # fmt: skip
    return changed


def page(listed: Listed) -> str:
    """Return the variants as Markdown."""
    lines = [f"# {listed.name}: {counted(len(listed.accepted), 'variant')}", ""]
    lines += [f"Written by recipec from {listed.recipe}: change the recipe, not this file."]
    if listed.trials is not None:
        lines += ["", f"These are the first of at most {counted(listed.trials, 'trial')}: `recipe run` chooses each later one by the results of those before it."]  # fmt: skip
    if listed.accepted:
        lines += ["", f"| variant | {' | '.join(listed.paths)} |", "|---" * (1 + len(listed.paths)) + "|"]
        lines += [
            f"| [{one.variant}]({one.variant}/PLAN.md) | {' | '.join(_cells(one, listed.paths))} |"
            for one in listed.accepted
        ]
    if listed.refused:
        lines += ["", "## Left out", "", "| variant | rule | reason |", "|---|---|---|"]
        lines += [f"| {one.variant} | {one.rule} | {str(one.reason).replace('|', chr(92) + '|')} |" for one in listed.refused]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cells(row: Row, paths: Iterable[str]) -> list[str]:
    return [value_text(row.values[path]) if path in row.values else "–" for path in paths]


def value_text(value: Any) -> str:
    """Return a value as a table shows it."""
    from recipec.sweep import number_name

    if isinstance(value, float):
        return number_name(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a plain-text table; of many, those that the terminal can show."""
    shown = [heads, *rows[:SHOWN]]
    widths = [max(len(line[column]) for line in shown) for column in range(len(heads))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in shown]
    lines.insert(1, "  ".join("─" * width for width in widths))
    if len(rows) > SHOWN:
        lines.append(f"… and {counted(len(rows) - SHOWN, 'more variant')}")
    return "\n".join(lines)


def variants_table(listed: Listed, told: Sequence[Told]) -> str:
    """Return the variants with their values and what is said of each, and those that are left out with the reason."""
    lines = [table(["variant", *listed.paths, ""], [[one.row.variant, *_cells(one.row, listed.paths), one.said] for one in told])]  # fmt: skip
    lines += [f"left out: {one.variant}: {one.rule}: {one.reason}" for one in listed.refused[:SHOWN]]
    if len(listed.refused) > SHOWN:
        lines.append(f"left out: {counted(len(listed.refused) - SHOWN, 'more variant')}; {PAGE} names them")
    return "\n".join(lines)


def ours(folder: Path) -> None:
    """Check that a folder may hold the trees of a sweep. Raises RecipeError where it is another's."""
    if (folder / output.MANIFEST).exists():
        message = "the folder holds what was compiled without a sweep"
        raise RecipeError([Finding("O002", message, help="move it away, or choose another --out", file=str(folder))])


def drop_gone(folder: Path, before: Listed | None, names: Iterable[str]) -> None:
    """Remove the trees of variants that there are no more. Raises RecipeError where one holds what a person has changed."""
    gone = {one.variant for one in before.variants} - set(names) if before is not None else set[str]()
    findings: list[Finding] = []
    for name in sorted(gone):
        tree = folder / name
        if tree.is_dir() and (changed := output.foreign(tree, output.existing(tree))):
            findings += changed
        elif tree.is_dir():
            shutil.rmtree(tree)
    if findings:
        raise RecipeError(findings)


__all__ = ["LIST", "Listed", "Row", "Told", "drop_gone", "ours", "read_list", "table", "value_text", "variants_table", "write_list"]  # fmt: skip
