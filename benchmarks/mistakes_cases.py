"""The planted mistakes of benchmarks/mistakes: how they are read, planted, and told from what was right."""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent / "mistakes"
BASES = HERE / "bases"
# Language → the file that a mistake in it is planted in, unless it says another one.
FILES = {
    "recipe": "recipe.yaml",
    "axolotl": "axolotl.yaml",
    "trl": "trl.yaml",
    "llamafactory": "llamafactory.yaml",
    "deepspeed": "ds_config.json",
    "accelerate": "accelerate.yaml",
}
TOOLS = [language for language in FILES if language != "recipe"]
# The machine that each base declares.
MACHINES: dict[str, dict[str, Any]] = {
    "sft": {"count": 4, "sm": "sm_80", "bf16": True},
    "full": {"count": 8, "sm": "sm_90", "bf16": True},
    "dpo": {"count": 2, "sm": "sm_80", "bf16": True},
    "grpo": {"count": 4, "sm": "sm_90", "bf16": True},
}
NAMED = ("misspelt key", "wrong choice")  # kinds with one right name, which can be suggested


class Planted(NamedTuple):
    """One base in one language with something changed in it, or with nothing."""

    base: str
    language: str
    file: str
    before: str
    after: str
    machine: dict[str, Any]
    about: tuple[str, ...] = ()  # other words that name the place, such as the other side of a contradiction
    name: tuple[str, ...] = ()  # the right name, where it is not simply what was replaced


class Case(NamedTuple):
    """One mistake, and what is right in its place, in every language that can say it."""

    kind: str
    what: str
    base: str
    wrong: dict[str, Planted]
    right: dict[str, Planted]
    because: str  # why a recipe cannot say it
    untried: bool  # a CPU cannot train it, whatever is wrong with it


def cases() -> list[Case]:
    """Return every planted mistake, by kind. Raises ValueError where a change does not fit its base."""
    found = []
    for path in sorted((HERE / "planted").glob("*.yaml")):
        group = YAML(typ="safe").load(path)
        for row in group["mistakes"]:
            base, right = row.get("base", "sft"), row.get("right", {})
            names = {key: tuple(row.get(key, ())) for key in ("about", "name")}
            wrong = {word: planted(base, word, row[word])._replace(**names) for word in FILES if row.get(word)}
            fine = {word: planted(base, word, right[word]) for word in FILES if right.get(word)}
            found.append(
                Case(group["kind"], row["what"], base, wrong, fine, row.get("because", ""), row.get("untried", False))
            )
    return found


def planted(base: str, language: str, said: Any = None) -> Planted:
    """Return a base with a change: `[old, new]`, a list of those, or `{file, machine, change}`. Raises ValueError."""
    row = said if isinstance(said, dict) else {"change": said or []}
    changes = row.get("change", [])
    file = row.get("file", FILES[language])
    before = after = (BASES / base / file).read_text(encoding="utf-8")
    for old, new in [changes] if changes and isinstance(changes[0], str) else changes:
        if after.count(old) != 1:
            raise ValueError(f"{old!r} is {after.count(old)} times in {base}/{file}")
        after = after.replace(old, new)
    return Planted(base, language, file, before, after, MACHINES[base] | row.get("machine", {}))


def bases(language: str) -> list[Planted]:
    """Return every unchanged base of a language."""
    return [planted(base, language) for base in MACHINES if (BASES / base / FILES[language]).exists()]


def located(change: Planted, answer: str) -> bool:
    """Tell whether an answer names a key or a word that was changed, or the line of it in the file."""
    lines, keys = _changed(change)
    names = keys | (_words(change.after) - _words(change.before)) | set(change.about)
    said = {int(line) for line in re.findall(rf"(?:{re.escape(change.file)}:|\bline )(\d+)\b", answer)}
    return bool(names & _words(answer)) or bool(said & lines)


def suggested(change: Planted, answer: str) -> bool:
    """Tell whether an answer gives the name that was right."""
    right = set(change.name) or _words(change.before) - _words(change.after)
    return bool(right & _words(answer))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_-]+", text))


def _changed(change: Planted) -> tuple[set[int], set[str]]:
    """Return the lines (from 1) that were put in, and the keys on those and on what was taken out."""
    before, after = change.before.splitlines(), change.after.splitlines()
    lines: set[int] = set()
    texts: list[str] = []
    for tag, begin, end, first, last in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            lines |= set(range(first + 1, last + 1))
            texts += [*before[begin:end], *after[first:last]]
    return lines, {key for text in texts for key in re.findall(r"([A-Za-z_][A-Za-z0-9_-]+)[\"']?\s*:", text)}
