"""Rows of data, as the recipe describes them, into what TRL trains on. Copied as it is beside `train.py`.

Every row is brought to one shape, measured, and left out when it is longer than the recipe's `max_length`: TRL itself
would cut it off. A row that lacks a column stops the run with the name of the column, before anything is trained.
"""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
ALPACA = (
    "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}{% else %}{{ BEFORE + message['content'] + AFTER }}"
    "{% endif %}{% endfor %}"
)
OF_TRL = {"llama3": "llama3.jinja", "gemma": "gemma.jinja", "phi_3": "phi3.jinja", "qwen3": "qwen3.jinja"}
OWN = {
    "chatml": CHATML,
    "mistral_v1": TURNS.replace("BEFORE", "'[INST] '").replace("AFTER", "' [/INST]'"),
    "mistral_v3_tekken": TURNS.replace("BEFORE", "'[INST]'").replace("AFTER", "'[/INST]'"),
    "alpaca": TURNS.replace("BEFORE", "'### Instruction:\\n'").replace("AFTER", "'\\n\\n### Response:\\n'"),
}


def read_settings(path: Path) -> dict:
    """Return the settings beside the script."""
    return json.loads(path.read_text(encoding="utf-8"))


def load_tokenizer(settings: dict):
    """Return the tokenizer, with the recipe's chat template and tokens, and something to pad with."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        settings["tokenizer"], revision=settings["revision"], trust_remote_code=settings["trust_remote_code"]
    )
    name = settings["chat_template"]
    if name in OF_TRL:
        folder = resources.files("trl").joinpath("chat_templates")
        tokenizer.chat_template = folder.joinpath(OF_TRL[name]).read_text(encoding="utf-8")
    elif name in OWN:
        tokenizer.chat_template = OWN[name]
    special = {f"{word}_token": token for word, token in settings.get("special_tokens", {}).items()}
    if special:
        tokenizer.add_special_tokens(special)
    if settings.get("new_tokens"):
        tokenizer.add_tokens(settings["new_tokens"], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def fit_embeddings(model, tokenizer) -> None:
    """Give the model an embedding for every token of the tokenizer."""
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))


def load_rows(settings: dict, tokenizer):
    """Return the training and the validation rows (None where there are none), shuffled by the seed."""
    from datasets import concatenate_datasets

    train = concatenate_datasets(
        [part for s in settings["train"] for part in [_load(s, settings, tokenizer)] * s["weight"]]
    )
    validation = [_load(s, settings, tokenizer) for s in settings["validation"]]
    held = concatenate_datasets(validation) if validation else None
    if settings["holdout"]:
        parts = train.train_test_split(test_size=settings["holdout"], seed=settings["seed"])
        train, held = parts["train"], parts["test"]
    if settings["shuffle"]:
        train = train.shuffle(seed=settings["seed"])
    if not settings["streaming"] and len(train) == 0:
        raise SystemExit("rows.py: no row is left to train on: all are longer than max_length")
    return train, held


def _load(source: dict, settings: dict, tokenizer):
    from datasets import load_dataset

    if source["path"] is not None:
        place, files = KINDS[Path(source["path"]).suffix], source["path"]
    else:
        place, files = source["hub"], None
    rows = load_dataset(
        place,
        source["subset"],
        data_files=files,
        split=source["split"],
        revision=source["revision"],
        streaming=settings["streaming"],
    )
    names = rows.column_names or list(next(iter(rows)))
    missing = [name for name in _columns(source) if name not in names]
    if missing:
        raise SystemExit(f"rows.py: {files or place} has no column {', '.join(missing)}; it has {', '.join(names)}")

    def several(batch: dict) -> dict:
        found = [
            record
            for index in range(len(batch[names[0]]))
            for record in records({name: batch[name][index] for name in names}, source, settings, tokenizer)
        ]
        return {key: [record[key] for record in found] for key in _keys(source)}

    return rows.map(several, batched=True, remove_columns=names)


def _columns(source: dict) -> list[str]:
    """Return the columns that every row must have."""
    return [column for name, column in source["columns"].items() if name not in ("role", "content", "input", "system")]


def _keys(source: dict) -> list[str]:
    """Return the columns of the records of a source."""
    return {
        "preference": ["prompt", "chosen", "rejected"],
        "unpaired-preference": ["prompt", "completion", "label"],
        "prompt": ["prompt", *(["answer"] if "answer" in source["columns"] else [])],
    }.get(source["format"], ["input_ids", "labels"])


def records(row: dict, source: dict, settings: dict, tokenizer) -> Iterator[dict]:
    """Yield what TRL trains on of one row: nothing when it is too long, several parts of a long text. Raises SystemExit."""
    at, limit = source["columns"], settings["max_length"]
    kind = source["format"]
    if kind == "text":
        ids = _encode(row[at["text"]] + tokenizer.eos_token, tokenizer)["input_ids"]
        whole = settings["method"] != "pretrain"
        for start in range(0, len(ids), limit):
            if not (whole and len(ids) > limit):
                yield {"input_ids": ids[start : start + limit], "labels": ids[start : start + limit]}
    elif kind in ("chat", "instruction", "completion"):
        ids, labels = _labelled(row, source, settings, tokenizer)
        if len(ids) <= limit and any(label != -100 for label in labels):
            yield {"input_ids": ids, "labels": labels}
    elif kind == "preference":
        prompt = _turns(row[at["messages"]], source) if "messages" in at else row[at["prompt"]]
        record = {"prompt": prompt}
        for side in ("chosen", "rejected"):
            record[side] = _answer(row[at[side]], prompt, source)
        if all(_length(prompt, record[side], tokenizer) <= limit for side in ("chosen", "rejected")):
            yield record
    elif kind == "unpaired-preference":
        prompt, completion = row[at["prompt"]], row[at["completion"]]
        if _length(prompt, completion, tokenizer) <= limit:
            yield {"prompt": prompt, "completion": completion, "label": bool(row[at["label"]])}
    elif _length(row[at["prompt"]], None, tokenizer) + settings["max_new_tokens"] <= limit:
        yield {"prompt": row[at["prompt"]], **({"answer": row[at["answer"]]} if "answer" in at else {})}


def _turns(messages: list, source: dict) -> list[dict]:
    """Return messages with the standard names of roles and columns."""
    role, content = source["columns"]["role"], source["columns"]["content"]
    known = {name: standard for standard, names in source["roles"].items() for name in names}
    return [{"role": known.get(m[role], m[role]), "content": m[content]} for m in messages]


def _answer(value, prompt, source: dict):
    """Return an answer in the shape of its prompt: text beside text, messages beside messages."""
    if isinstance(prompt, str):
        if not isinstance(value, str):
            raise SystemExit("rows.py: prompt is text, but an answer is not: map messages instead of prompt")
        return value
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    turns = _turns([value] if isinstance(value, dict) else value, source)
    return turns[len(prompt) :] if len(turns) > len(prompt) and turns[: len(prompt)] == prompt else turns


def _length(prompt, answer, tokenizer) -> int:
    """Return the tokens of a prompt and its answer; text ends with the token that ends a text."""
    if isinstance(prompt, str):
        end = "" if answer is None else answer + tokenizer.eos_token
        return len(_encode(prompt + end, tokenizer)["input_ids"])
    text = tokenizer.apply_chat_template(prompt + (answer or []), tokenize=False, add_generation_prompt=answer is None)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _encode(text: str, tokenizer, *, special: bool = True, offsets: bool = False):
    return tokenizer(text, add_special_tokens=special, return_offsets_mapping=offsets)


def _labelled(row: dict, source: dict, settings: dict, tokenizer) -> tuple[list[int], list[int]]:
    """Return the tokens of a row, and its labels: −100 where a token carries no loss."""
    at = source["columns"]
    if source["format"] == "chat":
        return _conversation(_turns(row[at["messages"]], source), settings, tokenizer)
    if source["format"] == "completion":
        return _completed(row[at["prompt"]], row[at["completion"]], settings, tokenizer)
    more = row.get(at.get("input", "")) or ""
    system = row.get(at.get("system", "")) or ""
    if settings["chat_template"] not in ("tokenizer", "alpaca"):
        turns = [{"role": "system", "content": system}] if system else []
        asked = f"{row[at['instruction']]}\n{more}" if more else row[at["instruction"]]
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": row[at["output"]]}]
        return _conversation(turns, settings, tokenizer)
    head = (
        f"{system}\n\n"
        if system
        else ALPACA.format(", paired with an input that provides further context" * bool(more))
    )
    given = f"### Input:\n{more}\n\n" if more else ""
    prompt = f"{head}### Instruction:\n{row[at['instruction']]}\n\n{given}### Response:\n"
    return _completed(prompt, row[at["output"]], settings, tokenizer)


def _completed(prompt: str, completion: str, settings: dict, tokenizer) -> tuple[list[int], list[int]]:
    text = prompt + completion + tokenizer.eos_token
    return _masked(text, [(len(prompt), len(text))], settings, tokenizer, special=True)


def _conversation(turns: list[dict], settings: dict, tokenizer) -> tuple[list[int], list[int]]:
    """Label the assistant's turns: from where the model would begin to speak to the token that ends the turn."""
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    spans, end = [], 0
    for index, turn in enumerate(turns):
        said, content = turn["content"].strip(), turn["content"]
        place = whole.find(said, end)
        if place < 0:
            raise SystemExit("rows.py: the chat template changes what a turn says, so its place cannot be found")
        end = place + len(said)
        after = content[len(content.rstrip()) :]
        if whole.startswith(after, end):  # the template keeps the space after an answer, so the turn ends after it
            end += len(after)
        if turn["role"] == "assistant":
            before = tokenizer.apply_chat_template(turns[:index], tokenize=False, add_generation_prompt=True)
            spans.append((len(before) if whole.startswith(before) else place, end))
    return _masked(whole, spans, settings, tokenizer, special=False)


