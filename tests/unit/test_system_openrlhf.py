"""OpenRLHF's tables and checks: what is used, what is refused or told, and what its files say of the plan."""

from pathlib import Path
from typing import Any

import pytest
from effects import changed, misjudged, stage_of

from recipec.diagnostics import errors
from recipec.kinds.train.records import Reference, Train
from recipec.pipeline import compile_file, compile_tree
from recipec.plan import Stage, leaf
from recipec.source import Source
from recipec.systems import openrlhf
from recipec.systems.emit import emit
from recipec.systems.read_back import read_back
from recipec.systems.table import OMIT, below, gathered, same
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
HEAD = """recipe: 1
name: t
trainer: openrlhf
model: {base: a/b}
hardware: {gpu: a100-80gb, per_node: 8}
parallel: {strategy: zero2}
"""
VLLM = "rollout: {engine: vllm}\n"
ANSWERS = "data: {train: [{path: a.jsonl, format: prompt, columns: {answer: a}}]}\n"
PAIRS = "data: {train: [{path: a.jsonl, format: preference, columns: {prompt: q}}]}\n"
JUDGED = "rewards: [{type: model, path: a/r}]\n"
EXACT = "rewards: [{type: exact}, {type: length, max_words: 5, weight: 0.5}]\n"


def train(method: str, more: str = "") -> str:
    """Return the section of a training."""
    return f"train: {{method: {method}, learning_rate: 1e-5, batch_size: 64{more}}}\n"


RECIPES = {
    "chat": "data: {train: [{path: a.jsonl, format: chat}]}\n" + train("sft"),
    "completion": "data: {train: [{path: a.jsonl, format: completion}, {hub: a/c, format: completion, weight: 2}]}\n"
    + train("sft", ", warmup: 3%, save: {every: 10, keep: 2}"),
    "lora": "adapter: {rank: 8}\ndata: {train: [{path: a.jsonl, format: chat}], validation: [{path: v.jsonl, format: chat}]}\n"
    + "track: {tensorboard: true}\n" + train("sft", ", evaluate_every: 20"),
    "reward": PAIRS + train("reward"),
    "dpo": PAIRS + train("dpo", ", label_smoothing: 0.1, sft_weight: 0.2") + "track: {wandb: {project: p}}\n",
    "talks": "data: {train: [{path: a.jsonl, format: preference}]}\n" + train("dpo"),
    "ipo": PAIRS + train("ipo"),
    "grpo": ANSWERS + train("grpo", ", loss: grpo, beta: 0.1") + VLLM + EXACT,
    "gspo": ANSWERS + train("grpo", ", loss: gspo") + "rollout: {engine: vllm, engines: 2, tensor_parallel: 2, completions: 4}\n"
    + "rewards: [{type: remote, url: 'http://a/b'}]\n",
    "rloo": ANSWERS + train("rloo") + VLLM + EXACT,
    "ppo": ANSWERS + train("ppo") + VLLM + JUDGED,
    "apart": ANSWERS + train("ppo", ", micro_batch_size: 1") + "rollout: {engine: vllm, engines: 4}\n" + JUDGED,
    "plus": ANSWERS.replace("}]}", "}], validation: [{path: v.jsonl, format: prompt, columns: {answer: a}}]}")
    + train("ppo", ", loss: reinforce++, evaluate_every: 5") + VLLM + EXACT,
}  # fmt: skip


STAGES = {name: stage_of(HEAD + text) for name, text in RECIPES.items()}
STAGES["qlora"] = changed(STAGES["lora"], "model.load_in", "nf4")
STAGES["qlora"] = changed(STAGES["qlora"], "model.double_quant", True)
STAGES["dr_grpo"] = changed(changed(STAGES["grpo"], "objective.loss", "dr_grpo"), "rollout.scale_rewards", "none")
STAGES["restarts"] = changed(STAGES["chat"], "optimizer.scheduler", "cosine_with_restarts")


@pytest.mark.parametrize("name", STAGES)
def test_what_counts_as_used_acts_and_the_reverse(name: str) -> None:
    stage = STAGES[name]
    only_one = () if stage.body.method == "sft" else ("data.train.0.format",)  # others are refused before
    assert misjudged(stage, only_one) == {}


