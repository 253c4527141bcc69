"""What contradicts itself in a file of lm-eval. Facts: `lm_eval/config/evaluate_config.py` of 0.4.11 and 0.4.13."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.doctor.contract_check import File
from recipec.doctor.rules import Fault, rule


@rule("D190", "lm_eval")
def rows_without_a_place(file: File) -> Iterator[Fault]:
    """lm-eval refuses `log_samples` without `output_path`."""
    for key in ("log_samples", "predict_only"):
        if file.get(key) and not file.get("output_path"):
            yield Fault(key, f"{key} without output_path", "add `output_path`")
            return


@rule("D191", "lm_eval")
def turns_without_template(file: File) -> Iterator[Fault]:
    """lm-eval refuses `fewshot_as_multiturn` without a chat template."""
    if file.get("fewshot_as_multiturn") is True and not file.get("apply_chat_template"):
        yield Fault(
            "fewshot_as_multiturn",
            "fewshot_as_multiturn without apply_chat_template",
            "add `apply_chat_template: true`",
        )


@rule("D192", "lm_eval")
def nothing_to_ask(file: File) -> Iterator[Fault]:
    """lm-eval refuses a file without tasks."""
    if not file.get("tasks"):
        yield Fault(
            "tasks" if "tasks" in file.values else "",
            "there are no tasks",
            "name them in `tasks:`; `lm-eval ls tasks` lists them",
        )


@rule("D193", "lm_eval")
def two_limits(file: File) -> Iterator[Fault]:
    """lm-eval refuses `samples` together with `limit`."""
    if file.get("samples") and file.get("limit") is not None:
        yield Fault("limit", "samples and limit are both set", "keep one of them")
