"""What names of repositories say: what surely does not exist, what is no decoder of text, what comes with code of its own."""

import json
from pathlib import Path

import pytest

from recipec.facts.datasets import example_length
from recipec.facts.gpu_names import capability, same_named
from recipec.facts.models import known_model, model_ids
from recipec.facts.repositories import instead_of, kind_of, needs_code, overflows
from recipec.facts.tokens import known_tokenizer

# As they stand in examples and recipes that others have published.
USED = [
    "HuggingFaceTB/SmolLM3-3B-Base",
    "LiquidAI/LFM2-8B-A1B",
    "MiniMaxAI/MiniMax-M2",
    "NousResearch/Llama-3.2-1B",
    "Qwen/Qwen1.5-MoE-A2.7B",
    "Qwen/Qwen3-235B-A22B",
    "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen/Qwen3.5-122B-A10B",
    "Qwen/Qwen3.5-4B",
    "TinyLlama/TinyLlama_v1.1",
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
    "allenai/Olmo-3-7B-Instruct",
    "bigcode/starcoder2-3b",
    "codellama/CodeLlama-34b-hf",
    "google/gemma-2b",
    "google/gemma-3-270m-it",
    "google/gemma-3n-E2B-it",
    "google/gemma-4-26B-A4B",
    "google/gemma-2-2b-jpn-it",
    "meta-llama/Llama-4-Scout-17B-16E",
    "meta-llama/Meta-Llama-3.1-8B-Instruct",
    "meta-llama/Llama-2-7b",
    "meta-llama/Llama-3.2-1B-Instruct-SpinQuant_INT4_EO8",
    "microsoft/Phi-4-reasoning-plus",
    "microsoft/phi-4",
    "microsoft/phi-2",
    "mistralai/Magistral-Small-2507",
    "mistralai/Ministral-3-3B-Reasoning-2512",
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    "mistralai/Mixtral-8x7B-v0.1",
    "tiiuae/Falcon-H1-34B-Instruct",
    "tiiuae/falcon-rw-1b",
    "unsloth/Qwen2.5-8B-bnb-4bit",
    "somebody/gemma-2-12b-merged",
    "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
    "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
    "Qwen/Qwen2.5-Math-PRM-7B",
    "stabilityai/stablelm-2-1_6b",
    "EleutherAI/pythia-70m-deduped-v0",
    "openai/gpt-oss-safeguard-20b",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
]


