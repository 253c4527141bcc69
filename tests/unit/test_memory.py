"""How many bytes a training keeps on each GPU at the very least, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
from effects import changed, stage_of

from recipec.kinds.train.memory import least

RECIPE = """recipe: 1
name: memory
model: {base: my-lab/my-model}
data: {train: [{path: a.jsonl, format: chat}]}
train: {learning_rate: 1e-5, optimizer: sgd}
hardware: {gpu: a100-80gb, per_node: 4}
parallel: {strategy: ddp}
"""
FULL = changed(stage_of(RECIPE), "model.load_in", "bf16")
LORA = stage_of(RECIPE + "adapter: {rank: 8}\n")
KNOWN: Any = SimpleNamespace(parameters=1000, embedding_parameters=200, quantised=None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, (2000, 2000, 0)),
        ({"model.load_in": "fp16"}, (2000, 2000, 0)),
        ({"model.load_in": "fp32"}, (4000, 4000, 0)),
        ({"optimizer.name": "adamw"}, (2000, 2000, 4000)),
        ({"optimizer.name": "adamw", "model.load_in": "fp32"}, (4000, 4000, 8000)),
        ({"optimizer.name": "adamw_8bit"}, (2000, 2000, 2000)),
        ({"optimizer.name": "adamw_4bit"}, (2000, 2000, 1000)),
        ({"optimizer.name": "adamw_schedule_free"}, (2000, 2000, 4000)),
        ({"optimizer.name": "ademamix"}, (2000, 2000, 6000)),
        ({"optimizer.name": "lion"}, (2000, 2000, 2000)),
        ({"optimizer.name": "adafactor"}, (2000, 2000, 0)),
        ({"optimizer.name": "adamw", "parallel.strategy": "zero1"}, (2000, 2000, 3000)),
        ({"optimizer.name": "adamw", "parallel.strategy": "zero2"}, (2000, 500, 3000)),
        ({"optimizer.name": "adamw", "parallel.strategy": "zero3"}, (500, 500, 3000)),
        ({"optimizer.name": "adamw", "parallel.strategy": "fsdp2"}, (500, 500, 1000)),
        ({"parallel.strategy": "zero2", "parallel.optimizer_offload": "cpu"}, (2000, 0, 0)),
        ({"parallel.strategy": "zero3", "parallel.optimizer_offload": "nvme"}, (500, 0, 0)),
        ({"parallel.strategy": "zero3", "parallel.parameter_offload": "cpu"}, (0, 500, 1000)),
    ],
)
def test_a_training_of_all_weights(words: dict[str, Any], expected: tuple[float, ...]) -> None:
    stage = FULL
    for path, value in words.items():
        stage = changed(stage, path, value)
    assert stage.body.batch.data_parallel == 4
    assert least(KNOWN, stage.body) == expected


@pytest.mark.parametrize(
    ("load_in", "weights"), [("bf16", 2000), ("fp32", 4000), ("int8", 1200), ("nf4", 800), ("fp4", 800)]
)
def test_an_adapter_needs_the_weights_alone_whose_embeddings_are_not_quantised(load_in: str, weights: float) -> None:
    assert least(KNOWN, changed(LORA, "model.load_in", load_in).body) == (weights, 0, 0)
