"""TRL: what is refused or done another way, what counts as used, and its tables read in the other direction."""

import json
from pathlib import Path

import pytest
from effects import misjudged, training

from recipec.diagnostics import Finding
from recipec.kinds.train.records import Train
from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.plan import Stage
from recipec.source import Source
from recipec.systems.document import Document
from recipec.systems.emit import emit
from recipec.systems.read_back import read_back
from recipec.systems.registry import system
from recipec.systems.scripts import trl_rows
from recipec.systems.table import flattened
from recipec.systems.trl import script, settings
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
FORMATS = {"pretrain": "text", "sft": "chat", "kto": "unpaired-preference", "grpo": "prompt", "rloo": "prompt"}
METHODS = ("pretrain", "sft", "dpo", "ipo", "kto", "orpo", "cpo", "simpo", "reward", "grpo", "rloo")
# what decides the whole plan, and what another value of would be refused before the trainer is asked
ELSEWHERE = {
    "adapter.merge", "hardware.nodes", "hardware.world", "data.packing", "model.double_quant",
    *(f"rewards.0.{word}" for word in ("pattern", "language", "path", "url")),
}  # fmt: skip
PLAIN = "{hub: o/rows, format: completion}"


def compiled(
    method: str = "sft",
    *,
    trainer: str = "trl",
    model: str = "",
    adapter: str = "",
    source: str = "",
    data: str = "",
    train: str = "",
    rollout: str = "",
    hardware: str = "",
    micro: str = "8",
    more: str = "",
) -> Compiled:
    """Compile a small recipe; each word is added to its section, or stands in its place."""
    rows = source or f"{{hub: o/rows, format: {FORMATS.get(method, 'preference')}}}"
    sections = {
        "recipe": "1",
        "name": "small",
        "trainer": trainer,
        "model": f"{{base: org/model{model}}}",
        "data": f"{{train: [{rows}]{data}}}",
        "train": f"{{method: {method}, learning_rate: 1e-4, micro_batch_size: {micro}{train}}}",
        "hardware": f"{{gpu: {hardware or 'a100-80gb'}}}",
    }
    sections |= {"adapter": f"{{{adapter}}}"} if adapter else {}
    sections |= {"rollout": f"{{{rollout}}}"} if rollout else {}
    sections |= {"rewards": "[{type: length, max_words: 9}]"} if method in ("grpo", "rloo") else {}
    text = "".join(f"{name}: {value}\n" for name, value in sections.items()) + more
    return compile_tree(read_text(Source("recipe.yaml", text)))


def told(findings: list[Finding]) -> list[str]:
    """Return what is told of a recipe, as `CODE message`."""
    return [f"{finding.code} {finding.message}" for finding in findings]


# each check on both sides of its condition: what it tells, the words that it tells it of, and words that it lets pass
CHECKS = [
    ("T001 vLLM needs another torch", {"method": "grpo", "rollout": "engine: vllm"}, {"rollout": "engine: hf"}),
    ("T001 TRL's RLOO cannot divide", {"method": "rloo", "rollout": "scale_rewards: group"},
     {"rollout": "scale_rewards: batch"}),
    ("T001 KTO estimates", {"method": "kto", "micro": "1"}, {"micro": "2"}),
    ("T001 KTO estimates", {"method": "kto", "micro": "1"}, {"train": ", loss: apo_zero_unpaired"}),
    ("T001 TRL's DPO ignores label_smoothing with loss sigmoid", {"method": "dpo", "train": ", label_smoothing: 0.1"},
     {"train": ", label_smoothing: 0.1, loss: robust"}),
    ("T001 TRL's CPO ignores label_smoothing", {"method": "cpo", "train": ", label_smoothing: 0.1, loss: hinge"},
     {"train": ", label_smoothing: 0.1"}),
    ("T001 p_tuning changes no modules", {"adapter": "type: p_tuning, targets: [q_proj]"},
     {"adapter": "type: p_tuning, targets: all-linear"}),
    ("T001 ia3 has no dropout", {"adapter": "type: ia3, dropout: 0.1"}, {"adapter": "type: ia3, dropout: 0"}),
    ("T001 p_tuning trains only", {"adapter": "type: p_tuning, also_train: [lm_head]"},
     {"adapter": "type: ia3, also_train: [lm_head]"}),
    ("T001 AdaLoRA needs to know", {"adapter": "type: adalora"}, {"train": ", steps: 10"}),
    ("T001 the recipe's own words decide r, use_dora", {"adapter": "options: {r: 3, bias: none, use_dora: true}"},
     {"adapter": "options: {bias: none}"}),
    ("T001 PEFT takes whole numbers", {"adapter": "alpha: 1.5"}, {"adapter": "alpha: 2.0"}),
    ("T001 eva works with sft, not with dpo", {"method": "dpo", "adapter": "init: eva"}, {"method": "sft"}),
    ("T001 PEFT computes LoftQ on a GPU", {"adapter": "init: loftq", "hardware": "none"}, {"hardware": "l4"}),
    ("T001 pissa needs all of the base in one place, which zero3", {"adapter": "init: pissa", "hardware": "l4",
     "more": "parallel: {strategy: zero3}\n"}, {"more": "parallel: {strategy: zero2}\n"}),
    ("T001 streamed rows cannot be split", {"method": "pretrain", "train": ", steps: 9",
     "data": ", streaming: true, holdout: 5"}, {"data": ", streaming: true"}),
    ("T001 TRL has no chat template gemma3", {"model": ", chat_template: gemma3"}, {"model": ", chat_template: gemma"}),
    ("T001 muon is not supported", {"train": ", optimizer: muon"}, {"train": ", optimizer: lion"}),
    ("T001 Transformers cannot load the best checkpoint under fsdp2", {"hardware": "l4, per_node: 2", "data": ", holdout: 5%",
     "more": "parallel: {strategy: fsdp2}\n", "train": ", early_stopping: 2, save: {only_model: true}"},
     {"more": "parallel: {strategy: ddp}\n"}),
    ("T003 trl sft cuts rows", {"source": PLAIN}, {"source": "{hub: o/rows, format: instruction}"}),
    ("T003 trl sft takes streamed rows in the order", {"method": "pretrain", "train": ", steps: 9",
     "data": ", streaming: true, packing: true"}, {"data": ", streaming: true, packing: true, shuffle: false"}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "words", "others"), CHECKS, ids=[what for what, _, _ in CHECKS])
