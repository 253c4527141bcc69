"""The commands of `recipe`, each with its help text and its arguments, in the form that argparse takes."""

import argparse
import sys
from typing import Any, NoReturn

from recipec.printing import say
from recipec.source import visible

FORMATS = ("text", "line", "json", "sarif", "github")
Argument = tuple[tuple[str, ...], dict[str, Any]]


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{visible(text)}" is no number from 1 on')
    return int(text)


_JSON_ONLY = _argument("--json", action="store_true", help="print the result as JSON")
_FILE = _argument("file", metavar="FILE", help="recipe file")
_FILES = _argument("files", nargs="+", metavar="FILE", help="recipe files")
_OVERRIDES = (
    _argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        dest="settings",
        help="override a value of the recipe; may be repeated",
    ),
    _argument(
        "--profile",
        action="append",
        default=[],
        metavar="NAME",
        dest="profiles",
        help="apply a profile of the recipe; may be repeated",
    ),
    _argument(
        "--var",
        action="append",
        default=[],
        metavar="a=c",
        dest="variables",
        help="set a variable of the recipe; may be repeated",
    ),
    _argument(
        "--variant",
        action="append",
        default=[],
        metavar="PATTERN",
        dest="variants",
        help="only these variants of a sweep, such as 'lr=1e-5*'; may be repeated",
    ),
)
_COMMON = (*_OVERRIDES, _JSON_ONLY)
_FORMAT = (
    _argument("--format", choices=FORMATS, default="text", help="how findings are printed (default: text)"),
    _argument("--json", action="store_const", const="json", dest="format", help="the same as --format json"),
)
_SEVERAL_FILES = (
    _FILES,
    *_OVERRIDES,
    *_FORMAT,
)
_CHOICE = (
    _argument(
        "--select",
        action="extend",
        nargs="+",
        default=[],
        metavar="EXPR",
        help="run only these stages: name, name+, +name, @name, kind:evaluate; a comma keeps what both have",
    ),
    _argument(
        "--exclude",
        action="extend",
        nargs="+",
        default=[],
        metavar="EXPR",
        help="leave these stages alone, as --select",
    ),
    _argument("--from", dest="start", metavar="STAGE", help="run this stage, and all that is behind it, anew"),
    _argument("--only", action="extend", nargs="+", default=[], metavar="STAGE", help="run exactly these stages"),
    _argument("--force", action="store_true", help="run the selected stages anew although they are complete"),
    _argument("--dry-run", action="store_true", help="print what would happen to each stage; start and write nothing"),
)
_RUNS = _argument("--runs", default="runs", metavar="DIR", help="folder with the runs (default: runs)")
_RUN_NAME = (
    _argument("name", metavar="NAME", help="name of the recipe"),
    _RUNS,
    _JSON_ONLY,
)

