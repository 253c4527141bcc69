"""What commands do with a recipe that has `sweep:`: `compile`, `check`, `run`, `status`, and `sweep`, which compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from recipec.output import difference, write
from recipec.pipeline import Compiled, of_sweep
from recipec.plural import counted
from recipec.printing import DONE, as_json_text, print_findings, print_text, say
from recipec.run_command import foreseen_json, foreseen_text, in_memory, with_checkpoints, with_limits
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
        self._compiled = of_sweep(file, composed, sweep, options.variants)
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
            rows = tuple(now[one.name] for one in self.sweep.variants() if one.name in now)
        return Listed(self.name, self.label, self.sweep.best, rows)

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
    names = [one.name for one in swept.sweep.variants()]
    listed = swept.listed(before, whole=len(names) == len(swept.rows))
    write_list(folder, listed)
    drop_gone(folder, before, names)


def run_sweep(options: argparse.Namespace, composed: Composed) -> int:
    """Run the variants of a sweep, in order or up to `--jobs` stages at once; one that fails does not stop the others."""
    swept = Swept(options, options.file, composed)
    choice = Choice(tuple(options.select), tuple(options.exclude), options.start, tuple(options.only), options.force)
    recipe, out = Path(options.file), Path(options.out)
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
    lines = PlainDisplay(sys.stdout)

    def trees() -> Iterator[Asked]:
        for number, name in enumerate(names, 1):
            say(f"{name} ({number} of {len(names)})")
            yield Asked(out / name, display_for() if limits.jobs == 1 else Among(lines, name.partition("/")[2]))

    def end(asked: Asked, code: int | RecipeError) -> None:
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
        say(f"{counted(len(failed), 'variant')} of {len(names)} failed: {', '.join(failed)}")
    return FAILED if failed else DONE


def _foreseen(options: argparse.Namespace, swept: Swept, choice: Choice, recipe: Path, out: Path) -> int:
    """Print what a run would do with each stage of each variant."""
    made: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    siblings = Siblings([RUNS / swept.name / one.name for one in swept.sweep.variants()])
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
    print_text(f"{listed.name}: {counted(len(found), 'variant')}: {counts}")
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
    from recipec.report.sweeps import comparison

    folder = Path(options.runs) / options.name
    best = getattr(options, "best", None)
    if options.json:
        print_text(as_json_text(comparison(folder, best)))
        return DONE
    print_text(comparison_text(folder, best))
    return DONE


def comparison_text(folder: Path, best: str | None) -> str:
    """Return the comparison of a sweep's variants as text. Raises RecipeError where there is no sweep."""
    from recipec.report.sweeps import comparison, text

    return text(comparison(folder, best))


__all__ = ["Swept", "check_sweep", "compare", "compile_sweep", "list_of", "run_sweep", "status_sweep"]
