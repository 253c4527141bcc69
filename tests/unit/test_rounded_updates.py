"""The figures of updates that are lost in rounding: the same in the rule and in the decision."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from recipec.facts.models import known_model
from recipec.kinds.train.records import Train
from recipec.pipeline import compile_tree
from recipec.kinds.train.memory import least
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
