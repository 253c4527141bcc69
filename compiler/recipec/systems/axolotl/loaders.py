"""`rows`: a package beside the emitted file with a loader for each source that none of Axolotl's own loaders reads.

ORPO's know no conversations, the reward model's only fixed columns, and those of the others either cannot map columns
or take a validation source's from a training source.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from recipec.kinds.train.records import DataSource
from recipec.render.python_writer import literal, said

_HEAD = '"""How rows of {place} become what {method} learns from."""\n\n'
_TEXTS = """

def default(cfg, **_):
    def take(row):
        return {{{pairs}}}

    return take
"""
_TALKS = """from axolotl.prompt_strategies.dpo.chat_template import default as conversations

SOURCE = {source}


def default(cfg, **_):
    return conversations({{**cfg, "datasets": [SOURCE]}})
"""
_PAIRS = """from axolotl.prompt_tokenizers import DatasetWrappingStrategy
from axolotl.utils.chat_templates import get_chat_template_from_config

ROLES = {roles}


def turn(message, role):
    if isinstance(message, str):
        return {{"role": role, "content": message}}
    name = message[{role}]
    return {{"role": ROLES.get(name, name), "content": message[{content}]}}


class Pairs(DatasetWrappingStrategy):
    def __init__(self, tokenizer, template, longest):
        self.tokenizer, self.template, self.longest = tokenizer, template, longest

    def pair(self, row):
        told = row[{messages}]
        start = [turn(told, "user")] if isinstance(told, str) else [turn(message, "user") for message in told]
        pair = {{}}
        for name, column in (("chosen", {chosen}), ("rejected", {rejected})):
            last = row[column][-1] if isinstance(row[column], list) else row[column]
            text = self.tokenizer.apply_chat_template(
                [*start, turn(last, "assistant")], chat_template=self.template, tokenize=False
            )
            pair[f"{{name}}_ids"] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return pair

    def wrap_dataset(self, dataset, process_count=None, **_):
        pairs = dataset.map(self.pair, remove_columns=dataset.column_names, num_proc=process_count)
        return pairs.filter(lambda pair: max(len(ids) for ids in pair.values()) <= self.longest)


def load(tokenizer, cfg, ds_cfg=None):
    template = get_chat_template_from_config(cfg=cfg, ds_cfg=ds_cfg, tokenizer=tokenizer)
    return Pairs(tokenizer, template, cfg.sequence_len)
"""
_PROMPTED = """from axolotl.prompt_tokenizers import DatasetWrappingStrategy


class Pairs(DatasetWrappingStrategy):
    def __init__(self, tokenizer, longest):
        self.tokenizer, self.longest = tokenizer, longest

    def pair(self, row):
        texts = {{name: row[{prompt}] + row[column] for name, column in (("chosen", {chosen}), ("rejected", {rejected}))}}
        return {{f"{{name}}_ids": self.tokenizer(text + self.tokenizer.eos_token)["input_ids"] for name, text in texts.items()}}

    def wrap_dataset(self, dataset, process_count=None, **_):
        pairs = dataset.map(self.pair, remove_columns=dataset.column_names, num_proc=process_count)
        return pairs.filter(lambda pair: max(len(ids) for ids in pair.values()) <= self.longest)


def load(tokenizer, cfg, ds_cfg=None):
    return Pairs(tokenizer, cfg.sequence_len)
"""
_TARGETS = {
    "unpaired-preference": ("prompt", "completion", "label"),
    "prompt": ("prompt", "answer"),
    "preference": ("prompt", "chosen", "rejected"),
}


def name(method: str, source: DataSource) -> str:
    """Return the loader's dotted name. It holds a hash of its text: Axolotl reuses tokenised rows by names alone."""
    return (
        f"rows_{sha256(text(method, source).encode()).hexdigest()[:8]}.{'pairs' if method == 'reward' else 'default'}"
    )


def file(method: str, source: DataSource) -> str:
    """Return the loader's file, from the folder that is on Python's path."""
    module = name(method, source).partition(".")[0]
    return f"{module}/pairs.py" if method == "reward" else f"{module}.py"


def text(method: str, source: DataSource) -> str:
    """Return the loader's text."""
    columns = source.columns
    head = _HEAD.format(place=said(source.path or source.hub or ""), method=method)
    named = {name: literal(column) for name, column in columns.items()}
    if source.format == "preference" and "prompt" not in columns:
        roles = {role: list(names) for role, names in source.roles.items()}
        if method == "reward":
            back = {each: role for role, names in roles.items() for each in names}
            return head + _PAIRS.format(roles=literal(back), **named)
        return head + _TALKS.format(source=literal(_source(columns, roles)))
    if method == "reward":
        return head + _PROMPTED.format(**named)
    pairs = ", ".join(f"{literal(name)}: row[{named[name]}]" for name in _TARGETS[source.format] if name in named)
    return head.rstrip("\n") + "\n" + _TEXTS.format(pairs=pairs)


def _source(columns: dict[str, str], roles: dict[str, list[str]]) -> dict[str, Any]:
    source: dict[str, Any] = {f"field_{name}": columns[name] for name in ("messages", "chosen", "rejected")}
    source["message_property_mappings"] = {name: columns[name] for name in ("role", "content")}
    if roles:
        plain = {role: [role] for role in ("system", "user", "assistant", "tool")}
        source["roles"] = plain | {role: list(dict.fromkeys([*names, role])) for role, names in roles.items()}
    return source
