"""Tables from plan values to a tool's keys, and back."""

from typing import Any

import pytest

from recipec.plan import Record
from recipec.systems.read_back import read_back
from recipec.systems.table import OMIT, Filled, Row, constant, fill, flattened, number, same, within


class Engine(Record, frozen=True):
    """A section of a small plan."""

    name: str
    size: int | None


class Small(Record, frozen=True):
    """A small plan."""

    engine: Engine
    limit: int | str


def filled(rows: tuple[Row, ...], name: str = "big", size: int | None = 3, limit: int | str = "all") -> Filled:
    stage = Small(Engine(name, size), limit)
    return fill(rows, flattened(stage), "1.0")


NESTED = (
    same("top", "limit"),
    *within(
        "outer",
        same("name", "engine.name"),
        *within("inner", same("size", "engine.size"), constant("kind", "x").when("engine.name", "big")),
    ),
)


def test_keys_within_a_mapping() -> None:
    found = filled(NESTED)
    assert found.entries["outer"].value == {"name": "big", "inner": {"size": 3, "kind": "x"}}
    assert found.entries["outer"].reads == ("engine.name", "engine.size")
    assert found.used == {"limit", "engine.name", "engine.size"}
    assert read_back(NESTED, {"outer": found.entries["outer"].value}, "1.0") == {"engine.name": "big", "engine.size": 3}


def test_a_mapping_without_members_is_left_out() -> None:
    rows = within("outer", same("size", "engine.size"))
    assert filled(rows, size=None).entries == {}
    assert filled(NESTED, name="small", size=None).entries["outer"].value == {"name": "small"}


@pytest.mark.parametrize("document", [{"outer": 3}, {"outer": {"inner": [1]}}, {}])
def test_what_is_no_mapping_says_nothing(document: dict[str, Any]) -> None:
    assert read_back(NESTED, document, "1.0") == {}


def test_two_rows_of_one_key_within_a_mapping() -> None:
    with pytest.raises(LookupError, match=r"two rows emit outer\.size"):
        filled(within("outer", same("size", "engine.size"), constant("size", 1)))
    with pytest.raises(LookupError, match="two rows emit outer"):
        filled((*within("outer", same("size", "engine.size")), constant("outer", 1)))


def test_a_group_of_arguments_holds_the_mapping() -> None:
    (row,) = within("outer", same("size", "engine.size"))
    assert filled((row.grouped("Call"),)).entries["Call.outer"].value == {"size": 3}


def test_a_word_in_place_of_a_number_is_left_out() -> None:
    row = number("max", "limit")
    assert (row.say("all"), row.say(7), row.say(0)) == (OMIT, 7, 0)
    assert read_back([row], {"max": 7}, "1.0") == {"limit": 7}
