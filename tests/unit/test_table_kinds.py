"""Kinds of rows and checks, on records of a test's own: what they say, what they read back, and what they use."""

from typing import Any

import pytest

from recipec.plan import Record
from recipec.systems.check import refuses
from recipec.systems.read_back import read_back
from recipec.systems.table import (
    OMIT,
    Entry,
    constant,
    fill,
    flattened,
    listed,
    made,
    named,
    renamed,
    same,
    spread,
    where,
    within,
)


class Item(Record, frozen=True):
    kind: str
    size: int


class Part(Record, frozen=True):
    width: int
    words: dict[str, Any]
    names: tuple[str, ...]


class Stage(Record, frozen=True):
    method: str
    part: Part | None
    items: tuple[Item, ...]


STAGE = Stage("sft", Part(3, {"a": 1, "b": [2]}, ("x", "y")), (Item("one", 1), Item("two", 2)))


def filled(*rows: Any, stage: Stage = STAGE) -> tuple[dict[str, Any], set[str]]:
    found = fill(rows, flattened(stage), "1.0")
    assert found.refusals == []
    return {key: entry.value for key, entry in found.entries.items()}, found.used


@pytest.mark.parametrize(("said", "key"), [("sft", "supervised"), ("dpo", "dpo")])
def test_a_renamed_value_is_the_plan_s_own_or_the_tool_s_word(said: str, key: str) -> None:
    row = renamed("mode", "method", {"sft": "supervised", "ppo": OMIT})
    document, _ = filled(row, stage=STAGE.replaced(method=said))
    assert document == {"mode": key}
    assert read_back([row], document, "1.0") == {"method": said}
    assert filled(row, stage=STAGE.replaced(method="ppo"))[0] == {}


def test_words_are_spread_over_keys() -> None:
    row = spread("part.words", {"a": "key_a", "b": "key_b", "c": "key_c"})
    document, _ = filled(row)
    assert document == {"key_a": 1, "key_b": [2]}
    assert read_back([row], document, "1.0") == {"part.words": {"a": 1, "b": [2]}}
    assert filled(row, stage=STAGE.replaced(part=None))[0] == {}


def test_a_block_is_filled_and_read_back_by_its_rows() -> None:
    rows = within("inner", same("w", "part.width"), constant("on", True), same("m", "method").unless("method", "sft"))
    document, used = filled(*rows)
    assert document == {"inner": {"w": 3, "on": True}}
    assert read_back(rows, document, "1.0") == {"part.width": 3}
    assert used == {"part.width", "method"}


def test_a_block_uses_only_what_its_rows_in_force_use() -> None:
    rows = within("inner", same("w", "part.width").when("method", "dpo").when("items"), constant("on", True))
    assert filled(*rows)[1] == {"method"}  # the one condition that fails
    assert filled(*rows, stage=STAGE.replaced(items=()))[1] == set()


def test_an_empty_block_is_left_out() -> None:
    rows = within("inner", same("w", "part.width"))
    assert filled(*rows, stage=STAGE.replaced(part=None))[0] == {}


def test_a_block_passes_on_what_its_rows_cannot_express() -> None:
    found = fill(within("inner", named("m", "method", {"dpo": "dpo"})), flattened(STAGE), "1.0")
    assert [refusal.path for refusal in found.refusals] == ["method"]
    assert found.entries == {}


def test_a_block_has_only_the_rows_of_a_release() -> None:
    rows = within("inner", same("w", "part.width").at(since="2.0"), constant("on", True))
    assert filled(*rows)[0] == {"inner": {"on": True}}


def test_rows_together_have_a_condition() -> None:
    rows = where("method", "dpo", rows=within("inner", same("w", "part.width"), constant("on", True)))
    assert filled(*rows) == ({}, {"method"})
    assert filled(*rows, stage=STAGE.replaced(method="dpo"))[0] == {"inner": {"w": 3, "on": True}}


def test_a_condition_on_a_section_uses_nothing_that_stands_in_it() -> None:
    assert filled(constant("on", True).when("part"))[1] == set()
    assert filled(constant("on", True).when("items"))[1] == set()
    assert filled(constant("on", True).when("part.width"))[1] == {"part.width"}


def test_a_key_that_is_made_of_a_section_names_the_values_in_it() -> None:
    found = fill([made("n", len, "items")], flattened(STAGE), "1.0")
    assert found.entries["n"].reads == ("items.0.kind", "items.0.size", "items.1.kind", "items.1.size")
    assert found.used == {"items"}


def test_a_star_stands_for_every_item() -> None:
    row = made("sizes", lambda sizes: list(sizes or ()), "items.*.size")
    found = fill([row], flattened(STAGE), "1.0")
    assert found.entries["sizes"] == Entry([1, 2], ("items.0.size", "items.1.size"))
    assert found.used == {"items.0.size", "items.1.size"}
    assert filled(row, stage=STAGE.replaced(items=())) == ({"sizes": []}, set())


def test_a_text_where_a_list_belongs_says_nothing() -> None:
    row = listed("names", "part.names", {"all": "everything"})
    assert read_back([row], {"names": "everything"}, "1.0") == {"part.names": ("all",)}
    assert read_back([row], {"names": "x"}, "1.0") == {}


def test_a_check_of_items_is_made_of_every_one() -> None:
    check = refuses("items.*.size", "items.*.kind", when=lambda size, _kind: size > 0, message="m", advice="a")
    only_two = check.replaced(holds=lambda _size, kind: kind == "two")
    assert [told.path for told in check.each(flattened(STAGE), "1.0", set())] == ["items.0.size", "items.1.size"]
    assert [told.path for told in only_two.each(flattened(STAGE), "1.0", set())] == ["items.1.size"]
    assert list(check.when("method", "dpo").each(flattened(STAGE), "1.0", set())) == []
    assert list(check.each(flattened(STAGE.replaced(items=())), "1.0", set())) == []
