"""Rules about amounts that are no mistake of the language, and that hardly anybody means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recipec.facts.datasets import KnownDataset, known_dataset
from recipec.kinds.init import Init
from recipec.kinds.train.records import DataSource, Train
from recipec.rules.rule import Context, Fault, rule
from recipec.suggest import nearest
from recipec.systems.registry import system

BYTES = 260  # single bytes and special tokens, which need no text
PER_MERGE = 4  # bytes of text for one merge of byte-level BPE, of which no text has so few


@rule("L245", "floor-given-as-a-rate", "warning", sources="")
def absolute_floor(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a floor of the schedule that is written as a learning rate, where a fraction of one is asked for.

    Why is this bad:
    `min_lr_ratio` is multiplied with the learning rate: the floor is practically 0, which is another schedule than was meant.

    Example:
        train: {learning_rate: 2e-5, scheduler: cosine_with_min_lr, min_lr_ratio: 2e-6}

    Use instead:
        train: {learning_rate: 2e-5, scheduler: cosine_with_min_lr, min_lr_ratio: 0.1}
    """
    o = s.optimizer
    if o.learning_rate is not None and 0 < o.min_lr_ratio <= o.learning_rate:
        floor, meant = o.min_lr_ratio * o.learning_rate, o.min_lr_ratio / o.learning_rate
        message = f"min_lr_ratio is a fraction of the learning rate: its floor is {floor:.2g}"
        yield Fault(
            "optimizer.min_lr_ratio", message, f"for a floor of {o.min_lr_ratio:g} write {meant:.3g}", f"{meant:.3g}"
        )


@rule("L246", "not-so-on-the-hub", "warning", sources="datasets: Unknown split, Config name is missing")
def of_hub(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a split, a configuration or columns that a well-known dataset of the hub does not have.

    Why is this bad:
    The run ends when it loads the data, on machines that are paid for by then.

    Example:
        data: {train: [{hub: HuggingFaceH4/ultrachat_200k, format: chat}]}

    Use instead:
        data: {train: [{hub: HuggingFaceH4/ultrachat_200k, split: train_sft, format: chat}]}
    """
    for group in ("train", "validation"):
        for index, source in enumerate(getattr(s.data, group)):
            known = known_dataset(source.hub) if source.hub is not None and source.revision is None else None
            at = f"data.{group}.{index}"
            if known is None:
                continue
            if known.subsets and source.subset not in known.subsets:
                of = (
                    f"{source.hub} has several configurations"
                    if source.subset is None
                    else f"{source.hub} has no {source.subset}"
                )
                close = nearest(source.subset, known.subsets) if source.subset is not None else None
                yield Fault(f"{at}.subset {at}.hub", of, f"set subset to one of {', '.join(known.subsets)}", close)
            elif known.splits and source.split.partition("[")[0] not in known.splits:
                message = f"{source.hub} has no split {source.split}"
                yield Fault(f"{at}.split {at}.hub", message, f"set split to one of {', '.join(known.splits)}")
            elif source.turns and (advice := _of_turns(known, source)):
                message = f"turns of {source.hub} have {' and '.join(known.keys)}, and other names of roles"
                renamed = set(known.keys) <= set(source.columns.values())
                yield Fault(f"{at}.roles " * renamed + f"{at}.columns {at}.format {at}.hub", message, advice)
            elif missing := [
                column for column in _needed(known, source, s) if known.columns and column not in known.columns
            ]:
                message = f"{source.hub} has no column {missing[0]}"
                yield Fault(
                    f"{at}.columns {at}.format {at}.hub",
                    message,
                    f"it has {', '.join(known.columns)}: choose the format, or map columns",
                )


def _of_turns(known: KnownDataset, source: DataSource) -> str:
    """Return what to write where the turns of a dataset have keys or roles that the source does not name; else nothing."""
    if not known.keys or source.format != "chat":
        return ""
    role, content = known.keys
    names = dict(pair.split("=") for pair in known.roles)
    told = all(names[word] in source.roles.get(word, (word,)) for word in names)
    if told and (source.columns.get("role"), source.columns.get("content")) == (role, content):
        return ""
    turns = next((one for one in known.columns if one.startswith("conversation")), "messages")
    roles = ", ".join(f"{word}: [{name}]" for word, name in names.items() if word != name)
    return f"write columns: {{messages: {turns}, role: {role}, content: {content}}}, roles: {{{roles}}}"


def _needed(known: KnownDataset, source: DataSource, s: Train) -> list[str]:
    """Return the columns that rows must have; a prompt is not one where the answers begin with it, and the trainer finds it."""
    free = ["role", "content", "input", "system"]
    if known.whole and source.format == "preference" and not system(s.trainer).pairs:
        free.append("messages")
    return [column for word, column in source.columns.items() if word not in free]


@rule("L345", "vocabulary-beyond-its-text", "warning", "init", sources="")
def vocabulary(see: Context, s: Init) -> Iterator[Fault]:
    """Finds a new tokenizer that is to have more tokens than its text can yield.

    Why is this bad:
    Byte-level BPE merges pairs that come twice. A short text has few: the tokenizer has fewer tokens than the model has embeddings for, and
    those that are left are never trained.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 50000}}
        data: {train: [{path: corpus/few.jsonl, format: text}]}
        train: {method: pretrain, learning_rate: 1e-3}

    Use instead:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 512}}
    """
    if not see.folders:
        return
    local = [
        Path(one.path) for one in s.data if one.path is not None and one.path.endswith((".json", ".jsonl", ".csv"))
    ]
    if len(local) < len(s.data) or not all(path.is_file() for path in local):
        return
    size = sum(path.stat().st_size for path in local)
    merges = s.model.vocab_size - BYTES
    if merges * PER_MERGE > size:
        message = f"{size:,} bytes of rows cannot yield {s.model.vocab_size:,} tokens"
        yield Fault(
            "model.vocab_size", message, f"at most {BYTES + size // PER_MERGE:,} is possible, or train it on more text"
        )


RULES = (absolute_floor, of_hub, vocabulary)
