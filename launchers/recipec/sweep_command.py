"""What commands do with a recipe that has `sweep:`: `compile`, `check`, `run`, `status`, and `sweep`, which compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from recipec import manifest
from recipec.compose import Composed, compose
from recipec.diagnostics import Finding, RecipeError, errors, tidy
from recipec.engine import (
    FAILED,
    INTERRUPTED,
    PREEMPTED,
    Among,
    Asked,
    Choice,
    Limits,
    PlainDisplay,
    Siblings,
    display_for,
    foresee,
    run_several,
    status,
)
from recipec.engine.fingerprint import keys
from recipec.engine.record import RunFolder
from recipec.kinds.gate import is_among
from recipec.output import difference, write
from recipec.pipeline import Compiled, of_sweep
from recipec.plural import counted
from recipec.printing import DONE, as_json_text, print_findings, print_text, say
from recipec.report.sweeps import LOSSES, VariantRow, comparison
from recipec.report.sweeps import text as text_of
from recipec.run_command import foreseen_json, foreseen_text, in_memory, with_checkpoints, with_limits
from recipec.search import Tried, needed, proposal
from recipec.source import Items, Plain, Span, plain
from recipec.sweep import Sweep, has_sweep, sweep_of
from recipec.sweeps import Listed, Row, Told, drop_gone, ours, read_list, table, value_text, variants_table, write_list

RUNS = Path("runs")


class Swept:
    """A recipe's sweep as it is compiled: an iterator over what came of the variants that no rule refuses.

    `rows` are the variants so far, `findings` all that there is to say of them, each thing once.
    """

    def __init__(self, options: argparse.Namespace, file: str, composed: Composed) -> None:
        sweep = sweep_of(composed.tree)
        assert sweep is not None
        self.sweep: Sweep = sweep
        self.file = file
        self.name = str(getattr(sweep.base.entries.get("name"), "value", ""))
        self.rows: list[Row] = []
        self._composed = composed
        self.trials = recorded(Path(getattr(options, "runs", RUNS)) / self.name, sweep)
        self._compiled = of_sweep(file, composed, sweep, options.variants, self.trials)
        self._told: dict[tuple[str, Any], Finding] = {}
        self._refusals: list[Finding] = []
        self.label = sweep.span.source.label

    def __iter__(self) -> Iterator[Compiled]:
        """Yield the variants that no rule refuses. Raises RecipeError where nothing of the sweep can be compiled."""
        accepted = 0
        for compiled in self._compiled:
            assert compiled.variant is not None
            self.name = compiled.name.partition("/")[0] or self.name
            name, values = compiled.variant.name, compiled.variant.values
            if wrong := errors(compiled.findings):
                self.rows.append(Row(name, values, wrong[0].code, wrong[0].message))
                self._refusals += [] if len(self._refusals) > 20 else wrong
                continue
            accepted += 1
            if accepted == 1 and self.sweep.search is not None:
                self._measured(compiled, self.sweep.node.keys["best"])
            for finding in compiled.told:
                self._told.setdefault((finding.code, finding.span), finding)
            self.rows.append(Row(name, values))
            yield compiled
        if not accepted:
            message = f"the rules refuse {'all ' if len(self.rows) > 1 else ''}{counted(len(self.rows), 'variant')} of the sweep"
            every = Finding("S064", message, self.sweep.span, help="what is wrong with them is told too")
            raise RecipeError([every, *self._refusals])

    def listed(self, before: Listed | None, *, whole: bool) -> Listed:
        """Return the list of variants; where not the `whole` sweep was compiled, the others as they were `before`."""
        rows = tuple(self.rows)
        if not whole and before is not None:
            now = {row.variant: row for row in before.variants} | {row.variant: row for row in rows}
            rows = tuple(now[name] for name in self.names if name in now)
        search = self.sweep.search
        key, trials = (None, None) if search is None else (search.key, search.trials)
        return Listed(self.name, self.label, self.sweep.best, rows, search=key, trials=trials)

    @property
    def names(self) -> list[str]:
        """The names of all variants, of a search of those so far, whichever were chosen."""
        return [one.name for one in self.sweep.variants((), self.trials)]

    def _measured(self, compiled: Compiled, span: Span) -> None:
        """Check that a variant will have what the search goes by. Raises RecipeError."""
        best, plan = str(self.sweep.best), manifest.read(compiled.files[manifest.FILE]).plan
        held_out = [bool(one.body.data.holdout or one.body.data.validation) for one in plan.of_kind("train")]
        losses = [LOSSES[0], *(LOSSES[1:] if held_out[-1:] == [True] else ())] if held_out else []
        tasks = [task for stage in plan.of_kind("evaluate") for text in stage.body.tasks for task in text.split(",")]
        if best not in losses and not is_among(best.partition("/")[0], tasks):
            advice = f"measured are {', '.join(dict.fromkeys([*losses, *tasks])) or 'no losses and no tasks'}"
            advice += "; validation takes data.holdout or data.validation" if best in LOSSES else ""
            raise RecipeError([Finding("S067", f"the search goes by {best}, which nothing here measures", span, help=advice)])  # fmt: skip

    def following(self, running: Collection[str]) -> Compiled | None:
        """Return the next trial of a search, by what is known of those before it; None where there is no other.

        `running` are the variants that have not ended. One that the rules refuse has their errors. Raises RecipeError
        where what the search goes by was not measured.
        """
        search = self.sweep.search
        if search is None or len(self.rows) >= search.trials + self._given:
            return None
        found = comparison(RUNS / self.name, self.sweep.best if self.rows else None)
        by, rows = found["by"], {row["variant"]: row for row in found["variants"]}
        tried = [_tried(row, rows.get(row.variant), by, row.variant in running) for row in self.rows]
        least = any(one["name"] == by and one["higher_is_better"] is False for one in found["columns"])
        if (settings := proposal(search, tried, least=least)) is None:
            return None
        values = {one.path: plain(one.value) for one in settings}
        self.trials.append(values)
        [*_, name] = self.names
        compiled = next(of_sweep(self.file, self._composed, self.sweep, [name], self.trials))
        wrong = errors(compiled.findings)
        self.rows.append(Row(name, values, wrong[0].code, wrong[0].message) if wrong else Row(name, values))
        return compiled

    @property
    def _given(self) -> int:
        """How many variants the search begins with that a person has written."""
        points = self.sweep.node.entries.get("list")
        return len(points.nodes) if isinstance(points, Items) else 0

    @property
    def findings(self) -> list[Finding]:
        """Everything that there is to say, in the order of its places; of a rule at one place, what it first said."""
        refused = [row for row in self.rows if row.rule is not None]
        told = list(self._told.values())
        if refused:
            first = refused[0]
            more = f" and {counted(len(refused) - 1, 'other variant')}" if len(refused) > 1 else ""
            message = f"left out: {first.variant}{more}; {first.rule}: {first.reason}"
            told.append(
                Finding("S065", message, self.sweep.span, help="`recipe compile` names all", severity="warning")
            )
        return tidy(told)


def recorded(folder: Path, sweep: Sweep) -> list[Mapping[str, Plain]]:
    """Return the trials that a search has chosen so far, as its runs know them; none where the recipe has changed."""
    search, listed = sweep.search, read_list(folder)
    if search is None or listed is None or listed.search != search.key:
        return []
    first = {one.name for one in sweep.variants()}
    later = [row.values for row in listed.variants if row.variant not in first]
    return list(later[: max(0, search.trials - search.startup)])


def _tried(row: Row, found: VariantRow | None, by: str | None, running: bool) -> Tried:
    """Return a trial as the search sees it."""
    if row.rule is not None:
        return Tried(row.values, "refused")
    if running:
        return Tried(row.values, "running")
    measured = found["measures"].get(by) if found is not None and by is not None else None
    if found is None or found["state"] != "complete" or measured is None:
        return Tried(row.values, "failed")
    return Tried(row.values, "measured", measured["value"])


def check_sweep(options: argparse.Namespace, file: str, composed: Composed) -> tuple[list[Finding], int]:
    """Check a sweep; return what there is to say, and the number of its variants."""
    try:
        swept = Swept(options, file, composed)
        count = sum(1 for _ in swept)
    except RecipeError as error:
        return error.findings, 0
    return swept.findings, count


def compile_sweep(
    options: argparse.Namespace, file: str, composed: Composed
) -> tuple[list[Finding], list[dict[str, Any]], dict[str, str]]:
    """Compile a sweep, and write each variant as it comes, or with --check compare it with what is there.

    Returns what there is to say, what was written as rows of JSON, and the differences by name.
    """
    compiled: list[dict[str, Any]] = []
    stale: dict[str, str] = {}
    try:
        swept = Swept(options, file, composed)
        folder = Path(options.out) / swept.name
        told: list[Told] = []
        if options.check:
            for one in swept:
                if text := difference(Path(options.out) / one.name, one.files):
                    stale[one.name] = text
            return swept.findings, [], stale
        for one, changed in written(swept, Path(options.out)):
            told.append(Told(swept.rows[-1], "written" if changed else "unchanged"))
            compiled.append({"name": one.name, "folder": str(Path(options.out) / one.name), "files": sorted(one.files), "changed": changed})  # fmt: skip
        if options.format == "text":
            listed = swept.listed(None, whole=True)
            print_text(f"{folder}: {counted(len(told), 'variant')}; see {folder}/SWEEP.md")
            print_text(variants_table(listed, told))
        return swept.findings, compiled, stale
    except RecipeError as error:
        return error.findings, [], {}


def written(swept: Swept, out: Path) -> Iterator[tuple[Compiled, bool]]:
    """Yield the variants as each is written below `out`, and whether that changed anything; then write their list."""
    folder = out / swept.name
    ours(folder)
    before = read_list(folder)
    for one in swept:
        yield one, write(out / one.name, one.files)
    names = swept.names
    listed = swept.listed(before, whole=len(names) == len(swept.rows))
    write_list(folder, listed)
    drop_gone(folder, before, names)


def searched(swept: Swept, out: Path, running: Collection[str]) -> Iterator[str]:
    """Yield the name of each further trial of a search, when it is written; `running` are the variants that have not ended."""
    while (compiled := swept.following(running)) is not None:
        if compiled.files:
            write(out / compiled.name, compiled.files)
        for folder in (out / swept.name, RUNS / swept.name):
            write_list(folder, swept.listed(None, whole=True))
        if compiled.files:
            yield compiled.name
        else:
            say(f"{compiled.name}: left out; {swept.rows[-1].rule}: {swept.rows[-1].reason}")


def run_sweep(options: argparse.Namespace, composed: Composed) -> int:
    """Run the variants of a sweep, in order or up to `--jobs` stages at once; one that fails does not stop the others."""
    swept = Swept(options, options.file, composed)
    choice = Choice(tuple(options.select), tuple(options.exclude), options.start, tuple(options.only), options.force)
    recipe, out = Path(options.file), Path(options.out)
    search = swept.sweep.search if not options.variants else None
    if search is not None:
        needed(swept.sweep.span)
    if options.dry_run:
        return _foreseen(options, swept, choice, recipe, out)
    names = [one.name for one, _ in written(swept, out)]
    listed = read_list(out / swept.name)
    assert listed is not None
    write_list(RUNS / swept.name, listed)
    print_findings(swept.findings)
    siblings = Siblings([RUNS / swept.name / row.variant for row in listed.accepted])
    limits = Limits(**with_limits(options), **with_checkpoints(options))
    failed: list[str] = []
    stopped: list[int] = []
    told: dict[str, Finding] = {}
    begun: list[str] = []
    running: set[str] = set()
    lines = PlainDisplay(sys.stdout)
    later = searched(swept, out, running) if search is not None else ()

    def trees() -> Iterator[Asked]:
        most = len(names) if search is None else f"at most {max(search.trials, len(names))}"
        for number, name in enumerate(chain(names, later), 1):
            say(f"{name} ({number} of {most})")
            running.add(name.partition("/")[2])
            begun.append(name)
            yield Asked(out / name, display_for() if limits.jobs == 1 else Among(lines, name.partition("/")[2]))

    def end(asked: Asked, code: int | RecipeError) -> None:
        running.discard(asked.build.name)
        if isinstance(code, RecipeError):
            print_findings([one for one in code.findings if told.setdefault(one.message, one) is one])
        elif code in (INTERRUPTED, PREEMPTED):
            stopped.append(code)
            return
        if code != DONE:
            failed.append(asked.build.name)

    run_several(trees(), RUNS, recipe, choice, swept.findings, limits, siblings, end)
    if stopped:
        return stopped[0]
    print_text(comparison_text(RUNS / swept.name, None))
    if failed:
        say(f"{counted(len(failed), 'variant')} of {len(begun)} failed: {', '.join(failed)}")
    return FAILED if failed else DONE


def _foreseen(options: argparse.Namespace, swept: Swept, choice: Choice, recipe: Path, out: Path) -> int:
    """Print what a run would do with each stage of each variant."""
    made: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    siblings = Siblings([RUNS / swept.name / one.name for one in swept.sweep.variants((), swept.trials)])
    for one in swept:
        build = in_memory(one, out / one.name, recipe)
        known = keys(build, RunFolder(RUNS / one.name).hashes, save=False)
        decisions = foresee(build, RUNS, choice, **with_checkpoints(options))
        for number, decision in enumerate(decisions):
            held = known[decision.stage.name].hash
            there = siblings.before.get(held) if not (options.fresh or options.force or options.start) else None
            place = made.get(held) or (str(there.output) if there is not None else None)
            if decision.runs and place is not None:
                decisions[number] = decision._replace(action="skip", why=f"taken from {place}")
            elif decision.runs:
                made[held] = decision.stage.output
        found.append({"name": one.name, "stages": foreseen_json(decisions)})
        if not options.json:
            print_text(foreseen_text(one.name, decisions))
    if (search := swept.sweep.search) is not None and not options.json and not options.variants:
        print_text(f"further trials, of at most {search.trials}, are chosen by the results of those before them")
    return print_findings(swept.findings, as_json=options.json, name=swept.name, variants=found)


def list_of(options: argparse.Namespace, named: str) -> Listed | None:
    """Return the variants of a sweep, by the name of its runs or its recipe's file; None where it is no sweep, or one is chosen."""
    if getattr(options, "variants", None):
        return None
    if (listed := read_list(Path(options.runs) / named)) is not None or "settings" not in options:
        return listed
    if not Path(named).is_file() or not has_sweep(
        (composed := compose(named, options.settings, options.profiles, options.variables)).tree
    ):
        return None
    swept = Swept(options, named, composed)
    for _ in swept:
        pass
    return swept.listed(None, whole=True)