# stage -> what is changed of it, and a part of what is told then; without the change that is not told
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"model.revision": "main"}, "cannot choose the revision of a model"),
    ("chat", {"model.tokenizer": "a/t"}, "only the model's own tokenizer"),
    ("chat", {"model.chat_template": "chatml"}, "only the tokenizer's own chat template"),
    ("chat", {"model.chat_template_file": "t.jinja"}, "only the tokenizer's own chat template"),
    ("chat", {"numerics.torch_compile": True}, "no torch.compile"),
    ("chat", {"numerics.precision": "fp32"}, "fp32 is not supported"),
    ("lora", {"model.load_in": "int8"}, "cannot hold the weights in int8"),
    ("qlora", {"model.load_in": "fp4"}, "cannot hold the weights in fp4"),
    ("qlora", {"numerics.precision": "fp16"}, "bf16 with 4-bit weights"),
    ("qlora", {"model.double_quant": False}, "always quantises the scales"),
    ("chat", {"parallel.parameter_offload": "cpu"}, "keeps trained parameters on the GPU"),
    ("chat", {"parallel.optimizer_offload": "nvme"}, "to CPU only"),
    ("lora", {"adapter.start_from": "a/a"}, "cannot continue an adapter"),
    ("dpo", {"reference": Reference("m/m", None, "a/a")}, "whole weights as the reference model"),
    ("ipo", {"reference": Reference("m/m", "main", None)}, "whole weights as the reference model"),
    ("lora", {"adapter.alpha": 1.5}, "whole numbers for alpha"),
    ("chat", {"optimizer.name": "lion"}, "lion is not supported"),
    ("completion", {"optimizer.warmup": 10}, "a share of the steps"),
    ("chat", {"optimizer.scheduler": "warmup_stable_decay"}, "cannot do warmup_stable_decay"),
    ("restarts", {"optimizer.cycles": 2}, "does not restart its cosine"),
    ("chat", {"length.unit": "steps"}, "whole passes over its data"),
    ("grpo", {"length.amount": 1.5, "watch.save_every": 7}, "whole passes over its data"),
    ("chat", {"length.amount": 2.0}, "not after an epoch"),
    ("chat", {"data.shuffle": False}, "always shuffles"),
    ("chat", {"data.holdout": 0.1}, "cannot hold out rows"),
    ("chat", {"data.packing": True, "model.attention": "sdpa"}, "packs rows with Flash Attention 2 only"),
    ("chat", {"data.packing": True, "model.attention": "flash_attention_2"}, "joins the rows of a micro batch"),
    ("chat", {"data.train_on": "all"}, "trains on answers only"),
    ("chat", {"data.train.0.format": "text"}, "cannot read rows of format text"),
    ("completion", {"data.train.1.subset": "s"}, "cannot choose a subset"),
    ("completion", {"data.train.1.revision": "r"}, "cannot choose the revision"),
    ("completion", {"data.train.1.split": "test"}, "the same split"),
    ("completion", {"data.train.1.format": "chat"}, "the same format"),
    ("completion", {"data.train.1.columns": {"prompt": "q", "completion": "completion"}}, "the same columns"),
    ("completion", {"data.train.1.hub": "a/c@d"}, "as a separator"),
    ("completion", {"data.train.0.path": "a,b.jsonl"}, "as a separator"),
    ("grpo", {"data.train.0.system": "Be brief."}, "no system prompt"),
    ("chat", {"data.train.0.roles": {"user": ("human",)}}, "cannot map roles"),
    (
        "lora",
        {"data.validation.0.columns": {"messages": "turns", "role": "role", "content": "content"}},
        "same columns",
    ),
    ("plus", {"data.validation.0.columns": {"prompt": "q", "answer": "a"}}, "the same columns"),
    ("chat", {"data.train.0.columns": {"messages": "messages", "role": "from", "content": "content"}}, "of messages"),
    ("lora", {"track.wandb_project": "p"}, "not to both"),
    ("lora", {"watch.evaluate_every": 0.25}, "after a number of steps, or once an epoch"),
    ("lora", {"watch.evaluate_every": "never"}, "after a number of steps, or once an epoch"),
    ("dpo", {"objective.loss": "hinge"}, "no hinge loss"),
    ("chat", {"parallel.context_parallel": 2, "model.attention": "sdpa"}, "ring attention of Flash Attention 2"),
    ("chat", {"parallel.tensor_parallel": 2, "numerics.precision": "fp16"}, "tensor parallelism computes in bf16"),
    ("grpo", {"rollout.engine": "hf"}, "by vLLM only"),
    ("grpo", {"numerics.precision": "fp16", "model.load_in": "fp16"}, "engines compute in bf16"),
    ("grpo", {"adapter": "lora"}, "an adapter's weights to vLLM"),
    ("grpo", {"rollout.mask_truncated": True}, "truncated completions"),
    ("grpo", {"rollout.tensor_parallel": 3}, "engines of 3 GPUs do not fill nodes of 8"),
    ("grpo", {"rollout.scale_rewards": "batch"}, "batch is not supported"),
    ("dr_grpo", {"rollout.scale_rewards": "group"}, "divides by no standard deviation"),
    ("grpo", {"objective.loss": "cispo"}, "cispo is not supported"),
    ("grpo", {"rewards.1.type": "model", "rewards.1.path": "a/r"}, "one reward model"),
    ("ppo", {"rewards.0.weight": 2.0}, "does not scale the reward"),
    ("gspo", {"rewards.0.url": "http://a/?b,c"}, "a comma in an address"),
    ("plus", {"rewards": "ppo"}, "validates only with reward functions"),
    ("plus", {"watch.evaluate_every": "epoch"}, "validates by steps"),
    ("plus", {"watch.evaluate_every": 0.25}, "validates by steps"),
    ("grpo", {"objective.loss": "dr_grpo", "rollout.scale_rewards": "none"}, "divides by a constant"),
    ("grpo", {"method": "rloo"}, "RLOO sums over the tokens"),
    ("dpo", {"data.train.0.columns": {"messages": "m", "chosen": "chosen", "rejected": "rejected"}}, "to the messages"),
]
ALWAYS_TOLD = {"truncates rows longer", "whatever trust_remote_code says"}


