"""`plan.json`: records that are written and read again, and a schema that it is held against."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from recipec import manifest
from recipec.kinds import REGISTRY

ROOT = Path(__file__).parents[2]
TREES = sorted(path.parent for path in (ROOT / "tests" / "golden" / "trees").rglob("plan.json"))
SCHEMA = ROOT / "docs" / "plan.schema.json"


def test_the_schema_is_current() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "plan_schema.py"))
    assert SCHEMA.read_text(encoding="utf-8") == made["text"]()


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_what_is_written_is_read_again(tree: Path) -> None:
    text = (tree / "plan.json").read_text(encoding="utf-8")
    found = manifest.read(text)
    assert manifest.write(found) == text
    assert (
        list(Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).iter_errors(json.loads(text))) == []
    )


def test_the_schema_refuses_a_body_of_another_kind() -> None:
    held: Any = json.loads((TREES[-1] / "plan.json").read_text(encoding="utf-8"))
    held["plan"]["stages"][0]["body"].pop("seed")
    schema = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert any("seed" in error.message for error in schema.iter_errors(held))


@pytest.mark.parametrize(
    ("text", "format"),
    [("", None), ("[]", None), ('{"format": 1}', 1), ('{"format": 3}', 3), ('{"format": 2}', None), ("\xff", None)],
)
def test_what_is_no_plan_is_unreadable(text: str, format: int | None) -> None:
    with pytest.raises(manifest.Unreadable) as refused:
        manifest.read(text.encode("latin-1"))
    assert refused.value.format == format


def test_a_value_of_another_type_is_unreadable() -> None:
    text = (TREES[0] / "plan.json").read_text(encoding="utf-8").replace('"max_length":', '"max_length":"x","_":', 1)
    with pytest.raises(manifest.Unreadable):
        manifest.read(text)


def test_every_kind_has_a_module() -> None:
    from recipec.kinds import kind

    assert {kind(name).name for name in REGISTRY} == set(REGISTRY)
