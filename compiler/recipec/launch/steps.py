"""What comes before a job, as lines of bash."""

from __future__ import annotations

from recipec.job import Copy, DropStale, DropTorn, Folder, LinkToStart, Numbered, Step
from recipec.launch.words import quote

_WHOLE = "import json, sys; [json.load(open(file)) for file in sys.argv[1:]]"


def lines(steps: tuple[Step, ...]) -> list[str]:
    """Return the lines of all steps."""
    return [line for step in steps for line in _lines(step)]


def _lines(step: Step) -> list[str]:
    match step:
        case Numbered(variable, file, why):
            held = quote(file)
            return [
                f"# {why}",
                f"mkdir -p -- {quote(file.rpartition('/')[0])}",
                f"[ -s {held} ] || python -c 'import secrets; print(secrets.token_hex(4))' >{held}",
                f"{variable}=$(cat -- {held})",
                f"export {variable}",
            ]
        case Folder(path):
            return [f"mkdir -p {quote(path)}"]
        case Copy(file, folder):
            return [f'cp "$here/{file}" {quote(folder)}/']
        case LinkToStart(path):
            return [f'ln -sfn "$PWD" {quote(path)}']
        case DropStale(folder, files, why):
            held = quote(folder)
            return [
                f"# {why}",
                f"rows=$(cat -- {' '.join(quote(file) for file in files)} | sha256sum)",
                f'[ "$(cat {held}/.rows 2>/dev/null)" = "$rows" ] || rm -rf -- {held}',
                f"mkdir -p -- {held}",
                f"printf '%s\\n' \"$rows\" >{held}/.rows",
            ]
        case DropTorn(folder, files, why):
            last = " ".join(f'"$torn"{quote(file)}' for file in files)
            return [
                f"# {why}",
                f"for torn in {quote(folder)}/*/; do",
                f"  if [ -d \"$torn\" ] && ! python3 -c '{_WHOLE}' \\",
                f"    {last} 2>/dev/null; then",
                '    echo "$torn was not written to its end: it is made anew" >&2',
                '    rm -rf -- "$torn"',
                "  fi",
                "done",
            ]
