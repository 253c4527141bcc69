"""Variants that are compiled as one come to what each comes to alone, byte for byte; and numbers that are traced."""

import itertools
import math
import random
import string
from pathlib import Path

import pytest

from recipec import pipeline
from recipec.compose import compose
from recipec.diagnostics import errors
from recipec.pipeline import Compiled, of_sweep
from recipec.sweep import Variant, sweep_of
from recipec.traced import CURRENT, Trace, Untraceable, filled, template, written

ROOT = Path(__file__).parent.parent.parent
RATE = "train.learning_rate: {log_uniform: [1e-7, 3e-1]}"
# recipe, what is swept, and the most plain compiles of all 16 variants that are expected where the numbers can be traced
SWEEPS = [
    ("mistral-7b-ko-chat", f"{{{RATE}, seed: {{integer: [0, 9999]}}}}", 12),
    ("mistral-7b-ko-chat", f"{{{RATE}, adapter.rank: {{choice: [4, 8, 16, 64]}}}}", 15),
    ("mistral-7b-ko-chat", "{adapter.rank: {integer: [1, 300]}, adapter.alpha: {integer: [1, 300]}}", None),
    ("mistral-7b-dpo-trl", f"{{{RATE}, train.beta: {{uniform: [0.001, 2]}}}}", 15),
    ("mistral-7b-dpo-trl", "{train.epochs: {uniform: [0.1, 40]}, train.weight_decay: {uniform: [0, 0.1]}}", None),
    ("mistral-7b-dpo-trl", "{train.epochs: {choice: [1, 2, 1.5]}, train.scheduler: {choice: [linear, cosine]}}", None),
    ("mistral-7b-dpo-trl", "{train.batch_size: {integer: [1, 64]}, train.micro_batch_size: {integer: [1, 4]}}", None),
    ("mistral-7b-dpo-trl", "{adapter.rslora: {choice: [true, false]}, adapter.rank: {choice: [8, 9]}}", None),
    ("mistral-7b-dpo-trl", "{train.method: {choice: [dpo, orpo, simpo]}, train.beta: {uniform: [0.01, 1]}}", None),
    ("mistral-7b-dpo-trl", "{trainer: {choice: [trl, axolotl, unsloth]}, train.weight_decay: {uniform: [0, 1]}}", None),
    ("mistral-7b-dpo-trl", "{'data.train[0].path': {choice: [data/a.jsonl, data/b.jsonl]}, seed: {integer: [1, 9]}}", None),
    ("llama-3-70b-fsdp2-offload", "{hardware.per_node: {integer: [1, 8]}, hardware.nodes: {integer: [1, 4]}}", None),
    ("llama-2-13b-zero3", "{hardware.gpu: {choice: [a100-80gb, h100-80gb, t4]}, train.batch_size: {choice: [64, 128]}}", None),
    ("llama-2-13b-zero3", f"{{model.max_length: {{integer: [64, 9000]}}, {RATE}}}", None),
    ("llama-3-8b-pretrain-then-sft", "{'stages[1].train.learning_rate': {log_uniform: [1e-8, 1]}, seed: {integer: [0, 99]}}", None),
    ("llama-3.1-8b-reward-then-ppo", "{seed: {integer: [0, 99]}}", None),
    ("qwen2.5-1.5b-grpo-math", "{rollout.temperature: {uniform: [0.01, 3]}, rollout.completions: {integer: [1, 20]}}", None),
    ("own-script-accelerate", f"{{{RATE}, train.batch_size: {{integer: [1, 64]}}}}", None),
    ("quickstart", f"{{{RATE}, train.steps: {{integer: [1, 2000]}}}}", None),
]  # fmt: skip


