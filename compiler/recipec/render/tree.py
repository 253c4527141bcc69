"""The text of every file of an emitted tree."""

from __future__ import annotations

import json
import re
from functools import cache

import msgspec

from recipec import manifest as plan_json
from recipec import rules
from recipec.compose import Composed
from recipec.course import Course
from recipec.decide.decision import Decision
from recipec.diagnostics import Finding, tidy
from recipec.emission import Placed, leads
from recipec.facts import pins
from recipec.launch import launcher, script
from recipec.launch.launcher import Started
from recipec.output import digest, file_digest
from recipec.plan import Plan, Resolved
from recipec.render import report
from recipec.render.yaml_writer import YamlWriter
from recipec.source import Mapping, dotted, leaves, plain
from recipec.systems.document import Document
from recipec.systems.table import Entry
from recipec.terminal import json_text
from recipec.traced import as_json


def files_of(
    course: Course, decision: Decision, placed: list[Placed], findings: list[Finding], composed: Composed | None
) -> dict[str, str]:
    """Return the text of every file by its path in the tree."""
    tree, resolved = course.tree, decision.resolved
    recipe, plan = tree.span.source.label, resolved.plan
    files: dict[str, str] = {}
    lines: dict[str, dict[str, plan_json.Line]] = {}
    starter = launcher(plan.launcher)
    started: list[Started] = []
    for one in placed:
        stage = one.stage
        assert one.emitted.job is not None  # nothing is refused where files are written
        started.append(Started(stage, one.emitted.job))
        for document in one.emitted.documents:
            name = f"{stage.name}/{document.file}"
            files[name], lines[name] = _text(document, stage.name, resolved, recipe)
        files |= {f"{stage.name}/{name}": text for name, text in one.emitted.files.items()}
    for each in started:
        watchers = [other for other in started if other.job.watcher and other.stage.after[:1] == (each.stage.name,)]
        files[f"{each.stage.name}/run.sh"] = script.stage_script(each, starter, plan, recipe, watchers)
    environments = sorted({stage.environment for stage in plan.stages})
    for name in environments:
        files[f"environments/{name}.txt"] = pins(name)
    needed = [read.path for stage in plan.stages for read in stage.reads if read.needed]
    making = {name: _making(name) for name in environments}
    files["run.sh"] = script.run_script(started, starter, making, needed, plan, recipe)
    if "dvc" in course.recipe.launch.emit:
        from recipec.render import dvc

        files[dvc.FILE] = dvc.text(plan, tuple(files), recipe)
    profiles = composed.profiles if composed is not None else ()
    names = sorted([*files, "PLAN.md", plan_json.FILE])
    findings = tidy([*(one for one in findings if one.code[0] not in "DL"), *rules.lasting(course, decision)])
    used = {one.stage.name: one.emitted.used for one in placed}

    def acts(path: str) -> bool:
        stage, _, below = path.partition(".")
        return stage not in used or any(
            below == one or below.startswith(f"{one}.") or one.startswith(f"{below}.") for one in used[stage]
        )

    files["PLAN.md"] = report.plan_markdown(
        resolved, recipe, findings, names, course.recipe.allow, profiles, starter.how(tuple(started)), acts
    )
    files[plan_json.FILE] = plan_json.write(_manifest(tree, resolved, files, lines, composed))
    return dict(sorted(files.items()))


@cache
def _making(environment: str) -> script.Making:
    """Return what the directives in an environment's pins say of its making."""

    def said(directive: str) -> str:
        return " ".join(re.findall(rf"^# {directive}: (.*)$", pins(environment), re.MULTILINE))

    return script.Making(said("build-without-isolation"), said("no-dependencies"), said("remove"))


@cache
def _environment(name: str) -> plan_json.Environment:
    """Return what the manifest says of an environment: its file, its hash, and its measured size and time."""
    text = pins(name)
    found = re.findall(r"^# (download-gb|disk-gb|minutes): ([0-9.]+)$", text, re.MULTILINE)
    measured = {key.replace("-", "_"): float(value) for key, value in found}
    return plan_json.Environment(f"environments/{name}.txt", digest(text), **measured)


