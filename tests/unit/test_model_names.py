"""Names of models: a slip in a known one is found, and other models that there are keep their names."""

import json
from pathlib import Path

import pytest

from recipec.facts.models import format_of, hub_cache, known_model, model_ids
from recipec.facts.spelling import close_model

# Repositories that there are, or were, on the hub: none of them is a slip of another.
REAL = """
01-ai/Yi-6B 01-ai/Yi-34B-Chat 01-ai/Yi-1.5-9B-Chat AI-MO/NuminaMath-7B-TIR CohereForAI/aya-23-8B CohereForAI/c4ai-command-r-v01
CohereLabs/aya-expanse-8b EleutherAI/gpt-j-6b EleutherAI/gpt-neo-125m EleutherAI/gpt-neox-20b EleutherAI/llemma_7b
EleutherAI/pythia-70m EleutherAI/pythia-160m-deduped EleutherAI/pythia-1.4b HuggingFaceH4/zephyr-7b-alpha
HuggingFaceH4/zephyr-7b-beta HuggingFaceH4/zephyr-7b-gemma-v0.1 HuggingFaceTB/SmolLM-135M HuggingFaceTB/SmolLM2-1.7B-Instruct
HuggingFaceTB/SmolLM2-135M HuggingFaceTB/SmolLM3-3B HuggingFaceTB/SmolLM3-3B-Base LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct
LGAI-EXAONE/EXAONE-4.0-32B LGAI-EXAONE/EXAONE-Deep-7.8B Qwen/QwQ-32B Qwen/QwQ-32B-Preview Qwen/Qwen-7B Qwen/Qwen-7B-Chat
Qwen/Qwen-14B Qwen/Qwen-72B Qwen/Qwen1.5-0.5B Qwen/Qwen1.5-1.8B-Chat Qwen/Qwen1.5-7B Qwen/Qwen1.5-7B-Chat Qwen/Qwen1.5-14B
Qwen/Qwen1.5-32B Qwen/Qwen1.5-72B Qwen/Qwen1.5-110B Qwen/Qwen1.5-MoE-A2.7B Qwen/Qwen2-0.5B Qwen/Qwen2-57B-A14B Qwen/Qwen2-72B
Qwen/Qwen2-Audio-7B Qwen/Qwen2-Math-7B Qwen/Qwen2-Math-1.5B-Instruct Qwen/Qwen2-VL-7B-Instruct Qwen/Qwen2-VL-2B
Qwen/Qwen2.5-7B-Instruct-1M Qwen/Qwen2.5-14B-Instruct-1M Qwen/Qwen2.5-Coder-0.5B Qwen/Qwen2.5-Coder-1.5B
Qwen/Qwen2.5-Coder-3B-Instruct Qwen/Qwen2.5-Coder-7B Qwen/Qwen2.5-Coder-7B-Instruct Qwen/Qwen2.5-Coder-14B
Qwen/Qwen2.5-Coder-32B-Instruct Qwen/Qwen2.5-Math-1.5B Qwen/Qwen2.5-Math-7B Qwen/Qwen2.5-Math-7B-Instruct
Qwen/Qwen2.5-Math-72B Qwen/Qwen2.5-Math-PRM-7B Qwen/Qwen2.5-Math-RM-72B Qwen/Qwen2.5-Omni-7B Qwen/Qwen2.5-VL-3B-Instruct
Qwen/Qwen2.5-VL-7B-Instruct Qwen/Qwen2.5-VL-32B-Instruct Qwen/Qwen2.5-VL-72B-Instruct Qwen/Qwen3-0.6B Qwen/Qwen3-0.6B-Base
Qwen/Qwen3-1.7B Qwen/Qwen3-4B Qwen/Qwen3-4B-Instruct-2507 Qwen/Qwen3-4B-Thinking-2507 Qwen/Qwen3-14B Qwen/Qwen3-14B-Base
Qwen/Qwen3-30B-A3B Qwen/Qwen3-30B-A3B-Instruct-2507 Qwen/Qwen3-32B Qwen/Qwen3-235B-A22B Qwen/Qwen3-Coder-30B-A3B-Instruct
Qwen/Qwen3-Coder-480B-A35B-Instruct Qwen/Qwen3-Embedding-0.6B Qwen/Qwen3-Embedding-8B Qwen/Qwen3-Reranker-8B
Qwen/Qwen3-Next-80B-A3B-Instruct Qwen/Qwen3-VL-8B-Instruct Qwen/Qwen3Guard-Gen-8B RLHFlow/ArmoRM-Llama3-8B-v0.1
Skywork/Skywork-Reward-Llama-3.1-8B Skywork/Skywork-Reward-Gemma-2-27B TinyLlama/TinyLlama-1.1B-Chat-v1.0
TinyLlama/TinyLlama_v1.1 allenai/Llama-3.1-Tulu-3-8B allenai/Llama-3.1-Tulu-3-8B-SFT allenai/Llama-3.1-Tulu-3-70B
allenai/OLMo-1B-hf allenai/OLMo-2-0425-1B allenai/OLMo-2-1124-7B-Instruct allenai/OLMo-7B allenai/OLMoE-1B-7B-0924
allenai/tulu-2-dpo-7b baichuan-inc/Baichuan2-7B-Chat beomi/Llama-3-Open-Ko-8B beomi/llama-2-ko-7b bigcode/starcoder
bigcode/starcoder2-3b bigcode/starcoder2-7b bigcode/starcoder2-15b bigcode/starcoderbase-1b bigscience/bloom
bigscience/bloom-560m bigscience/bloomz-7b1 codellama/CodeLlama-7b-hf codellama/CodeLlama-13b-Instruct-hf
codellama/CodeLlama-34b-Python-hf codellama/CodeLlama-70b-hf cognitivecomputations/dolphin-2.9-llama3-8b
databricks/dbrx-instruct databricks/dolly-v2-3b deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct deepseek-ai/DeepSeek-R1
deepseek-ai/DeepSeek-R1-0528 deepseek-ai/DeepSeek-R1-0528-Qwen3-8B deepseek-ai/DeepSeek-R1-Distill-Llama-8B
deepseek-ai/DeepSeek-R1-Distill-Llama-70B deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B deepseek-ai/DeepSeek-R1-Distill-Qwen-7B
deepseek-ai/DeepSeek-R1-Distill-Qwen-14B deepseek-ai/DeepSeek-R1-Distill-Qwen-32B deepseek-ai/DeepSeek-V2-Lite
deepseek-ai/DeepSeek-V2.5 deepseek-ai/DeepSeek-V3 deepseek-ai/DeepSeek-V3-0324 deepseek-ai/DeepSeek-V3.1
deepseek-ai/deepseek-coder-1.3b-base deepseek-ai/deepseek-coder-6.7b-instruct deepseek-ai/deepseek-llm-7b-base
deepseek-ai/deepseek-llm-7b-chat deepseek-ai/deepseek-math-7b-instruct deepseek-ai/deepseek-math-7b-rl
deepseek-ai/deepseek-moe-16b-base facebook/MobileLLM-125M facebook/opt-125m facebook/opt-1.3b facebook/opt-66b
google/codegemma-2b google/codegemma-7b-it google/gemma-2b google/gemma-2b-it google/gemma-7b google/gemma-1.1-7b-it
google/gemma-2-2b google/gemma-2-2b-it google/gemma-2-2b-jpn-it google/gemma-2-9b google/gemma-2-9b-it google/gemma-2-27b
google/gemma-2-27b-it google/gemma-3-270m google/gemma-3-270m-it google/gemma-3-1b-pt google/gemma-3-1b-it google/gemma-3-4b-pt
google/gemma-3-4b-it google/gemma-3-12b-pt google/gemma-3-12b-it google/gemma-3-27b-it google/gemma-3n-E2B-it
google/gemma-3n-E4B google/medgemma-4b-it google/medgemma-27b-text-it google/recurrentgemma-2b google/shieldgemma-2b
google/flan-t5-base google/flan-t5-xxl google/txgemma-9b-chat gradientai/Llama-3-8B-Instruct-Gradient-1048k
huggyllama/llama-7b huggyllama/llama-65b ibm-granite/granite-3.0-2b-base ibm-granite/granite-3.1-8b-instruct
ibm-granite/granite-3.3-2b-instruct ibm-granite/granite-7b-base ibm-granite/granite-8b-code-base-4k
ibm-granite/granite-20b-code-instruct-8k internlm/internlm2-7b internlm/internlm2_5-7b-chat internlm/internlm3-8b-instruct
kakaocorp/kanana-nano-2.1b-base lmsys/vicuna-7b-v1.5 lmsys/vicuna-13b-v1.5-16k lmsys/longchat-7b-16k meta-llama/CodeLlama-7b-hf
meta-llama/Llama-2-7b meta-llama/Llama-2-7b-chat meta-llama/Llama-2-13b meta-llama/Llama-2-70b-chat meta-llama/Llama-3.1-405B
meta-llama/Llama-3.1-405B-Instruct meta-llama/Llama-3.1-405B-Instruct-FP8 meta-llama/Llama-3.1-405B-FP8
meta-llama/Llama-3.2-1B-Instruct-QLORA_INT4_EO8 meta-llama/Llama-3.2-1B-Instruct-SpinQuant_INT4_EO8
meta-llama/Llama-3.2-11B-Vision meta-llama/Llama-3.2-11B-Vision-Instruct meta-llama/Llama-3.2-90B-Vision
meta-llama/Llama-4-Scout-17B-16E meta-llama/Llama-4-Scout-17B-16E-Instruct meta-llama/Llama-4-Maverick-17B-128E-Instruct
meta-llama/Llama-Guard-3-1B meta-llama/Llama-Guard-3-8B meta-llama/Llama-Guard-4-12B meta-llama/LlamaGuard-7b
meta-llama/Meta-Llama-Guard-2-8B meta-llama/Prompt-Guard-86M microsoft/DialoGPT-medium microsoft/Orca-2-7b
microsoft/Phi-3-medium-4k-instruct microsoft/Phi-3-medium-128k-instruct microsoft/Phi-3-mini-128k-instruct
microsoft/Phi-3-mini-4k-instruct microsoft/Phi-3-small-8k-instruct microsoft/Phi-3-vision-128k-instruct
microsoft/Phi-3.5-MoE-instruct microsoft/Phi-3.5-mini-instruct microsoft/Phi-3.5-vision-instruct microsoft/Phi-4-mini-flash-reasoning
microsoft/Phi-4-mini-instruct microsoft/Phi-4-mini-reasoning microsoft/Phi-4-multimodal-instruct microsoft/Phi-4-reasoning
microsoft/Phi-4-reasoning-plus microsoft/phi-1 microsoft/phi-1_5 microsoft/phi-2 microsoft/phi-4 microsoft/rho-math-1b-v0.1
mistralai/Codestral-22B-v0.1 mistralai/Devstral-Small-2505 mistralai/Devstral-Small-2507 mistralai/Magistral-Small-2506
mistralai/Mamba-Codestral-7B-v0.1 mistralai/Mathstral-7B-v0.1 mistralai/Ministral-8B-Instruct-2410
mistralai/Mistral-7B-Instruct-v0.1 mistralai/Mistral-7B-Instruct-v0.2 mistralai/Mistral-7B-v0.2
mistralai/Mistral-Large-Instruct-2407 mistralai/Mistral-Large-Instruct-2411 mistralai/Mistral-Nemo-Instruct-2407
mistralai/Mistral-Small-24B-Base-2501 mistralai/Mistral-Small-24B-Instruct-2501 mistralai/Mistral-Small-3.1-24B-Base-2503
mistralai/Mistral-Small-3.1-24B-Instruct-2503 mistralai/Mistral-Small-3.2-24B-Instruct-2506 mistralai/Mistral-Small-Instruct-2409
mistralai/Mixtral-8x22B-Instruct-v0.1 mistralai/Mixtral-8x22B-v0.1 mistralai/Mixtral-8x7B-Instruct-v0.1 mistralai/Mixtral-8x7B-v0.1
mistralai/Pixtral-12B-2409 moonshotai/Kimi-K2-Instruct moonshotai/Moonlight-16B-A3B mosaicml/mpt-7b mosaicml/mpt-30b-chat
naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-0.5B nvidia/Llama-3.1-Minitron-4B-Width-Base nvidia/Llama-3.1-Nemotron-70B-Instruct-HF
nvidia/Llama-3.1-Nemotron-Nano-8B-v1 nvidia/Llama-3.3-Nemotron-Super-49B-v1 nvidia/Mistral-NeMo-Minitron-8B-Base
nvidia/Nemotron-Mini-4B-Instruct nvidia/Nemotron-H-8B-Base-8K nvidia/OpenMath2-Llama3.1-8B openai-community/gpt2
openai-community/gpt2-medium openai-community/gpt2-xl openai/gpt-oss-20b openai/gpt-oss-120b openbmb/MiniCPM-2B-sft-bf16
openchat/openchat-3.5-0106 openchat/openchat_3.5 princeton-nlp/Llama-3-Base-8B-SFT princeton-nlp/Mistral-7B-Base-SFT-SimPO
princeton-nlp/Sheared-LLaMA-1.3B princeton-nlp/gemma-2-9b-it-SimPO sarvamai/sarvam-1 stabilityai/stablelm-2-1_6b
stabilityai/stablelm-2-zephyr-1_6b stabilityai/stablelm-3b-4e1t stabilityai/stable-code-3b state-spaces/mamba-2.8b-hf
teknium/OpenHermes-2.5-Mistral-7B tiiuae/Falcon3-1B-Base tiiuae/Falcon3-7B-Instruct tiiuae/falcon-7b tiiuae/falcon-7b-instruct
tiiuae/falcon-11B tiiuae/falcon-40b tiiuae/falcon-180B tiiuae/falcon-mamba-7b togethercomputer/LLaMA-2-7B-32K
togethercomputer/Llama-2-7B-32K-Instruct upstage/SOLAR-10.7B-v1.0 upstage/SOLAR-10.7B-Instruct-v1.0 utter-project/EuroLLM-1.7B
vilm/vinallama-7b yanolja/EEVE-Korean-10.8B-v1.0 zai-org/GLM-4-9B-0414 zai-org/GLM-4.5-Air zai-org/glm-4-9b-chat
""".split()  # noqa: SIM905  # to be read
SLIPS = {
    "meta-llama/Llama-3.1-8B-Instuct": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Lama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.1-8B-Instrcut": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3-1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3-8B-Instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
    "meta-llama/Meta-Llama-3-8B-Instruct-": "meta-llama/Meta-Llama-3-8B-Instruct",
    "metallama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "meta/Llama-3.2-1B": "meta-llama/Llama-3.2-1B",
    "mistral/Mistral-7B-v0.3": "mistralai/Mistral-7B-v0.3",
    "mistralai/Mistal-7B-v0.3": "mistralai/Mistral-7B-v0.3",
    "mistralai/Mistral-7B-Instruct-v03": "mistralai/Mistral-7B-Instruct-v0.3",
    "Qwen/Qwen-2.5-7B-Instruct": "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2_5-7B-Instruct": "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen3_8B": "Qwen/Qwen3-8B",
    "Qwn/Qwen2.5-7B": "Qwen/Qwen2.5-7B",
    "Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "llama-3.1-8b-instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen2.5-7B-Instruct": "Qwen/Qwen2.5-7B-Instruct",
    "Mistral-7B-v0.3": "mistralai/Mistral-7B-v0.3",
}


