"""Stacked adapters: what the emitted script makes says what the last adapter says over the merged ones; PEFT's own errors."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.rules.contradictions.stacking import KEPT, MOVING

pytestmark = pytest.mark.xdist_group("stacks")  # its runs are made once, by one worker

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "compiler" / "recipec" / "systems" / "scripts"
TWO = {"target_modules": ["q_proj", "v_proj"]}
EXACT = 1e-5

# case → the settings of the adapters, and the rank of the result
FIT: dict[str, tuple[list[dict[str, Any]], int]] = {
    "alike": ([TWO, TWO], 8),
    "three": ([TWO, {**TWO, "r": 2}, {"target_modules": "all-linear", "r": 3}], 9),
    "modules": ([{"target_modules": ["q_proj", "o_proj"]}, {"target_modules": ["k_proj", "down_proj"], "r": 8}], 12),
    "pattern": ([{"target_modules": r".*\.q_proj"}, {"target_modules": "all-linear"}], 8),
    "patterns": ([{"target_modules": r".*\.q_proj"}, {"target_modules": r".*\.[vo]_proj"}], 8),
    "rslora": ([{**TWO, "use_rslora": True}, {**TWO, "use_rslora": True}], 8),
    "layers": ([{**TWO, "layers_to_transform": [0]}, {**TWO, "exclude_modules": ["layers.1.self_attn.q_proj"]}], 8),
    "ranks": ([{**TWO, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}, {**TWO, "r": 5}], 9),
    "starts": ([{**TWO, "init_lora_weights": "gaussian"}, {**TWO, "init_lora_weights": "orthogonal"}], 8),
}
# what is refused, and what of it PEFT itself would make: another model, or an error of its own
UNFIT: dict[str, tuple[list[dict[str, Any]], str]] = {
    "dora": ([{**TWO, "use_dora": True}, TWO], "use_dora"),
    "dora above": ([TWO, {**TWO, "use_dora": True}], "use_dora"),
    "in full": ([{**TWO, "modules_to_save": ["lm_head"]}, TWO], "modules_to_save"),
    "in full above": ([TWO, {**TWO, "modules_to_save": ["lm_head"]}], "modules_to_save"),
    "in full twice": ([{**TWO, "modules_to_save": ["lm_head"]}] * 2, "modules_to_save"),
    **{one: ([TWO, {**TWO, "init_lora_weights": one}], "init_lora_weights") for one in ("pissa", "olora")},
    "pissa below": ([{**TWO, "init_lora_weights": "pissa"}, TWO], "init_lora_weights"),
    "bias": ([{**TWO, "bias": "lora_only"}, TWO], "bias"),
}
RIGHT_BY_PEFT = {"embeddings": ([{"target_modules": ["q_proj", "lm_head"]}, TWO], "it holds")}


@pytest.fixture(scope="module")
def found(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("stacks")
    cases = {name: adapters for name, (adapters, _) in {**FIT, **UNFIT, **RIGHT_BY_PEFT}.items()}
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [tool_python("trl-1.16.0"), ROOT / "tests" / "real" / "stacks.py", SCRIPTS, folder / "cases.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


@pytest.mark.real
def test_a_stack_says_what_its_last_adapter_says_over_the_merged_ones(found: dict[str, dict[str, Any]]) -> None:
    for case, (_, rank) in FIT.items():
        row = found[case]
        assert row["moved"] > 1e-2, case
        assert row["script"] < EXACT, (case, row)
        assert (row["r"], row["lora_alpha"], row["base_model_name_or_path"]) == (rank, rank, "base")


@pytest.mark.real
def test_peft_by_itself_would_make_another_model_of_some(found: dict[str, dict[str, Any]]) -> None:
    assert found["alike"]["peft"] < EXACT
    assert "mix of list/set and string" in found["pattern"]["peft"]
    assert found["rslora"]["peft"] > 1e-2  # it scales the sum by the root of its rank once more
    assert found["layers"]["peft"] > 1e-3  # the result has only the first one's layers


@pytest.mark.real
def test_what_cannot_be_stacked_is_refused_and_peft_would_lose_it(found: dict[str, dict[str, Any]]) -> None:
    for case, (_, word) in UNFIT.items():
        row = found[case]
        assert word in row["script"], (case, row)
        assert isinstance(row["peft"], str) or row["peft"] > 1e-3, (case, row)
    for case, (_, word) in RIGHT_BY_PEFT.items():
        assert word in found[case]["script"]


@pytest.mark.real
def test_the_rule_and_the_script_let_the_same_through(tool_python: Callable[[str], Path]) -> None:
    asked = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from stack_adapters import FREE, STARTS; import json;"
        "from dataclasses import fields; from peft import LoraConfig;"
        "print(json.dumps([sorted(FREE), STARTS, [one.name for one in fields(LoraConfig)]]))"
    )
    done = subprocess.run(
        [tool_python("trl-1.16.0"), "-c", asked], capture_output=True, text=True, timeout=300, check=True
    )
    free, starts, fields = json.loads(done.stdout.splitlines()[-1])
    assert set(free) <= set(fields)
    assert set(KEPT) <= set(free)
    assert not set(MOVING) & set(starts)
