"""Which known model somebody most likely meant by a name that is none's."""

from __future__ import annotations

import re
from functools import cache

from recipec.facts.models import model_ids, plain_name, rows_by_name

OWNERS = {"meta": "meta-llama", "facebook": "meta-llama", "mistral": "mistralai", "mistral-ai": "mistralai"}


def close_model(name: str) -> str | None:
    """Return the row whose id somebody most likely meant by a name that is no row's; None where nothing is that close.

    Two names are close where only signs between their parts differ, or a single part by a slip of the hand; never by a
    number, as families have models of many sizes and versions.
    """
    owner, _, own = name.rpartition("/")
    rows = model_ids()
    if not owner:
        return rows_by_name().get(plain_name(own)) or next((row for row in rows if _slip(own, row)), None)
    there = rows_by_name().get(plain_name(own))
    if there is not None:
        right = there.partition("/")[0]
        return there if OWNERS.get(owner.lower(), owner.lower()) == right.lower() or _near(owner, right) else None
    same = [row for row in rows if row.lower().startswith(f"{owner.lower()}/")]
    return next((row for row in same if _slip(own, row)), None)


def _parts(name: str) -> list[str]:
    """Return the words and numbers of a name, in which the signs between them do not count."""
    return re.findall(r"[a-z]+|[0-9]+", plain_name(name))


def _slip(name: str, row: str) -> bool:
    """Return whether a name is that of a row, but for signs between its parts or one misspelt word."""
    here, there = _parts(name), _parts(row)
    if here == there:
        return True
    if len(here) != len(there):
        return "".join(here) == "".join(there)
    other = [(one, two) for one, two in zip(here, there, strict=True) if one != two]
    if len(other) != 1 or len(other[0][1]) < 4 or not other[0][0].isalpha():
        return False
    return _near(*other[0]) and other[0][0] not in _words()


@cache
def _words() -> frozenset[str]:
    """Return the words that names of models consist of: one of them in the place of another is no slip."""
    return frozenset(word for model in model_ids() for word in _parts(model)) | {"mixtral", "ministral", "magistral"}


def _near(word: str, right: str) -> bool:
    """Return whether one letter is missing, too many, another or changed with its neighbour; two in a long word."""
    word, right = word.lower(), right.lower()
    return 0 < _distance(word, right) <= (2 if len(right) > 7 else 1)


def _distance(one: str, two: str) -> int:
    """Return the optimal string alignment distance of two words."""
    before: list[int] = []
    last = list(range(len(two) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, other in enumerate(two, 1):
            cost = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == two[column - 2] and one[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            now.append(cost)
        before, last = last, now
    return last[-1]
