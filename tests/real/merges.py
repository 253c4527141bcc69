"""Merges two adapters of a tiny Llama in every way that a recipe can name, by the script that recipes emit.

python merges.py merge_adapter.py WAYS.json     (prints JSON: way → largest difference to the weighted sum)
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WEIGHTS = (0.7, 0.3)


def projection(model: LlamaForCausalLM) -> torch.Tensor:
    return model.model.layers[0].self_attn.q_proj.weight.detach()


def made() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Write a base and two adapters; return the base's weight and what each adapter adds to it."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=3, **sizes))
    base.save_pretrained("base")
    words = models.WordLevel({"a": 0, "b": 1, "<unk>": 2}, unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained("base")
    added = []
    for name in ("one", "two"):
        scaled = {"lora_alpha": 2, "use_rslora": True} if name == "one" else {"lora_alpha": 4}  # by 1, both of them
        modules = {"target_modules": ".*q_proj" if name == "one" else ["q_proj"]}
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained("base"), LoraConfig(r=4, **scaled, **modules))
        layer = adapted.base_model.model.model.layers[0].self_attn.q_proj
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.3)
        added.append((layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach())
        adapted.save_pretrained(name)
    return projection(base), added


def main(script: str, ways: list[dict]) -> dict[str, float]:
    spec = importlib.util.spec_from_file_location("merge_adapter", script)
    assert spec is not None
    assert spec.loader is not None
    merge_adapter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(merge_adapter)
    weight, added = made()
    wanted = weight + sum(share * each for share, each in zip(WEIGHTS, added, strict=True))
    parts = [{"adapter": name, "weight": share} for name, share in zip(("one", "two"), WEIGHTS, strict=True)]
    found = {}
    for way in ways:
        settings = {"base": "base", "revision": None, "adapter": "one", "tokenizer": "base", "precision": "fp32"}
        settings |= {"trust_remote_code": False, "output": f"merged-{way['how']}", "adapters": parts, **way}
        merge_adapter.merge(settings)
        merged = projection(LlamaForCausalLM.from_pretrained(settings["output"]))
        assert not torch.equal(merged, weight), f"{way['how']} left the base as it was"
        found[way["how"]] = float((merged - wanted).abs().max())
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))))
