"""The whole way from a recipe file to the text of every emitted file. Writes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipec import contracts
from recipec.bind import bind
from recipec.diagnostics import Finding, RecipeError, errors, tidy
from recipec.language import Recipe
from recipec.output import MANIFEST, digest
from recipec.plan import EvaluateStage, InitStage, Plan, Resolved, Stage, TrainStage, leaf
from recipec.render import report, shell
from recipec.render.yaml_writer import YamlWriter
from recipec.resolve import resolve
from recipec.source import Mapping, Node, Source, Span, dotted, find, key_span, leaves, plain, split_path, with_value
from recipec.targets import CHECKED, EXTRAS, emit
from recipec.targets.table import Document, Entry
from recipec.yaml_reader import read_file, read_text

PINS = Path(__file__).parent / "targets"
NOT_FOR_A_TOOL = ("recipe", "name", "description", "launch", "overrides")
_SECRET_NAME = re.compile(r"(?:^|_)(?:api_?key|token|secret|password|passwd)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b"
)


class Compiled(NamedTuple):
    """What came of one recipe. `files` is empty when there are errors."""

    name: str
    files: dict[str, str]
    findings: list[Finding]
    resolved: Resolved | None


def compile_file(path: str, settings: Sequence[str] = ()) -> Compiled:
    """Compile a recipe file, with `a.b=c` settings laid over it, to the text of every file. Never raises RecipeError."""
    try:
        tree = read_file(path)
        for setting in settings:
            tree = _set(tree, setting)
        return compile_tree(tree)
    except RecipeError as error:
        return Compiled("", {}, error.findings, None)


def compile_tree(tree: Node) -> Compiled:
    """Compile a located tree. Raises RecipeError when it is no mapping."""
    if not isinstance(tree, Mapping):
        start = tree.span._replace(end_line=tree.span.line, end_column=tree.span.column + 1)
        raise RecipeError(
            [Finding("S019", "a recipe is a mapping of keys and values", start, help="start with `recipe: 1`")]
        )
    recipe, findings = bind(tree)
    findings += _secrets(tree)
    if recipe is None:
        return Compiled("", {}, tidy(findings), None)
    resolved, more = resolve(recipe, tree)
    findings += more
    if resolved is None:
        return Compiled(recipe.name, {}, tidy(findings), None)
    placed = _place(recipe, tree, resolved, findings)
    findings = tidy(findings)
    if errors(findings):
        return Compiled(recipe.name, {}, findings, None)
    return Compiled(recipe.name, _render(tree, resolved, placed, findings), findings, resolved)


def _set(tree: Node, setting: str) -> Node:
    """Lay one `a.b=c` of the command line over the tree."""
    path_text, equals, _ = setting.partition("=")
    source = Source("--set", setting, "--set")
    whole = Span(source, 1, 1, 1, max(2, len(setting) + 1))
    try:
        path = split_path(path_text)
        if not equals:
            raise ValueError
    except ValueError:
        raise RecipeError(
            [Finding("S030", "expected a path and a value", whole, help="write --set train.epochs=3")]
        ) from None
    value = read_text(source, first_column=len(path_text) + 2)
    try:
        return with_value(tree, path, value, whole._replace(end_column=len(path_text) + 1))
    except LookupError as step:
        message = f"the recipe has no place for {path_text}"
        raise RecipeError([Finding("S031", message, whole, help=f"there is nothing at the step {step}")]) from None


def _secrets(tree: Node) -> list[Finding]:
    found = []
    for path, node in leaves(tree):
        value = getattr(node, "value", None)
        if not isinstance(value, str) or not value:
            continue
        named = any(isinstance(step, str) and _SECRET_NAME.search(step) for step in path[-1:]) and path[0] != "model"
        if named or _SECRET_TEXT.search(value):
            advice = (
                "set it in the environment of the run (HF_TOKEN, WANDB_API_KEY, …) and revoke this one if it was shared"
            )
            span = key_span(tree, path) or node.span
            found.append(Finding("L027", f"{dotted(path)} holds a secret", span, help=advice))
    return found


class Placed(NamedTuple):
    """One stage with its documents and the environment that runs it."""

    stage: Any
    documents: list[Document]
    environment: str


def _place(recipe: Recipe, tree: Mapping, resolved: Resolved, findings: list[Finding]) -> list[Placed]:
    placed: list[Placed] = []
    used: set[str] = set()
    present: set[str] = set()
    for stage in resolved.plan.stages:
        kind = report.kind_of(stage)
        emitted = emit(stage)
        for refusal in emitted.refusals:
            origin = resolved.origins.get(f"{kind}.{refusal.path}")
            span = _first_span(tree, origin.reads if origin else ())
            used.update(origin.reads if origin else ())
            findings.append(Finding("T001", refusal.message, span, help=refusal.advice))
        for path, origin in resolved.origins.items():
            if path.startswith(f"{kind}.") and _covered(path[len(kind) + 1 :], emitted.seen):
                used.update(origin.reads)
        for document in emitted.documents:
            present.add(document.tool)
            _override(recipe, tree, document, findings)
            _judge(tree, kind, resolved, document, findings)
        placed.append(Placed(stage, emitted.documents, environment_of(stage, resolved.plan)))
    for tool in CHECKED:
        if getattr(recipe.overrides, tool) and tool not in present:
            span = _first_span(tree, (f"overrides.{tool}",))
            findings.append(Finding("T011", f"the recipe does not use {tool}", span, help="drop these overrides"))
    unknown = {finding.span for finding in findings if finding.code == "R001"}
    findings += [finding for finding in _unused(tree, used, resolved) if finding.span not in unknown]
    return placed


def environment_of(stage: Stage, plan: Plan) -> str:
    """Return the name of the environment that runs a stage: vLLM's own, or else one for the whole plan."""
    if isinstance(stage, EvaluateStage) and stage.backend == "vllm":
        return "vllm-0.33.0"
    extras = [extra for extra, needed in EXTRAS.items() if any(needed(other) for other in plan.stages)]
    return "-".join(["axolotl-0.19.0", *extras])


