"""The figures of updates that are lost in rounding: the same in the rule and in the decision."""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from recipec.facts.models import known_model
from recipec.kinds.train.memory import least
from recipec.kinds.train.records import Train
from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.rules.values import LOST
from recipec.source import Source
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
FULL = """recipe: 1
name: full
model: {{base: meta-llama/Llama-3.2-1B-Instruct{more}}}
data: {{train: [{{path: data/chat.jsonl, format: chat}}]}}
train: {{learning_rate: 1e-4{precision}}}
hardware: {{gpu: a100-80gb, per_node: {gpus}}}
parallel: {{strategy: {strategy}}}
trainer: {trainer}
"""


def full(strategy: str, more: str = "", precision: str = "", trainer: str = "axolotl") -> Train:
    gpus = 1 if strategy == "single" else 2
    text = FULL.format(strategy=strategy, more=more, precision=precision, gpus=gpus, trainer=trainer)
    compiled = compile_tree(read_text(Source("r.yaml", text)))
    assert compiled.resolved is not None, compiled.findings
    body: Train = next(compiled.resolved.plan.of_kind("train")).body
    return body


def test_the_decision_states_the_figures_of_the_rule() -> None:
    text = (ROOT / "docs" / "decisions" / "005-formats-of-weights.md").read_text(encoding="utf-8")
    rates = [
        float(one) for one in re.findall(r"[0-9.]+e-[0-9]+", text.partition("| learning rate |")[2].partition("\n")[0])
    ]
    shares = [float(one) / 100 for one in re.findall(r"([0-9.]+)%", text.partition("| bf16 |")[2].partition("\n")[0])]
    stated = dict(zip(rates, shares, strict=True))
    assert {rate: pytest.approx(share, rel=0.2) for rate, share in LOST.items()} == {
        rate: stated[rate] for rate in LOST
    }


def test_the_benchmark_measures_the_rates_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    rates = import_module("rounded_updates").RATES
    sys.modules.pop("rounded_updates")
    assert set(LOST) <= set(rates)


@pytest.mark.parametrize(
    ("strategy", "precision", "load_in"),
    [
        ("single", "", "fp32"),
        ("ddp", "", "fp32"),
        ("fsdp2", "", "fp32"),
        ("zero2", "", "bf16"),
        ("zero3", "", "bf16"),
        ("single", ", precision: fp16", "fp32"),
        ("zero2", ", precision: fp16", "fp16"),
    ],
)
def test_weights_that_are_trained_are_fp32_where_nobody_keeps_copies(
    strategy: str, precision: str, load_in: str
) -> None:
    assert full(strategy, precision=precision).model.load_in == load_in


@pytest.mark.parametrize(
    ("strategy", "more", "bytes_"),
    [
        ("single", "", (4, 4, 8)),
        ("single", ", load_in: bf16", (2, 2, 4)),
        ("ddp", "", (4, 4, 8)),
        ("fsdp2", "", (2, 2, 4)),
        ("zero1", "", (2, 2, 6)),
        ("zero2", "", (2, 1, 6)),
        ("zero3", "", (1, 1, 6)),
    ],
)
def test_memory_is_counted_by_the_format(strategy: str, more: str, bytes_: tuple[int, int, int]) -> None:
    """Per parameter on each of two GPUs, or on one."""
    known = known_model("meta-llama/Llama-3.2-1B-Instruct")
    assert known is not None
    assert known.parameters is not None
    found = least(known, full(strategy, more))
    assert tuple(part / known.parameters for part in found) == pytest.approx(bytes_)


@pytest.mark.parametrize(("rate", "load_in", "told"), [("1e-5", "nf4", 1), ("2e-5", "nf4", 0), ("1e-5", "bf16", 0)])
def test_adapters_that_trl_casts_to_bf16_are_told_at_low_rates(rate: str, load_in: str, told: int) -> None:
    text = FULL.format(strategy="single", more=f", load_in: {load_in}", precision="", gpus=1, trainer="trl")
    text = text.replace("1e-4", rate) + "adapter: {rank: 8}\n"
    found = [one.message for one in compile_tree(read_text(Source("r.yaml", text))).findings if one.code == "T003"]
    assert sum("in bf16: at" in one for one in found) == told


EIGHT = "meta-llama/Llama-3.1-8B-Instruct"
ONE = "hardware: {gpu: a100-80gb}\n"
FULL_8B = f"""recipe: 1
name: full
model: {{base: {EIGHT}, max_length: 2048}}
data: {{train: [{{path: data/chat.jsonl, format: chat}}]}}
train: {{learning_rate: 1e-5}}
"""


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Compiled]:
    def of(text: str, *settings: str) -> Compiled:
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return compile_file(str(tmp_path / "r.yaml"), list(settings))

    return of


def load_in(result: Compiled, stage: int = 0) -> tuple[str, str]:
    assert result.resolved is not None, result.findings
    trained = list(result.resolved.plan.of_kind("train"))[stage]
    return trained.body.model.load_in, result.resolved.origins[f"{trained.name}.model.load_in"].why


def codes(result: Compiled) -> set[str]:
    return {one.code for one in result.findings if one.severity != "note"}


