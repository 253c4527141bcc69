"""A stage to the documents of the tools that do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.job import Job
from recipec.kinds import kind
from recipec.plan import Record, Stage
from recipec.systems.check import Limitation, Values
from recipec.systems.document import Document, Sheet
from recipec.systems.registry import doing, system
from recipec.systems.system import System
from recipec.systems.table import fill, flattened, idle


class Emitted(Record, frozen=True):
    """What makes the tools do one stage.

    `job` runs it (None where something is refused), `files` are texts beside the documents, `used` every plan path that
    acts on them, `refusals` what cannot be expressed, `differences` what the tool does another way.
    """

    documents: list[Document]
    job: Job | None
    files: dict[str, str]
    used: set[str]
    refusals: list[Limitation]
    differences: list[Limitation]


def emit(stage: Stage[Any]) -> Emitted:
    """Return what makes the tools do this stage in its environment."""
    doer, body = system(stage.system), stage.body
    out = Emitted([], None, {}, set(kind(stage.kind).acts), [], [])
    values = flattened(body)
    out.refusals.extend(_cannot(doer, stage, values))
    if out.refusals:
        return out
    for sheet in doer.sheets(body, stage.environment):
        _fill(out, values, sheet)
    out = out.replaced(job=doer.job(body))
    out.files.update(doer.files(body))
    out.files.update(doer.scripts(body, stage.environment))
    out.used.update(doer.uses(body))
    if not doer.own_program:
        out.used.update(doer.can)  # what it can do is its own to tell apart
    for check in doer.checks(body):
        told = out.refusals if check.severity == "error" else out.differences
        told.extend(check.each(values, stage.release, out.used))  # what is refused or told is not ignored
    return out


def heard(stage: Stage[Any]) -> set[str]:
    """Return every plan path of a stage that its system is told of, whatever its checks say."""
    doer, body = system(stage.system), stage.body
    out = Emitted([], None, {}, {*kind(stage.kind).acts, *doer.uses(body)}, [], [])
    values = flattened(body)
    for sheet in doer.sheets(body, stage.environment):
        _fill(out, values, sheet)
    return out.used


def keeping(stage: Stage[Any]) -> dict[str, set[str]]:
    """Return the plan paths that would act on a stage's files, each with the plan paths whose values keep it from that."""
    doer, values = system(stage.system), flattened(stage.body)
    found: dict[str, set[str]] = {}
    for sheet in doer.sheets(stage.body, stage.environment):
        for path, failed in idle(sheet.rows, values, sheet.release).items():
            found.setdefault(path, set()).update(failed)
    return found


def _cannot(doer: System, stage: Stage[Any], values: Values) -> Iterator[Limitation]:
    """Yield what the system has declared that it cannot do."""
    for path, known in doer.can.items():
        value = values.get(path)
        if value is None or value in known:
            continue
        others = [one for one in doing(stage.kind) if one != doer.name and value in system(one).can.get(path, ())]
        wants = {one: kind(stage.kind).wants(stage.body, path, one) for one in sorted(known)}
        fitting = [one for one in wants if not wants[one]]
        advice = f"it can do {', '.join(fitting or wants)}"
        advice += "" if fitting else f", which wants {next(iter(wants.values()))}"
        advice += f"; {', '.join(others)} can do {value}" if others else ""
        yield Limitation(path, f"{doer.name} cannot do {value}", advice)
    if doer.one_process and values.get("hardware.device") == "cpu" and values["hardware.world"] > 1:
        advice = f"{doer.one_process}; use per_node: 1, nodes: 1"
        yield Limitation("hardware.world", "several processes need GPUs", advice)


def _fill(out: Emitted, values: Values, sheet: Sheet) -> None:
    filled = fill(sheet.rows, values, sheet.release)
    out.documents.append(
        Document(
            sheet.file,
            sheet.kind,
            sheet.tool,
            sheet.release,
            sheet.contract,
            filled.entries,
            sheet.template,
            sheet.command,
            sheet.raw_keys,
            sheet.alike,
        )
    )
    out.used.update(filled.used)
    out.refusals.extend(filled.refusals)
