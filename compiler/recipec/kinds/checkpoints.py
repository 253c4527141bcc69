"""`checkpoints`: the checkpoints of one training, each evaluated, the best of them kept. `evaluate.when` makes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Said, plain, section
from recipec.kinds import code as code_tasks
from recipec.kinds import evaluate
from recipec.kinds.evaluate import Evaluate
from recipec.kinds.gate import name_of
from recipec.kinds.kind import Kind
from recipec.kinds.train.records import Train
from recipec.language.base import BEST
from recipec.language.evaluate import Evaluate as EvaluateWords
from recipec.language.evaluate import Every
from recipec.plan import Stage
from recipec.plural import counted
from recipec.render.markdown import code, inert

NAME = "checkpoints"
KEPT = "kept"  # the folder of a training in which its checkpoints are kept until they have been evaluated
LEFT = "best"  # the folder of the best, in that of the evaluation


class Checkpoints(Evaluate, frozen=True):
    """The evaluation of each checkpoint of a training; `model` is a checkpoint, of which `kept` stands for the folder.

    `training` is its folder, `saved` the steps between its checkpoints, `every` those between the ones that are evaluated
    (None: each). The score of `metric` (None: the first) in `task` says which is the best. `beside`: while the training goes on,
    which ends after `early_stopping` of them in a row without a better one. `frees`: what was kept and is not the best is
    deleted at the end. `track` is the training's.
    """

    training: str
    kept: str
    saved: int | Literal["epoch"]
    every: int | None
    task: str
    metric: str | None
    beside: bool
    early_stopping: int | None
    frees: bool


def continuous(given: EvaluateWords | None) -> bool:
    """Return whether checkpoints are evaluated, and not only what a training leaves."""
    return given is not None and given.when != "end" and bool(code_tasks.asked(given))


def of_course(say: Said, graph: Graph, made: Iterable[Made]) -> tuple[Made, ...]:
    """Return the stages that evaluate the checkpoints of the trainings that one part of a course has made.

    `say` is what the recipe says for all of it, `graph` the course with them.
    """
    given = say.recipe.evaluate
    if given is None or not continuous(given):
        return ()
    found: list[Made] = []
    for one in made:
        handed = one.hands
        if one.stage.kind == "train" and handed is not None and _meant(given, graph, handed):
            name = f"evaluate-{one.stage.name}-{NAME}" if graph.several else f"evaluate-{NAME}"
            found.append(_one(say, graph, given, one.stage, handed, name))
    return tuple(found)


def of_stage(say: Said, graph: Graph, start: Handed) -> tuple[Made, ...]:
    """Return the stage that evaluates the checkpoints of a training, which a stage of the course evaluates."""
    given, training = say.recipe.evaluate, graph.stages.get(start.name)
    if given is None or not continuous(given) or training is None or training.kind != "train":
        return ()
    handed = start.replaced(stage=training.name, model=training.outputs[0])
    return (_one(say, graph, given, training, handed, f"{say.part.name}-{NAME}"),)


def _meant(given: EvaluateWords, graph: Graph, handed: Handed) -> bool:
    """Return whether a training is among the models that are evaluated."""
    if not evaluate.writes(handed):
        return False
    named = {model.removesuffix(BEST) for model in given.models or ()}
    last = evaluate.LAST in named and handed.name == graph.listed[-1]
    return given.models is None or handed.name in named or last


def _one(say: Said, graph: Graph, given: EvaluateWords, trained: Stage[Train], handed: Handed, name: str) -> Made:
    kept = f"{trained.output}/{KEPT}"
    model = handed.model.replaced(tokenizer=kept)
    model = model.replaced(path=kept) if model.adapter is None else model.replaced(adapter=kept)
    best = f"{handed.name}{BEST}"
    made = evaluate.one(say, graph, given, best, handed.replaced(model=model), name)
    common = made.stage.body
    said = given.when.every if isinstance(given.when, Every) else None
    task, metric = name_of(given.best if given.best is not None else code_tasks.asked(given)[0])
    follows = "evaluate.early_stopping"
    body = section(
        Checkpoints,
        **{field: plain(getattr(common, field)) for field in Evaluate.__struct_fields__ if field != "track"},
        track=plain(trained.body.track),
        training=say.rule(trained.output, "what is evaluated", "evaluate.when"),
        kept=say.rule(kept, "where the trainer does not delete them", "evaluate.when"),
        saved=plain(trained.body.watch.save_every),
        every=say.rule(said, "each checkpoint" if said is None else "", "evaluate.when.every"),
        task=say.rule(task, "the first task" if given.best is None else "", "evaluate.best"),
        metric=say.rule(metric, "its first metric" if metric is None else "", "evaluate.best"),
        beside=say.take("evaluate.beside", given.beside, given.early_stopping is not None, "", follows),
        early_stopping=say.word("evaluate.early_stopping", given.early_stopping),
        frees=say.rule("dvc" not in say.recipe.launch.emit, "DVC compares what a stage leaves", "launch.emit"),
    )
    place = f"{common.output}/{LEFT}"
    left = model.replaced(tokenizer=place)
    left = left.replaced(path=place) if left.adapter is None else left.replaced(adapter=place)
    stage = made.stage.replaced(
        kind=NAME,
        inputs=(handed.input,),
        outputs=(left,),
        body=body.value,
    )
    origins = {**made.origins, **body.origins}
    return Made(stage, origins, handed.replaced(name=best, stage=name, model=left), aside=True)


def _sentence(stage: Stage[Checkpoints]) -> str:
    body = stage.body
    which = "every checkpoint" if body.every is None else f"the checkpoint of every {body.every} steps"
    when = "while the training goes on" if body.beside else "when the training has ended"
    metric = f" ({body.metric})" if body.metric is not None else ""
    ends = (
        f", and ends it after {counted(body.early_stopping, 'evaluation')} without a better one"
        if body.early_stopping
        else ""
    )
    return (
        f"evaluates {which} of {code(body.training)} on {inert(', '.join(body.tasks))}, {when}{ends}; the best by "
        f"{inert(body.task)}{metric} is kept in {code(f'{body.output}/{LEFT}')}"
    )


ACTS = (*evaluate.ACTS, "training", "saved")
KIND = Kind(NAME, Checkpoints, "Evaluates checkpoints.", None, _sentence, ACTS)
