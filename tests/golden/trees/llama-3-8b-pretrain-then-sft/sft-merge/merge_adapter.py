"""Merge an adapter into its base: `python merge_adapter.py merge.json`.

Copied as it is into the output of a recipe that merges; needs only torch, transformers and peft. The base is loaded
in the precision of the result, never quantised: the rounding of a 4-bit base would stay in the merged weights.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def merge(settings: dict) -> str:
    """Merge as the settings say, all at once; return what there is to say about it. Raises OSError or ValueError."""
    output, adapter = Path(settings["output"]), Path(settings["adapter"])
    kind = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("task_type")
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for folder in [adapter, *(Path(part["adapter"]) for part in settings.get("adapters", []))]:
        for file in sorted(folder.glob("adapter_*")):
            key.update(file.read_bytes())
    done = output / "merged_from.sha256"
    if done.is_file() and done.read_text(encoding="utf-8") == key.hexdigest():
        return f"{output} is already merged from these weights"

    import torch
    import transformers
    from peft import PeftModel

    judge = kind == "SEQ_CLS"  # a reward model: one score instead of a next token
    auto = transformers.AutoModelForSequenceClassification if judge else transformers.AutoModelForCausalLM
    trust = settings["trust_remote_code"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["tokenizer"], trust_remote_code=trust)
    base = auto.from_pretrained(
        settings["base"],
        revision=settings.get("revision") or "main",
        dtype=getattr(torch, DTYPES[settings["precision"]]),
        trust_remote_code=trust,
        **({"num_labels": 1} if judge else {}),
    )
    if len(tokenizer) > base.get_input_embeddings().num_embeddings:
        base.resize_token_embeddings(len(tokenizer))
    model = combined(PeftModel, base, settings).merge_and_unload(safe_merge=True)
    stop_at_the_end_of_a_turn(model, tokenizer)
    fresh = output.with_name(f".{output.name}.new-{os.getpid()}")
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    (fresh / done.name).write_text(key.hexdigest(), encoding="utf-8")
    if output.exists():
        shutil.rmtree(output)
    fresh.rename(output)
    return f"merged {adapter} into {settings['base']}: {output}"


def stop_at_the_end_of_a_turn(model, tokenizer) -> None:
    """Have generation stop at the tokenizer's EOS token, as Transformers' Trainer does for a model trained in full."""
    end, config = tokenizer.eos_token_id, getattr(model, "generation_config", None)
    if end is None or config is None:
        return
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if end not in ends:
        config.eos_token_id = [end, *(one for one in ends if one is not None)]
        model.config.eos_token_id = end


def combined(peft_model, base: object, settings: dict):
    """Return the base with the adapter that is merged: one as it is, or several combined by weight."""
    parts = settings.get("adapters", [])
    if not parts:
        return peft_model.from_pretrained(base, settings["adapter"])
    names = [f"part_{number}" for number in range(len(parts))]
    model = peft_model.from_pretrained(base, parts[0]["adapter"], adapter_name=names[0])
    for name, part in zip(names[1:], parts[1:], strict=True):
        model.load_adapter(part["adapter"], adapter_name=name)
    for name in names:  # one kind of choice: PEFT combines no list with a pattern
        modules = model.get_base_model().named_modules()
        model.peft_config[name].target_modules = {at for at, module in modules if name in getattr(module, "lora_A", ())}
    first = model.peft_config[names[0]]  # of which PEFT makes the configuration of the result, with alpha = rank
    first.use_rslora, first.init_lora_weights = False, True
    first.exclude_modules = first.layers_to_transform = first.layers_pattern = None
    more = {"density": settings.get("density"), "majority_sign_method": settings.get("majority")}
    model.add_weighted_adapter(
        names,
        [part["weight"] for part in parts],
        "combined",
        combination_type=settings["how"],
        **{word: value for word, value in more.items() if value is not None},
    )
    for name in names:
        model.delete_adapter(name)
    model.set_adapter("combined")
    return model


if __name__ == "__main__":
    try:
        print(merge(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        sys.exit(f"merge_adapter.py: {error}")
