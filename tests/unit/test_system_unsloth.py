"""What Unsloth is told, and what is refused because it would change it in silence."""

import pytest

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

BASE = """recipe: 1
name: small
trainer: unsloth
model: {base: org/model, max_length: 512%s}
adapter: {rank: %s%s}
data: {train: [{hub: org/chats, format: chat}]%s}
train: {learning_rate: 1e-4%s}
hardware: {gpu: %s}
"""


def findings(
    model: str = "", rank: str = "8", adapter: str = "", data: str = "", train: str = "", gpu: str = "none"
) -> list[str]:
    """Return what is said of a recipe, as `CODE message`."""
    compiled = compile_tree(read_text(Source("recipe.yaml", BASE % (model, rank, adapter, data, train, gpu))))
    return [f"{finding.code} {finding.message}" for finding in compiled.findings]


Words = dict[str, str]

# each check on both sides of its condition: what it says, the words it says it of, and words that it lets pass
CHECKS: list[tuple[str, Words, Words]] = [
    ("4-bit weights are nf4", {"model": ", load_in: fp4"}, {"model": ", load_in: nf4"}),
    ("quantises the scales", {"model": ", load_in: nf4, double_quant: false"},
     {"model": ", load_in: nf4, double_quant: true"}),
    ("16-bit weights instead of int8", {"model": ", load_in: int8"}, {"gpu": "l4"}),
    ("chooses the attention itself", {"model": ", attention: eager"}, {"model": ", attention: sdpa"}),
    ("resizes embeddings only", {"model": ", resize_embeddings: true"}, {"model": ", resize_embeddings: false"}),
    ("whole numbers", {"adapter": ", alpha: 1.5"}, {"adapter": ", alpha: 2"}),
    ("cannot train norm in full", {"adapter": ", also_train: [norm, lm_head]"}, {"adapter": ", also_train: [lm_head]"}),
    ("changes the base", {"adapter": ", init: loftq"}, {"adapter": ", init: gaussian"}),
    ("not quantised", {"adapter": ", init: orthogonal", "model": ", load_in: nf4"}, {"model": ""}),
    ("an even rank", {"adapter": ", init: orthogonal", "rank": "7"}, {"rank": "8"}),
    ("LoRA+", {"adapter": ", lora_plus_ratio: 16"}, {"adapter": ""}),
    ("decide r, random_state", {"adapter": ", options: {r: 3, random_state: 1}"},
     {"adapter": ", options: {layers_to_transform: [0]}"}),
    ("unsloth cannot do lokr", {"adapter": ", type: lokr"}, {"adapter": ", type: lora"}),
    ("turns packing off", {"data": ", packing: true"}, {"gpu": "l4"}),
    ("adamw instead of adamw_8bit", {"train": ", optimizer: adamw_8bit"}, {"gpu": "l4"}),
    ("compiles the parts", {"train": ", torch_compile: true", "gpu": "l4"}, {"train": ", torch_compile: false"}),
    ("unsloth cannot do ddp", {"gpu": "l4, per_node: 2"}, {"gpu": "l4, per_node: 1"}),
    ("no chat template aya", {"model": ", chat_template: aya"}, {"model": ", chat_template: chatml"}),
]  # fmt: skip


@pytest.mark.parametrize(("said", "words", "others"), CHECKS, ids=[said for said, _, _ in CHECKS])
def test_refusal(said: str, words: Words, others: Words) -> None:
    found = findings(**words)
    assert any(line.startswith("T001") and said in line for line in found), found
    passed = findings(**{**words, **others})
    assert [line for line in passed if line.startswith(("T0", "R"))] == []


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("adapter.target_pattern", {"adapter": ", target_pattern: .*q_proj"}),
        ("data.validation[0].weight", {"data": ", validation: [{hub: o/r, format: chat, weight: 2}]"}),
    ],
)
def test_what_vanishes_is_told(word: str, words: Words) -> None:
    assert f"T002 {word} has no effect on train" in findings(**words)


def test_all_weights_in_fp32_are_nothing_to_tell() -> None:
    text = BASE % ("", 8, "", "", ", precision: fp16", "l4")
    full = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("adapter"))
    codes = [[one.code for one in compile_tree(read_text(Source("r.yaml", way))).findings] for way in (text, full)]
    assert codes == [[], []]


def test_embeddings_have_a_rate_of_their_own_in_unsloths_own_trainer() -> None:
    words = BASE % ("", 8, ", also_train: [embed_tokens]", "", ", embedding_learning_rate: 1e-5", "l4")
    script = compile_tree(read_text(Source("recipe.yaml", words))).files["train/train.py"]
    assert "embedding_learning_rate=1e-05," in script
    assert "UnslothTrainer(" in script
    assert "SFTTrainer" not in script


def test_misspelt_options_are_found_in_the_contract() -> None:
    found = findings(adapter=", options: {layers_to_transfrom: [0]}")
    assert any("layers_to_transfrom" in line for line in found), found


def test_sharding_that_it_lacks_is_refused_beside_an_evaluation() -> None:
    text = BASE % ("", 8, "", "", "", "l4, per_node: 2") + "parallel: {strategy: zero2}\nevaluate: {tasks: [gsm8k]}\n"
    found = compile_tree(read_text(Source("recipe.yaml", text))).findings
    assert [finding.code for finding in found] == ["T001"]


def test_a_gpu_has_them_all() -> None:
    more = {"model": ", load_in: int8", "data": ", packing: true", "train": ", optimizer: adamw_8bit"}
    assert findings(**more, gpu="l4") == []


def test_no_usage_is_reported_unless_asked() -> None:
    text = BASE % ("", 8, "", "", "", "l4")
    silent = compile_tree(read_text(Source("recipe.yaml", text))).files["train/run.sh"]
    asked = compile_tree(read_text(Source("recipe.yaml", text + "track: {telemetry: true}\n"))).files["train/run.sh"]
    assert "UNSLOTH_DISABLE_STATISTICS=1" in silent
    assert "UNSLOTH_DISABLE_STATISTICS" not in asked
