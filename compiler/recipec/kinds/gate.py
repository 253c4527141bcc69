"""`gate`: what the scores of a model must be for a course to go on. Nobody writes one: `evaluate.require` makes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from recipec.decide.graph import Graph, Made, scored
from recipec.decide.said import Said, indexed, section, several
from recipec.kinds.kind import Kind
from recipec.language.evaluate import Evaluate as EvaluateWords
from recipec.plan import Input, ModelOutput, Record, Resources, ScoresOutput, Stage
from recipec.plural import counted
from recipec.render.markdown import code

NAME = "gate"
REFUSAL = 4  # the exit code of its script, and of a run
Operator = Literal[">=", ">", "<=", "<"]
_SAID = re.compile(
    r"(?P<operator>>=|<=|>|<)\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>pt|%)?"
    r"|(?P<model>[a-z][a-z0-9-]*)(?:\s*(?P<sign>[+-])\s*(?P<more>\d+(?:\.\d+)?|\.\d+)\s*(?P<points>pt)?)?)"
)


class Required(NamedTuple):
    """What was required in words: at least or at most the score of a model, or nothing, and a number more."""

    operator: Operator
    against: str | None
    offset: float


class Condition(Record, frozen=True):
    """One requirement of the scores of `model`, in the metric's own unit: `offset` more than those of `against`, or than nought.

    Without a `metric`, it is the first that the task has.
    """

    said: str
    task: str
    metric: str | None
    model: str
    operator: Operator
    against: str | None
    offset: float


class Scored(Record, frozen=True):
    """A model by its name, where its weights and adapter are or what a server knows it by, and the folder of its scores."""

    name: str
    path: str
    adapter: str | None
    scores: str


class Gate(Record, frozen=True):
    """Ends the course unless all conditions hold with a confidence: the share of one-sided tests that are right by chance.

    A model stands in `models` once for each folder of its scores.
    """

    output: str
    confidence: float
    models: tuple[Scored, ...]
    conditions: tuple[Condition, ...]


def required(text: str) -> Required | None:
    """Read a requirement, such as `>= base + 2pt`, `> 0.45` or `<= base`; None where it cannot be read."""
    found = _SAID.fullmatch(text.strip())
    if found is None:
        return None
    operator: Operator = found["operator"]  # type: ignore[assignment]  # the pattern has no other
    if found["number"]:
        return Required(operator, None, float(found["number"]) / (100 if found["unit"] else 1))
    more = float(found["more"] or 0) / (100 if found["points"] else 1)
    return Required(operator, found["model"], -more if found["sign"] == "-" else more)


def is_among(task: str, tasks: list[str]) -> bool:
    """Return whether a task is evaluated: as itself, or in a group whose name it begins with."""
    return any(task == one or task.startswith(f"{one}_") for one in tasks)


def name_of(word: str) -> tuple[str, str | None]:
    """Return task and metric of `gsm8k/exact_match`; None where no metric is named."""
    task, _, metric = word.partition("/")
    return task, metric or None


def after(say: Said, graph: Graph, given: EvaluateWords, own: Iterable[Made]) -> tuple[Made, ...]:
    """Return the stage that compares scores, behind the evaluations of one `evaluate`; none where nothing is required."""
    made = tuple(own)
    if not given.require or not made:
        return ()
    stages = [*graph.stages.values(), *(one.stage for one in made)]
    evaluations = {**graph.scores, **scored(made)}
    subject = list(scored(made))[-1]
    conditions: list[Condition] = []
    for word, text in given.require.items():
        read, (task, metric) = required(text), name_of(word)
        if read is None or (read.against is not None and read.against not in evaluations):  # an error of its own (P256)
            continue
        conditions.append(Condition(f"{word} {text}", task, metric, subject, read.operator, read.against, read.offset))
    if not conditions:
        return ()
    used: dict[str, dict[str, Stage[Any]]] = {}  # by model, then by the stage's name
    for condition in conditions:
        for model in (condition.model, condition.against):
            if model is not None:
                found = measuring(stages, model, condition.task) or evaluations[model]
                used.setdefault(model, {})[found.name] = found
    name = NAME if say.part.own is None else f"{say.part.name}-{NAME}"
    output = graph.folder(name)
    places = [indexed("evaluate.require", word) for word in given.require]
    body = section(
        Gate,
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        confidence=say.word("evaluate.confidence", given.confidence),
        models=several(
            say.rule(_scored(model, one), "what is compared", "evaluate.models")
            for model, ones in used.items()
            for one in ones.values()
        ),
        conditions=say.rule(tuple(conditions), "as required", *places),
    )
    stage = Stage(
        name=name,
        kind=NAME,
        system="",
        release="",
        environment="",
        inputs=tuple(Input(one.name, one.outputs[0]) for ones in used.values() for one in ones.values()),
        outputs=(),
        reads=(),
        resources=Resources("cpu", None, 1, 1),
        output=output,
        resumable=False,
        body=body.value,
    )
    return (Made(stage, body.origins),)


def measuring(stages: Iterable[Stage[Any]], model: str, task: str) -> Stage[Any] | None:
    """Return the last of some stages that measures a model on a task; None where none does."""
    found: Stage[Any] | None = None
    for stage in stages:
        for output in stage.outputs:
            if isinstance(output, ScoresOutput) and output.model == model:
                found = stage if is_among(task, [one for text in output.tasks for one in text.split(",")]) else found
    return found


def _scored(name: str, stage: Stage[Any]) -> Scored:
    model = stage.inputs[0].output
    assert isinstance(model, ModelOutput)
    server = getattr(stage.body, "server", None)
    if server is not None:  # which is asked for a name
        return Scored(name, server.model, None, stage.outputs[0].place)
    return Scored(name, model.path, model.adapter, stage.outputs[0].place)


def _sentence(stage: Stage[Gate]) -> str:
    body = stage.body
    what = "; ".join(code(condition.said) for condition in body.conditions)
    model = body.conditions[0].model
    return (
        f"ends the course with exit code {REFUSAL} unless the scores of {model} show, with a confidence of {body.confidence:.0%}, "
        f"{counted(len(body.conditions), 'requirement')}: {what}"
    )


ACTS = ("output",)
KIND = Kind(NAME, Gate, "Checks scores.", None, _sentence, ACTS, refusal=REFUSAL)
