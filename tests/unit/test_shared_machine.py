"""Stages that take a part of the declared machine: what is decided, emitted, rehearsed and run at once for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipec import manifest
from recipec.engine.allotment import Allotment
from recipec.manifest import Manifest
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Resources
from recipec.rehearsal.swaps import swaps_of
from recipec.report.decisions import decisions

ROW = '{"prompt": "Why?", "completion": "So.", "chosen": "So.", "rejected": "No."}\n'
RECIPE = """\
recipe: 1
name: parts
trainer: trl
model: {{base: Qwen/Qwen2.5-0.5B, max_length: 512}}
data: {{train: [{{path: rows.jsonl, format: completion}}]}}
train: {{epochs: 1, batch_size: 64, micro_batch_size: 2, learning_rate: 1e-5}}
hardware: {{gpu: a100-80gb, per_node: 4{more}}}
stages:
  - {{name: sft}}
  - {{name: half, start_from: sft, hardware: {{per_node: 2}}}}
  - {{name: other, start_from: sft, hardware: {{per_node: 2}}, train: {{learning_rate: 2e-5}}}}
  - {{name: one, start_from: sft, hardware: {{per_node: 1}}}}
  - {{name: slow, start_from: sft, hardware: {{gpu: none, per_node: 1}}}}
  - {{name: scores, start_from: one, evaluate: {{tasks: [arc_easy]}}, hardware: {{per_node: 1}}}}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(ROW * 400)
    return tmp_path


def compiled(more: str = "", text: str = RECIPE) -> Compiled:
    Path("recipe.yaml").write_text(text.format(more=more))
    found = compile_file("recipe.yaml")
    assert found.files, found.findings
    return found


def read(more: str = "") -> Manifest:
    return manifest.read(compiled(more).files[manifest.FILE])


def test_each_is_decided_for_what_it_takes() -> None:
    plan = read().plan
    assert {stage.name: stage.resources for stage in plan.stages} == {
        "sft": Resources("gpu", "a100-80gb", 1, 4),
        "half": Resources("gpu", "a100-80gb", 1, 2),
        "other": Resources("gpu", "a100-80gb", 1, 2),
        "one": Resources("gpu", "a100-80gb", 1, 1),
        "slow": Resources("cpu", None, 1, 1),
        "scores": Resources("gpu", "a100-80gb", 1, 1),
    }
    bodies = {stage.name: stage.body for stage in plan.of_kind("train")}
    assert {name: body.batch.accumulation for name, body in bodies.items()} == {
        "sft": 8, "half": 16, "other": 16, "one": 32, "slow": 32
    }  # fmt: skip
    assert {name: body.numerics.precision for name, body in bodies.items()} == {
        **dict.fromkeys(["sft", "half", "other", "one"], "bf16"), "slow": "fp32"
    }  # fmt: skip
    assert (plan.hardware.per_node, bodies["slow"].hardware.device) == (4, "cpu")


def test_files_start_as_many_processes_as_it_takes() -> None:
    files = compiled().files
    assert "num_processes: 4" in files["sft/accelerate.yaml"]
    assert "num_processes: 2" in files["half/accelerate.yaml"]
    assert "accelerate launch" not in files["one/run.sh"]
    assert 'export CUDA_VISIBLE_DEVICES="${gpu%%,*}"' in files["one/run.sh"]
    assert "`half`, on 2 × a100-80gb" in files["PLAN.md"]
    assert "`slow`, on the CPU, 1 process" in files["PLAN.md"]


def test_one_of_several_nodes_is_node_0() -> None:
    text = RECIPE.partition("  - {{name: half")[0] + "  - {{name: half, hardware: {{nodes: 1}}}}\n"
    files = compiled(", nodes: 2", text).files
    assert "num_processes: 8" in files["sft/accelerate.yaml"]
    assert "num_processes: 4" in files["half/accelerate.yaml"]
    assert "num_machines: 2" in files["sft/accelerate.yaml"]
    assert "num_machines: 1" in files["half/accelerate.yaml"]
    assert "`half`, on node 0, 4 × a100-80gb" in files["PLAN.md"]
    assert "waits for node 0 to begin sft" in files["sft/run.sh"]
    assert "waits for node 0" not in files["half/run.sh"]


def test_two_trainings_share_the_gpus_of_a_machine() -> None:
    plan = read().plan
    named = {stage.name: stage for stage in plan.stages}
    shares = Allotment(3, 4, {})
    shares.add(plan)
    half, other = shares.take(named["half"]), shares.take(named["other"])
    assert half is not None
    assert other is not None
    assert (half.gpus, other.gpus) == (("0", "1"), ("2", "3"))
    assert half.port != other.port
    assert shares.take(named["one"]) is None
    slow = shares.take(named["slow"])
    assert slow is not None
    assert slow.gpus == ()
    shares.give_back(named["other"])
    one = shares.take(named["one"])
    assert one is not None
    assert one.gpus == ("2",)


def test_a_rehearsal_has_as_many_processes_as_stand_in_for_all() -> None:
    found = compiled()
    assert found.resolved is not None
    said = swaps_of("recipe.yaml", found.resolved.plan, Path("runs"), (), (), ())
    rehearsed = compile_file("recipe.yaml", said.settings)
    assert rehearsed.resolved is not None, rehearsed.findings
    worlds = {stage.name: stage.body.hardware.world for stage in rehearsed.resolved.plan.of_kind("train")}
    assert worlds == {"sft": 2, "half": 2, "other": 2, "one": 1, "slow": 1}


def test_a_report_tells_what_differs_from_the_machine() -> None:
    told = {row["path"]: row["value"] for row in decisions(read())}
    assert told["half.hardware.per_node"] == "2"
    assert told["hardware.per_node"] == "4"
    assert "sft.hardware.per_node" not in told
    assert "half.hardware.gpu" not in told


def test_one_strategy_for_unlike_shares_is_told_how_to_be_said() -> None:
    for strategy in ("ddp", "single"):
        Path("recipe.yaml").write_text(RECIPE.format(more="") + f"parallel: {{strategy: {strategy}}}\n")
        found = [one for one in compile_file("recipe.yaml").findings if one.code in ("P010", "P011")]
        assert {one.help for one in found} == {
            "drop it: each stage then has single on one GPU, else ddp; or say it in the stages that it is for"
        }
    own = RECIPE.format(more="").replace(
        "{name: one, start_from: sft,", "{name: one, parallel: {strategy: ddp}, start_from: sft,"
    )
    Path("recipe.yaml").write_text(own)
    [found_one] = [one for one in compile_file("recipe.yaml").findings if one.code == "P011"]
    assert found_one.help is not None
    assert found_one.help.startswith("use single")