def compiled(recipe: str, over: str, samples: int = 16) -> tuple[list[Compiled], list[Compiled], int]:
    """Return the variants of a sweep as they are compiled as one, and alone; and the number of plain compiles of the first."""
    path = f"recipes/{recipe}.yaml"
    text = Path(path).read_text("utf-8")
    text = f"{text}\nsweep: {{random: {{samples: {samples}, seed: 3, over: {over}}}}}\n"
    composed = compose(path, text=text)
    sweep = sweep_of(composed.tree)
    assert sweep is not None
    whole, count = pipeline._whole, itertools.count()  # pyright: ignore[reportPrivateUsage]

    def counting(*given: object, **more: object) -> Compiled:
        if more.get("traced") is None:
            next(count)
        return whole(*given, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_whole", counting)
        together = list(of_sweep(path, composed, sweep))
    plain = next(count)

    def alone(variant: Variant, number: int) -> Compiled:
        return whole(path, composed, variant.tree(sweep.base), variant, alone=number > 0)

    return together, [alone(variant, n) for n, variant in enumerate(sweep.variants())], plain


@pytest.mark.parametrize(("recipe", "over", "most"), SWEEPS, ids=[f"{row[0]}-{n}" for n, row in enumerate(SWEEPS)])
def test_together_as_alone(recipe: str, over: str, most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    together, alone, plain = compiled(recipe, over)
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        assert one.name == other.name
        assert list(one.files) == list(other.files)
        for file, text in other.files.items():
            assert one.files[file] == text, file
        assert (one.findings, one.notes) == (other.findings, other.notes)
    if most is not None:
        assert plain < most


def test_what_is_refused_is_refused_together_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    together, alone, _ = compiled("mistral-7b-ko-chat", "{train.learning_rate: {log_uniform: [1e-2, 5e-1]}}", 60)
    assert [bool(errors(one.findings)) for one in together] == [bool(errors(one.findings)) for one in alone]
    assert {bool(errors(one.findings)) for one in alone} == {True, False} or not any(
        errors(one.findings) for one in alone
    )


def test_a_trace_tells_of_other_numbers_what_they_would_tell() -> None:
    """A random program over two numbers: where the conditions hold for two others, it writes of them what is filled in."""
    draw, held = random.Random(1), 0
    for seed in range(400):
        a, b, c, d = (draw.choice([float, int])(draw.uniform(-50, 50)) for _ in range(4))
        trace = Trace([a, b])
        try:
            text = program(trace.number(0), trace.number(1), random.Random(seed))
        except (ArithmeticError, ValueError):
            continue
        assert filled(template(text), [*_finished(trace, (a, b)), "x"]) == program(a, b, random.Random(seed))
        if type(a) is type(c) and type(b) is type(d) and trace.holds((c, d)):
            held += 1
            assert filled(template(text), trace.texts_for((c, d), "x")) == program(c, d, random.Random(seed))
    assert held > 10


def _finished(trace: Trace, values: tuple[float, ...]) -> list[str]:
    trace.finish()
    assert trace.holds(values)
    return trace.texts_for(values, "x")[:-1]


def program(a: float, b: float, r: random.Random) -> str:
    """Compute, ask and write, as a seed says."""
    said: list[str] = []
    for _ in range(6):
        match r.randrange(9):
            case 0:
                a = a * 2 + b
            case 1:
                b = abs(b - 3) / 7
            case 2:
                said.append("small" if a < r.randrange(-9, 9) else "large")
            case 3:
                said.append(f"{a:.3g} and {b!r}")
            case 4:
                said.append(str(math.ceil(a)) if a else "none")
            case 5:
                said.append("ab" * (int(b) % 3))
            case 6:
                said.append(str(max(a, b, 0)))
            case 7:
                a = a // 3 if a >= b else a % 5
            case _:
                said.append(f"{round(b, 2)}" if isinstance(b, float) else f"{b:,}")
    return " ".join(said)


def test_what_must_know_a_number_and_cannot_say_so_raises() -> None:
    number = Trace([3, 0.5]).number(0)
    with pytest.raises(Untraceable) as told:
        {number}  # noqa: B018
    assert told.value.places == {0}
    with pytest.raises(TypeError):
        "".join([number])
    assert isinstance(number, int)
    assert not isinstance(number, bool)


def test_a_plain_value_is_written_by_whoever_asks() -> None:
    assert written(0.5, repr) is None
    assert not CURRENT


def test_no_mark_is_a_word_that_people_write() -> None:
    assert template(string.printable) == (string.printable,)
    assert template("qz1 zq") == ("qz1 zq",)
