"""Stages that take a part of the declared machine: what is decided, emitted, rehearsed and run at once for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fake_build import with_scripts

from recipec import manifest
from recipec.cli import main
from recipec.engine import Choice, run
from recipec.engine.allotment import Allotment
from recipec.engine.machine import elsewhere
from recipec.manifest import Manifest
from recipec.output import write
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Resources, Stage
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

TWO_KINDS = (
    RECIPE.partition("  - {{name: half")[0]
    + """\
  - {{name: half, start_from: sft, hardware: {{per_node: 2}}}}
  - {{name: scores, start_from: half, evaluate: {{tasks: [arc_easy]}}, hardware: {{gpu: L4, per_node: 1}}}}
  - {{name: kept, script: {{path: keep.py}}, start_from: sft, hardware: {{gpu: t4, per_node: 1}}}}
  - {{name: slow, start_from: sft, hardware: {{gpu: none, per_node: 1}}}}
"""
)


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


def test_a_rehearsal_takes_one_machine_in_the_place_of_two() -> None:
    found = compiled(text=TWO_KINDS)
    assert found.resolved is not None
    said = swaps_of("recipe.yaml", found.resolved.plan, Path("runs"), (), (), ())
    rehearsed = compile_file("recipe.yaml", said.settings)
    assert rehearsed.resolved is not None, rehearsed.findings
    gpus = {stage.name: stage.resources.gpu for stage in rehearsed.resolved.plan.stages}
    assert (gpus["sft"], gpus["scores"], gpus["slow"]) == ("a100-80gb-stand-in", "l4-stand-in", None)
    assert elsewhere(rehearsed.resolved.plan, ["NVIDIA L4"]) == {}


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


def test_a_stage_is_decided_for_gpus_of_another_kind() -> None:
    found = compiled(text=TWO_KINDS)
    plan = manifest.read(found.files[manifest.FILE]).plan
    places = {stage.name: stage.resources for stage in plan.stages}
    assert places["scores"] == Resources("gpu", "l4", 1, 1)
    assert places["kept"] == Resources("gpu", "t4", 1, 1)
    [scores] = plan.of_kind("evaluate")
    assert (scores.body.hardware.memory_gib, plan.hardware.gpu) == (22, "a100-80gb")
    assert "`scores`, on another machine, 1 × l4" in found.files["PLAN.md"]


def test_what_cannot_be_read_of_another_machine_is_told_where_it_is_written() -> None:
    for wrong, code, line in (
        ("gpu: l5, per_node: 1", "P001", 11),
        ("gpu: a100, per_node: 1", "P001", 11),
        ('gpu: "l4:4", per_node: 1', "P273", 11),
        ("gpu: {{name: v100, memory: 32GB, compute_capability: 8.0}}, per_node: 1", "P321", 11),
        ("gpu: l4", "P262", 11),
        ("gpu: l4, per_node: 1, nodes: 2", "P261", 11),
    ):
        Path("recipe.yaml").write_text(TWO_KINDS.replace("gpu: L4, per_node: 1", wrong).format(more=""))
        found = [(one.code, one.span.line if one.span else None) for one in compile_file("recipe.yaml").findings]
        assert (code, line) in found, (wrong, found)
        assert len([one for one in found if one[0] == code]) == 1, found


def test_a_machine_runs_the_stages_of_its_gpus_and_what_waits_for_none_of_the_others() -> None:
    plan = manifest.read(compiled(text=TWO_KINDS).files[manifest.FILE]).plan
    names = {"scores": "l4", "kept": "t4"}
    big = {name: f"it runs on {gpu}, and this machine has a100-80gb" for name, gpu in names.items()}
    assert elsewhere(plan, ["NVIDIA A100-SXM4-80GB"] * 4) == big
    assert elsewhere(plan, ["NVIDIA A100-SXM4-80GB"], ["kept"]) == {"scores": big["scores"]}
    assert set(elsewhere(plan, ["NVIDIA L4"])) == {"sft", "half", "kept"}
    assert set(elsewhere(plan, ["NVIDIA L4", "Tesla T4"])) == {"sft", "half"}
    assert elsewhere(plan, []) == {}  # nothing is known of this machine
    assert elsewhere(plan, ["NVIDIA H100 80GB HBM3"]) == {}  # of no kind that is declared
    one_kind = manifest.read(compiled().files[manifest.FILE]).plan
    assert elsewhere(one_kind, ["NVIDIA A100-SXM4-80GB"]) == {}


def with_driver(place: Path, *names: str) -> None:
    """Put in the place of NVIDIA's driver one that names these GPUs; there is none on this machine."""
    rows = "".join(f"echo '{name}, 81920, 580.1'\n" for name in names)
    (place / "bin").mkdir(exist_ok=True)
    (place / "bin/nvidia-smi").write_text(f"#!/bin/sh\n{rows}")
    (place / "bin/nvidia-smi").chmod(0o755)


def in_order(place: Path) -> list[str]:
    return (place / "order").read_text().split() if (place / "order").exists() else []


def said_by(stage: Stage[Any]) -> str:
    """Return a script in the place of a stage's tool, which says that it ran."""
    lines = [f"mkdir -p {stage.output}", f"echo x > {stage.output}/model", f"echo {stage.name} >> order"]
    lines += [f"echo '{{}}' > {stage.output}/results_1.json"]
    if stage.kind == "train":
        row = '{"event": "%s", "time": 1, "step": %d, "total": 2, "loss": 1.0}'
        lines += [f"echo '{row % (name, step)}' >> \"$RECIPE_EVENTS\"" for name, step in (("begin", 0), ("end", 2))]
    return "\n".join(lines) + "\n"


def test_two_machines_carry_out_a_course_in_turns(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{place}/bin", prepend=os.pathsep)
    (place / "keep.py").write_text("pass\n")
    more = "  - {{name: judged, script: {{path: keep.py, arguments: {{of: '${{plan:kept.output}}'}}}}, hardware: {{gpu: none, per_node: 1}}}}\n"
    text = TWO_KINDS + more
    scripted = with_scripts(compiled(text=text), said_by)
    write(Path("build/parts"), scripted.files)

    def run_on(*names: str, **choice: Any) -> tuple[int, str, list[str]]:
        with_driver(place, *names)
        (place / "order").unlink(missing_ok=True)
        code = run(Path("build/parts"), Path("runs"), choice=Choice(**choice))
        return code, capsys.readouterr().out, in_order(place)

    code, said, ran = run_on(*["NVIDIA A100-SXM4-80GB"] * 4)
    assert (code, ran) == (0, ["sft", "half", "slow"])
    assert "left for another machine: scores, kept, judged; run the same command there, in this folder" in said
    assert "it runs on l4, and this machine has a100-80gb" in said
    assert "it waits for kept, which another machine runs" in said
    assert main(["status", "parts"]) == 0
    assert "partly complete" in capsys.readouterr().out
    assert run_on("Tesla T4")[2] == ["kept", "judged"]
    assert run_on("NVIDIA L4", "NVIDIA L4")[2] == ["scores"]
    code, said, ran = run_on("NVIDIA L4")
    assert (code, ran) == (0, [])
    assert "another machine" not in said
    assert run_on("NVIDIA L4", only=("kept",), force=True)[2] == ["kept"]