COMMANDS: dict[str, tuple[str, tuple[Argument, ...]]] = {
    "compile": (
        "check recipes and write the files that their tools read",
        (
            *_SEVERAL_FILES,
            _argument("--out", default="build", metavar="DIR", help="output folder (default: build)"),
            _argument("--check", action="store_true", help="write nothing; fail with a diff if the output is stale"),
        ),
    ),
    "check": (
        "check recipes without writing anything",
        (
            *_SEVERAL_FILES,
            _argument("--fix", action="store_true", help="correct misspelt names and values in the files"),
        ),
    ),
    "rules": (
        "list the rules, or explain one",
        (_argument("rule", nargs="?", metavar="RULE", help="code or name of a rule, such as L015"), _JSON_ONLY),
    ),
    "run": (
        "compile a recipe and run its stages",
        (
            _FILE,
            _argument("--out", default="build", metavar="DIR", help="output folder (default: build)"),
            _argument("--fresh", action="store_true", help="move earlier results aside and start over"),
            _argument(
                "--resume-anyway",
                action="store_true",
                help="go on from checkpoints although the recipe, the data or the machine changed",
            ),
            _argument(
                "--stall", metavar="TIME", help="end a tool without progress for so long, such as 30m (default: never)"
            ),
            _argument(
                "--jobs",
                type=_count,
                default=1,
                metavar="N",
                help="run up to N stages at once that do not wait for one another, of a sweep those of several variants, each on GPUs of its own (default: 1)",
            ),
            _argument(
                "--rehearse",
                action="store_true",
                help="run every stage on this CPU in minutes, with tiny models and a few rows; what is swapped is listed",
            ),
            *_CHOICE,
            *_COMMON,
        ),
    ),
    "data": (
        "show the training data as the model will see it: tokens, loss mask, lengths",
        (
            _FILE,
            _argument("--stage", metavar="NAME", help="only this training stage"),
            _argument("--rows", type=int, default=3, metavar="N", help="rows to show from each source (default: 3)"),
            _argument(
                "--snapshot",
                action="store_true",
                help="write NAME.tokens.json, with which later checks compare the tokens",
            ),
            *_COMMON,
        ),
    ),
    "explain": (
        "show which line, rule or fact set a value",
        (
            _FILE,
            _argument("path", metavar="PATH", help="a path in the recipe or the plan, or FILE:KEY of an emitted file"),
            *_COMMON,
        ),
    ),
    "show": (
        "show which files, profiles and variables a recipe consists of, or print it as one flat recipe",
        (
            _FILE,
            _argument("--resolved", action="store_true", help="print the flat recipe, with the origin of each value"),
            *_COMMON,
        ),
    ),
    "fmt": (
        "format recipe files; comments and meaning stay the same",
        (
            _FILES,
            _argument("--check", action="store_true", help="write nothing; fail if a file would change"),
            _argument("--diff", action="store_true", help="write nothing; print what would change"),
            _JSON_ONLY,
        ),
    ),
    "set": (
        "change values in a recipe file; comments and layout stay the same",
        (
            _FILE,
            _argument("changes", nargs="*", metavar="a.b=c", help="set a value"),
            _argument("--unset", action="append", default=[], metavar="a.b", help="remove a value"),
            _JSON_ONLY,
        ),
    ),
    "adopt": (
        "convert a PyTorch training loop for one GPU to several GPUs, with Accelerate",
        (
            _argument("file", metavar="FILE", help="Python file with the training loop"),
            _argument("--write", action="store_true", help="change the file; without this, the change is only shown"),
            _JSON_ONLY,
        ),
    ),
    "doctor": (
        "check existing configuration files and launch scripts of the tools, without a recipe",
        (
            _argument(
                "files",
                nargs="+",
                metavar="FILE",
                help="configurations and launch scripts that are used together, a folder of them, or - for standard input",
            ),
            _argument(
                "--as",
                action="append",
                default=[],
                metavar="[FILE=]TOOL[-RELEASE]",
                dest="tools",
                help="which tool, and which release of it, the files are for",
            ),
            _argument(
                "--allow",
                action="append",
                default=[],
                metavar="[FILE:[LINE:]]CODE",
                dest="allowed",
                help="a finding to leave out; one that is not there is told",
            ),
            *_FORMAT,
        ),
    ),
    "schema": (
        "print the JSON Schema for recipes",
        (_argument("--example", action="store_true", help="print an example recipe instead"),),
    ),
    "status": (
        "show the state of a run",
        (
            _argument("name", metavar="NAME", help="name of the run, or the recipe's file"),
            _argument(
                "--watch", action="store_true", help="keep showing it until the run ends; with --json, a line each"
            ),
            _RUNS,
            *_COMMON,
        ),
    ),
    "why": (
        "show why a stage is done, stale, failed or not run yet",
        (
            _argument("stage", metavar="STAGE", help="name of the stage"),
            _argument(
                "name", nargs="?", metavar="RECIPE|NAME", help="recipe file or name of a run (default: the only run)"
            ),
            _RUNS,
            *_COMMON,
        ),
    ),
    "logs": (
        "print the logs of a run's stages",
        (
            *_RUN_NAME,
            _argument("--stage", metavar="STAGE", help="only this stage"),
            _argument("--follow", action="store_true", help="keep printing until the run ends"),
        ),
    ),
    "sweep": (
        "compare the variants of a sweep: what varies, the last loss, scores",
        (
            *_RUN_NAME,
            _argument("--best", metavar="MEASURE", help="what marks the best: loss, a task, or task/metric"),
        ),
    ),
    "report": (
        "write an HTML report of a run, or of several side by side",
        (
            _argument(
                "names",
                nargs="+",
                metavar="NAME",
                help="name of a run, or of a sweep; several are compared with the first",
            ),
            _argument("--markdown", action="store_true", help="print Markdown for a pull request instead"),
            _argument("--out", metavar="FILE", help="where to write it (default: in the folder of the run)"),
            _RUNS,
            _JSON_ONLY,
        ),
    ),
    "env": (
        "list, create, verify or remove tool environments",
        (
            _argument("action", choices=("list", "create", "verify", "remove")),
            _argument(
                "names", nargs="*", metavar="NAME", help="such as axolotl-0.19.0; without one, `verify` checks all"
            ),
            _JSON_ONLY,
        ),
    ),
}


class Parser(argparse.ArgumentParser):
    """Argparse, with wrong usage as an exception, so that `--json` can report it too."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong. Raises ArgumentError."""
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {visible(message)}")
        raise argparse.ArgumentError(None, message)