def test_a_check_holds_on_one_side_only(what: str, words: dict[str, str], others: dict[str, str]) -> None:
    assert any(line.startswith(what) for line in told(compiled(**words).findings))
    passed = told(compiled(**{**words, **others}).findings)
    assert not any(line.startswith(what) for line in passed), passed


# words that TRL has nothing for in such a stage: T002 tells them, instead of nobody
DROPPED = [
    ("data.train_on", {"source": "{hub: o/rows, format: text}", "data": ", train_on: all"}),
    ("data.train_on", {"source": "{hub: o/rows, format: text}", "data": ", train_on: all, holdout: 5"}),
    ("data.validation[0].weight", {"data": ", validation: [{hub: o/more, format: chat, weight: 2}]"}),
    ("model.chat_template", {"source": PLAIN, "model": ", chat_template: chatml"}),
    ("model.chat_template", {"method": "dpo", "source": "{hub: o/rows, format: preference, columns: {prompt: prompt}}",
     "model": ", chat_template: chatml"}),
    ("model.max_length", {"method": "grpo", "model": ", max_length: 512"}),
    ("adapter.target_pattern", {"adapter": "target_pattern: .*q_proj"}),
    ("train.early_stopping", {"method": "grpo", "data": ", holdout: 5%", "train": ", early_stopping: 2"}),
    ("train.neftune_alpha", {"method": "grpo", "train": ", neftune_alpha: 5"}),
    ("train.neftune_alpha", {"trainer": "unsloth", "adapter": "rank: 4", "train": ", neftune_alpha: 5"}),
    ("train.embedding_learning_rate", {"train": ", embedding_learning_rate: 1e-5"}),
]  # fmt: skip


@pytest.mark.parametrize(("word", "words"), DROPPED)
def test_what_vanishes_is_told(word: str, words: dict[str, str]) -> None:
    assert f"T002 {word} has no effect on train" in told(compiled(**words).findings)


ACTING = [
    {"model": ", chat_template: chatml"},
    {"data": ", train_on: all"},
    {"source": PLAIN, "data": ", train_on: all"},
    {"source": PLAIN, "data": ", holdout: 5", "model": ", chat_template: chatml"},
    {"method": "grpo", "data": ", holdout: 5", "model": ", max_length: 512"},
    {"method": "dpo", "data": ", packing: false"},
    {"model": ", double_quant: false"},
    {"hardware": "l4, per_node: 1, nodes: 1", "adapter": "merge: false"},
]


@pytest.mark.parametrize("words", ACTING, ids=str)
def test_what_acts_or_says_what_is_so_is_no_mistake(words: dict[str, str]) -> None:
    found = compiled(**words).findings
    assert [finding for finding in found if finding.code[0] in "RT" and finding.severity == "error"] == []


STAGES = [
    {},
    {"data": ", holdout: 5", "adapter": "rank: 4, also_train: [lm_head]", "model": ", load_in: nf4"},
    {"data": ", train_on: all"},
    {"source": PLAIN, "adapter": "rank: 4", "hardware": "none"},
    {"source": "{hub: o/rows, format: text}"},
    {"adapter": "type: p_tuning"},
    {"adapter": "type: adalora", "train": ", steps: 9"},
    {"adapter": "type: ia3, start_from: a/b"},
    {"method": "pretrain", "train": ", steps: 9", "data": ", streaming: true, packing: true"},
    {"method": "dpo", "hardware": "l4, per_node: 2", "more": "parallel: {strategy: zero3}\n"},
    {"method": "kto"},
    {"method": "simpo"},
    {"method": "grpo", "data": ", holdout: 5"},
    {"method": "rloo"},
    {"method": "sft", "trainer": "unsloth", "adapter": "rank: 4", "model": ", load_in: nf4"},
    {"method": "dpo", "trainer": "unsloth", "hardware": "none", "adapter": "rank: 4, start_from: a/b"},
    {"method": "grpo", "trainer": "unsloth"},
]


