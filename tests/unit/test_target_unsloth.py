"""What Unsloth is told, and what is refused because it would change it in silence."""

import pytest

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

BASE = """recipe: 1
name: small
trainer: unsloth
model: {base: org/model, max_length: 512%s}
adapter: {rank: 8%s}
data: {train: [{hub: org/chats, format: chat}]%s}
train: {learning_rate: 1e-4%s}
hardware: {gpu: %s}
"""


def findings(model: str = "", adapter: str = "", data: str = "", train: str = "", gpu: str = "none") -> list[str]:
    """Return what is said of a recipe, as `CODE message`."""
    compiled = compile_tree(read_text(Source("recipe.yaml", BASE % (model, adapter, data, train, gpu))))
    return [f"{finding.code} {finding.message}" for finding in compiled.findings]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"model": ", load_in: fp4"}, "doubly quantised"),
        ({"model": ", load_in: nf4, double_quant: false"}, "doubly quantised"),
        ({"model": ", load_in: int8"}, "16-bit weights instead of int8"),
        ({"model": ", attention: eager"}, "chooses the attention itself"),
        ({"model": ", resize_embeddings: true"}, "resizes only"),
        ({"adapter": ", alpha: 1.5"}, "whole numbers"),
        ({"adapter": ", also_train: [norm]"}, "cannot train norm in full"),
        ({"adapter": ", init: loftq"}, "changes the base"),
        ({"adapter": ", init: orthogonal", "model": ", load_in: nf4"}, "not quantised"),
        ({"adapter": ", lora_plus_ratio: 16"}, "LoRA+"),
        ({"adapter": ", options: {r: 3}"}, "r is decided"),
        ({"adapter": ", type: lokr"}, "unsloth cannot do lokr"),
        ({"data": ", packing: true"}, "turns packing off"),
        ({"train": ", optimizer: adamw_8bit"}, "adamw instead of adamw_8bit"),
        ({"train": ", torch_compile: true", "gpu": "l4"}, "compiles the parts"),
        ({"gpu": "l4, per_node: 2"}, "unsloth cannot do ddp"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusal(words: dict[str, str], said: str) -> None:
    found = findings(**words)
    assert any(line.startswith("T001") and said in line for line in found), found


def test_misspelt_options_are_found_in_the_contract() -> None:
    found = findings(adapter=", options: {layers_to_transfrom: [0]}")
    assert any("layers_to_transfrom" in line for line in found), found


def test_sharding_that_it_lacks_is_refused_beside_an_evaluation() -> None:
    text = BASE % ("", "", "", "", "l4, per_node: 2") + "parallel: {strategy: zero2}\nevaluate: {tasks: [gsm8k]}\n"
    found = compile_tree(read_text(Source("recipe.yaml", text))).findings
    assert [finding.code for finding in found] == ["T001"]


def test_a_gpu_has_them_all() -> None:
    more = {"model": ", load_in: int8", "data": ", packing: true", "train": ", optimizer: adamw_8bit"}
    assert findings(**more, gpu="l4") == []


def test_no_usage_is_reported_unless_asked() -> None:
    text = BASE % ("", "", "", "", "l4")
    silent = compile_tree(read_text(Source("recipe.yaml", text))).files["10-train/run.sh"]
    asked = compile_tree(read_text(Source("recipe.yaml", text + "track: {telemetry: true}\n"))).files["10-train/run.sh"]
    assert "UNSLOTH_DISABLE_STATISTICS=1" in silent
    assert "UNSLOTH_DISABLE_STATISTICS" not in asked
