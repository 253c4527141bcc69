"""What a preference stage over an adapter starts from and compares with, by the likelihoods that the trainers themselves log.

Before anything is learnt, a model that is compared with itself has rewards of 0, and DPO's loss is ln 2.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from test_same_meaning import MAKE, ROW, TRAINERS, bash

from recipec.facts import releases
from recipec.systems.trainers import GENERAL

pytestmark = pytest.mark.xdist_group("reference model")  # its runs are made once, by one worker

TRAINED = """recipe: 1
name: {name}
trainer: trl
model: {{base: {base}, max_length: 96}}
data: {{train: [{{path: {rows}.jsonl, format: chat}}]}}
train: {{epochs: {epochs}, batch_size: 8, micro_batch_size: 8, learning_rate: 1e-2}}
{adapter}
allow: {{learning-rate-that-diverges: the model is tiny}}
hardware: {{gpu: none}}
"""
COMPARED = """recipe: 1
name: {trainer}-{method}-{named}
trainer: {trainer}
model: {{base: runs/base/train, max_length: 96}}
data: {{train: [{{path: {method}.jsonl, format: {format}}}]}}
train: {{method: {method}, steps: 1, batch_size: 4, micro_batch_size: 4, learning_rate: 1e-6, save: {{every: 1}}{more}}}
adapter: {{rank: 4, alpha: 16{start}}}
hardware: {{gpu: none}}
"""
ADAPTER = "adapter: {rank: 4, alpha: 16}"
FORMATS = {"dpo": "preference, columns: {prompt: prompt}", "kto": "unpaired-preference"}
OTHER, WRONG = "We have sold out of it, sorry.", "I do not know that at all."


def write(folder: Path, name: str, rows: list[object]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def place(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base that has learnt one answer, and an adapter over it that has learnt another."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "environments").mkdir()
    for name in {GENERAL, *(f"{trainer}-{releases(trainer)[0]}" for trainer in TRAINERS)}:
        (folder / "environments" / name).symlink_to(tool_python(name).parent.parent)
    asked, answer = ROW["messages"]
    question, right = asked["content"], answer["content"]
    write(folder, "rows", [ROW] * 48)
    write(folder, "other", [{"messages": [asked, {"role": "assistant", "content": OTHER}]}] * 48)
    write(folder, "dpo", [{"prompt": question, "chosen": right, "rejected": WRONG}] * 16)
    write(
        folder,
        "kto",
        [{"prompt": question, "completion": text, "label": text is right} for text in (right, WRONG) for _ in range(8)],
    )
    bash(folder, MAKE, "init")
    first = {"name": "base", "base": "runs/made/init", "rows": "other", "epochs": 4, "adapter": ""}
    bash(folder, TRAINED.format(**first), "train")
    second = {"name": "sft", "base": "runs/base/train", "rows": "rows", "epochs": 10, "adapter": ADAPTER}
    bash(folder, TRAINED.format(**second), "train")
    return folder


@pytest.fixture(scope="module")
def first_step(place: Path) -> Callable[..., dict[str, float]]:
    """Train one step of a preference method from the adapter; return what the trainer logged of it, once for each."""
    done: dict[tuple[str, str, str], dict[str, float]] = {}

    def run(trainer: str, method: str = "dpo", *, named: str = "parent", raw: str = "") -> dict[str, float]:
        if (trainer, method, named) not in done:
            words = {"trainer": trainer, "method": method, "named": named, "format": FORMATS[method]}
            words["more"] = ", reference_model: base" if named == "base" else ""
            words["start"] = "" if raw else ", start_from: runs/sft/train"
            bash(place, COMPARED.format(**words) + raw, "train")
            state = next((place / "runs" / f"{trainer}-{method}-{named}" / "train").rglob("trainer_state.json"))
            done[trainer, method, named] = json.loads(state.read_text())["log_history"][0]
        return done[trainer, method, named]

    return run


@pytest.mark.real
@pytest.mark.parametrize(
    ("trainer", "method"), [("trl", "dpo"), ("unsloth", "dpo"), ("llamafactory", "dpo"), ("llamafactory", "kto")]
)
def test_a_continued_adapter_is_compared_with_itself(
    trainer: str, method: str, first_step: Callable[..., dict[str, float]]
) -> None:
    logged = first_step(trainer, method)
    rewards = {name: logged[name] for name in ("rewards/chosen", "rewards/rejected") if name in logged}
    assert rewards  # of unpaired rows, a first batch may have those of one kind alone
    assert rewards == pytest.approx(dict.fromkeys(rewards, 0.0), abs=1e-4)
    if method == "dpo":
        assert logged["loss"] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.real
def test_the_base_can_be_named_as_the_reference(first_step: Callable[..., dict[str, float]]) -> None:
    own, other = first_step("trl"), first_step("trl", named="base")
    assert other["logps/chosen"] == pytest.approx(own["logps/chosen"], abs=1e-3)  # it starts from the same adapter
    assert other["rewards/chosen"] > 0.3  # β × how much likelier the adapter has made the answer


@pytest.mark.real
def test_axolotl_does_not_load_the_adapter_to_start_from(first_step: Callable[..., dict[str, float]]) -> None:
    """Why it is refused: what it is given beside DPO is not in the model that it trains."""
    adapted = first_step("trl")
    raw = "overrides: {axolotl: {lora_model_dir: runs/sft/train}}\n"
    started = first_step("axolotl", named="raw", raw=raw)
    assert started["loss"] == pytest.approx(math.log(2), abs=1e-4)  # nothing in its output would tell
    assert started["logps/chosen"] < adapted["logps/chosen"] - 3
