"""What a module of a kind of stage declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recipec.decide.graph import Graph, Made
from recipec.decide.said import Said
from recipec.plan import Plan, Record, Stage


class Kind(Record, frozen=True):
    """A kind of stage. `body` is the record of its bodies, `does` the first words of its script.

    `decide` makes the stages of one part of a course: its own, and those that must come before and after it; None where
    nobody can write a stage of the kind, and other kinds make it.
    `acts` are the plan paths that make a difference whatever the system: the machine is what resources come of. `sentence`
    says for a reviewer what a stage does, `section` gives it a section of its own in PLAN.md. `wants` says of a value at a
    plan path of a body what must be changed first for it to stand there, in the recipe's words; an empty text: nothing.
    `terms` are the paths of a body that scores depend on beside the model: those that are compared must have the same.
    `keys` are the environment variables with keys that a body needs where it runs. `keeps` are names in its output that it finds
    again by what it asks for: they stay where it starts over for what has changed.
    `refusal` is the exit code of a stage that did its work, and says that the course must not go on; None where it has no say.
    """

    name: str
    body: type[Any]
    does: str
    decide: Callable[[Said, Graph], tuple[Made, ...]] | None
    sentence: Callable[[Stage[Any]], str]
    acts: tuple[str, ...] = ("output",)
    section: Callable[[Stage[Any], Plan], list[str]] = lambda _stage, _plan: []
    wants: Callable[[Any, str, Any], str] = lambda _body, _path, _value: ""
    refusal: int | None = None
    terms: tuple[str, ...] = ()
    keys: Callable[[Any], tuple[str, ...]] = lambda _body: ()
    keeps: tuple[str, ...] = ()
