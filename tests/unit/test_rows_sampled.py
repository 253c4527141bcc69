"""Rows of a file that is too large to be read whole."""

import json
from pathlib import Path

import pytest

from recipec.rows import reading


def test_no_row_of_a_sample_is_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places lie nearer to one another than the rows that are read at each are long."""
    monkeypatch.setattr(reading, "WHOLE", 20_000)
    monkeypatch.setattr(reading, "HEAD", 5_000)
    lines = [json.dumps({"text": f"{number} " * 200}) + "\n" for number in range(300)]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    found = [str(row.value) for row in reading.rows(tmp_path / "rows.jsonl")]
    assert len(found) == len(set(found))
    assert len(found) > 200
