"""Quantise a model: `python quantize_model.py TOOL RECIPE quantize.json`, by llm-compressor or by GPTQModel.

Copied as it is into the output of a recipe that quantises, with rows.py beside it, which reads the rows; needs only torch,
transformers, datasets and the tool. The rows show the tool what activations the weights meet. Others, which it is not shown,
measure the perplexity before and after, so the result has been loaded once; quantized.json in its folder keeps both.
"""

import gc
import json
import math
import os
import random
import shutil
import sys
from pathlib import Path

import rows

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
WHOLE = {
    "max_length": 1 << 40,
    "method": "sft",
    "train_on": "all",
    "max_new_tokens": 0,
}  # rows are cut here, not left out
SUMMARY = "quantized.json"


def say(text: str) -> None:
    """Tell whoever follows how far it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tokens_of(record: dict, tokenizer) -> list[int]:
    """Return a row as the model reads it: whole conversations and texts, of a pair the better answer."""
    if "input_ids" in record:
        return record["input_ids"]
    prompt, answer = record["prompt"], record.get("chosen", record.get("completion"))
    if isinstance(prompt, str):
        return tokenizer(prompt + (answer or ""))["input_ids"]
    tools = json.loads(record["tools"]) if record.get("tools") else None
    turns = prompt + (answer or [])
    text = tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=answer is None)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def texts(settings: dict, tokenizer, count: int) -> list[list[int]]:
    """Return the tokens of so many rows, fewer where there are fewer, drawn by the seed; sources by their weight."""
    tables = [rows.read(source, streaming=False) for source in settings["sources"]]
    draw, order = random.Random(settings["seed"]), []
    for (table, source), number in zip(tables, range(len(tables)), strict=True):
        order += [(draw.random() ** (1 / source["weight"]), number, index) for index in range(len(table))]
    found: list[list[int]] = []
    for _, number, index in sorted(order, reverse=True):
        table, source = tables[number]
        for record in rows.records(table[index], source, WHOLE, tokenizer):
            found.append(tokens_of(record, tokenizer)[: settings["max_length"]])
        if len(found) >= count:
            break
    return [one for one in found if len(one) > 1][:count]


def load(settings: dict, path: str, *, spread: bool):
    """Return a model; `spread` over the GPUs that there are, else in the machine's memory."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        path,
        revision=(settings.get("revision") if path == settings["model"] else None) or "main",
        dtype=getattr(torch, DTYPES[settings["precision"]]),
        trust_remote_code=settings["trust_remote_code"],
        **({"device_map": "auto"} if spread and torch.cuda.is_available() else {}),
    )


def perplexity(settings: dict, path: str, held: list[list[int]]) -> float | None:
    """Return the perplexity of a model on rows, by token; None where there are no rows."""
    if not held:
        return None
    import torch

    model, total, count = load(settings, path, spread=True).eval(), 0.0, 0
    for one in held:
        ids = torch.tensor([one], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, :-1].float()
        total += torch.nn.functional.cross_entropy(logits, ids[0, 1:].to(logits.device), reduction="sum").item()
        count += len(one) - 1
    del model, logits  # a model that is spread holds itself, and what comes next needs the room
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return math.exp(total / count)


def by_llmcompressor(recipe: Path, settings: dict, tokenizer, given: list[list[int]], output: Path) -> None:
    """Quantise by an llm-compressor recipe."""
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot

    if not torch.cuda.is_available():  # AWQ pins memory for copies to a GPU, which torch refuses where there is none
        torch.Tensor.pin_memory = lambda self, *_: self
    read = Dataset.from_list([{"input_ids": one, "attention_mask": [1] * len(one)} for one in given])
    oneshot(
        model=load(settings, settings["model"], spread=False),
        tokenizer=tokenizer,
        recipe=str(recipe),
        dataset=read if given else None,
        num_calibration_samples=len(given),
        max_seq_length=settings["max_length"],
        shuffle_calibration_samples=False,
        pipeline="sequential" if given else "datafree",
        trust_remote_code_model=settings["trust_remote_code"],
        output_dir=str(output),
    )


def by_gptqmodel(recipe: Path, settings: dict, tokenizer, given: list[list[int]], output: Path) -> None:
    """Quantise by GPTQModel's settings."""
    os.environ.setdefault(
        "GPTQMODEL_CPU_WORKERS", str(min(12, max(2, ((os.cpu_count() or 1) + 1) // 2)))
    )  # one is too few for it
    import torch
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

    words = json.loads(recipe.read_text(encoding="utf-8"))
    on_cpu = not torch.cuda.is_available()
    model = GPTQModel.load(
        settings["model"],
        QuantizeConfig(**words),
        trust_remote_code=settings["trust_remote_code"],
        dtype=getattr(torch, DTYPES[settings["precision"]]),
    )
    # the kernels that AWQ is fitted with by default need a GPU
    more = {"backend": BACKEND.AWQ_TORCH} if on_cpu and words["method"] == "awq" else {}
    model.quantize([{"input_ids": one, "attention_mask": [1] * len(one)} for one in given], tokenizer=tokenizer, **more)
    model.save(str(output))


def main(tool: str, recipe: Path, settings: dict) -> str:
    """Quantise as the settings say, all at once; return what there is to say about it. Raises OSError or ValueError."""
    output = Path(settings["output"])
    tokenizer = rows.load_tokenizer(settings)
    drawn = texts(settings, tokenizer, settings["rows"] + settings["measure"]) if settings["sources"] else []
    given, held = drawn[: settings["rows"]], drawn[settings["rows"] :]
    if settings["rows"] and not given:
        raise SystemExit("quantize_model.py: there are no rows to read")
    if len(given) < settings["rows"]:
        say(f"{settings['rows']} rows are asked for, and there are {len(given)}")
    if settings["measure"] and not held:
        say("all rows are read, so none is left to measure the perplexity on")
    before = perplexity(settings, settings["model"], held)
    for left in output.parent.glob(f".{output.name}.new-*"):  # of one that was killed
        shutil.rmtree(left, ignore_errors=True)
    fresh = output.with_name(f".{output.name}.new-{os.getpid()}")
    {"llmcompressor": by_llmcompressor, "gptqmodel": by_gptqmodel}[tool](recipe, settings, tokenizer, given, fresh)
    tokenizer.save_pretrained(fresh)
    size = sum(file.stat().st_size for file in fresh.glob("*.safetensors"))
    summary = {"rows": len(given), "tokens": sum(map(len, given)), "bytes": size, "measured_rows": len(held)}
    after = perplexity(settings, str(fresh), held)
    summary |= {"perplexity_before": before, "perplexity_after": after}
    (fresh / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if output.exists():
        shutil.rmtree(output)
    fresh.rename(output)
    said = f"quantised {settings['model']} by {len(given)} rows into {size / 1e9:.2f} GB: {output}"
    return said + (f"; perplexity {before:.4f} before, {after:.4f} after" if before is not None else "")


if __name__ == "__main__":
    try:
        say(main(sys.argv[1], Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        sys.exit(f"quantize_model.py: {error}")