@pytest.mark.parametrize("name", REAL)
def test_a_model_that_there_is_is_no_slip_of_another(name: str) -> None:
    known = known_model(name, folders=False)
    close = close_model(name) if known is None else None
    assert close is None or plain(close) == plain(name)


def plain(name: str) -> str:
    return name.lower().replace("meta-", "").replace("-hf", "")


def test_the_list_is_long() -> None:
    assert len(set(REAL)) > 280


@pytest.mark.parametrize(("name", "meant"), SLIPS.items())
def test_a_slip_is_found(name: str, meant: str) -> None:
    assert known_model(name, folders=False) is None
    assert close_model(name) == meant


@pytest.mark.parametrize("model", model_ids())
def test_no_row_is_a_slip_of_another_nor_in_a_format_by_its_name(model: str) -> None:
    assert format_of(model) is None
    known = known_model(model.upper(), folders=False)
    assert known is not None
    assert known.id == model.upper()


@pytest.mark.parametrize(
    ("name", "like", "quantised"),
    [
        ("unsloth/Meta-Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B-Instruct", None),
        ("unsloth/llama-3-8b-bnb-4bit", "meta-llama/Meta-Llama-3-8B", "bnb-4bit"),
        ("unsloth/Qwen2.5-7B-Instruct-unsloth-bnb-4bit", "Qwen/Qwen2.5-7B-Instruct", "bnb-4bit"),
        ("unsloth/mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3", None),
        ("NousResearch/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B", None),
        ("NousResearch/Llama-2-7b-hf", "meta-llama/Llama-2-7b-hf", None),
        ("TheBloke/Llama-2-13B-AWQ", "meta-llama/Llama-2-13b-hf", "awq"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct", "gptq"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "meta-llama/Llama-3.1-8B-Instruct", "fp8"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "meta-llama/Llama-3.1-8B-Instruct", "w4a16"),
        ("mlx-community/Llama-3.2-3B-Instruct-4bit", "meta-llama/Llama-3.2-3B-Instruct", "mlx"),
    ],
)
def test_copies_are_known_by_rule(name: str, like: str, quantised: str | None) -> None:
    copy, original = known_model(name, folders=False), known_model(like, folders=False)
    assert copy is not None
    assert original is not None
    assert copy.quantised == quantised
    assert (copy.parameters, copy.context, copy.linear) == (original.parameters, original.context, original.linear)


def test_a_copy_by_anybody_is_not_taken_for_known() -> None:
    assert known_model("somebody/Llama-3.1-8B-Instruct", folders=False) is None


def test_what_the_hub_left_in_its_cache_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert hub_cache() == str(tmp_path)
    assert known_model("lab/new-model") is None
    snapshot = tmp_path / "models--lab--new-model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    quantisation = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    inner = {"model_type": "qwen3", "max_position_embeddings": 512, "num_hidden_layers": 2}
    (snapshot / "config.json").write_text(json.dumps({"text_config": inner, "quantization_config": quantisation}))
    known = known_model("lab/new-model")
    assert known is not None
    assert (known.context, known.layers, known.quantised) == (512, 2, "bnb-4bit")
    assert known_model("lab/new-model", folders=False) is None  # what is emitted is the same on every machine
