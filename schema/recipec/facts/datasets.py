"""What is known of well-known datasets on the hub, by their cards: splits, configurations and columns."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from recipec.facts import FOLDER
from recipec.source import Source, plain
from recipec.yaml_reader import read_text


class KnownDataset(NamedTuple):
    """A dataset; what is empty is not known. `subsets` are its configurations where one must be named.

    `rows` is about how many its first split has.
    `whole` tells that the answers of a pair are whole conversations, which begin with the prompt.
    `keys` are those of a turn, where they are not `role` and `content`, and `roles` what its turns call the roles, as `user=human`.
    """

    splits: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    rows: int | None = None
    whole: bool = False

    @property
    def trained(self) -> str:
        """The split that is trained on."""
        return self.splits[0] if self.splits else "train"


@cache
def known_dataset(hub: str) -> KnownDataset | None:
    """Return what is known of a dataset; None where nothing is. The hub does not mind the case of letters."""
    text = (FOLDER / "datasets.yaml").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(hub)}: (\{{.*\}})$", text, re.MULTILINE | re.IGNORECASE)
    row = plain(read_text(Source("datasets.yaml", found[1]))) if found is not None else None
    if not isinstance(row, dict):
        return None
    words = {word: tuple(str(one) for one in value) for word, value in row.items() if isinstance(value, list)}
    rows = row.get("rows")
    return KnownDataset(
        splits=words.get("splits", ()),
        subsets=words.get("subsets", ()),
        columns=words.get("columns", ()),
        keys=words.get("keys", ()),
        roles=words.get("roles", ()),
        rows=rows if isinstance(rows, int) else None,
        whole=row.get("pairs") == "whole",
    )


def example_length(task: str) -> int | None:
    """Return how many tokens a worked example of a task of lm-eval has at least, in the mean; None where it is not known."""
    rows = _of_tasks("lengths")
    fits = [name for name in rows if task == name or task.startswith(f"{name}_")]
    return rows[max(fits, key=len)] if fits else None


def most_examples(task: str) -> int | None:
    """Return how many worked examples the rows of a task of lm-eval have; None where it is not known."""
    return _of_tasks("examples").get(task)


def tests_of(task: str) -> str | None:
    """Return where the tests of a task are whose answers are programs: `target`, or a field of a problem; None of others."""
    found = _tasks().get("programs", {}).get(task)
    return found if isinstance(found, str) else None


def answer_length(task: str) -> int | None:
    """Return how many tokens a task whose answers are programs lets a model write; None of others."""
    return _of_tasks("answers").get(task)


@cache
def _of_tasks(what: str) -> dict[str, int]:
    return {name: count for name, count in _tasks().get(what, {}).items() if isinstance(count, int)}


@cache
def _tasks() -> dict[str, dict[str, Any]]:
    rows = plain(read_text(Source("tasks.yaml", (FOLDER / "tasks.yaml").read_text(encoding="utf-8"))))
    return {name: row for name, row in rows.items() if isinstance(row, dict)} if isinstance(rows, dict) else {}
