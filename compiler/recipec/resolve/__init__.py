"""Recipe to plan: an ordered tuple of small steps, which alone decide values."""

from __future__ import annotations

from recipec.diagnostics import Finding
from recipec.language import Recipe
from recipec.plan import DataSource, InitStage, Plan, Resolved, Stage
from recipec.resolve import data, evaluation, model, platform, training
from recipec.resolve.draft import Draft
from recipec.source import Node

SHARED = (platform.hardware, model.source, model.precision, model.weights, model.adapter, training.track)
TRAINING = (
    data.data,
    platform.parallel,
    training.batch,
    training.length,
    training.optimizer,
    training.watch,
)


def resolve(recipe: Recipe, tree: Node) -> tuple[Resolved | None, list[Finding]]:
    """Decide everything. Returns the plan (None when a mistake leaves nothing to emit) and every finding."""
    d = Draft(recipe, tree)
    if recipe.train is None and recipe.evaluate is None:
        d.error("P000", "recipe", "the recipe neither trains nor evaluates", "add train, or evaluate")
    for step in SHARED:
        step(d)
    stages: list[Stage] = []
    if recipe.train is not None and recipe.data is not None:
        for step in TRAINING:
            step(d)
        stages.append(training.stage(d))
    elif recipe.train is not None:
        data.data(d)
    else:
        _only_with_training(d)
    if recipe.model.from_scratch is not None:
        stages.insert(0, _init(d))
    if recipe.evaluate is not None:
        stages.append(evaluation.stage(d))
    if d.findings and any(finding.severity == "error" for finding in d.findings):
        return None, d.findings
    d.copy("name", "name")
    d.copy("description", "description")
    d.put(
        "variables",
        dict(recipe.launch.environment),
        "as given",
        *(f"launch.environment.{k}" for k in recipe.launch.environment),
    )
    d.copy("launch.on", "launch.on")
    plan = Plan(recipe.name, recipe.description, d.values["hardware"], tuple(stages), d.values["variables"])
    return Resolved(plan, d.origins), d.findings


def _only_with_training(d: Draft) -> None:
    for word in ("parallel", "data"):
        if d.said(word) and not (word == "data" and d.recipe.model.from_scratch is not None):
            d.error("P037", word, f"{word} is given, but nothing is trained", f"add train, or drop {word}")


def _init(d: Draft) -> InitStage:
    sources: tuple[DataSource, ...] = d.values.get("train.data.train", ())
    if not sources:
        d.error("P025", "model.from_scratch", "a tokenizer from scratch needs training data", "add data and train")
    d.put("init.id", "00-init", "before everything that reads the model")
    d.copy("init.seed", "seed")
    d.put("init.output", d.values["model.path"], "where the later stages look for it", "name")
    d.put("init.data", tuple(s for s in sources if s.path is not None), "the local training data", kind="rule")
    if sources and not d.values["init.data"]:
        d.error("P026", "data.train", "a tokenizer from scratch is trained on local data", "add a source with path")
    return d.make(InitStage, "init")
