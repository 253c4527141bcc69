"""Loads quantised checkpoints as Transformers does, and says what is in them.

python quantised.py FULL FOLDER …     (prints JSON: folder → what was found; FULL is the model that was quantised)
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer


def answers(folder: str, prompt: str) -> tuple[torch.Tensor, str]:
    """Return the logits of a prompt, and what the model writes behind it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0].float()
        written = model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
    return logits, tokenizer.decode(written[0])


def stored(folder: str) -> dict[str, str]:
    """Return the type of every stored tensor by its name."""
    found = {}
    for file in Path(folder).glob("*.safetensors"):
        with safe_open(file, "pt") as held:
            found |= {name: str(held.get_tensor(name).dtype).removeprefix("torch.") for name in held.keys()}  # noqa: SIM118
    return found


def main(full: str, folders: list[str]) -> dict[str, dict]:
    prompt = "<user>Is tea a drink, number 0?"
    whole, _ = answers(full, prompt)
    found = {}
    for folder in folders:
        logits, written = answers(folder, prompt)
        found[folder] = {
            "config": json.loads((Path(folder) / "config.json").read_text())["quantization_config"],
            "stored": stored(folder),
            "difference": float((logits - whole).abs().max()),
            "scale": float(whole.abs().max()),
            "written": written,
            "template": AutoTokenizer.from_pretrained(folder).chat_template,
        }
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
