"""GPTQModel 7.6: its settings, and the script that reads rows and calls it."""

from __future__ import annotations

import re
from typing import Any

from recipec.facts import pinned
from recipec.facts.schemes import schemes
from recipec.kinds.quantize import Quantize
from recipec.systems import llmcompressor
from recipec.systems.check import Check, refuses
from recipec.systems.document import Sheet
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, choice, made, named, renamed, same

TOOL, ENVIRONMENT, FILE = "gptqmodel", "gptqmodel-7.6.0", "gptqmodel.json"
HOLDS = frozenset(["lm-eval", "peft", "transformers", "datasets", "gptqmodel"])
METHODS = ("gptq", "awq")
LAYOUTS = {"gptq": "gptq", "awq": "gemm"}  # of the checkpoint: those that vLLM reads
HEAD = "lm_head"  # which stays as it is unless something else is asked for


def _left_out(names: tuple[str, ...]) -> Any:
    """Return the layers that stay as GPTQModel has them: patterns with a minus before them."""
    patterns = [
        name.removeprefix("re:") if name.startswith("re:") else re.escape(name) for name in names if name != HEAD
    ]
    found: dict[str, dict[str, Any]] = {f"-:{pattern}": {} for pattern in patterns}
    return found or OMIT


ROWS: tuple[Row, ...] = (
    same("method", "method").when("method", *METHODS),
    named("format", "method", LAYOUTS).when("method", *METHODS),
    made("bits", llmcompressor.BITS.__getitem__, "scheme"),
    renamed("group_size", "group_size", {"channel": -1}),
    same("sym", "symmetric"),
    choice("desc_act", "act_order", {"group": True}, other=False).when("method", "gptq"),
    choice("act_group_aware", "act_order", {"static": True}, other=False).when("method", "gptq"),
    same("damp_percent", "damping"),
    made("dynamic", _left_out, "ignore"),
)
CHECKS: tuple[Check, ...] = (
    refuses(
        "scheme",
        when=lambda scheme: not schemes()[scheme].groups,
        message=lambda scheme: f"GPTQModel is not asked for {scheme} here",
        advice="use tool: llmcompressor, or scheme: w4a16 or w8a16",
    ),
    refuses(
        "method",
        when=lambda method: method not in METHODS,
        message="GPTQModel does not round to the nearest here",
        advice="use method: gptq or awq, or tool: llmcompressor",
    ).when("scheme", *llmcompressor.GROUPED),
    refuses(
        "method",
        "scheme",
        when=lambda method, scheme: method == "awq" and schemes()[scheme].weights != 4,
        message="AWQ's kernels read 4 bits alone",
        advice="use scheme: w4a16, or method: gptq",
    ),
    refuses(
        "ignore",
        when=lambda names: HEAD not in names,
        message="GPTQModel leaves lm_head as it is",
        advice="name lm_head in quantize.ignore, or use tool: llmcompressor",
    ),
)


def _sheets(s: Quantize, environment: str) -> list[Sheet]:
    own = Sheet(FILE, ROWS, TOOL, pinned(environment, TOOL), s.method if s.method in METHODS else METHODS[0], "json")
    return [own, llmcompressor.settings(s, environment)]


SYSTEM = System(
    TOOL,
    kinds=frozenset(["quantize"]),
    sheets=_sheets,
    needs=lambda _s: Need(ENVIRONMENT, holds=HOLDS),
    job=lambda _s: llmcompressor.job(TOOL, FILE),
    files=llmcompressor.files,
    checks=lambda _s: CHECKS,
    uses=llmcompressor.uses,
    package=TOOL,
    writes="gptqmodel",
)
