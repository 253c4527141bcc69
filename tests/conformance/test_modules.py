"""The modules of a known model are those that Transformers makes, and PEFT matches names and patterns as we do."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.facts.layers import matching, modules
from recipec.facts.models import known_model

MODELS = {
    "llama": "meta-llama/Llama-3.1-8B",
    "mistral": "mistralai/Mistral-7B-v0.3",
    "qwen2": "Qwen/Qwen2.5-7B",
    "qwen3": "Qwen/Qwen3-8B",
}
PATTERNS = [r".*\.(q_proj|v_proj)", r"layers\.0\.self_attn\.q_proj", r".*(self_attn|mlp).*", r".*mlp\.\w+_proj"]
ASK = """
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
found = {}
for family, (layers, patterns) in json.load(sys.stdin).items():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "vocab_size": 32, "num_attention_heads": 2, "head_dim": 8}
    sizes |= {"num_key_value_heads": 2, "num_hidden_layers": layers, "pad_token_id": 0}
    config = AutoConfig.for_model(family, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    names = [name for name, _ in model.named_modules() if name]
    scores = [name for name, _ in AutoModelForSequenceClassification.from_config(config).named_modules() if name]
    met = {one: [n for n in names if check_target_module_exists(LoraConfig(target_modules=one), n)] for one in patterns}
    try:
        get_peft_model(model, LoraConfig(target_modules=".*(self_attn|mlp).*"))
        told = ""
    except ValueError as error:
        told = str(error)
    found[family] = {"names": names, "scores": scores, "met": met, "told": told}
print(json.dumps(found))
"""


@pytest.mark.conformance
@pytest.mark.parametrize("environment", ["trl-1.16.0", "axolotl-0.21.0"])
def test_modules_are_those_of_transformers(environment: str, tool_python: Callable[[str], Path]) -> None:
    known: dict[str, Any] = {family: known_model(name, folders=False) for family, name in MODELS.items()}
    asked = json.dumps({family: [known[family].layers, PATTERNS] for family in MODELS})
    done = subprocess.run(
        [tool_python(environment), "-c", ASK], input=asked, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for family, found in json.loads(done.stdout.splitlines()[-1]).items():
        ours = modules(known[family])
        assert sorted([*ours, "lm_head"]) == sorted(found["names"])
        assert sorted([*ours, "score"]) == sorted(found["scores"])
        for pattern, met in found["met"].items():
            assert sorted(matching(pattern, [*ours, "lm_head"])) == sorted(met)
        assert "is not supported" in found["told"]
