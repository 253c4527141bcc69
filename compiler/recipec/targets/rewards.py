"""`rewards.py` of a stage: the built-in reward functions, and behind them those that the recipe chose, one `def` each.

Trainers load it as the module `rewards`. In TRL's shape every function is called on its own with `prompts`,
`completions` and the columns of the data; a reward model is not a function, but named by its path.
"""

from __future__ import annotations

from pathlib import Path

from recipec.plan import Reward, TrainStage
from recipec.render.python_writer import literal

FILE = "rewards.py"
_NAMES = {"exact": "exact_answer", "regex": "format_matches", "length": "short_enough", "language": "in_language"}


def named(stage: TrainStage) -> list[tuple[str, Reward]]:
    """Return the rewards with a name for each, unlike any other's of the stage."""
    found: dict[str, Reward] = {}
    for reward in stage.rewards:
        name = reward.function or _NAMES.get(reward.type, f"{reward.type}_reward")
        unique = name if name not in found else f"{name}_{len(found) + 1}"
        found[unique] = reward
    return list(found.items())


def names(stage: TrainStage) -> list[str]:
    """Return what TRL's `reward_funcs` takes: `rewards.NAME` for a function, a model's path for a model."""
    return [str(r.path) if r.type == "model" else f"rewards.{name}" for name, r in named(stage)]


def weights(stage: TrainStage) -> list[float]:
    """Return the weight of each reward, in the order of `names`."""
    return [reward.weight for reward in stage.rewards]


def functions(stage: TrainStage) -> bool:
    """Return whether any reward is a function, so that the file is needed."""
    return any(reward.type != "model" for reward in stage.rewards)


def text(stage: TrainStage, answer: str = "answer") -> str:
    """Return the file, its functions in TRL's shape. `answer` is the column that holds the expected answers."""
    library = (Path(__file__).parent / "scripts" / FILE).read_text(encoding="utf-8")
    parts = [library.rstrip("\n")]
    for name, reward in named(stage):
        if reward.type != "model":
            parts.append(
                f"def {name}(prompts, completions, **columns):\n"
                f'    """{_says(reward)}"""\n'
                "    texts = [text_of(completion) for completion in completions]\n"
                f"    return {_call(reward, answer)}"
            )
    return "\n\n\n".join(parts) + "\n"


def _says(reward: Reward) -> str:
    return f"Reward of type {reward.type}, weight {reward.weight:g}."


def _call(reward: Reward, answer: str) -> str:
    answers = f'columns["{answer}"]'
    known = f'columns.get("{answer}", [""] * len(texts))'
    asked = "[text_of(prompt) for prompt in prompts]"
    calls = {
        "exact": f"exact(texts, {answers})",
        "regex": f"matches(texts, {literal(reward.pattern)})",
        "length": f"length(texts, {reward.max_words})",
        "language": f"language(texts, {literal(reward.language)})",
        "remote": f"remote({literal(reward.url)}, texts, {asked}, {known})",
        "python": f"own({literal(reward.path)}, {literal(reward.function)}, texts, {asked}, {known})",
    }
    return calls[reward.type]
