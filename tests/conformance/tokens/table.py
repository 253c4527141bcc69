"""What every trainer makes of the same rows, by its own code: full text and trained text, by family of models and kind of row.

Each family is asked once for each group of rows; each trainer answers all questions in one process.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from recipec.data_command import _request  # pyright: ignore[reportPrivateUsage]
from recipec.facts import releases
from recipec.facts.tokens import known_tokenizer
from recipec.output import write
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.systems.trainers import GENERAL
from recipec.yaml_reader import read_text

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[2] / "launchers" / "recipec" / "preview" / "scripts"
TRAINERS = ("trl", "axolotl", "llamafactory", "unsloth")  # the others are compared with the first


class Family(NamedTuple):
    """A model by its hub name, the template that it carries (a file of TRL's or Axolotl's), and what is laid over it."""

    label: str
    base: str
    own: str | None = None
    laid: str | None = None
    bos: str | None = None
    end: str = ""  # the token that ends an answer
    system: bool = True  # the template takes a system turn
    tools: bool = False  # it writes tools


LLAMA, MISTRAL = "<|begin_of_text|>", "<s>"
FAMILIES = (
    Family(
        "Llama 3, `llama3` laid over the base model", "meta-llama/Meta-Llama-3-8B", None, "llama3", LLAMA, "<|eot_id|>"
    ),
    Family("Llama 3 Instruct", "meta-llama/Meta-Llama-3-8B-Instruct", "llama3", None, LLAMA, "<|eot_id|>"),
    Family("Llama 3, base model without a template", "meta-llama/Meta-Llama-3-8B", None, None, LLAMA),
    Family("Mistral, `chatml` over the base model", "mistralai/Mistral-7B-v0.3", None, "chatml", MISTRAL, "<|im_end|>"),
    Family(
        "Mistral Instruct", "mistralai/Mistral-7B-Instruct-v0.3", "mistral_v2v3", None, MISTRAL, "</s>", system=False
    ),
    Family("Qwen 2.5 Instruct", "Qwen/Qwen2.5-7B-Instruct", "qwen2_5", end="<|im_end|>", tools=True),
    Family("Qwen 2.5, `tokenizer` on the base model", "Qwen/Qwen2.5-7B", "qwen2_5", "tokenizer", end="<|im_end|>"),
    Family("Qwen 3", "Qwen/Qwen3-8B", "qwen3", end="<|im_end|>", tools=True),
    Family("Gemma 2 Instruct", "google/gemma-2-9b-it", "gemma", None, "<bos>", "<end_of_turn>", system=False),
    Family("Phi 3", "microsoft/Phi-3-mini-4k-instruct", "phi3", end="<|end|>"),
)


def turns(*texts: str, system: str | None = None) -> dict[str, Any]:
    """Return a conversation that alternates between user and assistant."""
    rows = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *rows]}


def asked(instruction: str, output: str, more: str = "", **system: str) -> dict[str, Any]:
    """Return a row of format instruction."""
    return {"instruction": instruction, "input": more, "output": output, **system}


def pair(*asked_about: dict[str, str], prompt: str | None = None) -> dict[str, Any]:
    """Return a preference, as conversations or as text."""
    sides = {"chosen": "Aisle 7.", "rejected": "No idea."}
    if prompt is not None:
        return {"prompt": prompt, **sides}
    return {"messages": asked_about, **{side: {"role": "assistant", "content": said} for side, said in sides.items()}}


TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Find a thing.",
        "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}},
    },
}
CALL = {"type": "function", "function": {"name": "find", "arguments": {"thing": "tea"}}}
ASKED: dict[str, str] = {"role": "user", "content": "Where is the tea?"}

ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "chat": {
        "one turn": turns("Where is the tea?", "In aisle 7."),
        "two turns": turns("Where is the tea?", "In aisle 7.", "And the milk?", "Next to it."),
        "the same answer twice": turns("Tea?", "Aisle 7.", "Milk?", "Aisle 7."),
        "an answer that repeats the question": turns("Aisle 7.", "Aisle 7."),
        "several lines": turns("List two.", "- tea\n- milk"),
        "code": turns("Print it.", "```python\nprint(1)\n```"),
        "not ASCII": turns("차는 어디에 있나요?", "7번 통로에 있어요 🍵."),
        "space around a turn": turns(" Where? ", " There. "),
        "a line break behind a turn": turns("Where?\n", "There.\n"),
        "one word": turns("Yes or no?", "Yes"),
    },
    "chat-system": {
        "system prompt": turns("Where is the tea?", "In aisle 7.", system="You sell tea."),
        "system prompt, two turns": turns("Tea?", "Aisle 7.", "Milk?", "Aisle 8.", system="Be brief."),
    },
    "chat-tools": {
        "a tool that is called": {
            "messages": [
                ASKED,
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "aisle 7"},
                {"role": "assistant", "content": "In aisle 7."},
            ],
            "tools": [TOOL],
        },
    },
    "instruction": {
        "instruction": asked("Name a tea.", "Assam."),
        "instruction with input": asked("Translate.", "thé", "tea"),
        "instruction of several lines": asked("List.\nTwo.", "a\nb", "of these:\n1"),
    },
    "instruction-system": {
        "instruction with a system column": asked("Name a tea.", "Assam.", system="You sell tea."),
        "instruction, its system column empty": asked("Name a tea.", "Assam.", system=""),
    },
    "instruction-prompted": {"instruction with a system prompt of the recipe's": asked("Name a tea.", "Assam.")},
    "completion": {"completion": {"prompt": "Tea: ", "completion": "aisle 7"}},
    "text": {"text": {"text": "Tea stands in aisle 7.\nMilk does not."}},
    "preference": {
        "preference": pair(ASKED),
        "preference after two turns": pair(
            {"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."}, ASKED
        ),
    },
    "preference-system": {"preference with a system prompt": pair({"role": "system", "content": "Be brief."}, ASKED)},
    "preference-text": {"preference as text": pair(prompt="Tea: ")},
    "prompt": {"prompt": {"prompt": "What is 1 plus 1?"}, "prompt of several lines": {"prompt": "Add.\n1\n2"}},
    "prompt-prompted": {"prompt with a system prompt of the recipe's": {"prompt": "What is 1 plus 1?"}},
}
MORE = {
    "instruction-system": ", columns: {system: system}",
    "instruction-prompted": ", system: You sell tea.",
    "prompt-prompted": ", system: You sell tea.",
    "preference-text": ", columns: {prompt: prompt}",
}
GRPO = "rewards: [{type: length, max_words: 9}]\nrollout: {completions: 2, max_new_tokens: 32}\n"
# what one recipe holds, its method and what else that asks for
GROUPS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "turns": (("chat", "chat-system", "instruction", "instruction-system"), "sft", ""),
    "tools": (("chat-tools",), "sft", ""),
    "prompted": (("instruction-prompted",), "sft", ""),
    "completions": (("completion",), "sft", ""),
    "texts": (("text",), "pretrain", ""),
    "preferences": (("preference", "preference-system"), "dpo", ""),
    "preferences as text": (("preference-text",), "dpo", ""),
    "prompts": (("prompt", "prompt-prompted"), "grpo", GRPO),
}
AS_TEXT = ("completions", "texts", "preferences as text")
RECIPE = """recipe: 1
name: asked
trainer: {trainer}
model: {{base: {base}{laid}}}
data: {{train: [{sources}], shuffle: false}}
train: {{method: {method}, epochs: 1, micro_batch_size: 2, learning_rate: 1e-5}}
hardware: {{gpu: none}}
{more}"""


class Row(NamedTuple):
    """A prepared row: its full text and the places of it that are trained; or of a pair, the prompt and the answers."""

    text: str
    places: tuple[tuple[int, int], ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def trained(self) -> tuple[str, ...]:
        """What is trained, or the answers of a pair."""
        return self.answers or tuple(self.text[start:end] for start, end in self.places)


class Answer(NamedTuple):
    """What a trainer makes of a group of rows, by kind; what the compiler tells of it, or why it is refused."""

    rows: dict[str, Row]
    told: tuple[str, ...]
    refused: tuple[str, ...]


Table = dict[tuple[Family, str], dict[str, Answer]]


def sources(family: Family, group: str) -> list[str]:
    """Return the names of the rows of a group that a family has a form for."""
    talks = bool(family.end)
    names = list(GROUPS[group][0])
    if group in AS_TEXT and family.laid not in (None, "tokenizer"):
        return []  # a template is laid over nothing
    if not talks:
        names = [
            name
            for name in names
            if name.partition("-")[0] != "chat" and name not in ("preference", "preference-system")
        ]
        names = [name for name in names if name != "prompt-prompted"]
    elif not family.system:
        names = [name for name in names if "system" not in name and "prompted" not in name]
    return names if family.tools else [name for name in names if "tools" not in name]


def recipe(trainer: str, family: Family, group: str) -> str:
    """Return the recipe that asks."""
    laid = f", chat_template: {family.laid}" if family.laid else ""
    listed = (
        f"{{path: {name}.jsonl, format: {name.partition('-')[0]}{MORE.get(name, '')}}}"
        for name in sources(family, group)
    )
    _, method, more = GROUPS[group]
    return RECIPE.format(
        trainer=trainer, base=family.base, laid=laid, sources=", ".join(listed), method=method, more=more
    )  # fmt: skip


def make(place: Path, tool_python: Callable[[str], Path]) -> None:
    """Make the models and the data of the table."""
    packages = {"trl": "trl/chat_templates", "axolotl": "axolotl/utils/chat_templates/templates"}
    folders = [
        next(tool_python(environment(tool)).parent.parent.glob(f"lib/python*/site-packages/{folder}"))
        for tool, folder in packages.items()
    ]
    models = {}
    for family in FAMILIES:
        known = known_tokenizer(family.base, folders=False)
        assert known is not None
        models[family.base] = {
            "tokens": list(known.tokens), "eos": known.eos, "template": family.own, "bos": family.bos
        }  # fmt: skip
    given = {"models": models, "templates": [str(folder) for folder in folders]}
    (place / "models.json").write_text(json.dumps(given), encoding="utf-8")
    subprocess.run([tool_python(GENERAL), HERE / "make_models.py", "models.json"], cwd=place, check=True)
    for name, rows in ROWS.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values())
        (place / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def environment(trainer: str) -> str:
    """Return the environment of a trainer's newest release."""
    return f"{trainer}-{releases(trainer)[0]}"


