"""What the previews of all trainers share: rows of tokens into runs of text, and the answer's file.

A script is called with the path of a request and of its answer, both JSON, by the Python of a tool's environment.
"""

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = (
    *("axolotl", "trl", "llamafactory", "unsloth", "unsloth-zoo", "openrlhf"),
    *("transformers", "datasets", "tokenizers"),
)


def read_request() -> dict:
    """Return what is asked for."""
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def answer(**said) -> None:
    """Write the answer, whole or not at all."""
    place = Path(sys.argv[2])
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps(said), encoding="utf-8")
    fresh.replace(place)


def versions() -> dict:
    """Return the releases of the packages that decide what a row becomes."""
    found = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name in PACKAGES:
            found[name] = distribution.version
    return dict(sorted(found.items()))


def load_tokenizer(request: dict):
    """Return the tokenizer as it is published, or None after an answer that it is not here."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            request["tokenizer"], revision=request["revision"], trust_remote_code=request["trust_remote_code"]
        )
    except OSError:  # not on this disk: nothing is fetched here
        answer(missing=request["tokenizer"])
        return None


def has_configuration(request: dict) -> bool:
    """Return whether the model's configuration is here; answer where it is not."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(
            request["model"], revision=request["model_revision"], trust_remote_code=request["trust_remote_code"]
        )
    except OSError:
        answer(missing=request["model"])
        return False
    return True


def limited(module, name: str, bound: int) -> dict:
    """Make a function that loads rows give the first ones only; return the counts, which its next call fills in."""
    import datasets

    datasets.disable_caching()  # rows of the hub lie in the user's own cache, where nothing is left
    found = getattr(module, name)
    original = getattr(found, "original", found)
    seen = {"read": 0, "more": 0}

    def load(*given, **named):
        dataset = original(*given, **named)
        dataset = dataset["train"] if isinstance(dataset, dict) else dataset
        seen["read"] = min(bound, len(dataset))
        seen["more"] = len(dataset) - seen["read"]
        return dataset.select(range(seen["read"]))

    load.original = original
    setattr(module, name, load)
    return seen


def template_digest(tokenizer) -> str | None:
    """Return the SHA-256 of the chat template that is in force."""
    text = tokenizer.chat_template
    return hashlib.sha256(text.encode()).hexdigest() if isinstance(text, str) else None


def pieces(ids: list, mask: list, tokenizer) -> list:
    """Return the runs of a row: (text, trained, special, number of tokens), each of one kind.

    A run's text is what it adds to the text before it, since some tokenizers drop the space that begins a text.
    """
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    kinds = [(bool(m), i in special) for i, m in zip(ids, mask, strict=True)]
    runs, start, before = [], 0, ""
    for end in range(1, len(ids) + 1):
        if end < len(ids) and kinds[end] == kinds[start] and not kinds[start][1]:
            continue
        whole = tokenizer.decode(ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        run = ids[start:end]
        alone = tokenizer.decode(run, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        text = whole[len(before) :] if whole.startswith(before) else alone
        runs.append([text, *kinds[start], end - start])
        start, before = end, whole
    return runs


def token_row(ids: list, mask: list, tokenizer) -> dict:
    """Return a row for the answer: the mask is 1 where a token carries loss."""
    return {"ids": list(ids), "mask": list(mask), "pieces": pieces(list(ids), list(mask), tokenizer)}


def counted(dataset) -> tuple[list, list]:
    """Return the tokens and the trained tokens of each row of a dataset with `input_ids` and `labels`."""
    lengths, trained = [], []
    for ids, labels in zip(dataset["input_ids"], dataset["labels"], strict=True):
        lengths.append(len(ids))
        trained.append(sum(label != -100 for label in labels))
    return lengths, trained
