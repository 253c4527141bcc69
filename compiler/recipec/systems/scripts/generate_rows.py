"""Let a model write rows: `python generate_rows.py generate.json`, or the same behind torchrun.

Copied as it is into the output of a recipe that generates rows; needs only torch, transformers and datasets, and peft
where the model is an adapter. Each process answers every n-th batch of prompts into a file of its own; the first one then
judges the answers and writes the rows all at once. Started again, it goes on behind the last whole batch: what is sampled
for a batch depends on the seed and the batch alone.
"""

import json
import os
import sys
from pathlib import Path

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
STRIDE = 1_000_003  # between the seeds of two batches


def say(text: str) -> None:
    """Tell whoever follows how far it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def prompts_of(source: dict) -> list[dict]:
    """Return the prompts of a source, as text or turns, each with the other columns of its row. Raises SystemExit."""
    from datasets import load_dataset

    if source["path"] is not None:
        place, files = KINDS[Path(source["path"]).suffix], source["path"]
    else:
        place, files = source["hub"], None
    words = {"data_files": files, "split": source["split"], "revision": source["revision"]}
    rows = load_dataset(place, source["subset"], **words)
    missing = [name for name in source["columns"].values() if name not in rows.column_names]
    if missing:
        names = ", ".join(rows.column_names)
        raise SystemExit(f"generate_rows.py: {files or place} has no column {', '.join(missing)}; it has {names}")
    at, found = source["columns"], []
    for row in rows:
        value = row[at["prompt"]]
        turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
        if source["system"] and turns[0]["role"] != "system":
            turns = [{"role": "system", "content": source["system"]}, *turns]
        text = value if isinstance(value, str) and not source["turns"] else None
        columns = {name: row[column] for name, column in at.items() if name != "prompt"}
        found.append({"turns": turns, "text": text, "columns": columns})
    return found


def load_model(settings: dict, device: str):
    """Return the model, with its adapter merged into it, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trust = settings["trust_remote_code"]
    tokenizer = AutoTokenizer.from_pretrained(settings["tokenizer"], trust_remote_code=trust, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(
        settings["model"],
        revision=settings.get("revision") or "main",
        dtype=getattr(torch, DTYPES[settings["precision"]]),
        trust_remote_code=trust,
    )
    if settings.get("adapter"):
        from peft import PeftModel

        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
        model = PeftModel.from_pretrained(model, settings["adapter"]).merge_and_unload()
    return model.to(device).eval(), tokenizer


def asked(prompt: dict, tokenizer) -> str:
    """Return a prompt as the model is given it. Raises SystemExit where turns cannot be written."""
    if prompt["text"] is not None:
        return prompt["text"]
    if not tokenizer.chat_template:
        raise SystemExit("generate_rows.py: the prompts are turns, and the model's tokenizer has no chat template")
    return tokenizer.apply_chat_template(prompt["turns"], tokenize=False, add_generation_prompt=True)


def ends_of(model, tokenizer) -> list[int]:
    """Return the tokens that end an answer: the tokenizer's EOS token, and those that the model generates to."""
    known = model.generation_config.eos_token_id
    ends = known if isinstance(known, list) else [known]
    return sorted({one for one in (tokenizer.eos_token_id, *ends) if one is not None})


def answered(part: Path, settings: dict, prompts: list[dict], rank: int, world: int, device: str) -> None:
    """Answer this process's batches of prompts into its part, a line for each batch."""
    import torch
    from transformers import set_seed

    size = settings["batch_size"]
    mine = range(rank * size, len(prompts), world * size)
    done = whole_lines(part)
    if done >= len(mine):
        return
    model, tokenizer = load_model(settings, device)
    ends, limit = ends_of(model, tokenizer), settings["max_length"] - settings["max_new_tokens"]
    for start in mine[done:]:
        batch = list(range(start, min(start + size, len(prompts))))
        texts = {index: asked(prompts[index], tokenizer) for index in batch}
        # a template writes the special tokens of turns itself
        tokens = {
            i: tokenizer(t, add_special_tokens=prompts[i]["text"] is not None)["input_ids"] for i, t in texts.items()
        }
        short = [index for index in batch if len(tokens[index]) <= limit]
        found = {str(index): [] for index in short}
        if short:
            set_seed(settings["seed"] + STRIDE * (start // size))
            given = tokenizer.pad({"input_ids": [tokens[index] for index in short]}, return_tensors="pt").to(device)
            with torch.inference_mode():
                out = model.generate(
                    **given,
                    do_sample=True,
                    temperature=settings["temperature"],
                    top_p=settings["top_p"],
                    top_k=0,
                    max_new_tokens=settings["max_new_tokens"],
                    num_return_sequences=settings["completions"],
                    eos_token_id=ends,
                    pad_token_id=tokenizer.pad_token_id,
                )
            for number, said in enumerate(out[:, given["input_ids"].shape[1] :].tolist()):
                end = next((at for at, token in enumerate(said) if token in ends), None)
                text = tokenizer.decode(said[:end], skip_special_tokens=True)
                found[str(short[number // settings["completions"]])].append({"text": text, "whole": end is not None})
        with part.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"answers": found, "long": len(batch) - len(short)}, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        say(f"{part.stem}: {batch[-1] + 1} of {len(prompts)} prompts")


def whole_lines(part: Path) -> int:
    """Return how many batches a part holds, after cutting off what a killed process left unfinished."""
    if not part.exists():
        return 0
    raw = part.read_bytes()
    end = raw.rfind(b"\n") + 1
    if end < len(raw):
        os.truncate(part, end)
    return raw[:end].count(b"\n")


def judged(settings: dict, prompts: list[dict], answers: list[tuple[int, str]], device: str) -> list[float]:
    """Return the reward of each answer to a prompt: the weighted sum of what functions and reward models give."""
    total = [0.0] * len(answers)
    if any("function" in one for one in settings["rewards"]):
        import rewards

    for one in settings["rewards"]:
        if "model" in one:
            given = scores(one["model"], settings, prompts, answers, device)
        else:
            named = {name for index, _ in answers for name in prompts[index]["columns"]}
            columns = {name: [prompts[index]["columns"].get(name) for index, _ in answers] for name in named}
            turns = [prompts[i]["text"] if prompts[i]["text"] is not None else prompts[i]["turns"] for i, _ in answers]
            given = getattr(rewards, one["function"])(turns, [text for _, text in answers], **columns)
        total = [sum_ + one["weight"] * float(reward or 0.0) for sum_, reward in zip(total, given, strict=True)]
    return total


def scores(path: str, settings: dict, prompts: list[dict], answers: list[tuple[int, str]], device: str) -> list[float]:
    """Return what a reward model gives each answer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    trust = settings["trust_remote_code"]
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust)
    dtype = getattr(torch, DTYPES[settings["precision"]])
    judge = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, dtype=dtype, trust_remote_code=trust)
    judge = judge.to(device).eval()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    judge.config.pad_token_id = tokenizer.pad_token_id  # by which it finds the last token, whose score counts
    templated = bool(tokenizer.chat_template)
    texts = [
        tokenizer.apply_chat_template([*prompts[i]["turns"], {"role": "assistant", "content": text}], tokenize=False)
        if templated
        else (prompts[i]["text"] or prompts[i]["turns"][-1]["content"]) + text
        for i, text in answers
    ]
    found = []
    for start in range(0, len(texts), settings["batch_size"]):
        batch = texts[start : start + settings["batch_size"]]
        given = tokenizer(batch, add_special_tokens=not templated, padding=True, return_tensors="pt").to(device)
        with torch.inference_mode():
            found += (
                judge(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
                .logits[:, 0]
                .float()
                .tolist()
            )
    return found


def rows_of(settings: dict, prompts: list[dict], parts: list[Path], device: str) -> tuple[list[dict], dict[str, int]]:
    """Return the rows that are made of all answers, in the order of the prompts, and what became of the rest."""
    lines = [
        json.loads(line) for part in parts if part.exists() for line in part.read_text(encoding="utf-8").splitlines()
    ]
    count = {"prompts": len(prompts), "prompts too long": sum(line["long"] for line in lines)}
    answers = [(int(index), one) for line in lines for index, ones in line["answers"].items() for one in ones]
    every = sorted(answers, key=lambda pair: pair[0])
    kept, seen = [], set()
    count |= {"answers": len(every), "answers cut off": 0, "answers empty": 0, "answers repeated": 0}
    for index, one in every:
        if not one["whole"] and not settings["keep_truncated"]:
            count["answers cut off"] += 1
        elif not one["text"].strip():
            count["answers empty"] += 1
        elif (index, one["text"]) in seen:
            count["answers repeated"] += 1
        else:
            seen.add((index, one["text"]))
            kept.append((index, one["text"]))
    given = judged(settings, prompts, kept, device) if settings["rewards"] else None
    grouped: dict[int, list[tuple[str, float | None]]] = {}
    for number, (index, text) in enumerate(kept):
        grouped.setdefault(index, []).append((text, given[number] if given is not None else None))
    rows = [row for index, ones in grouped.items() for row in chosen(settings, prompts[index]["turns"], ones)]
    return rows, count | {"rows": len(rows)}


def chosen(settings: dict, turns: list[dict], answers: list[tuple[str, float | None]]) -> list[dict]:
    """Return the rows of one prompt: the answers that are kept, or a pair of the best and the worst."""
    least = settings.get("min_reward")
    good = [one for one in answers if least is None or (one[1] is not None and one[1] >= least)]
    if settings["makes"] == "chat":
        if settings["keep"] == "best" and good and good[0][1] is not None:
            good = [max(good, key=lambda one: one[1] or 0.0)]
        return [
            {"messages": [*turns, {"role": "assistant", "content": text}]}
            | ({} if reward is None else {"score": reward})
            for text, reward in good
        ]
    if not good:
        return []
    best, worst = max(good, key=lambda one: one[1] or 0.0), min(answers, key=lambda one: one[1] or 0.0)
    apart = (best[1] or 0.0) - (worst[1] or 0.0)
    if apart <= 0 or apart < (settings.get("margin") or 0.0):
        return []
    said = [{"role": "assistant", "content": text} for text, _ in (best, worst)]
    return [
        {"messages": turns, "chosen": said[0], "rejected": said[1], "score_chosen": best[1], "score_rejected": worst[1]}
    ]


def main(path: str) -> None:
    """Do what a settings file says. Raises SystemExit where no row is left."""
    import torch

    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    output = Path(settings["output"])
    output.mkdir(parents=True, exist_ok=True)
    parts = [output / f"answers-{one}-of-{world}.jsonl" for one in range(world)]
    prompts = [prompt for source in settings["sources"] for prompt in prompts_of(source)]
    if world > 1:
        torch.distributed.init_process_group("gloo")
    answered(parts[rank], settings, prompts, rank, world, device)
    if world > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    if rank > 0:
        return
    rows, count = rows_of(settings, prompts, parts, device)
    say("; ".join(f"{what}: {number}" for what, number in count.items()))
    if not rows:
        raise SystemExit("generate_rows.py: no row is left; the line before says what became of the answers")
    file = output / settings["file"]
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (output / "count.json").write_text(json.dumps(count, indent=1) + "\n", encoding="utf-8")
    fresh.replace(file)


if __name__ == "__main__":
    main(sys.argv[1])