def _covered(path: str, seen: Iterable[str]) -> bool:
    return any(path == read or path.startswith(read + ".") or read.startswith(path + ".") for read in seen)


def _first_span(tree: Mapping, reads: Sequence[str]) -> Span:
    for path in reads:
        steps = split_path(path)
        node = find(tree, steps)
        if node is not None:
            span = key_span(tree, steps) if isinstance(node, Mapping) else node.span
            if span is not None:
                return span
    start = tree.span
    return start._replace(end_line=start.line, end_column=start.column + 1)


def _unused(tree: Mapping, used: set[str], resolved: Resolved) -> list[Finding]:
    """Name every value that the person wrote and that no emitted file depends on."""
    found = []
    for path, node in leaves(tree):
        text = dotted(path)
        if path[0] in NOT_FOR_A_TOOL or getattr(node, "value", 0) is None or _leads(text, used):
            continue
        span = key_span(tree, path) or node.span
        advice = "drop it: nothing in this recipe could act on it"
        stages = ", ".join(stage.id for stage in resolved.plan.stages)
        found.append(Finding("T002", f"{text} has no effect on {stages}", span, help=advice))
    return found


def _leads(path: str, used: set[str]) -> bool:
    return any(path == read or path.startswith((read + ".", read + "[")) for read in used)


def _override(recipe: Recipe, tree: Mapping, document: Document, findings: list[Finding]) -> None:
    raw: dict[str, Any] = getattr(recipe.overrides, document.tool, {})
    if not raw or document.tool == "transformers":
        return
    document.raw = raw
    for key, value in raw.items():
        entry = document.entries.get(key)
        base = ("overrides", document.tool, key)
        if entry is None:
            document.entries[key] = Entry(value, (dotted(base),), "override")
        elif isinstance(entry.value, dict) and isinstance(value, dict):
            merged = dict(entry.value)
            for inner, item in value.items():
                if inner in merged and entry.reads:
                    findings.append(_decided(tree, (*base, inner), document, f"{key}.{inner}"))
                merged[inner] = item
            document.entries[key] = Entry(merged, (*entry.reads, dotted(base)), "with overrides")
        elif entry.reads:
            findings.append(_decided(tree, base, document, key))
        else:
            document.entries[key] = Entry(value, (dotted(base),), "override")


def _decided(tree: Mapping, path: tuple[str | int, ...], document: Document, key: str) -> Finding:
    message = f"{document.file}: {key} is decided by the recipe; two sources would disagree"
    return Finding("T010", message, key_span(tree, path), help="set it in the recipe's own words instead")


def _judge(tree: Mapping, kind: str, resolved: Resolved, document: Document, findings: list[Finding]) -> None:
    """Check a document against its tool's contract; what is wrong stands in a raw override, or was made of the recipe."""
    if not document.contract:
        return
    contract = contracts.load(document.tool, document.release)
    for problem in contract.check(document.contract, document.values()):
        path = ("overrides", document.tool, *problem.path)
        node = find(tree, path)
        message = f"{document.tool} {document.release}: {dotted(problem.path)}: {problem.message}"
        if node is None:
            entry = document.entries[str(problem.path[0])]
            reads = _made_of(kind, resolved, entry, _at(entry.value, problem.path[1:]))
            advice = f"it is made of {', '.join(reads) or 'nothing that the recipe says'}; choose what the tool accepts"
            findings.append(Finding("T022", message, _first_span(tree, reads), problem.suggestion, advice))
            continue
        span = key_span(tree, path) if problem.on == "key" else node.span
        code = "T020" if problem.on == "key" else "T021"
        findings.append(Finding(code, message, span, problem.suggestion, "the tool itself may drop it in silence"))


def _made_of(kind: str, resolved: Resolved, entry: Entry, value: Any) -> tuple[str, ...]:
    """Return the recipe paths that an emitted value was made of: those that hold it as it is, or else all."""
    origins = {path: origin for path in entry.reads if (origin := resolved.origins.get(f"{kind}.{path}"))}
    stages = {report.kind_of(stage): stage for stage in resolved.plan.stages}
    same = [path for path in origins if leaf(stages[kind], path) == value]
    return tuple(dict.fromkeys(read for path in same or origins for read in origins[path].reads))


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value


