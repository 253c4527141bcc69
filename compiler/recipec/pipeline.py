"""The whole way from a recipe file to the text of every emitted file. Writes nothing."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipec import rules
from recipec.compose import Composed, compose, no_mapping
from recipec.course import HEAD, Course, bind_course
from recipec.decide import decide
from recipec.diagnostics import Finding, RecipeError, errors, tidy
from recipec.facts import pins
from recipec.output import MANIFEST, digest
from recipec.overrides import first_span, judged, lay_over
from recipec.plan import Resolved, TrainStage
from recipec.references import misplaced
from recipec.render import report, shell
from recipec.render.yaml_writer import YamlWriter
from recipec.source import (
    Mapping,
    Node,
    Scalar,
    dotted,
    key_span,
    leaves,
    plain,
)
from recipec.systems import CHECKED, Emitted, emit, environment
from recipec.systems.document import Document
from recipec.systems.table import Entry

NOT_FOR_A_TOOL = ("recipe", "name", "description", "launch", "overrides", "allow")
_SECRET_NAME = re.compile(r"(?:^|_)(?:api_?key|token|secret|password|passwd)$", re.IGNORECASE)
_TOKEN_OF_TEXT = re.compile(
    r"(?:^|_)(?:bos|eos|pad|unk|sep|cls|mask|think_start|think_end)_token$"
)  # a tokenizer's, no secret
_SECRET_TEXT = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b"
)


class Compiled(NamedTuple):
    """What came of one recipe. `files` is empty when there are errors."""

    name: str
    files: dict[str, str]
    findings: list[Finding]
    resolved: Resolved | None


def compile_file(
    path: str,
    settings: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Sequence[str] = (),
    text: str | None = None,
) -> Compiled:
    """Compile a recipe file to the text of every file. Never raises RecipeError.

    It is laid over what it extends; chosen profiles, `a.b=c` settings and `a=c` variables are laid over it.
    With `text`, that is taken for what the file holds.
    """
    try:
        composed = compose(path, settings, profiles, variables, text)
        compiled = compile_tree(composed.tree, composed)
    except RecipeError as error:
        return Compiled("", {}, error.findings, None)
    found = [*compiled.findings, *_of_profiles(composed, compiled.findings)]
    kept = os.path.join(os.path.dirname(path), f"{compiled.name}.tokens.json")  # noqa: PTH118, PTH120  # mostly not there
    if compiled.resolved is not None and os.path.exists(kept):  # noqa: PTH110
        from recipec import snapshot

        found += snapshot.findings(Path(kept), compiled.resolved, path)
    findings = tidy(composed.told(found))
    return compiled._replace(files={} if errors(findings) else compiled.files, findings=findings)


def _of_profiles(composed: Composed, findings: Sequence[Finding]) -> list[Finding]:
    """Return what is wrong in the shape of the profiles that were not chosen, beside what is wrong anyway."""
    told = {(finding.code, finding.message) for finding in findings}
    return [
        finding._replace(help="; ".join([*filter(None, [finding.help]), f"with the profile {name}"]))
        for name, other in composed.others.items()
        for finding in bind_course(other)[1]
        if (finding.code, finding.message) not in told
    ]


def compile_tree(tree: Node, composed: Composed | None = None) -> Compiled:
    """Compile a located tree, made as `composed` says. Raises RecipeError when it is no mapping."""
    if not isinstance(tree, Mapping):
        raise no_mapping(tree)
    course, findings = bind_course(tree)
    findings += [*_secrets(tree), *misplaced(tree)]
    if course is None:
        return Compiled("", {}, tidy(findings), None)
    recipe = course.recipe
    resolved, more = decide(course)
    findings += more
    if resolved is None or any(part.wrong for part in course.parts):
        return Compiled(recipe.name, {}, tidy(findings), None)
    findings = rules.findings(course, resolved, findings)
    placed = _place(course, resolved, findings)
    findings = tidy(findings)
    if errors(findings):
        return Compiled(recipe.name, {}, findings, None)
    return Compiled(recipe.name, _render(course, resolved, placed, findings, composed), findings, resolved)


def _secrets(tree: Node) -> list[Finding]:
    found = []
    for path, node in leaves(tree):
        value = getattr(node, "value", None)
        if not isinstance(value, str) or not value:
            continue
        if "${env:" in value and not _SECRET_TEXT.search(value):
            continue  # a reference, which `misplaced` judges
        name = str(path[-1])
        named = path[0] != "model" and _SECRET_NAME.search(name) and not _TOKEN_OF_TEXT.search(name)
        if named or _SECRET_TEXT.search(value):
            advice = "set HF_TOKEN, WANDB_API_KEY, … where you run it, or write NAME: ${env:NAME} in launch.environment; revoke this one if it was shared"
            span = key_span(tree, path) or node.span
            found.append(Finding("L027", f"{dotted(path)} holds a secret", span, help=advice))
    return found


class Placed(NamedTuple):
    """One stage with what is emitted for it and the environment that runs it."""

    stage: Any
    emitted: Emitted
    environment: str


def _place(course: Course, resolved: Resolved, findings: list[Finding]) -> list[Placed]:
    tree = course.tree
    placed: list[Placed] = []
    used: set[str] = set()
    present: set[str] = set()
    for stage in resolved.plan.stages:
        place = environment(stage, resolved.plan)
        emitted = emit(stage, place)
        for code, severity, told in (("T001", "error", emitted.refusals), ("T003", "warning", emitted.differences)):
            for refusal in told:
                reads = _reads(resolved, f"{stage.name}.{refusal.path}")
                if refusal.when_said and not reads:
                    continue
                used.update(reads)
                # what nobody wrote is wrong for the trainer that somebody named
                span = first_span(tree, (*reads, *_reads(resolved, f"{stage.name}.trainer")))
                findings.append(Finding(code, refusal.message, span, help=refusal.advice, severity=severity))  # type: ignore[arg-type]
        above = {path[:end] for path in emitted.seen for end, char in enumerate(path) if char == "."}
        for path, origin in resolved.origins.items():
            own = path.removeprefix(f"{stage.name}.")
            if own != path and (own in above or _leads(own, emitted.seen)):
                used.update(origin.reads)
        for document in emitted.documents:
            present.add(document.tool)
            lay_over(course, document, findings)
            findings += judged(tree, stage, resolved, document)
        placed.append(Placed(stage, emitted, place))
    for tool in CHECKED:
        if getattr(course.recipe.overrides, tool) and tool not in present:
            span = first_span(tree, (f"overrides.{tool}",))
            findings.append(Finding("T011", f"the recipe does not use {tool}", span, help="drop these overrides"))
    unknown = {finding.span for finding in findings if finding.code == "R001"}
    if not any(place.emitted.refusals for place in placed):
        findings += [finding for finding in _unused(tree, used, resolved) if finding.span not in unknown]
    return placed


def _reads(resolved: Resolved, path: str) -> tuple[str, ...]:
    """Return the recipe paths behind a plan path, or behind what stands below it."""
    origin = resolved.origins.get(path)
    if origin is not None:
        return origin.reads
    return tuple(read for leaf, o in resolved.origins.items() if leaf.startswith(path + ".") for read in o.reads)


def _unused(tree: Mapping, used: set[str], resolved: Resolved) -> list[Finding]:
    """Name every value that the person wrote and that no emitted file depends on."""
    found = []
    for path, node in leaves(tree):
        text = dotted(path)
        own = (path[2:] if path[0] == "stages" else path) or path
        if (
            path[0] in NOT_FOR_A_TOOL
            or own[0] in HEAD
            or own[0] == "overrides"
            or not isinstance(node, Scalar)  # an empty section says nothing
            or node.value is None
            or _leads(text, used)
        ):
            continue
        span = key_span(tree, path) or node.span
        advice = "drop it: nothing in this recipe could act on it"
        if any(isinstance(stage, TrainStage) and stage.script for stage in resolved.plan.stages):
            advice = "give it to the script by script.arguments, as ${plan:…}, or drop it"
        stages = ", ".join(stage.id for stage in resolved.plan.stages)
        found.append(Finding("T002", f"{text} has no effect on {stages}", span, help=advice))
    return found


def _leads(path: str, used: set[str]) -> bool:
    """Return whether a path, or what it stands in, is among some."""
    return path in used or any(path[:index] in used for index, char in enumerate(path) if char in ".[")


def _render(
    course: Course, resolved: Resolved, placed: list[Placed], findings: list[Finding], composed: Composed | None
) -> dict[str, str]:
    """Return the text of every file, `plan.json` last."""
    tree = course.tree
    recipe, plan = tree.span.source.label, resolved.plan
    files: dict[str, str] = {}
    lines: dict[str, dict[str, Any]] = {}
    for place in placed:
        stage = place.stage
        for document in place.emitted.documents:
            name = f"{stage.id}/{document.file}"
            files[name], lines[name] = _text(document, stage.name, resolved, recipe)
        files |= {f"{stage.id}/{name}": text for name, text in place.emitted.files.items()}
        files[f"{stage.id}/run.sh"] = shell.stage_script(stage, place.emitted, plan, place.environment, recipe)
    names = sorted({place.environment for place in placed})
    for name in names:
        files[f"environments/{name}.txt"] = pins(name)
    local = [path for p in placed if isinstance(p.stage, TrainStage) for path in _local(p.stage)]
    making = {name: _making(name) for name in names}
    files["run.sh"] = shell.run_script(
        [(p.stage.id, p.environment) for p in placed], making, local, recipe, plan.variables.values()
    )
    profiles = composed.profiles if composed is not None else ()
    names = sorted([*files, "PLAN.md", MANIFEST])
    findings = tidy([*(one for one in findings if one.code[0] not in "DL"), *rules.lasting(course, resolved)])
    files["PLAN.md"] = report.plan_markdown(resolved, recipe, findings, names, course.recipe.allow, profiles)
    files[MANIFEST] = _manifest(tree, resolved, placed, files, lines, local, composed)
    return dict(sorted(files.items()))


def _local(stage: TrainStage) -> list[str]:
    """Return the files of the user's own that a training reads."""
    data = [source.path for source in (*stage.data.train, *stage.data.validation)]
    code = [reward.path for reward in stage.rewards if reward.type == "python"]
    script = [stage.script.path] if stage.script is not None else []
    return [path for path in (*data, *code, *script, stage.model.chat_template_file) if path is not None]


