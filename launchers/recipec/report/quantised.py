"""What became of a model's weights in fewer bits, as the stage that quantised them has written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipec.json_files import read_object
from recipec.plan import Stage

FILE = "quantized.json"
NUMBERS = ("rows", "tokens", "bytes", "measured_rows", "perplexity_before", "perplexity_after")


def of_quantised(stage: Stage[Any]) -> dict[str, Any] | None:
    """Return how a model was quantised, and what that cost, JSON-ready; None where the stage has not run.

    `bytes` are those of all weights; perplexities are by token, None where no row was left to measure them on.
    """
    found, body = read_object(Path(stage.output) / FILE), stage.body
    if found is None:
        return None
    told = {name: _number(found.get(name)) for name in NUMBERS}
    before, after = told["perplexity_before"], told["perplexity_after"]
    return {
        "stage": stage.name,
        "of": body.path,
        "scheme": body.scheme,
        "method": body.method,
        "tool": f"{stage.system} {stage.release}",
        **told,
        "change": after / before - 1 if before and after else None,
    }


def _number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