def _render(tree: Mapping, resolved: Resolved, placed: list[Placed], findings: list[Finding]) -> dict[str, str]:
    """Return the text of every file, `plan.json` last."""
    recipe, plan = tree.span.source.label, resolved.plan
    files: dict[str, str] = {}
    lines: dict[str, dict[str, Any]] = {}
    for place in placed:
        stage, kind = place.stage, report.kind_of(place.stage)
        for document in place.documents:
            name = f"{stage.id}/{document.file}"
            files[name], lines[name] = _text(document, kind, resolved, recipe)
        if isinstance(stage, InitStage):
            files[f"{stage.id}/init_model.py"] = (PINS / "init_model.py").read_text(encoding="utf-8")
        files[f"{stage.id}/run.sh"] = shell.stage_script(stage, plan, place.environment, recipe)
    names = sorted({place.environment for place in placed})
    for name in names:
        files[f"environments/{name}.txt"] = pins(name)
    local = [
        s.path
        for p in placed
        if isinstance(p.stage, TrainStage)
        for s in (*p.stage.data.train, *p.stage.data.validation)
        if s.path
    ]
    late = {name: " ".join(extra for extra in EXTRAS if f"-{extra}" in name) for name in names}
    files["run.sh"] = shell.run_script([(p.stage.id, p.environment) for p in placed], late, local, recipe)
    files["PLAN.md"] = report.plan_markdown(resolved, recipe, findings, sorted([*files, "PLAN.md", MANIFEST]))
    files[MANIFEST] = _manifest(tree, resolved, placed, files, lines, local)
    return dict(sorted(files.items()))


def pins(environment: str) -> str:
    """Return the exact pins of an environment, with what is known of its size as comments. Raises OSError."""
    from recipec.facts import FOLDER

    base, flash, _ = environment.partition("-flash-attn")
    names = [base, "flash-attn"] if flash else [base]
    return "".join((FOLDER / "environments" / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def _environment(name: str) -> dict[str, Any]:
    """Return what the manifest says of an environment: its file, its hash, and its measured size and time."""
    text = pins(name)
    row: dict[str, Any] = {"file": f"environments/{name}.txt", "sha256": digest(text)}
    for key, value in re.findall(r"^# (download-gb|disk-gb|minutes): ([0-9.]+)$", text, re.MULTILINE):
        row[key.replace("-", "_")] = float(value)
    return row


def _text(document: Document, kind: str, resolved: Resolved, recipe: str) -> tuple[str, dict[str, Any]]:
    reads = {
        key: [path if path.startswith("overrides.") else f"{kind}.{path}" for path in e.reads]
        for key, e in document.entries.items()
    }
    if document.kind == "json":
        text = json.dumps(document.values(), indent=2, ensure_ascii=False) + "\n"
        return text, {key: {"line": _json_line(text, key), "reads": reads[key]} for key in document.entries}
    writer = YamlWriter()
    writer.comment(
        f"{document.tool} {document.release}. Written by recipec from {recipe}: change the recipe, not this file."
    )
    for key, entry in document.entries.items():
        writer.entry(key, entry.value, _remark(entry, reads[key], resolved))
    return writer.result(), {key: {"line": writer.lines[key], "reads": reads[key]} for key in document.entries}


def _json_line(text: str, key: str) -> int:
    return text[: text.index(f"\n  {json.dumps(key)}:") + 1].count("\n") + 1


def _remark(entry: Entry, reads: list[str], resolved: Resolved) -> str:
    if entry.why:
        return entry.why
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
) -> str:
    source = tree.span.source
    stages: list[dict[str, Any]] = []
    for place in placed:
        stage = place.stage
        tool = place.documents[0]
        row: dict[str, Any] = {
            "id": stage.id,
            "kind": report.kind_of(stage),
            "tool": tool.tool,
            "release": tool.release,
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
        values[path] |= {"why": origin.why, "reads": list(origin.reads)}
    told = {read for row in values.values() for read in row["reads"]}
    for steps, node in leaves(tree):  # what goes into files, or stays in the recipe, without a place in the plan
        if not _leads(path := dotted(steps), told):
            span = node.span
            kind = "command line" if span.source.name.startswith("--set") else "recipe"
            values[path] = {"value": plain(node), "from": kind, "at": span.label(), "why": "", "reads": [path]}
    manifest = {
        "format": 1,
        "recipe": {"name": resolved.plan.name, "file": source.label, "sha256": digest(source.text)},
        "stages": stages,
        "environments": {name: _environment(name) for name in sorted({place.environment for place in placed})},
        "data": [{"path": path, "at": _line_of(resolved, path)} for path in sorted(set(local))],
        "values": values,
        "files": {name: {"sha256": digest(text), "lines": lines.get(name, {})} for name, text in sorted(files.items())},
    }
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _line_of(resolved: Resolved, path: str) -> str | None:
    """Return where the recipe names a data file."""
    for value, origin in report.values(resolved).values():
        if value == path and origin.span is not None:
            return origin.span.label()
    return None
