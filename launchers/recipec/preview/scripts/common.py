"""What the scripts for all trainers share: reading the request, turning tokens into text, writing the answer.

A script is run by the Python of a tool's environment, with the paths of a request and of its answer, both JSON;
preview/rows.py describes the answer.
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
    """Return the request."""
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def answer(**fields) -> None:
    """Write the answer, in one step."""
    place = Path(sys.argv[2])
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps(fields), encoding="utf-8")
    fresh.replace(place)


def versions() -> dict:
    """Return the releases of the packages that determine how rows are prepared."""
    found = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name in PACKAGES:
            found[name] = distribution.version
    return dict(sorted(found.items()))


def load_tokenizer(request: dict):
    """Return the tokenizer as published; when it is not in the local cache, write that as the answer and return None."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            request["tokenizer"], revision=request["revision"], trust_remote_code=request["trust_remote_code"]
        )
    except OSError:  # not on this disk, and nothing is downloaded
        answer(missing=request["tokenizer"])
        return None


def has_configuration(request: dict) -> bool:
    """Return whether the model's configuration is in the local cache; when it is not, write that as the answer."""
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
    """Limit a function that loads rows to the first `bound`; return a dictionary of counts that its next call fills in."""
    import datasets

    datasets.disable_caching()  # data from the hub is in the user's own cache, which must not change
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
    """Return the SHA-256 of the chat template that is used."""
    text = tokenizer.chat_template
    return hashlib.sha256(text.encode()).hexdigest() if isinstance(text, str) else None


def pieces(ids: list, mask: list, tokenizer) -> list:
    """Return a row as runs of tokens of one kind: (text, trained, special, number of tokens).

    The text of a run is what it adds to the text before it, because some tokenizers drop a space at the start.
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
    """Return a row for the answer; `mask` is 1 where a token is trained."""
    return {"ids": list(ids), "mask": list(mask), "pieces": pieces(list(ids), list(mask), tokenizer)}


def token_counts(dataset) -> tuple[list, list]:
    """Return the numbers of tokens and of trained tokens in each row of a dataset with `input_ids` and `labels`."""
    lengths, trained = [], []
    for ids, labels in zip(dataset["input_ids"], dataset["labels"], strict=True):
        lengths.append(len(ids))
        trained.append(sum(label != -100 for label in labels))
    return lengths, trained
