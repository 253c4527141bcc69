"""Make a tokenizer from data and a model with random weights: `python init_model.py init.json`.

Copied as it is into the output of a recipe whose model starts from scratch; needs only transformers, torch and
tokenizers. Doing it again with the same settings changes nothing.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TURN = ["<|im_start|>", "<|im_end|>"]
ENOUGH = 200_000  # rows of a hub: a vocabulary of usual size does not change by more


def texts(value: object) -> Iterator[str]:
    """Yield every text in a row, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def rows(path: Path) -> Iterator[object]:
    """Yield the rows of a .jsonl, .json, .csv or .parquet file. Raises OSError or ValueError."""
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as stream:
            yield from (json.loads(line) for line in stream if line.strip())
    elif path.suffix == ".json":
        yield from json.loads(path.read_text(encoding="utf-8"))
    else:
        from datasets import load_dataset

        kind = path.suffix.removeprefix(".")
        yield from (dict(row) for row in load_dataset(kind, data_files=str(path), split="train"))


def rows_of(source: dict) -> Iterator[object]:
    """Yield the rows of a local file, or the first of those on a hub."""
    if "path" in source:
        yield from rows(Path(source["path"]))
        return
    from datasets import load_dataset

    words = {"split": source["split"], "revision": source["revision"], "streaming": True}
    yield from (dict(row) for row in load_dataset(source["hub"], source["subset"], **words).take(ENOUGH))


def make_tokenizer(settings: dict, max_length: int):
    """Train a byte-level BPE tokenizer on every text of the data."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    special = settings["special_tokens"]
    names = list(dict.fromkeys([special["pad_token"], special["bos_token"], *TURN, special["eos_token"]]))
    lines = [text for source in settings["train_on"] for row in rows_of(source) for text in texts(row)]
    if not lines:
        raise ValueError("the training data holds no text")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        lines, vocab_size=settings["vocab_size"], min_frequency=2, special_tokens=names, show_progress=False
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, model_max_length=max_length, **special)
    tokenizer.chat_template = CHATML
    return tokenizer


def make(settings: dict, folder: Path) -> str:
    """Make the model where the settings say, all at once; return what there is to say about it."""
    config_text = (folder / settings["config"]).read_text(encoding="utf-8")
    output = Path(settings["output"])
    key = hashlib.sha256(json.dumps([settings, config_text], sort_keys=True).encode())
    for source in settings["tokenizer"]["train_on"]:
        if "path" in source:  # of a hub, the settings name the revision
            key.update(Path(source["path"]).read_bytes())
    done = output / "made_from.sha256"
    if done.is_file() and done.read_text(encoding="utf-8") == key.hexdigest():
        return f"{output} is already made from these settings"

    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    values = json.loads(config_text)
    tokenizer = make_tokenizer(settings["tokenizer"], values["max_position_embeddings"])
    if len(tokenizer) > values["vocab_size"]:
        raise ValueError(f"the tokenizer has {len(tokenizer)} entries, the model only {values['vocab_size']}")
    special = {f"{word}_token_id": getattr(tokenizer, f"{word}_token_id") for word in ("bos", "eos", "pad")}
    config = AutoConfig.for_model(**{**values, **special})
    set_seed(settings["seed"])
    model = AutoModelForCausalLM.from_config(config)
    fresh = output.with_name(f".{output.name}.new-{os.getpid()}")
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    (fresh / done.name).write_text(key.hexdigest(), encoding="utf-8")
    if output.exists():
        shutil.rmtree(output)
    fresh.rename(output)
    return f"made {output}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    try:
        print(make(json.loads(path.read_text(encoding="utf-8")), path.parent))
    except (OSError, ValueError) as error:
        sys.exit(f"init_model.py: {error}")
