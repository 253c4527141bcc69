"""Reward functions: plain Python, standard library only, so that anybody can read what a completion is paid for.

Copied as it is into the output of a recipe with rewards; the functions that the recipe chose follow at the end. Each
takes the texts of a batch and returns one reward for each.
"""

from __future__ import annotations

import importlib.util
import json
import re
import urllib.request
from collections.abc import Callable, Iterable
from fractions import Fraction

LATEX = re.compile(r"\\(?:text|mathrm|mathbf|mbox|textbf)\s*\{([^{}]*)\}")
FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}")
SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")
DROPPED = re.compile(r"\\(?:left|right|displaystyle|[,;:! ])|\\?\$|\\?%|\^\\circ|\^\{\\circ\}|°")
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?")
SAID = re.compile(
    r"(?:the\s+)?(?:final\s+)?answer\s*(?:is|:|=)\s*:?\s*(.+?)(?:\.\s|\.?$)", re.IGNORECASE | re.MULTILINE
)
SCRIPTS = {
    "en": r"[A-Za-z]",
    "ko": r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]",
    "zh": r"[\u4e00-\u9fff]",
    "ja": r"[\u3040-\u30ff\u4e00-\u9fff]",
    "ru": r"[\u0400-\u04ff]",
    "ar": r"[\u0600-\u06ff]",
}


def text_of(value: object) -> str:
    """Return a completion or prompt as text: it is text, or the messages of a conversation."""
    if isinstance(value, str):
        return value
    return "\n".join(str(message["content"]) for message in value)  # type: ignore[attr-defined]


def boxed(text: str) -> str | None:
    """Return what the last \\boxed{…} holds, braces balanced; None without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for end in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + 7 : end]
    return None


def final_answer(text: str) -> str:
    """Return the answer that a text ends with: \\boxed{…}, `#### …`, “the answer is …”, else its last number or itself."""
    found = boxed(text)
    if found is not None:
        return found
    if "####" in text:
        return text.rpartition("####")[2].strip().split("\n")[0]
    said = SAID.findall(text)
    if said:
        return str(said[-1])
    numbers = NUMBER.findall(text)
    return str(numbers[-1]) if numbers else text


def number(text: str) -> Fraction | None:
    """Return a text that is a number (1,234.5, 3/4, -2) exactly; None when it is none."""
    match = NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    above, _, below = match[0].replace(",", "").partition("/")
    return None if below and int(below) == 0 else Fraction(above) / Fraction(below.strip() or "1")


def normalised(text: str) -> str | Fraction:
    """Return an answer without what does not change it: LaTeX dress, units' signs, spaces, case, forms of a number."""
    text = text.strip().rstrip(".")
    text = LATEX.sub(r"\1", text)
    text = FRACTION.sub(r"\1/\2", text)
    text = SHORT_FRACTION.sub(r"\1/\2", text)
    text = DROPPED.sub("", text).strip().strip("{}").strip()
    value = number(text)
    return value if value is not None else re.sub(r"\s+", "", text).casefold()


def expected_answer(text: str) -> str:
    """Return what an answer column says: \\boxed{…} or what follows `####` of a worked solution, else all of it."""
    found = boxed(text)
    return found if found is not None else text.rpartition("####")[2].strip()


def exact(completions: list[str], answers: list[str]) -> list[float]:
    """1 where the final answer, or the whole text, equals the expected one after normalisation, else 0."""
    rewards = []
    for text, answer in zip(completions, answers, strict=True):
        wanted = normalised(expected_answer(str(answer)))
        rewards.append(float(wanted in (normalised(final_answer(text)), normalised(text))))
    return rewards


def matches(completions: list[str], pattern: str) -> list[float]:
    """1 where the whole completion matches the regular expression (a dot is any character), else 0."""
    compiled = re.compile(pattern, re.DOTALL)
    return [float(compiled.fullmatch(text.strip()) is not None) for text in completions]


def length(completions: list[str], max_words: int) -> list[float]:
    """1 up to `max_words` words, then falling in a straight line to 0 at twice as many."""
    return [max(0.0, min(1.0, 2 - len(text.split()) / max_words)) for text in completions]


def language(completions: list[str], code: str) -> list[float]:
    """The share of letters that belong to the language's script; 0 for a text without letters."""
    wanted = re.compile(SCRIPTS[code])
    letters = [[c for c in text if c.isalpha()] for text in completions]
    return [sum(bool(wanted.match(c)) for c in found) / len(found) if found else 0.0 for found in letters]


def remote(url: str, completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Ask an HTTP endpoint: posts {query, prompts, labels} as JSON, expects {rewards: […]}. Raises OSError, ValueError."""
    query = [prompt + text for prompt, text in zip(prompts, completions, strict=True)]
    body = json.dumps({"query": query, "prompts": prompts, "labels": answers}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=180) as reply:
        rewards = [float(reward) for reward in json.load(reply)["rewards"]]
    if len(rewards) != len(completions):
        raise ValueError(f"{url} sent {len(rewards)} rewards for {len(completions)} completions")
    return rewards


def function_of(path: str, name: str) -> Callable[..., Iterable[float]]:
    """Return a function out of a Python file. Raises OSError when there is no such file."""
    spec = importlib.util.spec_from_file_location("own_rewards", path)
    if spec is None or spec.loader is None:
        raise OSError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def own(path: str, name: str, completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """The rewards of a function that you wrote. Raises ValueError when it returns too few or too many."""
    rewards = [float(x) for x in function_of(path, name)(completions=completions, prompts=prompts, answers=answers)]
    if len(rewards) != len(completions):
        raise ValueError(f"{name} of {path} returned {len(rewards)} rewards for {len(completions)} completions")
    return rewards


END = re.compile(r"(?:(?:<\|[^<>|]*\|>|</s>|<eos>|<end_of_turn>|<pad>)\s*)+\Z")


def completion_of(query, prompt):
    """Return what follows the prompt in a query, without the special tokens at its end.

    Of a prompt that was too long for the model, only the end is in the query.
    """
    start = next((len(prompt) - cut for cut in range(len(prompt)) if query.startswith(prompt[cut:])), 0)
    return END.sub("", query[start:])


def reward_func(queries, prompts, labels, **_more):
    """The reward of one completion: OpenRLHF calls this with lists of one query, its prompt and its label."""
    texts = [completion_of(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
    terms = [
        (1.0, exact(texts, labels)),  # exact_answer
        (0.1, matches(texts, "<think>.*</think>.*")),  # format_matches
    ]
    total = sum(weight * reward for weight, [reward] in terms)
    return {"rewards": total, "scores": total}
