"""Stacks adapters of a tiny Llama by the script that recipes emit, and by PEFT alone, and compares what the models say.

python stacks.py SCRIPTS CASES.json     (SCRIPTS: the folder of merge_adapter.py and stack_adapters.py)

A case names the LoRA settings of some adapters, each trained over what those before it were merged into. Printed is JSON:
case → how far the logits of the stack over the base are from those of the last adapter over the merged ones (`script`), or
why there is none; the same of PEFT's add_weighted_adapter by itself (`peft`); and how far the last one moved them (`moved`).
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = torch.arange(12)[None]


def script(folder: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(folder) / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def base(folder: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=12, **sizes)).save_pretrained(folder)
    words = models.WordLevel({"<unk>": 0} | {f"w{number}": number for number in range(1, 12)}, unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained(folder)


def loaded(folder: str) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def said(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TEXT).logits


def trained(over: str, output: str, settings: dict) -> torch.Tensor:
    """Save an adapter as one that was trained, and its tokenizer; return what the model says with it."""
    model = get_peft_model(loaded(over), LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8} | settings))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.05 * torch.randn_like(weight)
    model.save_pretrained(output)
    shutil.copy("base/tokenizer.json", output)
    shutil.copy("base/tokenizer_config.json", output)
    return said(model)


def by_peft(parent: str, new: str) -> torch.Tensor:
    model = PeftModel.from_pretrained(loaded("base"), parent, adapter_name="parent")
    model.load_adapter(new, adapter_name="new")
    model.add_weighted_adapter(["parent", "new"], [1.0, 1.0], "both", combination_type="cat")
    model.set_adapter("both")
    return said(model)


def main(scripts: str, cases: dict[str, list[dict]]) -> dict[str, dict]:
    merge, stack = script(scripts, "merge_adapter"), script(scripts, "stack_adapters")
    base("base")
    found: dict[str, dict] = {}
    for case, adapters in cases.items():
        torch.manual_seed(1)
        Path(case).mkdir()
        before = trained("base", f"{case}/0", adapters[0])
        parent = f"{case}/0"
        for number, settings in enumerate(adapters[1:], 1):
            common = {"base": "base", "revision": None, "trust_remote_code": False}
            merged, new, both = f"{case}/merged-{number}", f"{case}/{number}", f"{case}/stack-{number}"
            tokenizer = f"{case}/{number - 1}"
            merge.merge(common | {"adapter": parent, "tokenizer": tokenizer, "precision": "fp32", "output": merged})
            wanted = trained(merged, new, settings)
            row: dict = {"moved": float((wanted - before).abs().max())}
            try:
                row["peft"] = float((by_peft(parent, new) - wanted).abs().max())
            except (ValueError, RuntimeError, KeyError) as error:
                row["peft"] = str(error)
            try:
                stack.stack(common | {"parent": parent, "adapter": new, "tokenizer": new, "output": both})
                row["script"] = float((said(PeftModel.from_pretrained(loaded("base"), both)) - wanted).abs().max())
                config = json.loads((Path(both) / "adapter_config.json").read_text())
                row |= {word: config[word] for word in ("r", "lora_alpha", "base_model_name_or_path")}
            except ValueError as error:
                row["script"] = str(error)
            found[case], parent, before = row, both, wanted
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))))
