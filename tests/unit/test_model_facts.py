"""What is known of models: counts agree with the published numbers of weights, folders are read as far as they can be."""

import json
from pathlib import Path

import pytest

from recipec.facts import FOLDER
from recipec.facts.models import KnownModel, known_model
from recipec.source import Mapping, Source
from recipec.yaml_reader import read_text

TREE = read_text(Source("models.yaml", (FOLDER / "models.yaml").read_text(encoding="utf-8")))
assert isinstance(TREE, Mapping)
MODELS = TREE.entries["models"]
assert isinstance(MODELS, Mapping)


@pytest.mark.parametrize(
    ("model", "weights"),
    [  # as the repositories' safetensors metadata say
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("meta-llama/Llama-2-13b-hf", 13_015_864_320),
        ("meta-llama/Meta-Llama-3-8B", 8_030_261_248),
        ("meta-llama/Meta-Llama-3-70B-Instruct", 70_553_706_496),
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("mistralai/Mistral-7B-v0.3", 7_248_023_552),
        ("Qwen/Qwen2-7B-Instruct", 7_615_616_512),
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-3B", 3_085_938_688),
        ("Qwen/Qwen2.5-14B", 14_770_033_664),
        ("Qwen/Qwen2.5-32B", 32_763_876_352),
        ("Qwen/Qwen2.5-72B-Instruct", 72_706_203_648),
        ("mistralai/Mistral-Nemo-Base-2407", 12_247_782_400),
        ("meta-llama/Llama-3.1-405B", 405_853_388_800),
        ("codellama/CodeLlama-7b-hf", 6_738_546_688),
        ("codellama/CodeLlama-34b-hf", 33_743_970_304),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120),
        ("HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("Qwen/Qwen3-14B", 14_768_307_200),
        ("Qwen/Qwen3-32B", 32_762_123_264),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 32_763_876_352),
    ],
)
def test_weights_are_counted(model: str, weights: int) -> None:
    known = known_model(model)
    assert known is not None
    assert known.parameters == weights


@pytest.mark.parametrize("model", MODELS.entries)
def test_every_row_is_whole(model: str) -> None:
    known = known_model(model)
    assert known is not None
    assert known.id == model
    assert known.parameters
    assert known.context
    assert known.tokens
    assert known.linear
    assert known.layer
    assert known.template
    assert 0 < known.embedding_parameters < known.parameters
    assert None not in architecture(known)
    assert known.heads
    assert known.kv_heads
    assert known.heads % known.kv_heads == 0


@pytest.mark.parametrize(
    ("model", "sizes", "tied"),
    [  # layers, hidden size, heads, kv heads, head size, ffn size
        ("meta-llama/Llama-3.1-8B-Instruct", (32, 4096, 32, 8, 128, 14336), False),  # by way of two other rows
        ("meta-llama/Llama-3.2-1B", (16, 2048, 32, 8, 64, 8192), True),
        ("mistralai/Mistral-Nemo-Base-2407", (40, 5120, 32, 8, 128, 14336), False),  # heads × head size is not hidden
    ],
)
def test_the_architecture_of_a_row_is_known(model: str, sizes: tuple[int, ...], tied: bool) -> None:
    known = known_model(model)
    assert known is not None
    assert architecture(known) == (*sizes, tied)


def architecture(known: KnownModel) -> tuple[int | bool | None, ...]:
    heads = (known.heads, known.kv_heads, known.head_size)
    return known.layers, known.hidden_size, *heads, known.ffn_size, known.tied_embeddings


@pytest.mark.parametrize("path", ["", "org/unknown", "models", "llama", "families", "tokens", "no/such\nthing"])
def test_other_names_are_not_known(path: str) -> None:
    assert known_model(path) is None


def test_a_name_that_says_how_it_is_quantised() -> None:
    known = known_model("TheBloke/Mistral-7B-v0.1-AWQ")
    assert known is not None
    assert (known.quantised, known.parameters) == ("awq", 7_241_732_096)
    other = known_model("lab/some-7b-AWQ")
    assert other is not None
    assert (other.quantised, other.parameters, other.template) == ("awq", None, None)
    assert architecture(other) == (None,) * 7
    assert known_model("lab/gptqless-7b") is None


def test_a_folder_is_read(tmp_path: Path) -> None:
    config = {"model_type": "llama", "max_position_embeddings": 64, "vocab_size": 100, "hidden_size": 8}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text('{"added_tokens_decoder": {"0": {"content": "<s>"}}}')
    known = known_model(str(tmp_path))
    assert known is not None
    assert (known.context, known.template, known.tokens) == (64, "none", ("<s>",))
    assert known.parameters == 100 * 8 + 8 + 2 * (4 * 8 * 8 + 3 * 8 * 16 + 2 * 8)
    assert architecture(known) == (2, 8, 2, 2, 4, 16, True)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    changed = known_model(str(tmp_path))
    assert changed is not None
    assert changed.template == "own"


def test_a_folder_says_its_whole_architecture(tmp_path: Path) -> None:
    config = {"model_type": "qwen3", "num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 8}
    config |= {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    known = known_model(str(tmp_path))
    assert known is not None
    assert architecture(known) == (3, 64, 8, 2, 16, 96, True)
    assert (known.parameters, known.embedding_parameters) == (None, 0)  # without a size of the vocabulary


@pytest.mark.parametrize("family", ["mamba", "qwen", "Qwen/Qwen3-8B"])  # unknown, a set of tokens, a model
def test_what_a_folder_of_another_family_leaves_out_is_not_known(tmp_path: Path, family: str) -> None:
    config = {"model_type": family, "num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 8}
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 10, "intermediate_size": 96}))
    known = known_model(str(tmp_path))
    assert known is not None
    assert architecture(known) == (3, 64, 8, None, None, 96, None)
    assert (known.parameters, known.linear, known.layer) == (None, (), None)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": 7, "vocab_size": "x", "quantization_config": []}'])
def test_a_strange_folder_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    known = known_model(str(tmp_path))
    assert known is None or (known.parameters, known.quantised, known.linear) == (None, None, ())
