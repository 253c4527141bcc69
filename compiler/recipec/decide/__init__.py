"""Recipe to plan: an ordered tuple of small steps, which alone decide values."""

from __future__ import annotations

from recipec.course import Course, Part
from recipec.decide import data, evaluation, methods, model, platform, script, training
from recipec.decide.draft import Draft, Outcome
from recipec.diagnostics import Finding
from recipec.facts.models import known_model
from recipec.plan import DataSource, InitStage, MergeStage, Model, Origin, Plan, Resolved, Stage, TrainStage
from recipec.rows import NAMES

SHARED = (platform.hardware, model.source, model.precision, model.weights, model.adapter, training.track)
TRAINING = (
    training.trainer,
    data.data,
    platform.parallel,
    training.batch,
    data.rows,
    training.length,
    training.optimizer,
    training.watch,
    methods.objective,
    methods.rollout,
    methods.rewards,
    script.script,
)


def decide(course: Course) -> tuple[Resolved | None, list[Finding]]:
    """Decide everything. Returns the plan (None when a mistake leaves nothing to emit) and every finding."""
    made = _Made()
    draft: Draft | None = None
    several = len(course.parts) > 1 or course.parts[0].own is not None
    for part in course.parts:
        draft = _training(part, made, several=several)
    assert draft is not None
    recipe = course.recipe
    d = Draft(Part("evaluate", recipe, course.tree), f"{10 * (made.trainings + 1)}-evaluate", several=several)
    d.values = draft.values
    d.origins = {leaf: o for leaf, o in draft.origins.items() if leaf.startswith(("hardware.", "track."))}
    if recipe.evaluate is not None:
        made.take(evaluation.stage(d, tuple(made.outcomes)), d, "evaluate")
    elif not made.trainings and not made.findings:
        d.error("P000", "recipe", "the recipe neither trains nor evaluates", "add train, or evaluate")
    made.findings += d.findings
    allowed = {code for code, name in NAMES.items() if name in recipe.allow}
    if any(finding.severity == "error" and finding.code not in allowed for finding in made.findings):
        return None, made.findings
    hardware = draft.values["hardware"]
    made.origins |= {leaf: origin for leaf, origin in draft.origins.items() if leaf.startswith("hardware.")}
    plan = Plan(recipe.name, recipe.description, hardware, tuple(made.stages), dict(recipe.launch.environment))
    return Resolved(plan, made.origins), made.findings


class _Made:
    """The stages so far, the origins of their leaves under their names, and what there is to start from or judge."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.origins: dict[str, Origin] = {}
        self.findings: list[Finding] = []
        self.outcomes: list[Outcome] = []
        self.trainings = 0

    def take(self, stage: Stage, d: Draft, root: str) -> None:
        """Keep a stage that was decided under `root`, and its origins under the stage's name."""
        self.stages.append(stage)
        for leaf, origin in d.origins.items():
            if leaf.startswith(root + "."):
                self.origins[stage.name + leaf[len(root) :]] = origin


def _training(part: Part, made: _Made, *, several: bool) -> Draft:
    """Decide one training with what must come before and after it."""
    recipe = part.recipe
    number = 10 * (made.trainings + 1)
    d = Draft(part, f"{number}-{part.name}", several=several, start=_start(part, made))
    if part.parent_adapter is not None and (d.start is None or d.start.adapter is None):
        d.error("P027", "parent_adapter", "there is no adapter to start from", "drop parent_adapter")
    if d.start is not None and d.start.adapter is not None:
        if part.parent_adapter is None:
            advice = "say parent_adapter: merge, or continue"
            d.error(
                "P028",
                "parent_adapter",
                f"{d.start.name} leaves an adapter, and this stage does not say what becomes of it",
                advice,
            )
        elif part.parent_adapter == "merge":
            d.start = _merge(d, made, d.start, f"{number - 5:02}-merge", "parent_adapter")
    for step in SHARED:
        d.begin()
        step(d)
    if not made.outcomes:
        base = d.values["model"]
        made.outcomes.append(Outcome("base", base.path, base.revision, base.tokenizer, template=_template(base)))
    if recipe.train is not None and (recipe.data is not None or script.wanted(d)):
        for step in TRAINING:
            d.begin()
            step(d)
        d.begin()
        stage = training.stage(d)
        script.told(d, stage)
        if recipe.model.from_scratch is not None and not made.trainings:
            made.take(_init(d), d, "init")
        made.take(stage, d, "train")
        made.trainings += 1
        made.outcomes.append(_outcome(d, stage))
        if stage.adapter is not None and stage.adapter.merge:
            made.outcomes[-1] = _merge(d, made, made.outcomes[-1], f"{number + 5}-merge", "adapter.merge")
    elif recipe.train is not None:
        data.data(d)
    elif several:
        d.error("P038", "train", "the stage has no training", "give it train, or give train to the recipe")
    else:
        _only_with_training(d)
    made.findings += d.findings
    return d


