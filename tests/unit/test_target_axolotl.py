"""Axolotl: what it cannot express is said at the line that asks for it, and what differs by release is in the rows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.output import write
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

HEAD = "recipe: 1\nname: t\nhardware: {gpu: a100-80gb}\n"
MODEL = "model: {base: m/m}\n"
PAIRS = "data: {train: [{path: a.jsonl, format: preference}]}\n"
CHAT = "data: {train: [{path: a.jsonl, format: chat}], holdout: 5%}\n"
PROMPTS = "data: {train: [{path: a.jsonl, format: prompt, columns: {prompt: q, answer: a}}]}\n"


def sft(more: str = "") -> str:
    """Return a recipe of supervised training with more words of `train`."""
    return f"{MODEL}{CHAT}train: {{epochs: 1, learning_rate: 1e-4{more}}}\n"


def compiled(text: str) -> Compiled:
    return compile_tree(read_text(Source("t.yaml", HEAD + text)))


def emitted(text: str, file: str = "10-train/axolotl.yaml") -> list[str]:
    result = compiled(text)
    assert result.findings == []
    return [line.partition("  # ")[0] for line in result.files[file].splitlines()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MODEL + PAIRS + "train: {method: dpo, learning_rate: 1e-4, loss: hinge, label_smoothing: 0.1}\n", "hinge"),
        (
            MODEL
            + "data: {train: [{path: a.jsonl, format: unpaired-preference}]}\n"
            + "train: {method: kto, learning_rate: 1e-4, loss: apo_zero_unpaired}\n",
            "apo_zero_unpaired",
        ),
        (MODEL + PAIRS + "train: {method: simpo, epochs: 1, learning_rate: 1e-4, warmup: 3%}\n", "steps"),
        (MODEL + PAIRS + "train: {method: cpo, learning_rate: 1e-4}\n", "cannot do cpo"),
        (sft(", scheduler: warmup_stable_decay, decay: 10%"), "decay in steps"),
        (sft() + "adapter: {init: eva}\n", "EVA"),
        (sft() + "adapter: {init: loftq}\n", "LoftQ"),
        (sft() + "adapter: {init: pissa_niter_4}\n", "random"),
        (sft() + "adapter: {type: ia3}\n", "cannot do ia3"),
        (sft() + "adapter: {options: {use_qalora: true}}\n", "use_qalora"),
        (sft() + "adapter: {options: {rank_pattern: {q_proj: 4}}}\nversions: {axolotl: 0.17.0}\n", "0.17.0"),
        (
            MODEL + PROMPTS + "train: {method: grpo, learning_rate: 1e-6, batch_size: 8}\n"
            "rewards: [{type: exact}]\nrollout: {engine: vllm}\n",
            "has no vLLM",
        ),
        (
            MODEL + PROMPTS + "train: {method: grpo, learning_rate: 1e-6, batch_size: 8}\n"
            "rewards: [{type: model, path: org/judge}]\n",
            "Python module",
        ),
    ],
)
def test_what_it_cannot_express_is_an_error(text: str, said: str) -> None:
    errors = [finding for finding in compiled(text).findings if finding.severity == "error"]
    assert [finding.code for finding in errors] == ["T001"]
    assert said in errors[0].message
    assert errors[0].help
    assert errors[0].span is not None


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
        + "track: {trackio: {project: p}}\n"
    )
    for line in (
        "lr_scheduler_kwargs:",
        "  num_decay_steps: 20",
        "early_stopping_patience: 3",
        "load_best_model_at_end: true",
        "neftune_noise_alpha: 5.0",
        "save_only_model: true",
        "liger_fused_linear_cross_entropy: true",
        "use_trackio: true",
    ):
        assert line in lines


def test_a_warmup_of_one_step_is_told_to_be_two() -> None:
    result = compiled(sft(", warmup: 1"))
    assert [(finding.code, finding.severity) for finding in result.findings] == [("T003", "warning")]


def test_rows_its_loaders_cannot_read_get_one_of_ours() -> None:
    mapped = PAIRS.replace("preference}", "preference, roles: {user: [human]}}")
    result = compiled(MODEL + mapped + "train: {method: dpo, learning_rate: 1e-4}\n")
    assert result.findings == []
    loader = next(name for name in result.files if "/rows_" in name)
    assert '"user": ["human", "user"]' in result.files[loader]
    module = loader.rpartition("/")[2].removesuffix(".py")
    assert f"type: {module}.default" in result.files["10-train/axolotl.yaml"]
    assert "export PYTHONPATH=" in result.files["10-train/run.sh"]


def test_validation_rows_of_preferences_are_not_read_by_the_columns_of_training() -> None:
    data = "data: {train: [{path: a.jsonl, format: preference}], validation: [{path: b.jsonl, format: preference, columns: {chosen: good}}]}\n"
    result = compiled(MODEL + data + "train: {method: dpo, learning_rate: 1e-4}\n")
    assert result.findings == []
    assert any('"good"' in text for name, text in result.files.items() if "/rows_" in name)


def test_prepared_data_is_dropped_where_the_rows_have_changed(tmp_path: Path) -> None:
    """A stand-in for `axolotl` leaves a file as prepared data; it shows what of it the next run finds."""
    result = compiled(sft().replace("a.jsonl", "it's.jsonl"))
    write(tmp_path / "build", result.files)
    tool = tmp_path / "environments" / "axolotl-0.19.0" / "bin"
    tool.mkdir(parents=True)
    (tool / "python").symlink_to(sys.executable)
    (tool / "axolotl").write_text("#!/bin/sh\nls runs/t/prepared\ntouch runs/t/prepared/tokenised\n")
    (tool / "axolotl").chmod(0o755)

    def prepared(rows: str, **more: str) -> str:
        (tmp_path / "it's.jsonl").write_text(rows)
        variables = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": str(tmp_path / "environments"), **more}
        command = ["bash", "build/10-train/run.sh"]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True).stdout

    assert prepared("{}") == ""
    assert prepared("{}") == "tokenised\n"
    assert prepared('{"other": 1}', NODE_RANK="1") == "tokenised\n"
    assert prepared('{"other": 1}') == ""
