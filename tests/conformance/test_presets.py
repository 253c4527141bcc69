"""What presets of published scores take is what lm-evaluation-harness has: its tasks, and the examples that their sources state."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recipec.facts.presets import presets
from recipec.kinds.evaluate import CHATS, CHOICES

JUDGE = Path(__file__).parents[1] / "judges" / "lm_eval_tasks.py"
STATED = {"bbh": 3, "gpqa": 0, "mmlu_pro": 5, "musr": 0, "instruction_following": 0, "ifeval": 0, "math": 4}


@pytest.mark.conformance
def test_presets_ask_what_their_sources_state(tool_python: Callable[[str], Path]) -> None:
    names = [task for one in presets().values() for task in one.tasks]
    command = [str(tool_python("lm-eval-0.4.13")), "-P", str(JUDGE), *names, "no_such_task"]
    known = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert known.pop("no_such_task") is None
    assert None not in known.values()

    board = known["leaderboard"]
    assert presets()["open-llm-leaderboard-2"].few_shot == "task"
    for task, own in board.items():
        (stated,) = {shots for part, shots in STATED.items() if task.removeprefix("leaderboard_").startswith(part)}
        assert (own["few_shot"] or 0) == stated, task  # none said is none
    assert len(board) == 39  # 24 of BBH, 3 of GPQA, 1, 7 of MATH, 1, 3 of MuSR

    assert len(known["kmmlu_direct"]) == 45
    assert {own["output"] for own in known["kmmlu_direct"].values()} == {"generate_until"}
    for suite in ("kobest", "haerae"):
        assert len(known[suite]) == 5
        assert {own["output"] for own in known[suite].values()} == {"multiple_choice"}
        assert all(CHOICES.fullmatch(task) for task in (suite, *known[suite]))
    assert not any(CHOICES.fullmatch(task) or CHATS.fullmatch(task) for task in known["kmmlu_direct"])
