"""What is emitted for each stage of a plan, and what of the recipe nothing emitted depends on."""

from __future__ import annotations

from collections.abc import Iterable, Set
from collections.abc import Mapping as Dict
from typing import Any

from recipec.course import HEAD, INHERITED, Course
from recipec.decide.decision import Decision
from recipec.diagnostics import Finding, Severity
from recipec.facts import releases
from recipec.language.recipe import Overrides
from recipec.overrides import contract_findings, first_span, lay_over
from recipec.plan import Origin, Record, Resolved, Stage
from recipec.source import Path, Scalar, dotted, find, key_span, leaves
from recipec.systems.check import Limitation
from recipec.systems.emit import Emitted, emit, keeping
from recipec.systems.registry import doing, system

NOT_FOR_A_TOOL = ("recipe", "name", "description", "launch", "overrides", "allow")


class Placed(Record, frozen=True):
    """One stage with what is emitted for it."""

    stage: Stage[Any]
    emitted: Emitted


def place(course: Course, decision: Decision, findings: list[Finding]) -> list[Placed]:
    """Return what is emitted for each stage; what cannot be, or has no effect, is added to the findings."""
    tree, resolved = course.tree, decision.resolved
    placed: list[Placed] = []
    used: set[str] = set()
    tools: set[str] = set()
    origins = _by_root(resolved.origins)
    for stage in resolved.plan.stages:
        emitted = emit(stage)
        told_as: tuple[tuple[str, Severity, list[Limitation]], ...] = (
            ("T001", "error", emitted.refusals),
            ("T003", "warning", emitted.differences),
        )
        for code, severity, told in told_as:
            for refusal in told:
                reads = reads_of(resolved, f"{stage.name}.{refusal.path}")
                if refusal.rows and refusal.rows in _absent(stage):
                    used.update(reads)
                    continue
                if refusal.said and not set(reads) - (decision.usual if refusal.said == "other" else set()):
                    continue
                used.update(reads)
                # a value that nobody wrote is wrong beside one that somebody wrote, or for the system that somebody named
                beside = [read for one in refusal.others for read in reads_of(resolved, f"{stage.name}.{one}")]
                places = [*reads, *(read for read in beside if read not in decision.usual)]
                span = first_span(tree, (*places, *reads_of(resolved, f"{stage.name}.trainer")))
                advice = refusal.advice
                if len(_systems(resolved, reads)) > 1:
                    advice = f"say it in the stage {stage.name}: {advice}"
                weight: Severity = "note" if refusal.harmless else severity
                findings.append(Finding(code, refusal.message, span, help=advice, severity=weight))
        used.update(_used(origins.get(stage.name, {}), emitted.used))
        for document in emitted.documents:
            tools.add(document.tool)
            lay_over(course, document, findings)
            findings += contract_findings(tree, stage, resolved, document)
        placed.append(Placed(stage, emitted))
    for tool in Overrides.model_fields:
        if getattr(course.recipe.overrides, tool) and tool not in tools:
            span = first_span(tree, (f"overrides.{tool}",))
            findings.append(Finding("T011", f"the recipe does not use {tool}", span, help="drop these overrides"))
    unknown = {finding.span for finding in findings if finding.code == "R001"}
    if not any(one.emitted.refusals for one in placed):
        findings += [finding for finding in _unused(course, used, decision) if finding.span not in unknown]
    return placed


def _absent(stage: Stage[Any]) -> frozenset[str]:
    """Return of which kinds no row of a training is; where that is not known, none."""
    from recipec.rules.local_rows import absent  # few systems have such checks

    return absent(stage.body, stage.environment) if stage.kind == "train" else frozenset()


def _by_root(origins: Dict[str, Origin]) -> dict[str, dict[str, Origin]]:
    """Return the origins of each stage's leaves, by the paths below its name."""
    found: dict[str, dict[str, Origin]] = {}
    for path, origin in origins.items():
        root, _, rest = path.partition(".")
        found.setdefault(root, {})[rest] = origin
    return found


def _used(origins: Dict[str, Origin], used: set[str]) -> Iterable[str]:
    """Yield the recipe paths behind the leaves that act: those used, below a section that is, or above a leaf that is."""
    above: set[str] = set()
    for path in used:
        section = path.rpartition(".")[0]
        while section and section not in above:
            above.add(section)
            section = section.rpartition(".")[0]
    for path, origin in origins.items():
        if origin.reads and (path in above or leads(path, used)):
            yield from origin.reads


