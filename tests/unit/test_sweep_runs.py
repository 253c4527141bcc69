"""A sweep on disk and its runs, with stages that are small scripts: what is shared, resumed, left out and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_build import with_scripts

from recipec import cli, sweep_command
from recipec.engine.record import Record, RunFolder, history_of
from recipec.pipeline import of_sweep as really_of_sweep
from recipec.plan import Stage

RECIPE = """\
recipe: 1
name: swept
trainer: trl
model: {base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 1024}
adapter: {type: lora, rank: 16}
hardware: {gpu: a100-80gb}
stages:
  - name: sft
    data: {train: [{hub: org/chat, format: chat}]}
    train: {method: sft, epochs: 1, batch_size: 16, learning_rate: 1e-4}
  - name: dpo
    parent_adapter: merge
    data: {train: [{hub: org/pairs, format: preference}]}
    train: {method: dpo, epochs: 1, batch_size: 16, learning_rate: 5e-6}
evaluate: {tasks: [gsm8k], models: [base, dpo]}
sweep: {grid: {stages.dpo.train.beta: [0.1, 0.3]}, best: gsm8k}
"""
ALL = ("sft", "sft-merge", "dpo", "evaluate-base", "evaluate-dpo")


def script(stage: Stage[Any]) -> str:
    """Return a script that notes that it ran, fails where a file says so, and leaves what a stage of its kind leaves."""
    scores = '{"results": {"gsm8k": {"exact_match,none": BETA}}, "higher_is_better": {"gsm8k": {"exact_match": true}}}'
    beta = "0.3" if "beta=0.3" in stage.output and "dpo" in stage.name else "0.1"
    lines = [
        "set -eu",
        f'echo "{stage.output}" >> ran.txt',
        f'if [ -e "fail-$(basename {stage.output})" ] || [ -e "fail-$(echo {stage.output} | tr / -)" ]; then exit 9; fi',
        f'echo "{stage.output} ${{CUDA_VISIBLE_DEVICES-all}}" >> gpus.txt',
        f"mkdir -p {stage.output}",
        f"echo made by {stage.name} > {stage.output}/model",
    ]
    if stage.name == "dpo":  # where it is asked to, it ends when the other variant's has begun too
        lines += [
            "touch began-$$",
            "for _ in $(seq 600); do",
            "  if [ ! -e together ] || (set -- began-*; [ $# = 2 ]); then break; fi; sleep 0.1",
            "done",
            "[ ! -e together ] || (set -- began-*; [ $# = 2 ])",
        ]
    if stage.kind == "train":
        say = '\'{{"event": "{}", "time": 1, "step": {}, "total": 2, "loss": {}}}\' >> "$RECIPE_EVENTS"'
        lines += ["echo " + say.format(event, step, beta) for event, step in (("begin", 0), ("log", 2), ("end", 2))]
    if stage.kind == "evaluate":
        lines.append(f"echo '{scores.replace('BETA', beta)}' > {stage.output}/results_2026.json")
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sweep_command, "of_sweep", lambda *args: (with_scripts(one, script) for one in really_of_sweep(*args))
    )
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


def recipe(*arguments: str) -> int:
    return cli.main(arguments)


def ran() -> list[str]:
    """Return which stages have run since the last question, as VARIANT/STAGE."""
    path = Path("ran.txt")
    found = path.read_text().replace("runs/swept/", "").split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def state(variant: str, stage: str) -> str | None:
    return history_of(Record(RunFolder(Path("runs/swept") / variant).record).read(), stage).state


def test_what_variants_share_is_made_once_and_the_rest_once_each() -> None:
    assert recipe("run", "recipe.yaml") == 0
    assert ran() == [
        *(f"beta=0.1/{stage}" for stage in ALL),
        "beta=0.3/dpo",
        "beta=0.3/evaluate-dpo",
    ]
    made, taken = (Path("runs/swept") / variant / "sft/model" for variant in ("beta=0.1", "beta=0.3"))
    assert made.stat().st_ino == taken.stat().st_ino
    assert Path("runs/swept/beta=0.3/events/sft.jsonl").read_text() == Path("runs/swept/beta=0.1/events/sft.jsonl").read_text()  # fmt: skip
    assert recipe("run", "recipe.yaml") == 0
    assert ran() == []


def test_a_new_variant_takes_what_is_there_and_one_that_is_gone_leaves_its_runs(capsys: Any) -> None:
    assert recipe("run", "recipe.yaml") == 0
    ran()
    Path("recipe.yaml").write_text(RECIPE.replace("[0.1, 0.3]", "[0.3, 0.5]"))
    assert recipe("run", "recipe.yaml") == 0
    assert ran() == ["beta=0.5/dpo", "beta=0.5/evaluate-dpo"]
    assert not Path("build/swept/beta=0.1").exists()
    assert Path("runs/swept/beta=0.1/sft/model").exists()


def test_a_variant_that_fails_does_not_stop_the_others(capsys: Any) -> None:
    Path("fail-runs-swept-beta=0.1-dpo").touch()
    assert recipe("run", "recipe.yaml") == 3
    assert "1 variant of 2 failed: beta=0.1" in capsys.readouterr().err
    assert (state("beta=0.1", "dpo"), state("beta=0.3", "evaluate-dpo")) == ("failed", "finished")
    ran()
    Path("fail-runs-swept-beta=0.1-dpo").unlink()
    assert recipe("run", "recipe.yaml") == 0
    assert ran() == ["beta=0.1/dpo", "beta=0.1/evaluate-dpo"]  # the base's scores were taken from the other variant


def test_what_fails_for_all_is_tried_once(capsys: Any) -> None:
    Path("fail-sft").touch()
    assert recipe("run", "recipe.yaml") == 3
    assert ran() == ["beta=0.1/sft"]
    assert "2 variants of 2 failed" in capsys.readouterr().err
    assert (state("beta=0.1", "sft"), state("beta=0.3", "sft")) == ("failed", "failed")
    Path("fail-sft").unlink()
    assert recipe("run", "recipe.yaml") == 0
    assert len(ran()) == len(ALL) + 2


def test_forced_stages_run_anew_once_for_all() -> None:
    assert recipe("run", "recipe.yaml") == 0
    ran()
    assert recipe("run", "recipe.yaml", "--from", "sft") == 0
    assert ran() == ["beta=0.1/sft", "beta=0.1/sft-merge", "beta=0.1/dpo", "beta=0.1/evaluate-dpo", "beta=0.3/dpo", "beta=0.3/evaluate-dpo"]  # fmt: skip


def test_variants_run_at_once() -> None:
    Path("recipe.yaml").write_text(RECIPE.replace("{gpu: a100-80gb}", "{gpu: none}"))
    Path("together").touch()
    assert recipe("run", "recipe.yaml", "--jobs", "2") == 0
    made = ran()
    assert sorted(one.partition("/")[2] for one in made) == sorted([*ALL, "dpo", "evaluate-dpo"])
    assert {one for one in made if one.endswith("/dpo")} == {"beta=0.1/dpo", "beta=0.3/dpo"}
    assert {state(variant, stage) for variant in ("beta=0.1", "beta=0.3") for stage in ALL} == {"finished"}
    inodes = {(Path("runs/swept") / variant / "sft/model").stat().st_ino for variant in ("beta=0.1", "beta=0.3")}
    assert len(inodes) == 1
    assert recipe("run", "recipe.yaml", "--jobs", "2") == 0
    assert ran() == []


def test_variants_at_once_have_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    text = RECIPE.replace("{gpu: a100-80gb}", "{gpu: a100-80gb, per_node: 2}")
    Path("recipe.yaml").write_text(text.replace("  - name: dpo\n", "  - name: dpo\n    hardware: {per_node: 1}\n"))
    Path("together").touch()
    assert recipe("run", "recipe.yaml", "--jobs", "3") == 0
    told = (line.partition(" ") for line in Path("gpus.txt").read_text().splitlines())
    seen = {place: gpus for place, _, gpus in told}
    assert {seen["runs/swept/beta=0.1/dpo"], seen["runs/swept/beta=0.3/dpo"]} == {"4", "6"}
    assert [seen[one] for one in seen if one.endswith("/sft")] == ["4,6"]


def test_one_that_fails_does_not_stop_those_that_run_beside_it(capsys: Any) -> None:
    Path("recipe.yaml").write_text(RECIPE.replace("{gpu: a100-80gb}", "{gpu: none}"))
    Path("fail-runs-swept-beta=0.1-dpo").touch()
    assert recipe("run", "recipe.yaml", "--jobs", "2") == 3
    said = capsys.readouterr()
    assert "1 variant of 2 failed: beta=0.1" in said.err
    assert "beta=0.1: dpo: failed" in said.out
    assert (state("beta=0.1", "dpo"), state("beta=0.3", "evaluate-dpo")) == ("failed", "finished")


def test_one_variant_alone() -> None:
    assert recipe("run", "recipe.yaml", "--variant", "beta=0.3") == 0
    assert {one.split("/")[0] for one in ran()} == {"beta=0.3"}
    assert not Path("build/swept/beta=0.1").exists()


def test_a_dry_run_says_what_is_taken(capsys: Any) -> None:
    assert recipe("run", "recipe.yaml", "--dry-run", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["variants"]
    assert [row["action"] for row in first["stages"]] == ["run"] * 5
    whys = {row["stage"]: row["why"] for row in second["stages"]}
    assert whys["sft"] == "taken from runs/swept/beta=0.1/sft"
    assert [row["action"] for row in second["stages"]] == ["skip", "skip", "run", "skip", "run"]
    assert not Path("build").exists()
    assert not Path("runs").exists()


def test_the_variants_are_compared_and_the_best_marked(capsys: Any) -> None:
    assert recipe("run", "recipe.yaml") == 0
    capsys.readouterr()
    assert recipe("sweep", "swept", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["by"] == "gsm8k/exact_match"
    assert [(row["variant"], row["best"]) for row in found["variants"]] == [("beta=0.1", False), ("beta=0.3", True)]
    assert found["variants"][0]["measures"]["loss"]["value"] == 0.1
    assert recipe("report", "swept") == 0
    text = capsys.readouterr().out
    assert "* beta=0.3" in text
    assert "gsm8k/exact_match" in text
    assert recipe("sweep", "swept", "--best", "loss") == 0
    assert "* beta=0.1" in capsys.readouterr().out
    assert recipe("sweep", "swept", "--best", "gsm8") == 1
    assert 'did you mean "gsm8k' in capsys.readouterr().err
    assert recipe("sweep", "other") == 1


def test_status_tells_of_each_variant(capsys: Any) -> None:
    Path("fail-runs-swept-beta=0.3-dpo").touch()
    assert recipe("status", "recipe.yaml", "--json") == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)["variants"]] == ["waiting", "waiting"]
    assert recipe("run", "recipe.yaml") == 3
    capsys.readouterr()
    assert recipe("status", "swept") == 0
    text = capsys.readouterr().out
    assert "2 variants: 1 complete, 1 failed" in text
    assert "failed (dpo: failed" in text


def test_compile_writes_a_tree_for_each_and_a_list(capsys: Any) -> None:
    assert recipe("compile", "recipe.yaml", "--json") == 0
    told = json.loads(capsys.readouterr().out)["compiled"]
    assert [row["name"] for row in told] == ["swept/beta=0.1", "swept/beta=0.3"]
    assert "| [beta=0.1](beta=0.1/PLAN.md) | 0.1 |" in Path("build/swept/SWEEP.md").read_text()
    assert recipe("compile", "recipe.yaml", "--check") == 0
    assert recipe("compile", "recipe.yaml") == 0
    assert "unchanged" in capsys.readouterr().out
    Path("build/swept/beta=0.1/PLAN.md").write_text("mine")
    Path("recipe.yaml").write_text(RECIPE.replace("[0.1, 0.3]", "[0.3]"))
    assert recipe("compile", "recipe.yaml") == 1  # nobody's work is lost with a variant that is gone
    assert "O003" in capsys.readouterr().err
    assert Path("build/swept/beta=0.1/PLAN.md").read_text() == "mine"


def test_a_folder_of_another_recipe_is_left_alone(capsys: Any) -> None:
    Path("build/swept").mkdir(parents=True)
    Path("build/swept/plan.json").write_text("{}")
    assert recipe("compile", "recipe.yaml") == 1
    assert "O002" in capsys.readouterr().err
    assert [path.name for path in Path("build/swept").iterdir()] == ["plan.json"]


def test_variants_that_the_rules_refuse_are_named(capsys: Any) -> None:
    Path("recipe.yaml").write_text(RECIPE.replace("{stages.dpo.train.beta: [0.1, 0.3]}", "{train.micro_batch_size: [3, 4]}"))  # fmt: skip
    assert recipe("compile", "recipe.yaml") == 0
    told = capsys.readouterr()
    assert "left out: micro_batch_size=3: P060" in told.out
    assert "warning[S065]" in told.err
    found = json.loads(Path("build/swept/sweep.json").read_text())
    assert [row["rule"] for row in found["variants"]] == ["P060", None]
    assert recipe("check", "recipe.yaml") == 0
