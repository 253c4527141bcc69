"""Axolotl: what it cannot express is said at the line that asks for it, and what differs by release is in the rows."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recipec.output import write
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source, plain
from recipec.systems import axolotl
from recipec.systems.axolotl import data, objective
from recipec.systems.read_back import read_back
from recipec.systems.table import flattened
from recipec.yaml_reader import read_text

HEAD, MACHINE = "recipe: 1\nname: t\n", "hardware: {gpu: a100-80gb}\n"
MODEL = "model: {base: m/m}\n"
PAIRS = "data: {train: [{path: a.jsonl, format: preference}]}\n"
CHAT = "data: {train: [{path: a.jsonl, format: chat}], holdout: 5%}\n"
PROMPTS = "data: {train: [{path: a.jsonl, format: prompt, columns: {prompt: q, answer: a}}]}\n"


def sft(more: str = "") -> str:
    """Return a recipe of supervised training with more words of `train`."""
    return f"{MODEL}{CHAT}train: {{epochs: 1, learning_rate: 1e-4{more}}}\n"


def compiled(text: str) -> Compiled:
    return compile_tree(read_text(Source("t.yaml", HEAD + text + MACHINE * ("hardware:" not in text))))


def emitted(text: str, file: str = "train/axolotl.yaml") -> list[str]:
    result = compiled(text)
    assert result.findings == []
    return [line.partition("  # ")[0] for line in result.files[file].splitlines()]


def dpo(more: str = "", rest: str = "") -> str:
    return f"{MODEL}{PAIRS}train: {{method: dpo, learning_rate: 1e-4{more}}}\n{rest}"


def simpo(more: str) -> str:
    return f"{MODEL}{PAIRS}train: {{method: simpo, learning_rate: 1e-4, {more}}}\n"


def kto(loss: str) -> str:
    data = "data: {train: [{path: a.jsonl, format: unpaired-preference}]}\n"
    return f"{MODEL}{data}train: {{method: kto, learning_rate: 1e-4, loss: {loss}}}\n"


def grpo(more: str = "batch_size: 8", reward: str = "type: exact", rollout: str = "engine: hf") -> str:
    train = f"train: {{method: grpo, learning_rate: 1e-6, {more}}}\n"
    return f"{MODEL}{PROMPTS}{train}rewards: [{{{reward}}}]\nrollout: {{{rollout}}}\n"


def streamed(sources: str) -> str:
    data = f"data: {{train: [{sources}], streaming: true}}\n"
    return f"{MODEL}{data}train: {{method: pretrain, steps: 9, learning_rate: 1e-4}}\n"


PATTERN = "adapter: {options: {rank_pattern: {q_proj: 4}}}\n"
WEIGHED = "{path: a.jsonl, format: text, weight: 2}"
TWO = "hardware: {gpu: a100-80gb, per_node: 2}\n"
HUB = "data: {train: [{hub: o/d, format: preference}]}\n"


@pytest.mark.parametrize(
    ("wrong", "said", "right"),
    [
        (dpo(", loss: hinge, label_smoothing: 0.1"), "hinge", dpo(", loss: robust, label_smoothing: 0.1")),
        (kto("apo_zero_unpaired"), "apo_zero_unpaired", kto("kto")),
        (simpo("warmup: 3%"), "warmup in steps", simpo("warmup: 3%, steps: 90")),
        (simpo("warmup: 3%"), "warmup in steps", simpo("warmup: 3")),
        (simpo("warmup: 3%"), "warmup in steps", dpo(", warmup: 3%")),
        (
            dpo(", early_stopping: 3, evaluate_every: 10, save: {every: 20}").replace("}]}", "}], holdout: 5%}"),
            "does not stop dpo early",
            sft(", early_stopping: 3, evaluate_every: 10, save: {every: 20}"),
        ),
        (sft() + "adapter: {init: eva}\n", "EVA", sft() + "adapter: {init: gaussian}\n"),
        (sft() + "adapter: {init: loftq}\n", "LoftQ", sft() + "adapter: {init: default}\n"),
        (sft() + "adapter: {init: pissa_niter_4}\n", "random", sft() + "adapter: {init: pissa}\n"),
        (
            sft().replace("m/m", "m/m, load_in: nf4") + "adapter: {init: olora}\n",
            "not quantised",
            sft() + "adapter: {init: olora}\n",
        ),
        (sft() + "adapter: {alpha: 12.5}\n", "whole numbers", sft() + "adapter: {alpha: 12}\n"),
        (
            sft() + "adapter: {options: {use_qalora: true}}\n",
            "use_qalora",
            sft() + "adapter: {options: {fan_in_fan_out: true}}\n",
        ),
        (sft() + PATTERN + "versions: {axolotl: 0.17.0}\n", "0.17.0 hands no rank_pattern", sft() + PATTERN),
        (streamed(", ".join([WEIGHED.replace(", weight: 2", "")] * 2)), "one data source", streamed(WEIGHED[:-12] + "}")),
        (streamed(WEIGHED), "one data source", streamed(WEIGHED).replace("streaming: true", "streaming: false")),
        (dpo().replace("data: {", "data: {holdout: 50, "), "a fraction, not a number", dpo().replace("data: {", "data: {holdout: 5%, ")),
        (sft(", early_stopping: 2"), "counted in steps", sft(", early_stopping: 2, evaluate_every: 5, save: {every: 5}")),
        (sft().replace("5%", "1"), "not for one", sft().replace("5%", "2")),
        (dpo().replace(PAIRS, HUB.replace("o/d", "o/d, subset: s")), "choose a subset", dpo().replace(PAIRS, HUB)),
        (grpo(rollout="engine: vllm"), "has no vLLM", grpo()),
        (grpo(reward="type: model, path: org/judge"), "Python module", grpo(reward="type: model, path: org/judge-1.5b")),
        (grpo() + TWO, "group of 8 completions in the 4", grpo("batch_size: 16") + TWO),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_an_error_and_what_is_near_is_not(wrong: str, said: str, right: str) -> None:
    assert [finding for finding in compiled(right).findings if finding.severity == "error"] == []
    errors = [finding for finding in compiled(wrong).findings if finding.severity == "error"]
    assert [finding.code for finding in errors] == ["T001"]
    assert said in errors[0].message
    assert errors[0].help
    assert errors[0].span is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MODEL + PAIRS + "train: {method: cpo, learning_rate: 1e-6}\n", "cannot do cpo"),
        (sft() + "adapter: {type: ia3}\n", "cannot do ia3"),
    ],
)
def test_what_it_does_not_declare_is_an_error(text: str, said: str) -> None:
    (error,) = compiled(text).findings
    assert (error.code, said in error.message) == ("T001", True)


def test_adapter_words_become_its_keys() -> None:
    lines = emitted(
        sft()
        + "adapter: {init: pissa, lora_plus_ratio: 16, target_pattern: '.*_proj', options: {rank_pattern: {q_proj: 4}}}\n"
    )
    for line in (
        "peft_init_lora_weights: pissa",
        "loraplus_lr_ratio: 16.0",
        'lora_target_modules: ".*_proj"',
        "lora_rank_pattern:",
    ):
        assert line in lines


def test_it_does_nothing_unasked() -> None:
    lines = emitted(sft())
    for line in ("warmup_steps: 0", "save_total_limit: 1000000", "load_best_model_at_end: false"):
        assert line in lines


def test_schedules_stopping_and_kernels_become_its_keys() -> None:
    lines = emitted(
        sft(
            ", scheduler: warmup_stable_decay, decay: 20, liger_kernel: true, neftune_alpha: 5, early_stopping: 3, "
            "evaluate_every: 10, save: {every: 20, only_model: true}, embedding_learning_rate: 1e-5"
        )
        + "track: {tensorboard: true}\n"
    )
    for line in (
        "lr_scheduler_kwargs:",
        "  num_decay_steps: 20",
        "early_stopping_patience: 3",
        "load_best_model_at_end: true",
        "neftune_noise_alpha: 5.0",
        "save_only_model: true",
        "liger_fused_linear_cross_entropy: true",
        "use_tensorboard: true",
    ):
        assert line in lines


@pytest.mark.parametrize("release", ["0.17.0", "0.19.0", "0.21.0"])
def test_the_project_of_trackio_is_handed_on_where_trackio_can_be_called(release: str) -> None:
    text = sft() + f"track: {{trackio: {{project: p, space: o/s}}}}\nversions: {{axolotl: {release}}}\n"
    if release == "0.19.0":
        assert [finding.code for finding in compiled(text).findings] == ["T001"]
        return
    lines = emitted(text)
    for line in ("use_trackio: true", "trackio_project_name: p", "trackio_space_id: o/s"):
        assert line in lines
    assert any("recipe_plugins.TrackioProject" in line for line in lines)
    assert "class TrackioProject(BasePlugin):" in emitted(text, "train/recipe_plugins.py")


@pytest.mark.parametrize(("warmup", "told"), [("1", ["T003"]), ("0", []), ("2", []), ("50%", [])])
def test_a_warmup_of_one_step_is_told_to_be_two(warmup: str, told: list[str]) -> None:
    assert [finding.code for finding in compiled(sft(f", warmup: {warmup}")).findings] == told


REWARD = f"{MODEL}{PAIRS}train: {{method: reward, learning_rate: 1e-4}}\n"


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (sft() + "adapter: {}\nseed: 7\n", "a new adapter"),
        (sft() + "adapter: {start_from: a/b}\nseed: 7\n", None),
        (sft() + "seed: 7\n", None),
        (sft() + "adapter: {}\n", None),  # nobody counts on a seed that is not said
        (REWARD + "seed: 7\n", "the head of a reward model"),
        (REWARD + "adapter: {}\nseed: 7\n", "a new adapter"),
        (REWARD + "adapter: {start_from: a/b}\nseed: 7\n", "the head of a reward model"),
    ],
)
def test_first_weights_that_no_seed_decides_are_told(text: str, drawn: str | None) -> None:
    told = [finding.message for finding in compiled(text).findings if finding.code == "T003"]
    assert told == ([f"Axolotl draws the first weights of {drawn} before it sets the seed"] if drawn else [])


FORMATS = {"pretrain": "text", "sft": "chat", "kto": "unpaired-preference", "grpo": "prompt, columns: {answer: a}"}
SECTIONS = {
    "model": (
        "revision: r", "max_length: 512", "attention: eager", "tokenizer: o/t", "chat_template: llama3",
        "chat_template_file: t.jinja", "special_tokens: {pad: x}", "trust_remote_code: true", "resize_embeddings: true",
        "load_in: int8", "load_in: nf4, double_quant: false", "double_quant: true",
    ),
    "adapter": (
        "rank: 4", "alpha: 5", "init: gaussian", "lora_plus_ratio: 16", "dropout: 0.1", "targets: [q_proj]",
        "target_pattern: x", "also_train: [lm_head]", "dora: true", "rslora: true", "start_from: a/b", "merge: true",
        "options: {fan_in_fan_out: true}",
    ),
    "data": (
        "holdout: 3%", "packing: true", "train_on: all", "shuffle: false", "group_by_length: true", "workers: 9",
        "streaming: true",
    ),
    "train": (
        "epochs: 3", "steps: 50", "batch_size: 16", "micro_batch_size: 8", "gradient_accumulation: 16",
        "optimizer: sgd", "weight_decay: 0.1", "beta1: 0.8", "beta2: 0.98", "epsilon: 1e-7", "max_grad_norm: 0.5",
        "scheduler: linear", "scheduler: cosine_with_min_lr, min_lr_ratio: 0.1", "min_lr_ratio: 0.1",
        "scheduler: cosine_with_restarts, cycles: 3", "scheduler: warmup_stable_decay, decay: 9", "warmup: 9",
        "embedding_learning_rate: 1e-5", "neftune_alpha: 5", "precision: fp32", "gradient_checkpointing: false",
        "liger_kernel: true", "torch_compile: true", "save: {every: 20}", "save: {keep: 2}", "save: {only_model: true}",
        "log_every: 7", "beta: 0.3", "loss: hinge", "loss: gspo", "label_smoothing: 0.1", "margin: 2",
        "sft_weight: 0.5", "desirable_weight: 2", "undesirable_weight: 2",
    ),
    "rollout": (
        "completions: 4", "max_new_tokens: 99", "temperature: 0.7", "top_p: 0.9", "iterations: 2", "clip: 0.1",
        "clip_high: 0.3", "scale_rewards: batch", "mask_truncated: true", "engines: 1", "gpu_memory_share: 0.4",
        "discount: 0.9",
    ),
    "track": (
        "wandb: {project: p, entity: e}", "mlflow: {tracking_uri: u, experiment: e}",
        "trackio: {project: p, space: o/s}", "tensorboard: true", "telemetry: true",
    ),
    "parallel": ("reshard_after_forward: false", "bucket_size: 9", "offload: {optimizer: cpu}"),
}  # fmt: skip


def small(method: str, section: str = "", words: str = "") -> str:
    """Return a small recipe of a method with LoRA, and with these words of a section."""
    held = {
        "model": ["base: m/m"],
        "adapter": [],
        "data": [f"train: [{{path: a.jsonl, format: {FORMATS.get(method, 'preference')}}}]"],
        "train": [f"method: {method}", "learning_rate: 1e-4"],
    }
    if method == "grpo" and "batch_size: 16" not in words:
        held["train"].append("batch_size: 8")
    held.setdefault(section, []).append(words)
    text = "".join(f"{name}: {{{', '.join(filter(None, said))}}}\n" for name, said in held.items() if name)
    return text + ("rewards: [{type: exact}]\n" if method == "grpo" else "")


@pytest.mark.parametrize("method", sorted(axolotl.SYSTEM.can["method"]))
def test_no_word_is_dropped_in_silence(method: str) -> None:
    """Each word with a value of its own changes what the tool is given, or there is something to tell."""

    def given(text: str) -> tuple[dict[str, str], list[str]]:
        result = compiled(text)
        own = {name: body for name, body in result.files.items() if "/" in name}
        return own, [finding.message for finding in result.findings]

    before = given(small(method))
    assert before[0]
    assert before[1] == []
    silent = [
        f"{section}: {words}"
        for section, several in SECTIONS.items()
        for words in several
        if given(small(method, section, words)) == before
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("method", "section", "words", "dropped"),
    [
        *((method, "data", "group_by_length: true", "data.group_by_length") for method in objective.RL),
        ("grpo", "model", "max_length: 512", "model.max_length"),
    ],
)
def test_a_value_that_it_cannot_take_is_told(method: str, section: str, words: str, dropped: str) -> None:
    (told,) = compiled(small(method, section, words)).findings
    assert (told.code, told.message) == ("T002", f"{dropped} has no effect on train")


def test_to_say_that_scales_stay_as_they_are_without_any_is_no_mistake() -> None:
    assert compiled(small("sft", "model", "double_quant: false")).findings == []


@pytest.mark.parametrize("method", data.CAUSAL)
def test_methods_of_the_causal_builder_group_by_length(method: str) -> None:
    assert "group_by_length: true" in emitted(small(method, "data", "group_by_length: true"))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (small("ipo"), {"method": "ipo"}),
        (dpo(", loss: robust, sft_weight: 0.5"), {"method": "dpo", "objective.loss": "robust", "objective.sft_weight": 0.5}),
        (small("simpo", "train", "warmup: 10%, steps: 90, margin: 2"), {"method": "simpo", "objective.margin": 2}),
        (small("reward"), {"method": "reward", "model.chat_template": "tokenizer"}),
        (small("grpo", "train", "loss: gspo"), {"method": "grpo", "objective.loss": "gspo"}),
        (small("grpo", "train", "loss: grpo"), {"objective.loss": "grpo", "rewards.*.weight": (1.0,)}),
        (
            small("sft", "train", "scheduler: cosine_with_min_lr, min_lr_ratio: 0.1"),
            {"optimizer.scheduler": "cosine_with_min_lr", "optimizer.min_lr_ratio": 0.1},
        ),
        (small("sft", "train", "scheduler: cosine"), {"optimizer.scheduler": "cosine"}),
        (small("sft", "train", "warmup: 3%"), {"optimizer.warmup": 0.03, "watch.save_keep": "all"}),
        (small("sft", "model", "load_in: fp4"), {"model.load_in": "fp4", "model.double_quant": True}),
        (small("sft", "model", "chat_template: llama3"), {"model.chat_template": "llama3"}),
        (small("sft", "model", "special_tokens: {pad: x}"), {"model.special_tokens": {"pad": "x"}}),
        (small("sft", "adapter", "target_pattern: x"), {"adapter.target_pattern": "x", "adapter.type": "lora"}),
        (small("sft", "adapter", "targets: [a, b]"), {"adapter.targets": ("a", "b")}),
        (small("sft"), {"adapter.targets": ("all-linear",), "adapter.rank": 16, "adapter.alpha": 32}),
        (small("sft", "adapter", "options: {fan_in_fan_out: true}"), {"adapter.options": {"fan_in_fan_out": True}}),
    ],
)  # fmt: skip
def test_its_file_reads_back_as_plan_values(text: str, read: dict[str, Any]) -> None:
    result = compiled(text)
    document: Any = plain(read_text(Source("axolotl.yaml", result.files["train/axolotl.yaml"])))
    found = read_back(axolotl.ROWS, document, "0.21.0")
    assert found | read == found
    assert result.resolved is not None
    values = flattened(result.resolved.plan.stages[0].body)
    assert {path: values[path] for path in found} == found


def test_rows_its_loaders_cannot_read_get_one_of_ours() -> None:
    mapped = PAIRS.replace("preference}", "preference, roles: {user: [human]}}")
    result = compiled(MODEL + mapped + "train: {method: dpo, learning_rate: 1e-6}\n")
    assert result.findings == []
    loader = next(name for name in result.files if "/rows_" in name)
    assert 'ROLES = {"user": ["human"]}' in result.files[loader]
    module = loader.rpartition("/")[2].removesuffix(".py")
    assert f"type: {module}.default" in result.files["train/axolotl.yaml"]
    assert "export PYTHONPATH=" in result.files["train/run.sh"]


def test_validation_rows_of_preferences_are_not_read_by_the_columns_of_training() -> None:
    data = "data: {train: [{path: a.jsonl, format: preference}], validation: [{path: b.jsonl, format: preference, columns: {chosen: good}}]}\n"
    result = compiled(MODEL + data + "train: {method: dpo, learning_rate: 1e-6}\n")
    assert result.findings == []
    assert any('"good"' in text for name, text in result.files.items() if "/rows_" in name)


def test_prepared_data_is_dropped_where_the_rows_have_changed(tmp_path: Path) -> None:
    """A stand-in for `axolotl` leaves a file as prepared data; it shows what of it the next run finds."""
    result = compiled(sft().replace("a.jsonl", "it's.jsonl"))
    write(tmp_path / "build", result.files)
    tool = tmp_path / "environments" / "axolotl-0.21.0" / "bin"
    tool.mkdir(parents=True)
    (tool / "python").symlink_to(sys.executable)
    (tool / "axolotl").write_text("#!/bin/sh\nls runs/t/prepared\ntouch runs/t/prepared/tokenised\n")
    (tool / "axolotl").chmod(0o755)

    def prepared(rows: str) -> str:
        (tmp_path / "it's.jsonl").write_text(rows)
        variables = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": str(tmp_path / "environments")}
        command = ["bash", "build/train/run.sh"]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True).stdout

    assert prepared("{}") == ""
    assert prepared("{}") == "tokenised\n"
    assert prepared('{"other": 1}') == ""
