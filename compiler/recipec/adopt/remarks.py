"""Which statements the processes must not go through at once, and what a user should know."""

import re

import libcst as cst

from recipec.adopt.survey import Survey, Use
from recipec.adopt.training import code
from recipec.adopt.tree import dotted


def owner(use: Use, method: str) -> cst.BaseExpression | None:
    """Return what a method is called on; None where something else is used."""
    function = use.node.func if isinstance(use.node, cst.Call) else None
    return function.value if isinstance(function, cst.Attribute) and function.attr.value == method else None


def waits(survey: Survey) -> set[cst.CSTNode]:
    """Return the statements that read what one process may still be writing: all wait for it."""
    saved = [survey.line(use.node) for use in survey.calls if _called(use) == "torch.save"]
    found: set[cst.CSTNode] = set()
    for use in survey.calls:
        if _called(use) == "torch.load" and any(line < survey.line(use.node) for line in saved):
            found |= {next(n for n in survey.above(use.node) if isinstance(n, cst.SimpleStatementLine))}
    return found


def _called(use: Use) -> str:
    return dotted(use.node.func) if isinstance(use.node, cst.Call) else ""


def downloads(survey: Survey) -> set[cst.CSTNode]:
    """Return the statements that download: one process does it before the others look."""
    found: set[cst.CSTNode] = set()
    for use in survey.calls:
        words = use.node.args if isinstance(use.node, cst.Call) else ()
        if any(a.keyword and a.keyword.value == "download" and dotted(a.value) == "True" for a in words):
            found |= {n for n in survey.above(use.node) if isinstance(n, cst.SimpleStatementLine)}
    return found


def remarks(survey: Survey, training: list[Use], text: str, first: list[str]) -> list[str]:
    """Return what a user should know of the adopted script, beside what was found on the way."""
    notes = ["every process takes batches of its own: the sequences of a step are batch size × processes", *first]
    if "BatchNorm" in text:
        notes.append("batch normalisation takes its statistics from the batch of one process")
    drawn = any(
        re.search(r"\btorch\.(rand|randn|randint|normal|randperm|rand_like|randn_like)\(", code(u.node))
        for u in training
    )
    if drawn and "seed" in text:
        note = "what a training loop draws at random is the same in every process: add accelerator.process_index to the seed, after prepare, if it should differ"
        notes.append(note)
    for use in survey.calls:
        stepped = owner(use, "step")
        if stepped is None or survey.role(use.scope, stepped) != "optimizer":
            continue
        rarely = [
            n
            for n in survey.above(use.node)
            if isinstance(n, cst.If) and isinstance(n.test, cst.Comparison) and "%" in code(n.test)
        ]
        if rarely and ".backward(" not in code(rarely[-1]):
            notes.append(
                "gradients are accumulated by hand, which is right with ddp; DeepSpeed would step at every batch"
            )
            break
    return notes