def status_sweep(options: argparse.Namespace, listed: Listed) -> int:
    """Print the state of each variant of a sweep."""
    found: list[dict[str, Any]] = []
    for row in listed.accepted:
        folder = Path(options.runs) / listed.name / row.variant
        one: dict[str, Any] = {"name": f"{listed.name}/{row.variant}", "state": "waiting", "stages": []}
        if RunFolder(folder).plan.is_file():
            one = dict(status(folder))
        found.append(one)
    if options.json:
        print_text(as_json_text({"name": listed.name, "variants": found}))
        return DONE
    states = [one["state"] for one in found]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    rows = [[row.variant, *(value_text(row.values.get(path, "–")) for path in listed.paths), _state(one)] for row, one in zip(listed.accepted, found, strict=True)]  # fmt: skip
    most = f" of at most {counted(listed.trials, 'trial')}" if listed.trials is not None else ""
    print_text(f"{listed.name}: {counted(len(found), 'variant')}{most}: {counts}")
    print_text(table(["variant", *listed.paths, "state"], rows))
    return DONE


def _state(found: dict[str, Any]) -> str:
    """Return the state of a variant, with the stage that it is at."""
    at = next((row for row in found["stages"] if row["state"] != "complete"), None)
    if at is None or found["state"] in ("waiting", "complete"):
        return str(found["state"])
    step = f" {at['step']}/{at['total']}" if at["step"] is not None else ""
    return f"{found['state']} ({at['stage']}: {at['state']}{step})"


def compare(options: argparse.Namespace) -> int:
    """Print the variants of a sweep beside one another: values, loss, scores, the best marked."""
    folder = Path(options.runs) / options.name
    best = getattr(options, "best", None)
    if options.json:
        print_text(as_json_text(comparison(folder, best)))
        return DONE
    print_text(comparison_text(folder, best))
    return DONE


def comparison_text(folder: Path, best: str | None) -> str:
    """Return the comparison of a sweep's variants as text. Raises RecipeError where there is no sweep."""
    return text_of(comparison(folder, best))


__all__ = ["Swept", "check_sweep", "compare", "compile_sweep", "list_of", "run_sweep", "status_sweep"]