def _systems(resolved: Resolved, reads: Iterable[str]) -> set[str]:
    """Return the systems that train by some words of the recipe."""
    words = set(reads)
    return {
        stage.system
        for stage in resolved.plan.of_kind("train")
        if any(words.intersection(o.reads) for path, o in resolved.origins.items() if path.startswith(f"{stage.name}."))
    }


def reads_of(resolved: Resolved, path: str) -> tuple[str, ...]:
    """Return the recipe paths behind a plan path, or behind what stands below it."""
    origin = resolved.origins.get(path)
    if origin is not None:
        return origin.reads
    return tuple(read for one, o in resolved.origins.items() if one.startswith(path + ".") for read in o.reads)


def _unused(course: Course, used: set[str], decision: Decision) -> list[Finding]:
    """Name every value that the person wrote, that is not what it would be anyway, and that nothing emitted depends on."""
    found: list[Finding] = []
    tree, resolved = course.tree, decision.resolved
    shared = any(part.own is not None and "hardware" in part.own.entries for part in course.parts)
    for path, node in leaves(tree):
        text = dotted(path)
        own = (path[2:] if path[0] == "stages" else path) or path
        if (
            path[0] in NOT_FOR_A_TOOL
            or own[0] in HEAD
            or own[0] == "overrides"
            or (path[0] == "hardware" and shared)  # the machine of which stages take parts
            or not isinstance(node, Scalar)  # an empty section says nothing
            or node.value is None
            or leads(text, used)
            or leads(text, decision.usual)
            or _says_nothing(decision, path, own, node.value)
        ):
            continue
        span = key_span(tree, path) or node.span
        able = sorted(_able(text, resolved))
        advice = f"drop it, or use a trainer that acts on it: {', '.join(able)}" if able else ""
        advice = advice or "drop it: nothing in this recipe could act on it"
        if any(system(stage.system).own_program for stage in resolved.plan.stages):
            advice = "give it to the script by script.arguments, as ${plan:…}, or drop it"
        stages = ", ".join(stage.name for stage in resolved.plan.stages)
        keeping = sorted(_keeping(text, resolved))
        advice += f"; beside {', '.join(keeping)} it does not act" if keeping else ""
        found.append(Finding("T002", f"{text} has no effect on {stages}", span, help=advice))
    return found


def _able(text: str, resolved: Resolved) -> set[str]:
    """Return the other trainers that could do a training of the plan, and would act on a word of the recipe."""
    found: set[str] = set()
    for stage in resolved.plan.of_kind("train"):
        paths = [
            path.removeprefix(f"{stage.name}.")
            for path, origin in resolved.origins.items()
            if text in origin.reads and path.startswith(f"{stage.name}.")
        ]
        for name in doing(stage.kind) if paths else ():
            if name == stage.system or system(name).own_program or system(stage.system).own_program:
                continue
            release = releases(name)[0]
            body = stage.body.replaced(trainer=name, release=release)
            emitted = emit(stage.replaced(system=name, release=release, environment=f"{name}-{release}", body=body))
            if not emitted.refusals and any(leads(path, emitted.used) for path in paths):
                found.add(name)
    return found


def _keeping(text: str, resolved: Resolved) -> set[str]:
    """Return the recipe paths that say what keeps a word from acting, where rows of a table would have it."""
    return {
        word
        for stage in resolved.plan.stages
        for path, ones in keeping(stage).items()
        if text in reads_of(resolved, f"{stage.name}.{path}")
        for one in ones
        for word in reads_of(resolved, f"{stage.name}.{one}")
    }


def _says_nothing(decision: Decision, path: Path, own: Path, value: object) -> bool:
    """Return whether a word of a stage repeats the recipe's, or a word of the recipe the language's own default."""
    if own != path:
        above = find(decision.whole.tree, own)
        if above is None:  # the language's own default, where the recipe says nothing else
            return not any(
                say.otherwise(dotted(own)) for say in decision.parts if say.place(dotted(own)) == dotted(path)
            )
        return isinstance(above, Scalar) and above.value == value
    text = dotted(path)  # of a word that stages have too, each says how the recipe's own is bound
    taking = [part for part in decision.parts if part.place(text) == text] if path[0] in INHERITED else [decision.whole]
    return bool(taking) and not any(say.otherwise(text) for say in taking)


def leads(path: str, some: Set[str]) -> bool:
    """Return whether a path, or what it stands in, is among some."""
    while path not in some:
        end = max(path.rfind("."), path.rfind("["))
        if end < 0:
            return False
        path = path[:end]
    return True