def with_all(stage: Stage[Train], changes: dict[str, Any]) -> Stage[Train]:
    """Return the stage with other values; a section is taken from the stage that is named."""
    for path, value in changes.items():
        stage = changed(stage, path, getattr(STAGES[value].body, path) if path in ("adapter", "rewards") else value)
    return stage


def told(stage: Stage[Train]) -> list[str]:
    """Return what is refused and what is done another way."""
    emitted = emit(stage)
    return [one.message for one in (*emitted.refusals, *emitted.differences)]


@pytest.mark.parametrize(("name", "changes", "part"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_it_cannot_do_is_told_and_nothing_else(name: str, changes: dict[str, Any], part: str) -> None:
    before, after = told(STAGES[name]), told(with_all(STAGES[name], changes))
    assert [message for message in before if part in message] == []
    assert len([message for message in after if part in message]) >= 1
    assert len(set(after) - set(before)) == 1


def test_every_check_is_told_here() -> None:
    """Each message of a check that is no function is told by a case above, or by every stage."""
    parts = [part for _, _, part in WRONG] + sorted(ALWAYS_TOLD)
    checks = {check for stage in STAGES.values() for check in openrlhf.SYSTEM.checks(stage.body)}
    messages = {check.message for check in checks if isinstance(check.message, str)}
    assert len(messages) > 30
    assert [message for message in messages if not any(part in message for part in parts)] == []


def test_long_rows_are_cut_where_no_completions_are_sampled() -> None:
    said = {name for name, stage in STAGES.items() if any("truncates rows" in message for message in told(stage))}
    assert said == {name for name, stage in STAGES.items() if stage.body.rollout is None}


def findings(text: str, *, model: str = "{base: a/b}") -> list[tuple[str, str]]:
    """Return code and message of what is found in a recipe, but for what every supervised training is told."""
    compiled = compile_tree(read_text(Source("test.yaml", HEAD.replace("{base: a/b}", model) + text)))
    return [(found.code, found.message) for found in compiled.findings if "truncates rows" not in found.message]


def test_code_of_a_model_is_trusted_and_who_forbids_it_is_told() -> None:
    text = RECIPES["chat"]
    message = "OpenRLHF runs Python code that comes with a model, whatever trust_remote_code says"
    assert findings(text) == []
    assert findings(text, model="{base: a/b, trust_remote_code: true}") == []
    assert findings(text, model="{base: a/b, trust_remote_code: false}") == [("T003", message)]


def test_values_that_the_tool_takes_for_given_may_be_written() -> None:
    text = (
        "adapter: {type: lora}\n"
        "data: {train: [{path: a.jsonl, format: chat}], shuffle: true, packing: false, train_on: assistant}\n"
        "train: {learning_rate: 1e-5, torch_compile: false, scheduler: cosine_with_restarts, cycles: 1}\n"
    )
    assert findings(text, model="{base: a/b, tokenizer: a/b, chat_template: tokenizer}") == []


def test_columns_of_validation_are_not_dropped_in_silence() -> None:
    """One set of column names is for both; those of the training data were taken for the others too."""
    text = RECIPES["plus"].replace("v.jsonl, format: prompt, columns: {answer: a}", "v.jsonl, format: prompt{}")
    same = ("T001", "OpenRLHF takes the same columns of every source")
    assert findings(text.replace("{}", ", columns: {answer: a}")) == []
    assert findings(text.replace("{}", ", columns: {answer: b}")) == [same]
    assert findings(text.replace("{}", "")) == [same]


@pytest.mark.parametrize(
    ("name", "line", "word"),
    [
        ("chat", "data: {train: [{path: a.jsonl, format: chat}], group_by_length: true}", "data.group_by_length"),
        ("ppo", "rollout: {engine: vllm, scale_rewards: none}", "rollout.scale_rewards"),
        ("plus", "rollout: {engine: vllm, gae_lambda: 0.9}", "rollout.gae_lambda"),
        ("lora", "adapter: {rank: 8, target_pattern: .*q_proj}", "adapter.target_pattern"),
        ("chat", "data: {train: [{path: a.jsonl, format: chat}]}\nparallel: {strategy: zero2, bucket_size: 9}", "bucket_size"),
    ],
)  # fmt: skip
def test_what_a_method_does_not_take_has_no_effect(name: str, line: str, word: str) -> None:
    head = HEAD if "parallel" not in line else HEAD.replace("parallel: {strategy: zero2}\n", "")
    section = line.partition(":")[0]
    rest = [own for own in RECIPES[name].splitlines() if not own.startswith(f"{section}:")]
    compiled = compile_tree(read_text(Source("test.yaml", "\n".join([head + line, *rest]) + "\n")))
    assert [f.code for f in errors(compiled.findings)] == ["T002"]
    assert word in errors(compiled.findings)[0].message


FILES = [ROOT / "recipes", ROOT / "tests" / "conformance" / "openrlhf"]
DOCUMENTED = [
    path for folder in FILES for path in sorted(folder.glob("*.yaml")) if "openrlhf" in path.read_text("utf-8")
]


def stages(path: Path) -> list[Stage[Train]]:
    """Return the trainings of a recipe that OpenRLHF does."""
    compiled = compile_file(str(path))
    assert compiled.resolved is not None
    return [one for one in compiled.resolved.plan.of_kind("train") if one.system == "openrlhf"]


READ = {**STAGES, **{f"{path.stem}-{one.name}": one for path in DOCUMENTED for one in stages(path)}}


@pytest.mark.parametrize("name", READ)
def test_what_a_file_says_is_what_the_plan_says(name: str) -> None:
    stage = READ[name]
    [sheet] = openrlhf.SYSTEM.sheets(stage.body, stage.environment)
    [document] = emit(stage).documents
    written = {key: value for key, value in document.values().items() if value is not False}  # as the script holds it
    found = read_back(sheet.rows, written, stage.release)
    plan = {path: leaf(stage.body, path) for path in found}
    assert found == plan
    assert {"model.path", "batch.total", "optimizer.learning_rate", "optimizer.beta1", "seed", "output"} < set(found)
    assert len(found) >= 25


def test_most_rows_read_both_ways() -> None:
    rows = [
        row
        for stage in STAGES.values()
        for [sheet] in [openrlhf.SYSTEM.sheets(stage.body, stage.environment)]
        for row in sheet.rows
    ]
    assert sum(row.back is not None for row in rows) >= 0.8 * len(rows)


def test_a_list_of_values_and_a_folder_below_another_read_both_ways() -> None:
    pair, folder = gathered("k", "a", "b"), below("k", "a", "logs")
    assert pair.say(1, 2) == [1, 2]
    assert read_back([pair], {"k": [1, 2]}, "1") == {"a": 1, "b": 2}
    assert read_back([pair], {"k": [1]}, "1") == read_back([pair], {"k": 1}, "1") == {}
    assert folder.say("runs/x") == "runs/x/logs"
    assert read_back([folder], {"k": "runs/x/logs"}, "1") == {"a": "runs/x"}
    assert read_back([folder], {"k": "runs/x"}, "1") == read_back([folder], {"k": OMIT}, "1") == {}


def test_rows_without_conditions_are_read_first() -> None:
    """The file names the column before it says of which format the rows are."""
    rows = [same("k", "a").when("kind", "x"), same("k", "b").when("kind", "y"), same("kind", "kind")]
    assert read_back(rows, {"k": 1, "kind": "y"}, "1") == {"kind": "y", "b": 1}
