"""`rows`: a package beside the emitted file with a loader for each source that none of Axolotl's own loaders reads.

ORPO's know no conversations, the reward model's only fixed columns, and those of the others either cannot map columns
or take a validation source's from a training source.
"""

from __future__ import annotations

from hashlib import sha256

from recipec.kinds.train.records import DataSource
from recipec.render.python_writer import literal, said
from recipec.systems.programs import turns

_HEAD = '"""How rows of {place} become what {method} learns from."""\n\n'
_TEXTS = """

def default(cfg, **_):
    def take(row):
        return {{{pairs}}}

    return take
"""
_TALKS = """import json

from axolotl.utils.chat_templates import get_chat_template_from_config

{turns}

COLUMNS = {columns}
ROLES = {roles}


def default(cfg, **_):
    def take(row, tokenizer=None):
        template = get_chat_template_from_config(cfg=cfg, ds_cfg={{}}, tokenizer=tokenizer)
        tools = listed_tools(row.get("tools"))

        def rendered(turns, begins=False):
            more = {{"tools": tools}} if tools else {{}}
            return tokenizer.apply_chat_template(
                turns, chat_template=template, add_generation_prompt=begins, tokenize=False, **more
            )

        prompt, chosen, rejected = pair_of(row, COLUMNS, ROLES)
        start = rendered(prompt, True)
        texts = {{"prompt": start}}
        for name, answer in (("chosen", chosen), ("rejected", rejected)):
            text = rendered(prompt + answer)
            check_tools(text, prompt + answer, tools)
            begin = len(start) if text.startswith(start) else text.rfind(answer[0]["content"])
            if begin < 0:
                raise ValueError("the chat template changes what an answer says, so its place cannot be found")
            texts[name] = text[begin:].rstrip()
        # TRL takes a pair for a conversation by any of its columns
        return texts | dict.fromkeys((name for name in ("messages", "completion", "tools") if name in row), None)

    return take
"""
_WRAPPED = """class {name}(DatasetWrappingStrategy):
    def __init__(self, strategy):
        self.strategy = strategy

    def wrap_dataset(self, dataset, process_count=None, keep_in_memory=False, **_):
        rows = dataset.map({function}, remove_columns=dataset.column_names, num_proc=process_count)
        return wrap_dataset_for_tokenized_prompt(
            self.strategy, rows, process_count=process_count, keep_in_memory=keep_in_memory
        )
"""
_TURNS = """from axolotl.datasets import wrap_dataset_for_tokenized_prompt
from axolotl.prompt_strategies.chat_template import load as conversations
from axolotl.prompt_tokenizers import DatasetWrappingStrategy

SYSTEM = {system}


def turns(row):
    system, more = {own_system}SYSTEM, row.get({input})
    said = [{{"role": "system", "content": system}}] if system else []
    asked = row[{instruction}] + (f"\\n{{more}}" if more else "")
    said += [{{"role": "user", "content": asked}}, {{"role": "assistant", "content": row[{output}]}}]
    return {{"messages": said}}


{wrapped}


def load(tokenizer, cfg, ds_cfg=None):
    return Turns(conversations(tokenizer, cfg, {{"roles_to_train": ["assistant"], "train_on_eos": "turn"}}))
"""
_TEXT = """from axolotl.datasets import wrap_dataset_for_tokenized_prompt
from axolotl.prompt_strategies.user_defined import UserDefinedDatasetConfig
from axolotl.prompt_strategies.user_defined import load as prompts
from axolotl.prompt_tokenizers import DatasetWrappingStrategy

SYSTEM = {system}
HEAD = "Below is an instruction that describes a task"
MORE = ", paired with an input that provides further context"
TAIL = ". Write a response that appropriately completes the request."


def text(row):
    system, more = {own_system}SYSTEM, row.get({input})
    head = system or HEAD + (MORE if more else "") + TAIL
    given = f"### Input:\\n{{more}}\\n\\n" if more else ""
    asked = row[{instruction}]
    prompt = f"{{head}}\\n\\n### Instruction:\\n{{asked}}\\n\\n{{given}}### Response:\\n"
    return {{"instruction": prompt, "output": row[{output}]}}


{wrapped}


def load(tokenizer, cfg, ds_cfg=None):
    form = UserDefinedDatasetConfig(format="{{instruction}}", no_input_format="{{instruction}}")
    return Texts(prompts(tokenizer, cfg, form))
"""
_PROMPTS = """SYSTEM = {system}


def default(cfg, **_):
    def take(row):
        said = row[{prompt}]
        if isinstance(said, str):
            said = [{{"role": "user", "content": said}}]
        if SYSTEM and said[0]["role"] != "system":
            said = [{{"role": "system", "content": SYSTEM}}, *said]
        return {{"prompt": said{answer}}}

    return take
"""
_PAIRS = """import json

from axolotl.prompt_tokenizers import DatasetWrappingStrategy
from axolotl.utils.chat_templates import get_chat_template_from_config

{turns}

COLUMNS = {columns}
ROLES = {roles}


class Pairs(DatasetWrappingStrategy):
    def __init__(self, tokenizer, template, longest):
        self.tokenizer, self.template, self.longest = tokenizer, template, longest

    def pair(self, row):
        prompt, *answers = pair_of(row, COLUMNS, ROLES)
        tools = listed_tools(row.get("tools"))
        more = {{"tools": tools}} if tools else {{}}
        pair = {{}}
        for name, answer in zip(("chosen", "rejected"), answers):
            text = self.tokenizer.apply_chat_template(
                prompt + answer, chat_template=self.template, tokenize=False, **more
            )
            check_tools(text, prompt + answer, tools)
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
_PARTS = {"reward": "pairs", "sft": "rows"}  # the module, in a package, that Axolotl's causal builder asks for `load`
_TARGETS = {
    "unpaired-preference": ("prompt", "completion", "label"),
    "prompt": ("prompt", "answer"),
    "preference": ("prompt", "chosen", "rejected"),
}


def name(method: str, source: DataSource) -> str:
    """Return the loader's dotted name. It holds a hash of its text: Axolotl reuses tokenised rows by names alone."""
    return f"rows_{sha256(text(method, source).encode()).hexdigest()[:8]}.{_PARTS.get(method, 'default')}"


