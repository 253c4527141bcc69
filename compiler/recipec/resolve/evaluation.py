"""What is evaluated, on what, and how."""

from __future__ import annotations

from recipec.plan import EvaluateStage, Judged
from recipec.resolve.draft import Draft
from recipec.resolve.training import share

RUNS_CODE = ("humaneval", "mbpp")


def stage(d: Draft) -> EvaluateStage:
    """Put the evaluation stage together."""
    trained = d.get("train") is not None
    d.put("evaluate.id", "20-evaluate", "the one evaluation stage")
    d.copy("evaluate.seed", "seed")
    d.put(
        "evaluate.output", f"runs/{d.recipe.name}/20-evaluate", "results of a run stay out of the emitted files", "name"
    )
    for word in ("tasks", "task_folder", "backend", "batch_size", "log_samples", "allow_code_execution"):
        d.copy(f"evaluate.{word}", f"evaluate.{word}")
    d.copy("evaluate.few_shot", "evaluate.few_shot", "task", "each task's own")
    d.copy("evaluate.limit", "evaluate.limit", "all", "every row")
    names = d.copy("evaluate.models", "evaluate.models", ("base", "tuned") if trained else ("base",), "all there are")
    if "tuned" in names and not trained:
        d.error("P080", "evaluate.models", "no tuned model: nothing is trained", "evaluate base, or add train")
    said = ("evaluate.models", "model.base", "model.revision", "model.tokenizer", "adapter.merge")
    d.put("evaluate.models", names, "what there is to compare", *said)
    d.values["evaluate.models"] = tuple(_judged(d, name) for name in names if name == "base" or trained)
    for task in d.values["evaluate.tasks"]:
        if task.startswith(RUNS_CODE) and not d.values["evaluate.allow_code_execution"]:
            advice = "set evaluate.allow_code_execution: true on a machine where that is safe"
            d.error("P081", "evaluate.tasks", f"{task} runs code that the model wrote", advice)
    if d.values["evaluate.backend"] == "vllm" and d.values["hardware.device"] == "cpu":
        d.error("P082", "evaluate.backend", "the vllm back end needs a GPU", "use hf")
    talks = trained and any(source.format in ("chat", "preference") for source in (d.get("data.train") or []))
    d.copy("evaluate.chat_template", "evaluate.chat_template", talks, "as the model is trained")
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


def _judged(d: Draft, name: str) -> Judged:
    model, adapter = d.values["model"], d.values["train.adapter"]
    output = f"runs/{d.recipe.name}/10-train"
    if name == "base":
        return Judged("base", model.path, model.revision, None, model.tokenizer)
    if adapter is None:
        return Judged("tuned", output, None, None, output)
    if adapter.merge:
        return Judged("tuned", f"{output}/merged", None, None, f"{output}/merged")
    return Judged("tuned", model.path, model.revision, output, output)