def _masked(text: str, spans: list, settings: dict, tokenizer, *, special: bool) -> tuple[list[int], list[int]]:
    """Return tokens and labels; a special token right after a span, which ends the turn, belongs to it."""
    coded = _encode(text, tokenizer, special=special, offsets=True)
    ids, labels, ends = (
        list(coded["input_ids"]),
        [],
        set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder),
    )
    if settings["train_on"] == "all":
        return ids, list(ids)
    inside = False
    for token, (start, stop) in zip(ids, coded["offset_mapping"], strict=True):
        within = any(first <= start < last for first, last in spans) and stop > start
        labels.append(token if within or (inside and token in ends) else -100)
        inside = within
    return ids, labels


def continued_adapter(model, folder: str, wanted):
    """Return the model with an adapter that goes on being trained. Raises SystemExit when it is not the recipe's."""
    from peft import PeftConfig, PeftModel

    held = PeftConfig.from_pretrained(folder)
    for word in ("peft_type", "r", "lora_alpha", "alpha", "num_virtual_tokens"):
        there, here = getattr(held, word, None), getattr(wanted, word, None)
        if there != here:
            raise SystemExit(f"rows.py: the adapter in {folder} has {word} {there}, but the recipe says {here}")
    return PeftModel.from_pretrained(model, folder, is_trainable=True)


def keep_initial_adapter(trainer, folder: Path) -> Path:
    """Save the adapter as it starts: its initial weights were taken out of the base, and are given back in the end."""
    held = trainer.model.peft_config["default"]
    init, held.init_lora_weights = held.init_lora_weights, True
    if trainer.args.should_save:
        trainer.model.save_pretrained(folder)
    held.init_lora_weights = init
    return folder


def save_plain_adapter(trainer, initial: Path, folder: str) -> None:
    """Save what was learnt as a LoRA of twice the rank that fits the unchanged base."""
    if trainer.args.should_save:
        trainer.model.save_pretrained(folder, path_initial_model_for_weight_conversion=str(initial))