def _start(part: Part, made: _Made) -> Outcome | None:
    """Return what a training begins with; None for the recipe's own model."""
    if part.start_from is not None:
        return next(outcome for outcome in made.outcomes if outcome.name == part.start_from)
    return made.outcomes[-1] if made.trainings else None


def _outcome(d: Draft, stage: TrainStage) -> Outcome:
    name = d.part.name if d.several else "tuned"
    base = stage.model
    template = "own" if base.chat_template != "tokenizer" or base.chat_template_file is not None else _template(base)
    if d.start is not None and template is None:
        template = d.start.template
    if stage.adapter is None:
        return Outcome(name, stage.output, None, stage.output, template=template)
    return Outcome(name, base.path, base.revision, stage.output, stage.output, template=template)


def _template(model: Model) -> str | None:
    """Return what is known of the chat template of a model's tokenizer."""
    known = known_model(model.tokenizer, folders=False)  # what is emitted does not depend on the machine
    return known.template if known is not None else None


def _merge(d: Draft, made: _Made, outcome: Outcome, id: str, word: str) -> Outcome:
    """Add the stage that merges an adapter into its base; return the merged model. One merge for each adapter."""
    assert outcome.adapter is not None
    name = f"{outcome.name}-merge" if d.several else "merge"
    output = f"runs/{d.recipe.name}/{id}"
    after = Outcome(outcome.name, output, None, output, template=outcome.template)
    if name in (stage.name for stage in made.stages):
        return next(after._replace(path=s.output, tokenizer=s.output) for s in made.stages if s.name == name)
    trained = next(s for s in made.stages if isinstance(s, TrainStage) and s.output == outcome.adapter)
    precision = trained.numerics.precision
    for leaf, value, why in (
        ("id", id, "after the training it follows"),
        ("output", output, "results of a run stay out of the emitted files"),
        ("base", outcome.path, "the adapter's base"),
        ("adapter", outcome.adapter, "what the training left"),
        ("tokenizer", outcome.tokenizer, "the training saved it beside the adapter"),
        ("precision", precision, "as the computation: never into quantised weights"),
    ):
        d.put(f"merge.{leaf}", value, why, word)
    d.put("merge.revision", outcome.revision, "as in training", word)
    d.put("merge.trust_remote_code", trained.model.trust_remote_code, "as in training", "model.trust_remote_code")
    d.values["merge.name"] = name
    made.take(d.make(MergeStage, "merge"), d, "merge")
    return after


def _only_with_training(d: Draft) -> None:
    scratch = d.recipe.model.from_scratch is not None
    for word in ("parallel", "data", "rollout", "rewards", "script", "trainer"):
        if d.said(word) and not (word == "data" and scratch):
            d.error("P037", word, f"{word} is given, but nothing is trained", f"add train, or drop {word}")
    if scratch:
        d.error("P025", "model.from_scratch", "a tokenizer from scratch needs training data", "add data and train")


def _init(d: Draft) -> InitStage:
    sources: tuple[DataSource, ...] = d.values["train.data.train"]
    d.put("init.id", "00-init", "before everything that reads the model")
    d.values["init.name"] = "init"
    d.copy("init.seed", "seed")
    d.put("init.output", d.values["model.path"], "where the later stages look for it", "name")
    d.put("init.data", tuple(s for s in sources if s.path is not None), "the local training data", kind="rule")
    if not d.values["init.data"]:
        d.error("P026", "data.train", "a tokenizer from scratch is trained on local data", "add a source with path")
    return d.make(InitStage, "init")
