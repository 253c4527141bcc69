"""Contradictions about programs of the user between two stages: what they are told, and what they are said to make."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.script import asked, values
from recipec.language import Recipe
from recipec.references import references
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest


@contradiction("P257", "program-told-of-nothing", "part", words=("script", "start_from"))
def told_of_nothing(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds an argument of a stage's program that refers to something that no stage before it has, or that nobody expands.

    Why is this bad:
    The program would be given no value, or the text of the reference in place of one.

    Example:
        stages:
          - {name: sft}
          - {name: kept, script: {path: filter.py, makes: rows, format: chat, arguments: {rows: '${plan:answers.rows}'}}}

    Use instead:
        stages:
          - {name: sft}
          - {name: answers, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}]}}
          - {name: kept, script: {path: filter.py, makes: rows, format: chat, arguments: {rows: '${plan:answers.rows}'}}}
    """
    part = see.said.part
    if part.script is None:
        return
    listed = see.graph.listed
    before = {*listed[: listed.index(part.name) + 1]}
    known = {one: value for one, value in values(see.said, see.graph).items() if one.partition(".")[0] in before}
    for key, name in asked(part.script.arguments):
        here = indexed("script.arguments", key)
        if name not in known:
            advice = f"there is {', '.join(list(known)[:12])}"
            yield Fault(here, f"no {name} before this stage", advice, nearest(name, list(known)))
        elif known[name] is None:
            yield Fault(here, f"what it starts from has no {name.rpartition('.')[2]}", "drop the argument")
    for key, value in part.script.arguments.items():
        for one in references(value):
            if one.kind != "plan":
                message = f"${{{one.kind}:{one.name}}} is not known here"
                yield Fault(indexed("script.arguments", key), message, "name a folder or value: ${plan:STAGE.output}")


@contradiction("P258", "program-that-makes-something-else", "part", words=("script", "start_from"))
def something_else(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds rows without a format, a format of what is no rows, and an adapter over nothing.

    Why is this bad:
    The stages behind would read what is not there, or not know how.

    Example:
        stages:
          - {name: sft}
          - {name: kept, script: {path: filter.py, makes: rows}}

    Use instead:
        stages:
          - {name: sft}
          - {name: kept, script: {path: filter.py, makes: rows, format: chat}}
    """
    given = see.said.part.script
    if given is None:
        return
    if given.makes == "rows" and given.format is None:
        yield Fault("script.makes", "rows of what format?", "add format, such as format: chat")
    for word in ("format", "file"):
        if given.makes != "rows" and see.said.wrote(f"script.{word}"):
            message = f"{word} is of rows, and this makes {given.makes}"
            yield Fault(f"script.{word}", message, "set makes: rows, or drop it")
    if given.makes == "adapter" and see.said.part.start_from is None:
        yield Fault("script.makes", "an adapter over what?", "add start_from: base, or a stage")


RULES = (told_of_nothing, something_else)
