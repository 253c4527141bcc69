"""Every system's tables: no key twice, no path that the plan has not, and what they emit reads back as the plan."""

import json
import re
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from recipec.kinds import kind
from recipec.pipeline import compile_file
from recipec.plan import Stage, fields, leaf
from recipec.source import Source, plain
from recipec.systems.document import Sheet
from recipec.systems.read_back import read_back
from recipec.systems.registry import doing, system
from recipec.systems.table import OMIT, Filled, Row, fill, flattened
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
TREES = ROOT / "tests" / "golden" / "trees"
ROWS = runpy.run_path(str(ROOT / "scripts" / "rows.py"))
Case = ROWS["Case"]
RECIPES = [one for one in sorted((ROOT / "recipes").glob("*.yaml")) if "\nsweep:" not in one.read_text("utf-8")]


@cache
def compiled() -> tuple[Any, ...]:
    """Return every trainer's trainings, and the stages that make, merge and evaluate models."""
    return (*ROWS["trainings"](strategies=True), *ROWS["decided"]("course", ROWS["WHOLE_COURSE"]))


def of(name: str) -> list[Any]:
    """Return the cases of a trainer; `general`: those of none."""
    return [case for case in compiled() if (case.stage.system if case.stage.kind == "train" else "general") == name]


def golden(recipe: Path) -> list[Any]:
    resolved = compile_file(str(recipe)).resolved
    assert resolved is not None
    return [Case(recipe.stem, stage) for stage in resolved.plan.stages]


def tables(case: Any) -> Iterator[tuple[Sheet, tuple[Row, ...], Filled]]:
    """Yield each file of a stage with its rows that name their paths, and what the whole table makes of the stage."""
    values = flattened(case.stage.body)
    for sheet in ROWS["sheets"](case):
        yield (
            sheet,
            tuple(row for row in sheet.rows if row.paths != ("",)),
            fill(sheet.rows, values, sheet.release),
        )


def known(record: type, prefix: str = "") -> Iterator[str]:
    """Yield every path of a record's type, sections too; `*` stands for each item of a tuple of records."""
    for name, hint in get_type_hints(record).items():
        path = prefix + name
        yield path
        for part in get_args(hint) if isinstance(hint, UnionType) else (hint,):
            inside, below = (get_args(part)[0], path + ".*") if get_origin(part) is tuple else (part, path)
            if fields(inside):
                if below != path:
                    yield below
                yield from known(inside, below + ".")


@cache
def known_paths(record: Any) -> frozenset[str]:
    return frozenset(known(record))


def typos(stage: Stage[Any], rows: tuple[Row, ...]) -> set[str]:
    """Return the paths of rows, and of whatever else the stage's system and kind declare, that no plan has."""
    paths = {path for row in rows for path in (*row.paths, *(one.path for one in row.only))}
    doer, body = system(stage.system), stage.body
    paths |= {*doer.can, *doer.uses(body), *kind(stage.kind).acts}
    paths |= {path for check in doer.checks(body) for path in (*check.paths, *(one.path for one in check.only))}
    return {path for path in paths if re.sub(r"\.\d+", ".*", path) not in known_paths(type(body))}


def said(body: Any, values: dict[str, Any], path: str) -> Any:
    """Return the plan's value at a path, which may lead into a mapping; None below what is absent."""
    if path in values:
        return values[path]
    try:
        return leaf(body, path)
    except (AttributeError, KeyError, IndexError):
        return None


def disagreements(case: Any, sheet: Sheet, rows: tuple[Row, ...], document: dict[str, Any]) -> list[str]:
    """Return where a file says something else than the plan it was made of, and what of its rows gets lost."""
    values, found = flattened(case.stage.body), read_back(rows, document, sheet.release)
    wrong = [
        f"{sheet.file}: {path}: read {value!r}, the plan has {said(case.stage.body, values, path)!r}"
        for path, value in found.items()
        if value != said(case.stage.body, values, path)
    ]
    for row in rows:
        given = [document.get(key, OMIT) for key in row.keys]
        in_force = row.has(sheet.release) and all(one.holds(values) for one in row.only)
        if row.back is not None and in_force and any(value is not OMIT for value in given):
            lost = row.back(*given).keys() - found.keys()
            wrong += [f"{sheet.file}: {path}: the row of {row.key} is passed over" for path in sorted(lost)]
    return wrong


def parsed(path: Path, sheet: Sheet, entries: dict[str, Any]) -> dict[str, Any]:
    """Return what a golden file says under the keys of its table, which no raw override has; of scripts, the table."""
    if sheet.kind not in ("yaml", "json"):
        return entries
    text = path.read_text(encoding="utf-8")
    document: Any = json.loads(text) if sheet.kind == "json" else plain(read_text(Source(path.name, text)))
    return {key: value for key, value in document.items() if key in entries}


@pytest.mark.parametrize("name", [*doing("train"), "general"])
def test_no_two_rows_emit_one_key(name: str) -> None:
    assert of(name)
    for case in of(name):
        list(tables(case))  # raises LookupError, which names the key


def test_a_key_of_two_rows_is_found() -> None:
    case = of("axolotl")[0]
    twice = ROWS["sheets"](case)[0].rows * 2
    with pytest.raises(LookupError, match="two rows emit base_model"):
        fill(twice, flattened(case.stage.body), case.stage.release)


@pytest.mark.parametrize("name", [*doing("train"), "general"])
def test_every_path_is_one_of_the_plan(name: str) -> None:
    assert {path for case in of(name) for _, rows, _ in tables(case) for path in typos(case.stage, rows)} == set()


def test_a_path_that_the_plan_has_not_is_found() -> None:
    case = of("axolotl")[0]
    row = ROWS["sheets"](case)[0].rows[0]
    wrong = row.replaced(paths=("model.pth",)).when("data.train.0.splt").when("rewards.2.weight")
    assert typos(case.stage, (wrong,)) == {"model.pth", "data.train.0.splt"}


@pytest.mark.parametrize("name", [*doing("train"), "general"])
def test_what_a_table_emits_reads_back_as_the_plan(name: str) -> None:
    found: dict[str, list[str]] = {}
    for case in of(name):
        for sheet, rows, filled in tables(case):
            document = {key: entry.value for key, entry in filled.entries.items()}
            for wrong in disagreements(case, sheet, rows, document):
                found.setdefault(wrong, []).append(case.name)
    assert found == {}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_golden_file_reads_back_as_its_plan(recipe: Path) -> None:
    for case in golden(recipe):
        for sheet, rows, filled in tables(case):
            entries = {key: entry.value for key, entry in filled.entries.items()}
            document = parsed(TREES / recipe.stem / case.stage.name / sheet.file, sheet, entries)
            assert document.keys() == entries.keys()
            assert disagreements(case, sheet, rows, document) == []


def test_a_value_that_does_not_read_back_is_found() -> None:
    case = of("axolotl")[0]
    sheet, rows, filled = next(tables(case))
    document = {key: entry.value for key, entry in filled.entries.items()} | {"learning_rate": 5.0}
    assert disagreements(case, sheet, rows, document) == [
        "axolotl.yaml: optimizer.learning_rate: read 5.0, the plan has 1e-05"
    ]
