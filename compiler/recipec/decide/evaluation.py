"""What is evaluated, on what, and how."""

from __future__ import annotations

from recipec.decide.draft import Draft, Outcome, indexed
from recipec.decide.training import share
from recipec.plan import EvaluateStage, Judged
from recipec.suggest import nearest

RUNS_CODE = ("humaneval", "mbpp")


def stage(d: Draft, outcomes: tuple[Outcome, ...]) -> EvaluateStage:
    """Put the evaluation stage together. `outcomes` are the models there are, the recipe's own first."""
    trained = len(outcomes) > 1
    d.put("evaluate.id", d.id, "after every training")
    d.values["evaluate.name"] = "evaluate"
    d.copy("evaluate.seed", "seed")
    d.put("evaluate.output", f"runs/{d.recipe.name}/{d.id}", "results of a run stay out of the emitted files", "name")
    for word in ("tasks", "task_folder", "backend", "batch_size", "log_samples", "allow_code_execution"):
        d.copy(f"evaluate.{word}", f"evaluate.{word}")
    d.copy("evaluate.few_shot", "evaluate.few_shot", "task", "each task's own")
    d.copy("evaluate.limit", "evaluate.limit", "all", "every row")
    known = {outcome.name: outcome for outcome in outcomes if outcome.path}  # a script may have no base model
    names = d.copy("evaluate.models", "evaluate.models", tuple(known), "all there are")
    if trained:
        known.setdefault("tuned", outcomes[-1])
    for index, name in enumerate(names):
        if name not in known:
            here = indexed("evaluate.models", index)
            nothing = f"nothing is trained, so there is no {name}"
            message = nothing if not trained else f'"{name}" is neither base, tuned nor a stage'
            d.error("P080", here, message, f"there is {', '.join(known)}", nearest(name, list(known)))
    said = ("evaluate.models", "model.base", "model.revision", "model.tokenizer", "adapter.merge")
    d.put("evaluate.models", names, "what there is to compare", *said)
    d.values["evaluate.models"] = tuple(
        _judged(d, index, name, known[name], trained=trained)
        for index, name in enumerate(n for n in names if n in known)
    )
    for task in d.values["evaluate.tasks"]:
        if task.startswith(RUNS_CODE) and not d.values["evaluate.allow_code_execution"]:
            advice = "set evaluate.allow_code_execution: true on a machine where that is safe"
            d.error("P081", "evaluate.tasks", f"{task} runs code that the model wrote", advice)
    if d.values["evaluate.backend"] == "vllm" and d.values["hardware.device"] == "cpu":
        d.error("P082", "evaluate.backend", "the vllm back end needs a GPU", "use hf")
    d.put(
        "evaluate.precision", d.values["train.numerics.precision"], "as the computation in training", "train.precision"
    )
    d.put("evaluate.max_length", d.values["model.max_length"], "as in training", "model.max_length")
    d.put(
        "evaluate.trust_remote_code", d.values["model.trust_remote_code"], "as in training", "model.trust_remote_code"
    )
    for shared in ("hardware", "track"):
        share(d, shared, "evaluate")
    return d.make(EvaluateStage, "evaluate")


def _judged(d: Draft, index: int, name: str, outcome: Outcome, *, trained: bool) -> Judged:
    """Return a model to evaluate; unasked, a model is given conversations where it has a template and was trained on them."""
    sources = d.values.get("train.data.train", ())
    talks = trained and any(source.format in ("chat", "preference") for source in sources)
    leaf = f"evaluate.models.{index}.chat_template"
    if talks and outcome.template == "none" and not d.said("evaluate.chat_template"):
        template = d.put(leaf, False, f"{outcome.tokenizer} has no chat template", kind="fact")
    else:
        template = d.copy(leaf, "evaluate.chat_template", talks, "as the model is trained")
    return Judged(name, outcome.path, outcome.revision, outcome.adapter, outcome.tokenizer, template, outcome.template)