def _making(environment: str) -> shell.Making:
    """Return what the directives in an environment's pins say of its making."""

    def said(directive: str) -> str:
        return " ".join(re.findall(rf"^# {directive}: (.*)$", pins(environment), re.MULTILINE))

    return shell.Making(said("build-without-isolation"), said("no-dependencies"), said("remove"))


def _environment(name: str) -> dict[str, Any]:
    """Return what the manifest says of an environment: its file, its hash, and its measured size and time."""
    text = pins(name)
    row: dict[str, Any] = {"file": f"environments/{name}.txt", "sha256": digest(text)}
    for key, value in re.findall(r"^# (download-gb|disk-gb|minutes): ([0-9.]+)$", text, re.MULTILINE):
        row[key.replace("-", "_")] = float(value)
    return row


def _text(document: Document, stage: str, resolved: Resolved, recipe: str) -> tuple[str, dict[str, Any]]:
    reads = {
        key: [path if path.startswith("overrides.") else f"{stage}.{path}" for path in e.reads]
        for key, e in document.entries.items()
    }
    if document.kind == "json":
        text = json.dumps(document.values(), indent=2, ensure_ascii=False) + "\n"
        return text, {key: {"line": _json_line(text, key), "reads": reads[key]} for key in document.entries}
    head = f"{document.tool} {document.release}. Written by recipec from {recipe}: change the recipe, not this file."
    if document.kind == "python":
        from recipec.render.python_writer import Argument, fill_template

        arguments = {key: Argument(e.value, _remark(e, reads[key], resolved)) for key, e in document.entries.items()}
        text, where = fill_template(f"# {head}\n{document.template}", arguments)
        return text, {key: {"line": where[key], "reads": reads[key]} for key in document.entries}
    if document.kind == "arguments":
        from recipec.render import arguments_writer
        from recipec.render.python_writer import Argument

        arguments = {key: Argument(e.value, _remark(e, reads[key], resolved)) for key, e in document.entries.items()}
        text, where = arguments_writer.script(head, document.template, arguments)
        return text, {key: {"line": line, "reads": reads[key]} for key, line in where.items()}
    writer = YamlWriter()
    writer.comment(head)
    for key, entry in document.entries.items():
        writer.entry(key, entry.value, _remark(entry, reads[key], resolved))
    return writer.result(), {key: {"line": writer.lines[key], "reads": reads[key]} for key in document.entries}