def file(method: str, source: DataSource) -> str:
    """Return the loader's file, from the folder that is on Python's path."""
    module = name(method, source).partition(".")[0]
    return f"{module}/{_PARTS[method]}.py" if method in _PARTS else f"{module}.py"


def text(method: str, source: DataSource) -> str:
    """Return the loader's text."""
    columns = source.columns
    head = _HEAD.format(place=said(source.path or source.hub or ""), method=method)
    named = {name: literal(column) for name, column in columns.items()}
    if source.format == "instruction":
        own = f"row.get({named['system']}) or " if "system" in named else ""
        body, wrapped = (_TURNS, ("Turns", "turns")) if source.turns else (_TEXT, ("Texts", "text"))
        strategy = _WRAPPED.format(name=wrapped[0], function=wrapped[1]).rstrip("\n")
        return head + body.format(**{**named, "system": literal(source.system), "own_system": own, "wrapped": strategy})
    if source.format == "prompt" and source.turns:
        answer = f', "answer": row[{named["answer"]}]' if "answer" in named else ""
        return head + _PROMPTS.format(system=literal(source.system), prompt=named["prompt"], answer=answer)
    if source.format == "preference" and "prompt" not in columns:
        roles = {role: list(names) for role, names in source.roles.items()}
        made = _PAIRS if method == "reward" else _TALKS
        return head + made.format(turns=turns(), columns=literal(columns), roles=literal(roles))
    if method == "reward":
        return head + _PROMPTED.format(**named)
    pairs = ", ".join(f"{literal(name)}: row[{named[name]}]" for name in _TARGETS[source.format] if name in named)
    return head.rstrip("\n") + "\n" + _TEXTS.format(pairs=pairs)