def _text(document: Document, stage: str, resolved: Resolved, recipe: str) -> tuple[str, dict[str, plan_json.Line]]:
    reads = {
        key: tuple([path if path.startswith("overrides.") else f"{stage}.{path}" for path in e.reads])
        for key, e in document.entries.items()
    }
    where: dict[str, int]
    if document.kind == "json":
        # what json itself indents, it writes in Python; numbers and texts stay as json writes them
        text = json_text(msgspec.json.format(json.dumps(document.values(), ensure_ascii=False, default=as_json)) + "\n")
        where = {key: _json_line(text, key) for key in document.entries}
        return text, _lines(where, reads)
    head = f"{document.tool} {document.release}. Written by recipec from {recipe}: change the recipe, not this file."
    if document.kind == "yaml":
        writer = YamlWriter()
        writer.comment(head)
        for key, entry in document.entries.items():
            writer.entry(key, entry.value, _remark(entry, reads[key], resolved))
        return writer.result(), _lines(writer.lines, reads)
    from recipec.render import arguments_writer
    from recipec.render.python_writer import Argument, fill_template

    arguments = {key: Argument(e.value, _remark(e, reads[key], resolved)) for key, e in document.entries.items()}
    if document.kind == "python":
        text, where = fill_template(f"# {head}\n{document.template}", arguments)
    else:
        text, where = arguments_writer.script(head, document.command, arguments)
    return text, _lines(where, reads)


def _lines(where: dict[str, int], reads: dict[str, tuple[str, ...]]) -> dict[str, plan_json.Line]:
    return {key: plan_json.Line(line, reads[key]) for key, line in where.items() if key in reads}


def _json_line(text: str, key: str) -> int:
    return text[: text.index(f"\n  {json_text(json.dumps(key, ensure_ascii=False))}:") + 1].count("\n") + 1


def _remark(entry: Entry, reads: tuple[str, ...], resolved: Resolved) -> str:
    if entry.why:
        return entry.why
    if isinstance(entry.value, dict | list):
        return ""
    deciding = [read for read in reads if not read.endswith(".method")]  # nearly every row of some kind reads it
    if len(deciding) != 1 or report.is_plain(deciding[0]):
        return ""
    origin = resolved.origins.get(deciding[0])
    return origin.why if origin is not None and origin.kind in ("rule", "fact") else ""


def _manifest(
    tree: Mapping,
    resolved: Resolved,
    files: dict[str, str],
    lines: dict[str, dict[str, plan_json.Line]],
    composed: Composed | None,
) -> plan_json.Manifest:
    source = tree.span.source
    layers = composed.layers[:-1] if composed is not None else ()
    about = plan_json.About(
        resolved.plan.name,
        source.label,
        digest(source.text),
        tuple(plan_json.Text(one.label, digest(one.text)) for one in layers),
        tuple(composed.profiles) if composed is not None else (),
    )
    notes = composed.notes if composed is not None else {}
    because: dict[str, plan_json.Because] = {}
    told: set[str] = set()
    for path, origin in sorted(resolved.origins.items()):
        span = origin.span
        why = notes.get(span, origin.why) if span is not None else origin.why
        because[path] = plan_json.Because(origin.kind, span.label() if span is not None else None, why, origin.reads)
        if origin.reads:
            told.update(origin.reads)
    written = {
        path: plan_json.Written(plain(node), node.span.label(), notes.get(node.span, ""))
        for path, node in ((dotted(steps), node) for steps, node in leaves(tree))
        if not leads(path, told)
    }
    environments = {name: _environment(name) for name in sorted({one.environment for one in resolved.plan.stages})}
    known = {one.file: one.sha256 for one in environments.values()}
    return plan_json.Manifest(
        format=plan_json.FORMAT,
        recipe=about,
        plan=_with_digests(resolved.plan),
        environments=environments,
        because=because,
        written=written,
        files={
            name: plan_json.Emitted(known.get(name) or digest(text), lines.get(name, {}))
            for name, text in sorted(files.items())
        },
    )


def _with_digests(plan: Plan) -> Plan:
    """Return the plan with the digest of every file that is here and not large."""
    stages = tuple(
        stage.replaced(reads=tuple(read.replaced(sha256=file_digest(read.path)) for read in stage.reads))
        if stage.reads
        else stage
        for stage in plan.stages
    )
    return plan.replaced(stages=stages)
