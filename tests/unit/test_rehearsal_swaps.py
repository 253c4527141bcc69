"""What a rehearsal swaps, and what it leaves as it is. That it runs is in `tests/real/test_rehearsal.py`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from recipec.cli import main
from recipec.diagnostics import RecipeError, errors
from recipec.kinds.train.records import DataSource
from recipec.pipeline import compile_file
from recipec.rehearsal import rehearse
from recipec.rehearsal.rows import taken
from recipec.rehearsal.stand_ins import stand_in
from recipec.rehearsal.swaps import Swaps, swaps_of
from recipec.run_command import Overrides
from recipec.systems.registry import system

ROOT = Path(__file__).parents[2]
EVERY = sorted((ROOT / "recipes").glob("*.yaml"))
SWEEPS = [path.stem for path in EVERY if "\nsweep:" in path.read_text("utf-8")]
SHIPPED = [path.stem for path in EVERY if path.stem not in SWEEPS]
COURSE = """
recipe: 1
name: course
trainer: trl
model: {base: Qwen/Qwen3-8B, max_length: 2048}
train: {batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5, save: {every: 100}}
hardware: {gpu: h100-80gb, per_node: 8, nodes: 2}
parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /fast}}
stages:
  - name: sft
    data: {train: [{hub: HuggingFaceH4/ultrachat_200k, split: train_sft, format: chat}]}
    train: {epochs: 1}
  - name: dpo
    data: {train: [{path: pairs.jsonl, format: preference, columns: {prompt: prompt}}]}
    train: {method: dpo, epochs: 40, warmup: 50}