@pytest.mark.parametrize("words", STAGES, ids=str)
def test_what_counts_as_used_is_what_another_value_would_change(words: dict[str, str]) -> None:
    wrong = misjudged(training(compiled(**words)))
    assert {path: what for path, what in wrong.items() if not (path in ELSEWHERE and what.startswith("counts"))} == {}


def said(document: Document) -> dict[str, object]:
    """Return a document's keys with their values as a file would hold them."""
    found: dict[str, object] = json.loads(json.dumps({k: e.value for k, e in document.entries.items()}, default=str))
    return found


def held_back(stage: Stage[Train]) -> int:
    """Hold what each table reads of its document against the plan; return how many values were held."""
    values, held = flattened(stage.body), 0
    documents = {one.file: one for one in emit(stage).documents}
    for sheet in system(stage.system).sheets(stage.body, stage.environment):
        if sheet.tool in ("accelerate", "deepspeed"):
            continue
        read = read_back(sheet.rows, said(documents[sheet.file]), sheet.release)
        both = {path: value for path, value in read.items() if path in values}
        assert both == {path: values[path] for path in both}
        held += len(both)
    return held


@pytest.mark.parametrize("words", [*STAGES, *({"method": method, "adapter": "rank: 4"} for method in METHODS)], ids=str)
def test_tables_read_back_what_they_have_written(words: dict[str, str]) -> None:
    assert held_back(training(compiled(**words))) > 20


@pytest.mark.parametrize("name", ["mistral-7b-dpo-trl", "qwen2.5-1.5b-grpo-math", "llama-3-8b-medical-unsloth"])
def test_tables_read_back_the_golden_documents(name: str) -> None:
    assert held_back(training(compile_file(str(ROOT / "recipes" / f"{name}.yaml")))) > 35


@pytest.mark.parametrize(
    ("method", "file", "wanted"),
    [
        ("dpo", {"loss_type": "ipo"}, {"method": "ipo"}),
        ("dpo", {"loss_type": ["hinge"]}, {"objective.loss": "hinge", "objective.sft_weight": 0.0}),
        ("dpo", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
         {"objective.loss": "sigmoid", "objective.sft_weight": 0.5}),
        ("dpo", {"loss_type": ["sigmoid", "bco_pair"], "loss_weights": [0.8, 0.2]}, {}),
        ("grpo", {"loss_type": "grpo", "importance_sampling_level": "sequence"}, {"objective.loss": "gspo"}),
        ("grpo", {"loss_type": "dapo", "importance_sampling_level": "sequence"}, {}),
        ("grpo", {"loss_type": "dapo"}, {"objective.loss": "dapo"}),
        ("sft", {"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}, {"optimizer.min_lr_ratio": 0.1}),
        ("sft", {"lr_scheduler_kwargs": {"num_cycles": 2}}, {"optimizer.cycles": 2}),
    ],
)  # fmt: skip
def test_files_of_other_hands_are_read_where_they_are_understood(
    method: str, file: dict[str, object], wanted: dict[str, object]
) -> None:
    stage = training(compiled(method))
    assert read_back(settings.rows(stage.body), file, stage.release) == wanted


def test_the_templates_are_those_of_the_library() -> None:
    assert set(script.TEMPLATES) == {"tokenizer", *trl_rows.OF_TRL, *trl_rows.OWN}


@pytest.mark.parametrize("trainer", ["trl", "unsloth"])
@pytest.mark.parametrize("method", ["sft", "dpo", "orpo"])
def test_a_training_without_gain_stops_by_a_callback(trainer: str, method: str) -> None:
    words = {"adapter": "rank: 4", "data": ", holdout: 5%", "train": ", early_stopping: 3"}
    script = compiled(method=method, trainer=trainer, **words).files["train/train.py"]
    assert "callbacks=[EarlyStoppingCallback(early_stopping_patience=3)]" in script
    assert "load_best_model_at_end=True" in script
    assert "import EarlyStoppingCallback" in script
    del words["train"]
    assert "EarlyStopping" not in compiled(method=method, trainer=trainer, **words).files["train/train.py"]


def test_ranks_are_allocated_and_a_training_stopped_by_callbacks_side_by_side() -> None:
    words = {
        "adapter": "type: adalora",
        "data": ", holdout: 5%",
        "train": ", steps: 20, early_stopping: 3, evaluate_every: 5, save: {every: 5}",
    }
    script = compiled(**words).files["train/train.py"]
    assert "callbacks=[AllocateRanks(), EarlyStoppingCallback(early_stopping_patience=3)]" in script
    assert "from transformers import EarlyStoppingCallback, TrainerCallback" in script
