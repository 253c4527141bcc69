"""The words of the command line: each command with what it does and its arguments, as argparse takes them."""

from typing import Any

FORMATS = ("text", "json", "sarif", "github")
Word = tuple[tuple[str, ...], dict[str, Any]]


def _word(*names: str, **options: Any) -> Word:
    return names, options


_JSON_ONLY = _word("--json", action="store_true", help="print the result as JSON")
_FILE = _word("file", metavar="FILE")
_FILES = _word("files", nargs="+", metavar="FILE", help="recipe files")
_LAID_OVER = (
    _word("--set", action="append", default=[], metavar="a.b=c", dest="settings", help="lay a value over the recipe"),
    _word(
        "--profile",
        action="append",
        default=[],
        metavar="NAME",
        dest="profiles",
        help="lay a profile of the recipe over it",
    ),
    _word(
        "--var",
        action="append",
        default=[],
        metavar="a=c",
        dest="variables",
        help="give a variable of the recipe another value",
    ),
)
_COMMON = (*_LAID_OVER, _JSON_ONLY)
_SEVERAL = (
    _FILES,
    *_LAID_OVER,
    _word("--format", choices=FORMATS, default="text", help="how findings are printed (default: text)"),
    _word("--json", action="store_const", const="json", dest="format", help="the same as --format json"),
)
_PAST = (
    _word("name", metavar="NAME", help="name of the recipe"),
    _word("--runs", default="runs", metavar="DIR", help="folder of the runs (default: runs)"),
    _JSON_ONLY,
)

COMMANDS: dict[str, tuple[str, tuple[Word, ...]]] = {
    "compile": (
        "validate recipes and write the files of their tools",
        (
            *_SEVERAL,
            _word("--out", default="build", metavar="DIR", help="folder of the output (default: build)"),
            _word("--check", action="store_true", help="write nothing; fail with a diff when the output is stale"),
        ),
    ),
    "check": (
        "validate recipes, write nothing",
        (
            *_SEVERAL,
            _word("--fix", action="store_true", help="put right names and values in the place of wrong ones"),
        ),
    ),
    "rules": (
        "list the rules, or explain one",
        (_word("rule", nargs="?", metavar="RULE", help="code or name of a rule, such as L015"), _JSON_ONLY),
    ),
    "run": (
        "compile a recipe and run its stages",
        (
            _FILE,
            _word("--out", default="build", metavar="DIR"),
            _word("--fresh", action="store_true", help="set earlier results aside and start over"),
            *_COMMON,
        ),
    ),
    "data": (
        "show rows as the model will see them: tokens, what is trained, lengths",
        (
            _FILE,
            _word("--stage", metavar="NAME", help="only this training"),
            _word("--rows", type=int, default=3, metavar="N", help="rows shown of each source (default: 3)"),
            _word(
                "--snapshot",
                action="store_true",
                help="write NAME.tokens.json, which later checks compare with",
            ),
            *_COMMON,
        ),
    ),
    "explain": (
        "say which line, rule or fact set a value",
        (_FILE, _word("path", metavar="PATH", help="a recipe or plan path, or an emitted FILE:KEY"), *_COMMON),
    ),
    "show": (
        "say what a recipe is made of, or print it as one flat recipe",
        (
            _FILE,
            _word("--resolved", action="store_true", help="print the flat recipe, with where each value is from"),
            *_COMMON,
        ),
    ),
    "fmt": (
        "put recipe files into the one layout; comments and meaning stay",
        (
            _FILES,
            _word("--check", action="store_true", help="write nothing; fail when a file would change"),
            _word("--diff", action="store_true", help="write nothing; print what would change"),
            _JSON_ONLY,
        ),
    ),
    "set": (
        "change values in a recipe file; comments and layout stay",
        (
            _FILE,
            _word("changes", nargs="*", metavar="a.b=c", help="give a value"),
            _word("--unset", action="append", default=[], metavar="a.b", help="take a value out"),
            _JSON_ONLY,
        ),
    ),
    "adopt": (
        "turn a PyTorch loop for one GPU into one for several, by Accelerate",
        (
            _word("file", metavar="FILE", help="Python file with the training loop"),
            _word("--write", action="store_true", help="change the file; without it the change is only shown"),
            _JSON_ONLY,
        ),
    ),
    "doctor": (
        "judge files of the tools themselves, without a recipe",
        (
            _word("files", nargs="+", metavar="FILE", help="configurations and launch scripts that go together"),
            _word(
                "--as",
                action="append",
                default=[],
                metavar="[FILE=]TOOL[-RELEASE]",
                dest="said",
                help="say what the files are",
            ),
            _JSON_ONLY,
        ),
    ),
    "schema": (
        "print the JSON Schema of recipes",
        (_word("--example", action="store_true", help="print a recipe to start from instead"),),
    ),
    "status": ("say what happened to a run", _PAST),
    "logs": (
        "print the log of a run's stages",
        (
            *_PAST,
            _word("--stage", metavar="STAGE", help="only this stage"),
            _word("--follow", action="store_true", help="go on printing while the run goes on"),
        ),
    ),
    "report": ("write the HTML report of a run", _PAST),
    "env": (
        "list, create, verify or remove the environments of tools",
        (
            _word("action", choices=("list", "create", "verify", "remove")),
            _word("names", nargs="*", metavar="NAME", help="such as axolotl-0.19.0; `verify` takes none for all"),
            _JSON_ONLY,
        ),
    ),
}
