"""A model writes programs anew where what it is asked, or the model, is another; each request has a seed of its own."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

from recipec.systems.scripts import check_scores

sys.path.insert(0, str(Path(check_scores.__file__).parent))  # where they are run, each stands beside the others

import run_code
import write_programs


def test_programs_are_written_anew_where_weights_changed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(b"1")
    place = str(tmp_path / "model")
    loaded: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"model_args": {"pretrained": place}}),
        ({"weights": [place]}, {"model_args": {"model": "served"}}),  # by what a server answers for
    ]
    before = [run_code.asked({"tasks": ["x"], **settings}, config) for settings, config in loaded]
    assert before == [run_code.asked({"tasks": ["x"], **settings}, config) for settings, config in loaded]
    os.utime(weights, ns=(1, 1))
    after = [run_code.asked({"tasks": ["x"], **settings}, config) for settings, config in loaded]
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert run_code.asked({"tasks": ["x"], "samples": 2, **loaded[0][0]}, loaded[0][1]) != after[0]


def test_requests_to_a_server_have_seeds_of_their_own() -> None:
    made = write_programs.numbered(lambda: {"seed": 1}, itertools.count(42), {"more": "x"})
    assert [made(), made()] == [{"seed": 42, "more": "x"}, {"seed": 43, "more": "x"}]
    assert write_programs.numbered(lambda: {"a": 1}, itertools.count(), {})() == {"a": 1}
