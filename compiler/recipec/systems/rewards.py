"""`rewards.py` of a stage: the built-in reward functions, and behind them those that the recipe chose, one `def` each.

Trainers load it as the module `rewards`. In TRL's shape every function is called on its own with `prompts`,
`completions` and the columns of the data; a reward model is not a function, but named by its path. In OpenRLHF's shape
one function sums all of them.
"""

from __future__ import annotations

import ast
import builtins
import keyword
from functools import cache
from typing import Protocol

from recipec.kinds.train.records import Reward
from recipec.render.python_writer import literal
from recipec.systems.programs import program

FILE = "rewards.py"
_OPENRLHF = '''

END = re.compile(r"(?:(?:<\\|[^<>|]*\\|>|</s>|<eos>|<end_of_turn>|<pad>)\\s*)+\\Z")


def completion_of(query, prompt):
    """Return what follows the prompt in a query, without the special tokens at its end.

    Of a prompt that was too long for the model, only the end is in the query.
    """
    start = next((len(prompt) - cut for cut in range(len(prompt)) if query.startswith(prompt[cut:])), 0)
    return END.sub("", query[start:])


def reward_func(queries, prompts, labels, **_more):
    """The reward of one completion: OpenRLHF calls this with lists of one query, its prompt and its label."""
    texts = [completion_of(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
    terms = ['''
_SUM = (
    "    ]",
    "    total = sum(weight * reward for weight, [reward] in terms)",
    '    return {"rewards": total, "scores": total}',
)
_NAMES = {"exact": "exact_answer", "regex": "format_matches", "length": "short_enough", "language": "in_language"}


def named(rewards: tuple[Reward, ...]) -> list[tuple[str, Reward]]:
    """Return the rewards of a stage with a name for each, unlike any other's."""
    found: dict[str, Reward] = {}
    for reward in rewards:
        name = reward.function or _NAMES.get(reward.type, f"{reward.type}_reward")
        if name in _taken():
            name = f"{name}_reward"
        unique = name if name not in found else f"{name}_{len(found) + 1}"
        found[unique] = reward
    return list(found.items())


@cache
def _taken() -> frozenset[str]:
    """Return the names that the file itself uses: a function of such a name would stand in their place."""
    top = ast.parse(program(FILE)).body
    defined = {node.name for node in top if isinstance(node, ast.FunctionDef)}
    imported = {
        (alias.asname or alias.name)
        for node in top
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assigned = {
        target.id
        for node in top
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(
        {*defined, *imported, *assigned, *dir(builtins), *keyword.kwlist, "reward_func", "completion_of", "END"}
    )


def names(rewards: tuple[Reward, ...]) -> list[str]:
    """Return what TRL's `reward_funcs` takes: `rewards.NAME` for a function, a model's path for a model."""
    return [str(r.path) if r.type == "model" else f"rewards.{name}" for name, r in named(rewards)]


class Judged(Protocol):
    """The body of a stage with rewards."""

    @property
    def rewards(self) -> tuple[Reward, ...]:
        """What judges an answer."""
        ...


def functions(stage: Judged) -> bool:
    """Return whether any reward is a function, so that the file is needed."""
    return any(reward.type != "model" for reward in stage.rewards)


def text(stage: Judged, answer: str = "answer") -> str:
    """Return the file, its functions in TRL's shape. `answer` is the column that holds the expected answers."""
    library = program(FILE)
    parts = [library.rstrip("\n")]
    answers, known = f"columns[{literal(answer)}]", f'columns.get({literal(answer)}, [""] * len(texts))'
    asked = "[text_of(prompt) for prompt in prompts]"
    for name, reward in named(stage.rewards):
        if reward.type != "model":
            parts.append(
                f"def {name}(prompts, completions, **columns):\n"
                f'    """{_says(reward)}"""\n'
                "    texts = [text_of(completion) for completion in completions]\n"
                f"    return {_call(reward, answers, known, asked)}"
            )
    return "\n\n\n".join(parts) + "\n"


def openrlhf(stage: Judged) -> str:
    """Return the file in OpenRLHF's shape: one function, asked for one completion at a time, sums what is weighted."""
    library = program(FILE)
    terms = [
        f"        ({reward.weight!r}, {_call(reward, 'labels', 'labels', 'prompts')}),  # {name}"
        for name, reward in named(stage.rewards)
        if reward.type != "model"
    ]
    return "\n".join([library.rstrip("\n"), _OPENRLHF, *terms, *_SUM]) + "\n"


def _says(reward: Reward) -> str:
    return f"Reward of type {reward.type}, weight {reward.weight:g}."


def _call(reward: Reward, answers: str, known: str, asked: str) -> str:
    """Return the call of a reward's function. `answers` must be there for it, `known` may be empty texts."""
    calls = {
        "exact": f"exact(texts, {answers})",
        "regex": f"matches(texts, {literal(reward.pattern)})",
        "length": f"length(texts, {reward.max_words})",
        "language": f"language(texts, {literal(reward.language)})",
        "remote": f"remote({literal(reward.url)}, texts, {asked}, {known})",
        "python": f"own({literal(reward.path)}, {literal(reward.function)}, texts, {asked}, {known})",
    }
    return calls[reward.type]