def row_of(row: Mapping[str, Any]) -> Row:
    """Return a row as a preparation answers it."""
    if "texts" in row:
        prompt, *answers = row["texts"].values()
        return Row(prompt, answers=tuple(answers))
    text, places = "", list[tuple[int, int]]()
    for piece, trained, *_ in row["pieces"]:
        start, text = len(text), text + piece
        if trained and places and places[-1][1] == start:
            places[-1] = (places[-1][0], len(text))
        elif trained:
            places.append((start, len(text)))
    return Row(text, tuple(places))


def ask(
    trainer: str, place: Path, tool_python: Callable[[str], Path], asked_about: list[tuple[Family, str]]
) -> list[Answer]:
    """Return what a trainer makes of the rows, by its own code, in one process."""
    folder = place / trainer
    found: list[Answer] = []
    questions, numbers = [], []
    for number, (family, group) in enumerate(asked_about):
        compiled = compile_tree(read_text(Source("recipe.yaml", recipe(trainer, family, group))))
        told = tuple(one.message for one in (*compiled.findings, *compiled.notes) if one.code == "T003")
        refused = tuple(f"{one.code}: {one.message}" for one in compiled.findings if one.severity == "error")
        found.append(Answer({}, told, refused))
        if compiled.resolved is None or refused:
            continue
        scratch = folder / str(number)
        write(scratch / "build", compiled.files)
        [stage] = compiled.resolved.plan.of_kind("train")
        questions.append(_request(stage.body, scratch / "build" / stage.name, scratch, 99))
        numbers.append(number)
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    command = [
        tool_python(environment(trainer)),
        HERE / "ask.py",
        SCRIPTS / f"by_{trainer}.py",
        folder / "questions.json",
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""}
    offline |= {"AXOLOTL_DO_NOT_TRACK": "1", "AXOLOTL_IS_PREPROCESS": "1", "TOKENIZERS_PARALLELISM": "false"}
    offline |= {"AXOLOTL_DATASET_NUM_PROC": "0"}  # no pool of processes for a few rows
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= offline | {"HF_DATASETS_CACHE": str(folder / "datasets")}
    with (folder / "log").open("w", encoding="utf-8") as log:
        subprocess.run(command, cwd=place, env=variables, stdout=log, stderr=log, check=True)
    for number, answer in zip(numbers, json.loads((folder / "answers.json").read_text(encoding="utf-8")), strict=True):
        family, group = asked_about[number]
        if "sources" not in answer:
            found[number] = found[number]._replace(refused=(str(answer),))
            continue
        rows = {}
        for name, source in zip(sources(family, group), answer["sources"], strict=True):
            for kind, row in zip(ROWS[name], source["rows"], strict=True):
                rows[kind] = row_of(row)
        found[number] = found[number]._replace(rows=rows)
    return found


def table(place: Path, tool_python: Callable[[str], Path], trainers: tuple[str, ...] = TRAINERS) -> Table:
    """Return what each trainer makes of each group of rows of each family."""
    make(place, tool_python)
    every = [(family, group) for family in FAMILIES for group in GROUPS if sources(family, group)]
    for trainer in trainers:
        (place / trainer).mkdir()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda trainer: ask(trainer, place, tool_python, every), trainers))
    return {
        one: {trainer: answers[at][number] for at, trainer in enumerate(trainers)} for number, one in enumerate(every)
    }