@pytest.mark.parametrize(
    ("machine", "settings", "expected"),
    [
        (ONE, (), "bf16"),
        ("hardware: {gpu: h200-141gb}\n", (), "fp32"),
        ("hardware: {gpu: a100-80gb, per_node: 4}\n", (), "bf16"),  # DDP holds all of it on each
        ("hardware: {gpu: a100-80gb, per_node: 4}\n", ("parallel.strategy=fsdp2",), "fp32"),
        ("hardware: {gpu: a100-80gb, per_node: 2}\n", ("parallel.strategy=fsdp2", "trainer=trl"), "fp32"),
        (ONE, ("train.optimizer=adafactor",), "fp32"),
        (ONE, ("model.base=my-lab/my-model",), "fp32"),
        (ONE, ("model.base=Qwen/Qwen2.5-1.5B-Instruct",), "fp32"),
        ("hardware: {gpu: rtx-3090}\n", ("model.base=Qwen/Qwen2.5-1.5B-Instruct",), "bf16"),  # 23 of 24 GiB
        (ONE, ("model.base=Qwen/Qwen2.5-1.5B-Instruct", "model.max_length=32768", "train.micro_batch_size=3"), "bf16"),
        (ONE, ("model.base=Qwen/Qwen2.5-1.5B-Instruct", "model.max_length=32768", "train.micro_batch_size=8"), "fp32"),
    ],
)
def test_weights_are_bf16_where_only_they_fit(
    machine: str, settings: tuple[str, ...], expected: str, compiled: Callable[..., Compiled]
) -> None:
    assert load_in(compiled(FULL_8B + machine, *settings))[0] == expected


@pytest.mark.parametrize("trainer", ["axolotl", "trl", "llamafactory", "unsloth"])
def test_every_trainer_follows_and_the_plan_says_why(trainer: str, compiled: Callable[..., Compiled]) -> None:
    result = compiled(FULL_8B + ONE, f"trainer={trainer}")
    why = "in fp32, 30 GiB of weights + 30 GiB of gradients + 60 GiB of optimiser states are more than 90% of the 79 GiB of a100-80gb"
    assert load_in(result) == ("bf16", why)
    assert f"| train.model.load_in | bf16 | {why} |" in result.files["PLAN.md"]
    assert "L137" in codes(result)
    assert "L137" not in codes(compiled(FULL_8B + ONE, f"trainer={trainer}", "train.learning_rate=6e-5"))


def test_what_is_written_is_what_is_trained(compiled: Callable[..., Compiled]) -> None:
    assert codes(compiled(FULL_8B + ONE, "model.load_in=fp32")) == {"L015"}
    assert codes(compiled(FULL_8B + ONE, "train.precision=fp16")) == {"L015"}  # weights in fp16 cannot be trained
    assert load_in(compiled(FULL_8B + "hardware: {gpu: h200-141gb}\n", "model.load_in=bf16"))[0] == "bf16"


def test_a_later_stage_is_judged_by_the_model_that_the_first_began_with(compiled: Callable[..., Compiled]) -> None:
    text = FULL_8B.replace("data: ", "# ") + ONE.replace("a100-80gb", "h200-141gb")
    text += "stages:\n"
    for name, more in (("first", ""), ("second", ", optimizer: ademamix")):
        text += f"  - {{name: {name}, data: {{train: [{{path: data/chat.jsonl, format: chat}}]}}, train: {{epochs: 1{more}}}}}\n"
    assert [load_in(compiled(text), stage)[0] for stage in (0, 1)] == ["fp32", "bf16"]


def test_raw_plugins_are_added_to_ours_and_misspelt_keys_are_still_found(compiled: Callable[..., Compiled]) -> None:
    cut = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
    text = FULL_8B.replace(EIGHT, "my-lab/my-model") + ONE
    result = compiled(f"{text}overrides: {{axolotl: {{plugins: [{cut}]}}}}\n")
    assert codes(result) == set()
    emitted = YAML(typ="safe").load(result.files["train/axolotl.yaml"])
    assert emitted["plugins"] == ["recipe_plugins.FloatWeights", cut]
    assert codes(compiled(f"{text}overrides: {{axolotl: {{sequence_lenn: 5, plugins: [{cut}]}}}}\n")) == {"T020"}


def test_fp32_weights_under_a_computation_in_bf16_are_what_trl_is_told(compiled: Callable[..., Compiled]) -> None:
    result = compiled(
        """recipe: 1
name: masters
trainer: trl
model: {base: Qwen/Qwen2.5-1.5B-Instruct, max_length: 2048, load_in: fp32}
data: {train: [{path: data/rows.jsonl, format: chat}]}
train: {epochs: 1, batch_size: 8, learning_rate: 1e-6, precision: bf16}
hardware: {gpu: h100-80gb}
"""
    )
    assert codes(result) == set()
    for line in ("    bf16=True,\n", '"dtype": "float32"'):
        assert line in result.files["train/train.py"]


def test_a_share_of_the_steps_that_decays_is_left_to_whoever_knows_their_number(
    compiled: Callable[..., Compiled],
) -> None:
    train = "train: {epochs: 2, learning_rate: 2e-4, warmup: 3%, scheduler: warmup_stable_decay, decay: 10%}\n"
    text = FULL_8B.replace("train: {learning_rate: 1e-5}\n", train) + ONE + "adapter: {rank: 16}\n"
    result = compiled(text)
    emitted = YAML(typ="safe").load(result.files["train/axolotl.yaml"])
    assert codes(result) == set()
    assert emitted["lr_scheduler_kwargs"] == {"decay_share": 0.1}
    assert emitted["plugins"] == ["recipe_plugins.DecayShare"]
    assert "create_lr_scheduler" in result.files["train/recipe_plugins.py"]
    known = compiled(text, "train.steps=90", "train.epochs=null")
    assert YAML(typ="safe").load(known.files["train/axolotl.yaml"])["lr_scheduler_kwargs"] == {"num_decay_steps": 9}
    assert "train/recipe_plugins.py" not in known.files