def _json_line(text: str, key: str) -> int:
    return text[: text.index(f"\n  {json.dumps(key)}:") + 1].count("\n") + 1


def _remark(entry: Entry, reads: list[str], resolved: Resolved) -> str:
    if entry.why:
        return entry.why
    reads = [read for read in reads if not read.endswith(".method")]  # nearly every row of some kind asks for it
    if isinstance(entry.value, dict | list) or len(reads) != 1:
        return ""
    origin = resolved.origins.get(reads[0])
    return origin.why if origin is not None and origin.kind in ("rule", "fact") else ""


def _manifest(
    tree: Mapping,
    resolved: Resolved,
    placed: list[Placed],
    files: dict[str, str],
    lines: dict[str, Any],
    local: list[str],
    composed: Composed | None,
) -> str:
    source = tree.span.source
    about: dict[str, Any] = {"name": resolved.plan.name, "file": source.label, "sha256": digest(source.text)}
    if composed is not None and len(composed.layers) > 1:
        about["extends"] = [{"file": one.label, "sha256": digest(one.text)} for one in composed.layers[:-1]]
    if composed is not None and composed.profiles:
        about["profiles"] = list(composed.profiles)
    notes = composed.notes if composed is not None else {}
    stages: list[dict[str, Any]] = []
    for place in placed:
        stage = place.stage
        tool = place.emitted.documents[0] if place.emitted.documents else None
        row: dict[str, Any] = {
            "id": stage.id,
            "name": stage.name,
            "kind": report.kind_of(stage),
            "tool": tool.tool if tool else "script",
            "release": tool.release if tool else "",
        }
        row |= {"environment": place.environment, "script": f"{stage.id}/run.sh", "output": stage.output}
        row["inputs"] = [earlier["id"] for earlier in stages]
        if isinstance(stage, TrainStage):
            row["resumable"] = True
        if models := shell.models(stage):
            row["models"] = models
        stages.append(row)
    values = {}
    for path, (value, origin) in report.values(resolved).items():
        values[path] = {"value": value, "from": origin.kind, "at": origin.span.label() if origin.span else None}
        why = notes.get(origin.span, origin.why) if origin.span else origin.why
        values[path] |= {"why": why, "reads": list(origin.reads)}
    told = {read for row in values.values() for read in row["reads"]}
    for steps, node in leaves(tree):  # what goes into files, or stays in the recipe, without a place in the plan
        if not _leads(path := dotted(steps), told):
            span = node.span
            kind = "command line" if span.source.name.startswith("--set") else "recipe"
            values[path] = {
                "value": plain(node),
                "from": kind,
                "at": span.label(),
                "why": notes.get(span, ""),
                "reads": [path],
            }
    manifest = {
        "format": 1,
        "recipe": about,
        "stages": stages,
        "environments": {name: _environment(name) for name in sorted({place.environment for place in placed})},
        "data": [{"path": path, "at": _line_of(resolved, path)} for path in sorted(set(local))],
        "values": values,
        "files": {name: {"sha256": digest(text), "lines": lines.get(name, {})} for name, text in sorted(files.items())},
    }
    return _layered(manifest, 4) + "\n"


def _layered(value: Any, depth: int, indent: str = "") -> str:
    """Return JSON with a member on each line down to `depth`, below it on one: a value's story is one line of a diff.

    The encoder's own `indent` would take it off its compiled path, a twentieth of a cold compile.
    """
    inner = indent + " "
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + json.dumps(item, ensure_ascii=False) for item in value) + f"\n{indent}]"
    if depth == 0 or not isinstance(value, dict) or not any(isinstance(item, dict) for item in value.values()):
        return json.dumps(value, ensure_ascii=False)
    rows = [f"{inner}{json.dumps(key)}: {_layered(item, depth - 1, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(rows) + "\n" + indent + "}"


def _line_of(resolved: Resolved, path: str) -> str | None:
    """Return where the recipe names a data file."""
    for value, origin in report.values(resolved).values():
        if value == path and origin.span is not None:
            return origin.span.label()
    return None