@pytest.mark.parametrize("name", [*USED, *model_ids()])
def test_what_exists_is_never_called_missing(name: str) -> None:
    assert instead_of(name) == ()


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("Qwen/Qwen2.5-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("qwen/qwen2.5-8b", "Qwen/Qwen2.5-7B"),
        ("Qwen/Qwen3-30B-Instruct-2507", "Qwen/Qwen3-30B-A3B-Instruct-2507"),
        ("Qwen/Qwen3-8B-Instruct", "Qwen/Qwen3-8B"),
        ("meta-llama/Llama-3.1-13B", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Llama-3.3-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("meta-llama/Llama-3.5-8B", "meta-llama/Llama-3.1-8B"),
        ("google/gemma-2-9b-instruct", "google/gemma-2-9b-it"),
        ("google/gemma-3-4b", "google/gemma-3-4b-pt"),
        ("mistralai/Mixtral-8x14B-v0.1", "mistralai/Mixtral-8x22B-v0.1"),
        ("bigscience/bloom-7b", "bigscience/bloom-7b1"),
        ("microsoft/phi-1.5", "microsoft/phi-1_5"),
        ("EleutherAI/pythia-1.3b", "EleutherAI/pythia-1.4b"),
        ("internlm/internlm2_5-13b-chat", "internlm/internlm2_5-20b-chat"),
        ("Qwen/Qwen2.5-8B-Instruct-AWQ", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_the_nearest_stand_in_the_place_of_what_does_not_exist(name: str, first: str) -> None:
    assert instead_of(name)[0] == first


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("google-bert/bert-base-uncased", "encoder"),
        ("intfloat/multilingual-e5-large", "embedding"),
        ("google/flan-t5-xl", "seq2seq"),
        ("RLHFlow/ArmoRM-Llama3-8B-v0.1", "reward"),
        ("openai/whisper-large-v3", "speech"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "vision"),
        ("google/gemma-3-4b-it", None),
        ("./bert-base-uncased", None),
        ("google/madlad400-8b-lm", None),
        ("PY007/TinyLlama-1.1B", None),
    ],
)
def test_kinds_by_name(name: str, kind: str | None) -> None:
    assert kind_of(name, folders=False) == kind


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, None),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, None),
        ({"architectures": ["BertForMaskedLM"], "model_type": "bert"}, "encoder"),
        ({"architectures": ["LlamaForSequenceClassification"], "model_type": "llama"}, "reward"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "seq2seq"),
        ({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}, "vision"),
        ({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}, None),
        ({"architectures": ["BertModel"], "model_type": "bert"}, "embedding"),
        ({"architectures": ["LlamaModel"], "model_type": "llama"}, None),
        ({}, None),
    ],
)
def test_kinds_by_what_a_folder_says(tmp_path: Path, config: dict[str, object], kind: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert kind_of(str(tmp_path)) == kind


def test_code_is_needed_where_transformers_has_none(tmp_path: Path) -> None:
    assert needs_code("THUDM/chatglm3-6b", folders=False)
    assert not needs_code("THUDM/glm-4-9b-chat-hf", folders=False)
    assert not needs_code("deepseek-ai/DeepSeek-V2-Lite", folders=False)
    (tmp_path / "config.json").write_text('{"model_type": "internlm2", "auto_map": {"AutoModelForCausalLM": "m.M"}}')
    assert needs_code(str(tmp_path))


def test_what_overflows_is_known_by_name_and_family() -> None:
    assert overflows("google/gemma-2-9b", "")
    assert overflows("my/folder", "gemma3_text")
    assert not overflows("google/gemma-7b", "gemma")


def test_all_experts_are_counted() -> None:
    for name, weights in [  # as the repositories' safetensors metadata say
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46_702_792_704),
        ("mistralai/Mixtral-8x22B-v0.1", 140_620_634_112),
        ("Qwen/Qwen3-30B-A3B", 30_532_122_624),
        ("google/gemma-2-9b-it", 9_241_705_984),
        ("google/gemma-3-1b-it", 999_885_952),
        ("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552),
        ("microsoft/phi-4", 14_659_507_200),
    ]:
        known = known_model(name, folders=False)
        assert known is not None
        assert known.parameters == weights


def test_a_folder_of_experts_is_counted_whole(tmp_path: Path) -> None:
    config = {
        "model_type": "mixtral",
        "num_local_experts": 4,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "vocab_size": 10,
    }
    config |= {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    known = known_model(str(tmp_path))
    assert known is not None
    assert known.parameters == (8 * 4 * 6 + 4 * 3 * 8 * 16 + 8 * 4 + 2 * 8) + 8 + 2 * 10 * 8


def test_what_is_known_in_part() -> None:
    known = known_model("EleutherAI/pythia-12b-deduped", folders=False)
    assert known is not None
    assert (known.family, known.context, known.parameters) == ("gpt_neox", 2048, 11_846_072_320)
    assert known.linear[0] == "query_key_value"
    assert known_model("somebody/pythia-12b", folders=False) is None


def test_numberings_of_tokens() -> None:
    def ids(name: str) -> str | None:
        known = known_tokenizer(name, folders=False)
        return known.ids if known is not None else None

    assert ids("Qwen/Qwen2.5-7B") == ids("Qwen/Qwen3-8B") == ids("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B")
    assert ids("meta-llama/Meta-Llama-3-8B") == ids("deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
    assert ids("mistralai/Mistral-7B-v0.3") != ids("mistralai/Mistral-Nemo-Base-2407")
    assert ids("google/gemma-2-9b") != ids("google/gemma-3-4b-pt")
    assert ids("HuggingFaceTB/SmolLM2-360M") != ids("Qwen/Qwen2.5-7B")


def test_capabilities_of_gpus_by_name() -> None:
    assert {gpu.sm for gpu in same_named("v100-sxm3-32gb")} == {70}
    assert {gpu.name for gpu in same_named("NVIDIA A100")} == {"a100-40gb", "a100-80gb"}
    assert (capability("Tesla P100"), capability("RTX 3070"), capability("our-card")) == (60, 86, None)


def test_lengths_of_examples() -> None:
    assert example_length("gsm8k_cot") == example_length("gsm8k")
    assert example_length("mmlu_pro_math") == example_length("mmlu_pro") != example_length("mmlu")
    assert example_length("gsm8kx") is None
