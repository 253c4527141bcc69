"""The command `recipe`. Exit codes: 0 done, 1 findings, 2 wrong usage, 3 failed, 4 scores too low, 75 start again, 130 interrupted."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipec.arguments import COMMANDS, FORMATS, Parser
from recipec.diagnostics import Finding, RecipeError, errors
from recipec.plural import counted
from recipec.printing import as_json_text as _json
from recipec.printing import discreet as _discreet
from recipec.printing import print_findings as _print_findings
from recipec.printing import print_text as _print
from recipec.printing import say as _say
from recipec.source import visible

if TYPE_CHECKING:
    from recipec.compose import Composed
    from recipec.pipeline import Compiled
    from recipec.run_command import Told

DONE, WRONG, USAGE, FAILED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    form = _requested_format(arguments)
    try:
        _open_streams()
        code = _main(arguments, form)
        sys.stdout.flush()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # whatever read our output has ended: print nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG
    except OSError as error:  # commands report their own; what remains is mostly our output on a full disk
        what = visible(os.fsdecode(error.filename or "standard output"))
        sys.stderr.write(f"error[O006]: {what} cannot be read or written: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG
    return code


def program() -> int:
    """Run the command of this process; skip the last garbage collection, which is a fifth of a cold start."""
    code = main()
    gc.freeze()
    return code


def _requested_format(arguments: Sequence[str]) -> str:
    """Return the requested format of findings, also when the command line is wrong; the last option wins."""
    form = "text"
    for option, following in zip(arguments, [*arguments[1:], ""], strict=False):
        named = (
            "json" if option == "--json" else following if option == "--format" else option.partition("--format=")[2]
        )
        form = named if named in FORMATS else form
    return form


def _main(arguments: Sequence[str], form: str) -> int:
    try:
        options = _parser(arguments[0] if arguments else "").parse_args(arguments)
        if "format" in options:
            options.json = options.format in ("json", "sarif")  # standard output is then exactly one document
        gc.set_threshold(200_000)  # the process is short, and hardly anything in it becomes garbage
        code: int = options.command(options)
        return code
    except RecipeError as error:
        return _print_findings(error.findings, form=form)
    except argparse.ArgumentError as error:
        if form != "text":
            wrong = Finding("U001", str(error), help="see recipe --help", file="command line")
            _print_findings([wrong], form=form)
        return USAGE


def _open_streams() -> None:
    """Make both streams accept any text: a closed one discards it, a narrow encoding escapes it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # open until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the command line, only for `command` when it is one, which starts faster."""
    parser = Parser(
        prog="recipe",
        description="Compile a training recipe into the files that Axolotl, TRL, DeepSpeed and other tools read, and run it.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in (command,) if command in COMMANDS else COMMANDS:
        text, arguments = COMMANDS[name]
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.set_defaults(command=FUNCTIONS[name])
        for names, options in arguments:
            made.add_argument(*names, **options)
    return parser


def _compile_all(options: argparse.Namespace) -> tuple[list[Compiled], list[Finding], dict[str, Composed]]:
    """Compile all recipes but those with a sweep, which come last; return also what there is to say."""
    from recipec.compose import compose
    from recipec.pipeline import Compiled, compile_composed
    from recipec.sweep import has_sweep

    results: list[Compiled] = []
    findings: list[Finding] = []
    sweeps: dict[str, Composed] = {}
    names: dict[str, str] = {}
    for file in options.files:
        try:
            composed = compose(file, options.settings, options.profiles, options.variables)
        except RecipeError as error:
            results.append(Compiled("", {}, error.findings, None))
        else:
            if has_sweep(composed.tree):
                sweeps[file] = composed
                continue
            results.append(compile_composed(file, composed))
        findings += results[-1].told
        if (name := results[-1].name) and names.setdefault(name, file) != file:
            message = f'the name "{name}" is also used by {names[name]}'
            findings.append(Finding("O005", message, help="give each recipe its own name", file=file))
    return results, findings, sweeps


def _compile(options: argparse.Namespace) -> int:
    from recipec.output import difference, write

    results, findings, sweeps = _compile_all(options)
    if errors(findings):
        return _print_findings(findings, form=options.format, compiled=[])
    if options.check:
        stale = {r.name: text for r in results if (text := difference(Path(options.out) / r.name, r.files))}
        for file, composed in sweeps.items():
            from recipec.sweep_command import compile_sweep

            more, _, others = compile_sweep(options, file, composed)
            findings, stale = [*findings, *more], stale | others
        if options.format in ("sarif", "github"):  # the other formats show the difference itself
            findings += [_stale(Path(options.out) / name) for name in stale]
        code = _print_findings(findings, form=options.format, stale=stale)
        if stale and not options.json:
            _print("\n".join(stale.values()))
            _say(f"stale: {', '.join(stale)}; run `recipe compile` and commit the result")
        return WRONG if stale else code
    compiled: list[dict[str, Any]] = []
    for result in results:
        folder = Path(options.out) / result.name
        changed = write(folder, result.files)
        compiled.append({"name": result.name, "folder": str(folder), "files": sorted(result.files), "changed": changed})
    plain = len(compiled)
    for file, composed in sweeps.items():
        from recipec.sweep_command import compile_sweep

        more, rows, _ = compile_sweep(options, file, composed)
        findings, compiled = [*findings, *more], [*compiled, *rows]
    code = _print_findings(findings, form=options.format, compiled=compiled)
    if not options.json:
        for row in compiled[:plain]:
            done = "written" if row["changed"] else "unchanged"
            _print(f"{row['folder']}: {counted(len(row['files']), 'file')} {done}; see {row['folder']}/PLAN.md")
    return code


def _stale(folder: Path) -> Finding:
    return Finding("O007", "the output is stale", help="run `recipe compile` and commit the result", file=str(folder))


def _check(options: argparse.Namespace) -> int:
    if options.fix:
        from recipec.fix import fix

        for file in options.files:
            fixed = fix(file, options.settings, options.profiles, options.variables)
            if fixed.diff and not options.json:
                _print(_discreet(fixed.diff))
    _results, findings, sweeps = _compile_all(options)
    counts = ""
    for file, composed in sweeps.items():
        from recipec.sweep_command import check_sweep

        more, count = check_sweep(options, file, composed)
        findings, counts = [*findings, *more], f" with {counted(count, 'variant')}"
    code = _print_findings(findings, form=options.format)
    if code == DONE and not options.json and all(finding.severity == "note" for finding in findings):
        left = f"no errors, {counted(len(findings), 'note')}" if findings else "no findings"
        _print(f"{counted(len(options.files), 'recipe')}{counts}: {left}")
    return code


def _rules(options: argparse.Namespace) -> int:
    from recipec.rules_command import command

    return command(options)


def _run(options: argparse.Namespace) -> int:
    if options.rehearse:
        from recipec.rehearsal.command import command

        return command(options, _print, _say)
    from recipec.compose import compose
    from recipec.output import write
    from recipec.pipeline import compile_composed
    from recipec.sweep import has_sweep

    composed = compose(options.file, options.settings, options.profiles, options.variables)
    if has_sweep(composed.tree):
        from recipec.sweep_command import run_sweep

        return run_sweep(options, composed)
    result = compile_composed(options.file, composed)
    if errors(result.findings):
        return _print_findings(result.findings, as_json=options.json)
    from recipec.engine import Choice, foresee, run
    from recipec.run_command import with_checkpoints, with_limits

    limits, checkpoints = with_limits(options), with_checkpoints(options)
    folder, recipe = Path(options.out) / result.name, Path(options.file)
    choice = Choice(tuple(options.select), tuple(options.exclude), options.start, tuple(options.only), options.force)
    if options.dry_run:
        from recipec.run_command import foreseen_json, foreseen_text, in_memory

        decisions = foresee(in_memory(result, folder, recipe), Path("runs"), choice, **checkpoints)
        if not options.json:
            _print(foreseen_text(result.name, decisions))
            return DONE
        return _print_findings(result.told, as_json=True, name=result.name, stages=foreseen_json(decisions))
    write(folder, result.files)
    return run(folder, Path("runs"), recipe=recipe, choice=choice, told=result.told, **limits, **checkpoints)


def _data(options: argparse.Namespace) -> int:
    from recipec.data_command import PreviewFailure, preview
    from recipec.pipeline import compile_file
    from recipec.preview.text import page

    if options.rows < 0:
        raise RecipeError([Finding("U003", "--rows must be 0 or more", file="command line")])
    if options.snapshot and (options.stage or not options.rows):
        raise RecipeError(
            [
                Finding(
                    "U003",
                    "--snapshot needs rows of every training: it goes with neither --stage nor --rows 0",
                    file="command line",
                )
            ]
        )
    given = (options.settings, options.profiles, options.variables)
    compiled = compile_file(options.file, *given, variants=options.variants)
    if errors(compiled.findings):
        return _print_findings(compiled.findings, as_json=options.json)
    try:
        found = preview(compiled, options.file, stage=options.stage, rows=options.rows, write_snapshot=options.snapshot)
    except PreviewFailure as error:
        _say("\n  ".join([str(error), *error.lines]))
        return FAILED
    if not options.json:
        # its colours are ours, and it makes visible what the rows hold
        sys.stdout.write(page(found.stages, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
        for line in [*found.differences, *([f"snapshot: {found.snapshot}"] if found.snapshot else [])]:
            _print(line)
    earlier = [finding for finding in compiled.findings if finding.code != "D093" or not options.snapshot]
    more: dict[str, Any] = {"stages": found.stages, "differences": found.differences, "snapshot": found.snapshot}
    return _print_findings([*earlier, *found.findings], as_json=options.json, **more)


def _explain(options: argparse.Namespace) -> int:
    from recipec import manifest
    from recipec.explain import explain
    from recipec.pipeline import compile_file

    result = compile_file(
        options.file, options.settings, options.profiles, options.variables, variants=options.variants
    )
    if errors(result.findings):
        return _print_findings(result.findings, as_json=options.json)
    answers = explain(manifest.read(result.files[manifest.FILE]), options.path)
    if options.json:
        _print(_json([answer._asdict() for answer in answers]))
    else:
        _print(
            "\n".join(f"{row.path} = {json.dumps(row.value, ensure_ascii=False)}\n    {row.because}" for row in answers)
        )
    return DONE


def _show_recipe(options: argparse.Namespace) -> int:
    from recipec.compose import compose
    from recipec.show import flat, made_of, made_of_text
    from recipec.source import plain

    composed = compose(options.file, options.settings, options.profiles, options.variables)
    if options.json:
        _print(_discreet(_json({"ok": True, **made_of(composed), "recipe": plain(composed.tree)})))
    else:
        _print(_discreet(flat(composed) if options.resolved else made_of_text(composed)))
    return DONE


def _fmt(options: argparse.Namespace) -> int:
    from recipec.fmt import difference, format_files

    changed = format_files(options.files, write=not (options.check or options.diff))
    if options.json:
        _print(_json({"ok": True, "changed": [row.file for row in changed]}))
    elif options.diff:
        _print(_discreet("".join(difference(row) for row in changed)))
    else:
        done = "would change" if options.check else "changed"
        sys.stderr.write("".join(f"{done}: {visible(row.file)}\n" for row in changed))
    return WRONG if options.check and changed else DONE


def _set(options: argparse.Namespace) -> int:
    from recipec.set_command import change_file

    findings, changed = change_file(options.file, options.changes, options.unset)
    code = _print_findings(findings, as_json=options.json, changed=changed)
    if not options.json and not changed and code == DONE:
        sys.stderr.write("nothing to change\n")
    return code


def _adopt(options: argparse.Namespace) -> int:
    from recipec.adopt import adopt
    from recipec.output import replace

    adopted = adopt(options.file)
    if options.write and adopted.diff:
        replace(Path(options.file), adopted.after)
    if options.json:
        written = bool(options.write and adopted.diff)
        about = {"ok": True, "diff": adopted.diff, "notes": list(adopted.notes), "written": written}
        _print(_json(about))
        return DONE
    if adopted.diff:
        _print(adopted.diff)
    for note in adopted.notes:
        _say(f"note: {note}")
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    from recipec.doctor import examine

    try:
        examined = examine(options.files, options.tools, options.allowed)
    except ValueError as error:
        raise argparse.ArgumentError(None, _print_error(str(error))) from None
    files = [{"file": name, "tool": guess.title, "because": guess.because} for name, guess in examined.recognised]
    if options.format == "text":
        for row in files:
            _print(f"{visible(row['file'])}: {row['tool']} ({visible(row['because'])})")
    code = _print_findings(examined.findings, form=options.format, files=files)
    if not files and not examined.findings and options.format == "text":
        _print("there is no file of a tool that doctor knows")
    elif not examined.findings and options.format == "text":
        _print(f"{counted(len(files), 'file')}: no findings")
    return code


def _print_error(message: str) -> str:
    sys.stderr.write(f"recipe doctor: error: {visible(message)}\n")
    return message


def _schema(options: argparse.Namespace) -> int:
    from recipec.reference import EXAMPLE, schema_text

    _print(EXAMPLE if options.example else schema_text())
    return DONE


def _told(options: argparse.Namespace) -> Told:
    from recipec.run_command import Overrides, told_of

    overrides = Overrides(options.settings, options.profiles, options.variables, options.variants)
    return told_of(options.name, Path(options.runs), overrides)


def _status(options: argparse.Namespace) -> int:
    from recipec.engine import status_text
    from recipec.run_command import status_of
    from recipec.sweep_command import list_of, status_sweep

    if (listed := list_of(options, options.name)) is not None:
        return status_sweep(options, listed)
    told = _told(options)
    if options.watch:
        from recipec.watch import watch

        watch(told, sys.stdout, as_json=options.json)
        return DONE
    found = status_of(told)
    _print(_json(found) if options.json else status_text(found))
    return DONE


def _why(options: argparse.Namespace) -> int:
    from recipec.run_command import standing_of, why_json, why_text

    told = _told(options)
    standing = standing_of(told, options.stage)
    _print(_json(why_json(told, standing)) if options.json else why_text(told, standing))
    return DONE


def _logs(options: argparse.Namespace) -> int:
    from recipec.engine import logs

    for text in logs(Path(options.runs) / options.name, options.stage, follow=options.follow):
        sys.stdout.write(text)
        sys.stdout.flush()
    return DONE


def _sweep(options: argparse.Namespace) -> int:
    from recipec.sweep_command import compare

    return compare(options)


def _report(options: argparse.Namespace) -> int:
    from recipec.report_command import report_json, report_text

    _print(_json(report_json(options)) if options.json else report_text(options))
    return DONE


def _env(options: argparse.Namespace) -> int:
    from recipec.env_command import run_action
    from recipec.environments import EnvironmentFailure, EnvironmentInterrupted

    if (options.action in ("create", "remove") and not options.names) or (options.action == "list" and options.names):
        sys.stderr.write(f"recipe env {options.action} {'takes no' if options.action == 'list' else 'needs a'} NAME\n")
        return USAGE
    try:
        found, text = run_action(options.action, options.names)
    except EnvironmentFailure as error:
        log = [f"full output: {error.log}"] if error.log else []
        _say("\n  ".join([str(error), *error.lines, *log]))
        return FAILED
    except EnvironmentInterrupted:
        return INTERRUPTED
    _print(json.dumps(found, indent=2) if options.json else text)
    return WRONG if any(not row.get("ok", True) for row in found) else DONE


FUNCTIONS = {
    "compile": _compile,
    "check": _check,
    "rules": _rules,
    "run": _run,
    "data": _data,
    "explain": _explain,
    "show": _show_recipe,
    "fmt": _fmt,
    "set": _set,
    "adopt": _adopt,
    "doctor": _doctor,
    "schema": _schema,
    "status": _status,
    "why": _why,
    "logs": _logs,
    "sweep": _sweep,
    "report": _report,
    "env": _env,
}


if __name__ == "__main__":
    sys.exit(program())
