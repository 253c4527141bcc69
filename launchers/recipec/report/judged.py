"""How models judged a model's answers, as the stage that asked them has written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from recipec.json_files import read_object
from recipec.plan import Stage

FILE = "judging.json"


def of_judged(stage: Stage[Any]) -> dict[str, Any] | None:
    """Return who judged, what of it could not be read, and what it took, JSON-ready; None where the stage has not run.

    `pairs` are the shares of wins, and how judges lean, where two answers were compared; `agreement` is that of each two judges.
    Costs are in dollars, None without a price.
    """
    found, body = read_object(Path(stage.output) / FILE), stage.body
    if found is None:
        return None
    return {
        "stage": stage.name,
        "task": body.task,
        "model": body.subject.name,
        "against": body.against,
        "judges": [_judge(one) for one in _list(found.get("judges"))],
        "pairs": found.get("pairs"),
        "agreement": [one for one in _list(found.get("agreement")) if one.get("same") is not None],
        "prompts": found.get("prompts"),
        "prompts_sha256": found.get("prompts_sha256"),
        "asked_by": found.get("asked_by"),
    }


def _judge(one: dict[str, Any]) -> dict[str, Any]:
    kept = ("judge", "url", "versions", "temperature", "verdicts", "unparsed", "input_tokens", "output_tokens", "cost")
    return {name: one.get(name) for name in kept}


def _list(value: Any) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", value) if isinstance(value, list) else []