"""


def swaps(file: str, *settings: str) -> Swaps:
    compiled = compile_file(file, settings)
    assert compiled.resolved is not None, compiled.findings
    return swaps_of(file, compiled.resolved.plan, Path("runs"), settings, (), ())


def now(found: Swaps) -> dict[str, Any]:
    return {one.at: one.now for one in found.swaps}


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": f"Question {n}?", "chosen": f"Answer {n} {'x' * 10 * n}", "rejected": "None."}
        for n in range(200, 0, -1)
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("course.yaml").write_text(COURSE)
    return "course.yaml"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_compiles_with_its_swaps(name: str) -> None:
    file = f"recipes/{name}.yaml"
    real = compile_file(file)
    found = swaps(file)
    laid = compile_file(file, rehearsal=found.settings)
    assert errors(laid.findings) == []
    assert real.resolved is not None
    assert laid.resolved is not None
    assert laid.name == f"{name}.rehearsal"
    now = {stage.name: stage for stage in laid.resolved.plan.stages}
    more = set(now) - {stage.name for stage in real.resolved.plan.stages}
    assert {now[one].kind for one in more} <= {"merge"}  # for a server that takes no adapter
    for before in real.resolved.plan.stages:
        if before.name in found.never and before.kind == "gate":
            continue
        after = now[before.name]
        stands_in = system(before.system).needs_gpu or before.kind == "benchmark"
        for part in ("name", "kind", "after") if stands_in else ("name", "kind", "system", "release", "after"):
            if part == "after" and more.intersection(after.after):
                continue
            assert getattr(after, part) == getattr(before, part)
        assert after.output == f"runs/{name}.rehearsal/{after.name}"
        if after.kind != "train":
            continue
        strategy = before.body.parallel.strategy
        assert after.body.parallel.strategy == strategy
        assert after.body.hardware.world == (1 if strategy == "single" else 2)
        assert (after.body.method, after.body.adapter) == (before.body.method, before.body.adapter)
        assert (after.body.objective, len(after.body.rewards)) == (before.body.objective, len(before.body.rewards))
        for part in ("path", "template", "chat_template", "turn_end", "new_tokens"):
            there, then = (str(getattr(one.body.model, part)) for one in (after, before))
            assert there.replace(".rehearsal", "") == then  # a hub's cache of its own holds another under this name


def test_what_runs_nowhere_here_is_named_and_what_waits_for_it() -> None:
    found = swaps("recipes/llama-3.1-8b-reward-then-ppo.yaml")
    assert found.stages == ()
    assert [one.what for one in found.cannot] == ["rm", "ppo"]
    assert all("OpenRLHF cannot be imported" in one.why for one in found.cannot)


def test_what_is_not_tried_is_named_with_its_reason() -> None:
    found = swaps("recipes/llama-3.1-8b-long-context.yaml")
    assert now(found)["model.attention"] == "sdpa"
    assert now(found)["parallel.context_parallel"] == 1
    assert [one.what for one in found.cannot] == [
        "train: kernels of attention",
        "train: sequences that processes share",
    ]


def test_a_course_keeps_its_structure(course: str) -> None:
    found = now(swaps(course))
    assert found["hardware.per_node"] == 2
    assert found["hardware.nodes"] is None
    assert found["train.batch_size"] is None  # each stage has its own
    assert found["stages[0].train.batch_size"] == found["stages[1].train.batch_size"] == 2 * 1 * 2
    assert found["stages[0].train.epochs"] is None
    assert found["stages[0].train.steps"] == 3
    assert found["stages[1].train.warmup"] == 2
    assert found["stages[0].data.train[0].hub"] is None
    assert found["stages[0].data.train[0].path"].endswith("data/sft-train-0.jsonl")
    assert found["stages[0].parallel.offload.optimizer"] == "cpu"
    assert found["parallel.offload.nvme_path"] is None
    assert found["overrides.deepspeed.zero_force_ds_cpu_optimizer"] is False
    laid = compile_file(course, rehearsal=swaps(course).settings)
    assert errors(laid.findings) == []


def test_rows_are_spread_over_the_short_ones(course: str) -> None:
    found = swaps(course)
    rows = found.rows["runs/course.rehearsal/data/dpo-train-0.jsonl"]
    assert rows.text is not None
    read = [json.loads(line) for line in rows.text.splitlines()]
    taken_of = [int(row["prompt"].removeprefix("Question ").rstrip("?")) for row in read]
    assert len(taken_of) == len(set(taken_of)) == 24
    assert taken_of == sorted(taken_of, reverse=True)  # in the order of the file
    assert 24 < max(taken_of) <= 40  # of those that are short, not the shortest alone
    assert rows.made == ""
    made = found.rows["runs/course.rehearsal/data/sft-train-0.jsonl"]
    assert made.made == "HuggingFaceH4/ultrachat_200k is on the hub"


def test_a_value_of_the_command_line_is_swapped_too(course: str) -> None:
    found = swaps(course, "train.micro_batch_size=1")
    assert now(found)["stages[0].train.batch_size"] == 1 * 2 * 2


@pytest.mark.parametrize("name", SWEEPS)
def test_of_a_sweep_one_variant_is_rehearsed(name: str, tmp_path: Path) -> None:
    file = f"recipes/{name}.yaml"
    every = rehearse(file, Overrides(), tmp_path, tmp_path, dry=True, say=print)
    assert every.name == f"{name}.rehearsal"
    assert every.swaps.stages
    one = rehearse(file, Overrides(variants=("*rank=16",)), tmp_path, tmp_path, dry=True, say=print)
    assert one.name == every.name


def test_weights_keep_the_format_of_the_real_machine() -> None:
    """A stand-in has room for fp32 where the real GPUs have not."""
    file = "recipes/mistral-7b-ddp-full.yaml"
    settings = ("hardware.gpu=l40s",)
    real = compile_file(file, settings)
    assert real.resolved is not None
    found = swaps_of(file, real.resolved.plan, Path("runs"), settings, (), ())
    laid = compile_file(file, settings, rehearsal=found.settings)
    assert laid.resolved is not None
    before, after = (one.resolved.plan.stages[0].body.model.load_in for one in (real, laid))
    settled = found.settled(real.resolved.plan, laid.resolved.plan)
    again = compile_file(file, settings, rehearsal=settled.settings)
    assert again.resolved is not None
    assert (before, after) == ("bf16", "fp32")
    assert again.resolved.plan.stages[0].body.model.load_in == "bf16"
    assert settled.swaps[-1].why == "as was decided for the real GPUs"


def test_a_local_model_stands_in_at_a_place_of_its_own(course: str, tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    config = {"model_type": "qwen3", "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    found = swaps(course, "model.base=./my-model")
    place = now(found)["model.base"]
    assert place.startswith("runs/course.rehearsal/models/my-model-")
    (model,) = found.models
    assert model.spec["architecture"] == {"at": "my-model"}
    assert model.spec["tokenizer"] == {"at": "my-model"}
    assert model.spec["sizes"]["kv_heads"] == 2  # of 8, as 8 of 32


def test_a_folder_that_is_not_here_is_missed_as_in_the_real_run(course: str) -> None:
    found = swaps(course, "model.base=./my-modle")
    assert found.models == []
    assert "model.base" not in now(found)


def test_a_model_of_the_hub_has_the_tokens_and_the_template_of_its_family() -> None:
    model = stand_in("meta-llama/Meta-Llama-3-8B-Instruct", None, scores=False)
    assert model.spec["architecture"]["type"] == "llama"
    assert model.spec["sizes"]["kv_heads"] == 2
    assert "<|eot_id|>" in model.spec["tokenizer"]["tokens"]
    assert model.spec["tokenizer"]["special"] == {"eos_token": "<|eot_id|>", "bos_token": "<|begin_of_text|>"}
    assert "start_header_id" in model.spec["tokenizer"]["template"]
    base = stand_in("meta-llama/Meta-Llama-3-8B", None, scores=False)
    assert base.spec["tokenizer"]["template"] is None
    assert base.kept != model.kept


def test_a_model_that_nothing_is_known_of_is_told() -> None:
    assert "nothing is known" in stand_in("my-lab/new", None, scores=True).sources


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("chat", ".jsonl"), ("instruction", ".json"), ("completion", ".csv"), ("preference", ".jsonl"),
     ("unpaired-preference", ".jsonl"), ("prompt", ".jsonl"), ("text", ".jsonl"), ("chat", ".parquet")],
)  # fmt: skip
def test_rows_that_are_not_here_are_made_with_the_names_of_the_recipe(format: str, suffix: str, tmp_path: Path) -> None:
    source = DataSource(
        path=f"{tmp_path}/away{suffix}", hub=None, subset=None, split="train", revision=None, format=format,
        columns={"messages": "talk", "role": "from", "content": "value", "prompt": "asked", "text": "said"},
        roles={"user": ("human",)}, system=None, weight=1, turns=True,
    )  # fmt: skip
    found = taken(source, "train-0", 8)
    assert found.file == f"train-0{suffix}"
    assert found.number == 8
    assert "is not here" in found.made
    assert found.text is not None
    if suffix == ".csv":
        read: list[Any] = list(csv.DictReader(found.text.splitlines()))
    else:
        read = json.loads(found.text) if suffix == ".json" else [json.loads(line) for line in found.text.splitlines()]
    assert len(read) == 8
    names = {"chat": "talk", "completion": "asked", "prompt": "asked", "text": "said", "preference": "talk"}
    assert names.get(format, next(iter(read[0]))) in read[0]
    if format == "chat":
        assert read[0]["talk"][0].keys() == {"from", "value"}
        assert read[0]["talk"][0]["from"] == "human"


def test_local_tasks_stay_and_those_of_the_hub_are_made() -> None:
    own = swaps("recipes/quickstart.yaml")
    assert "evaluate.task_folder" not in now(own)
    both = swaps("recipes/quickstart.yaml", "evaluate.tasks=[aisle, gsm8k, mmlu]")
    assert set(both.tasks) == {"rehearsal.jsonl", "gsm8k.yaml", "mmlu.yaml"}
    assert json.loads(both.tasks["gsm8k.yaml"])["output_type"] == "generate_until"
    assert json.loads(both.tasks["mmlu.yaml"])["output_type"] == "multiple_choice"
    assert both.task_folders == ("recipes/quickstart/tasks",)


def test_programs_are_few_and_short_and_have_tests_where_the_task_looks_for_them() -> None:
    recipe = "recipes/llama-3-8b-benchmarks-vllm.yaml"
    code = "evaluate.code={tasks: [mbpp_plus_instruct], samples: 20, pass_at: [1, 2, 10]}"
    found = swaps(recipe, code)
    laid = now(found)
    assert laid["evaluate.code.samples"] == 2
    assert laid["evaluate.code.pass_at"] == [1, 2]
    assert laid["evaluate.code.max_new_tokens"] == 16
    assert {json.loads(row)["test"] for row in found.tasks["rehearsal.jsonl"].splitlines()} == {"assert True"}
    assert json.loads(found.tasks["humaneval_instruct.yaml"])["doc_to_target"] == "assert True"
    assert json.loads(found.tasks["gsm8k.yaml"])["metric_list"][0]["metric"] == "exact_match"
    few = now(swaps(recipe, "evaluate.code={samples: 2, pass_at: [2], max_new_tokens: 8}"))
    assert not any(at.startswith("evaluate.code") for at in few)
    assert now(swaps(recipe, "evaluate.code={samples: 20, pass_at: [10]}"))["evaluate.code.pass_at"] == [1]


def test_a_dry_run_starts_and_writes_nothing(course: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", course, "--rehearse", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "would be rehearsed: sft, dpo; nothing was started" in text
    assert "sft: offload to NVMe" in text
    assert "hardware.per_node: 8 → 2" in text
    assert main(["run", course, "--rehearse", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] is None
    assert told["stages"] == ["sft", "dpo"]
    assert {"at", "was", "now", "why"} == set(told["swaps"][0])
    assert not Path("runs").exists()
    assert not Path("build").exists()


def test_mistakes_are_those_of_the_real_run(course: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "stages[1].data.train[0].columns={prompt: prompt, chosen: better}"
    assert main(["run", course, "--set", wrong]) == 1
    real = capsys.readouterr().err
    assert "better" in real
    assert main(["run", course, "--set", wrong, "--rehearse"]) == 1
    assert capsys.readouterr().err == real


def test_rows_of_another_format_than_a_stage_makes_end_it(course: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        Path(course)
        .read_text()
        .replace("path: pairs.jsonl", "stage: answers")
        .replace(", columns: {prompt: prompt}", "")
    )
    asked = "  - {name: answers, generate: {prompts: [{path: asked.jsonl, format: prompt}], makes: chat}}\n"
    Path(course).write_text(text.replace("  - name: dpo\n", f"{asked}  - name: dpo\n    start_from: sft\n"))
    assert main(["run", course]) == 1
    real = capsys.readouterr().err
    assert "answers" in real
    assert main(["run", course, "--rehearse"]) == 1
    assert capsys.readouterr().err == real


def test_a_folder_that_is_no_rehearsals_is_left_alone(course: str) -> None:
    folder = Path("runs/course.rehearsal")
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(RecipeError) as caught:
        rehearse(course, Overrides(), Path("build"), Path("runs"), say=print)
    assert [one.code for one in caught.value.findings] == ["E040"]
    assert (folder / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("where", ["whole", "stage"])
def test_what_scores_must_be_does_not_end_a_rehearsal(where: str, course: str) -> None:
    required = '{tasks: [gsm8k], require: {gsm8k/exact_match: ">= base"}, confidence: 0.9}'
    text = Path(course).read_text(encoding="utf-8")
    if where == "whole":
        text += f"evaluate: {required}\n"
    else:
        checked = "  - {name: before, start_from: base, evaluate: {tasks: [gsm8k]}}\n"
        text += f"{checked}  - {{name: good, start_from: dpo, evaluate: {required}}}\n"
    Path(course).write_text(text, encoding="utf-8")
    found = swaps(course)
    place = "evaluate" if where == "whole" else "stages[3].evaluate"
    assert now(found)[f"{place}.require"] is None
    name = "gate" if where == "whole" else "good-gate"
    assert name in {one.what for one in found.cannot}
    assert name not in found.stages
    assert errors(compile_file(course, rehearsal=found.settings).findings) == []
