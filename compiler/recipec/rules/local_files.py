"""Files and folders that a recipe names, looked for where it is compiled.

What a stage of the recipe leaves counts as there. A file that is not here need not be wrong: a recipe for a cluster is
compiled on a laptop. Where its folder is here, or another path that the recipe names, it is a warning; else all that is
said is a note that it was not judged. Code, templates and tasks travel with a recipe: that they are here says nothing of
data, models and adapters, which often lie only where it runs. No missing file stops a compile: a run looks for what it needs
before it starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from pathlib import PurePath

from recipec.decide.decision import Decision
from recipec.decide.said import Said
from recipec.diagnostics import Finding, Severity
from recipec.facts.models import is_folder
from recipec.plan import Stage
from recipec.plural import counted
from recipec.source import Scalar, Span
from recipec.suggest import nearest

TRAVELS = (
    "chat_template_file", "task_folder", "script.path", ".questions", ".references", ".prompts", ".against_answers",
)  # fmt: skip
MODELS = {"base": "config.json", "tokenizer": "tokenizer_config.json", "start_from": "adapter_config.json"}


class _Named:
    """One path that a recipe names: where, what it is there for, and whether it is here."""

    def __init__(self, word: str, span: Span, path: str) -> None:
        self.word, self.span, self.path = word, span, path
        self.travels = word.endswith(TRAVELS) or word.startswith("rewards")
        self.here = os.path.exists(path)  # noqa: PTH110  # pathlib takes longer to load


def findings(decision: Decision, wrong: Set[Span]) -> Iterator[Finding]:
    """Yield what is wrong with the files that the stages read, and one note of those that could not be looked at."""
    plan = decision.resolved.plan
    made = {os.path.abspath(stage.output) for stage in plan.stages}  # noqa: PTH100
    named: dict[tuple[str, Span], _Named] = {}
    for stage in plan.stages:
        for one in _named(decision.said[stage.name], stage):
            place = os.path.abspath(one.path)  # noqa: PTH100
            if (
                one.span not in wrong
                and not one.path.startswith("~")
                and made.isdisjoint((place, *map(str, PurePath(place).parents)))
            ):
                named.setdefault((one.path, one.span), one)
    lasting = any(one.here for one in named.values() if not one.travels)
    some = lasting or any(one.here for one in named.values())
    away: list[_Named] = []
    for one in named.values():
        if one.here:
            yield from _wrong_folder(one)
        elif _folder_of(one.path) or (some if one.travels else lasting):
            what = "folder" if one.word.endswith(("folder", *MODELS)) else "file"
            advice = f"correct the path, unless the {what} is on the machine that runs the recipe"
            yield _told(one, "D015", f"{one.path} is not here", advice, _close(one.path))
        else:
            away.append(one)
    if away:
        more = f", nor {'are' if len(away) > 2 else 'is'} {counted(len(away) - 1, 'other path')} of the recipe"
        message = f"{away[0].path} is not here{more if len(away) > 1 else ''}: what is in it was not judged"
        advice = "check again in the folder that the paths of the recipe start at; a run looks for it before it starts"
        yield _told(away[0], "D060", message, advice, severity="note")


def _named(said: Said, stage: Stage[object]) -> Iterator[_Named]:
    """Yield every path that a stage reads at each place where the recipe names it."""
    paths = {read.path for read in stage.reads if read.needed or is_folder(read.path)}
    for word, node in said.nodes.items():
        value = node.value if isinstance(node, Scalar) else None
        last = word.rpartition(".")[2]
        if isinstance(value, str) and value in paths and value.isprintable() and (last in MODELS or _is_path(word)):
            yield _Named(word, said.span(word), value)


def _is_path(word: str) -> bool:
    return word.endswith((".path", *TRAVELS))


def _told(
    one: _Named, code: str, message: str, advice: str, suggestion: str | None = None, severity: Severity = "warning"
) -> Finding:
    return Finding(code, message, one.span, suggestion, advice, severity)


def _folder_of(path: str) -> bool:
    """Return whether the folder that should hold a path is here, where the path names one."""
    above = path.rstrip("/").rpartition("/")[0]
    return above not in ("", ".", "..") and os.path.isdir(above)  # noqa: PTH112


def _close(path: str) -> str | None:
    """Return a path that is here and nearly spelt like this one: of the same suffix, in the same folder."""
    folder, _, name = path.rstrip("/").rpartition("/")
    if not os.path.isdir(folder or "."):  # noqa: PTH112
        return None
    stem, dot, suffix = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
    end = dot + suffix
    stems = [entry.name.removesuffix(end) for entry in os.scandir(folder or ".") if entry.name.endswith(end)]
    close = nearest(stem, stems)
    return None if close is None else f"{folder}/{close}{end}" if folder else f"{close}{end}"


def _wrong_folder(one: _Named) -> Iterator[Finding]:
    """Tell of a folder without the file that makes it what it is named as."""
    wanted = MODELS.get(one.word.rpartition(".")[2])
    folder = os.path.isdir(one.path)  # noqa: PTH112
    if wanted == "tokenizer_config.json":
        return
    if wanted is not None and folder and not os.path.exists(f"{one.path}/{wanted}"):  # noqa: PTH110
        what = "model" if wanted == "config.json" else "adapter"
        inside = sorted(
            (entry.path for entry in os.scandir(one.path) if os.path.exists(f"{entry.path}/{wanted}")),  # noqa: PTH110
            key=lambda path: (len(path), path),
        )
        message = f"{one.path} holds no {what}: it has no {wanted}"
        yield _told(one, "D063", message, "name the folder that holds it", inside[-1] if inside else None, "error")
    elif wanted is not None and not folder:
        yield _told(one, "D063", f"{one.path} is a file, not the folder of a model", "name its folder", None, "error")
    elif one.word.endswith("task_folder"):
        if not folder:
            yield _told(one, "D063", f"{one.path} is a file, not a folder of tasks", "name its folder", None, "error")
        elif not any(name.endswith((".yaml", ".yml")) for _, _, names in os.walk(one.path) for name in names):
            message = f"{one.path} holds no task: lm-evaluation-harness reads them from .yaml files"
            yield _told(one, "D062", message, "is it the right folder?")
    elif wanted is None and folder:
        yield _told(one, "D063", f"{one.path} is a folder, not a file", "name a file in it", None, "error")
    elif wanted is None and not os.path.isfile(one.path):  # noqa: PTH113
        yield _told(one, "D063", f"{one.path} is a pipe or a device, not a file", "save it as a file", None, "error")
