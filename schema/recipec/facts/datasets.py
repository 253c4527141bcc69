"""What is known of well-known datasets on the hub, by their cards: splits, configurations and columns."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from recipec.facts import FOLDER
from recipec.source import Source, plain
from recipec.yaml_reader import read_text


class KnownDataset(NamedTuple):
    """A dataset; what is empty is not known. `subsets` are its configurations where one must be named.

    `rows` is about how many its first split has.
    """

    splits: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: int | None = None

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
        rows=rows if isinstance(rows, int) else None,
    )
