"""What an emitted file means: its values without its layout, its code without remarks."""

import ast
import json
import re
from functools import lru_cache
from typing import Any

from recipec.source import Source, plain
from recipec.yaml_reader import read_text

FOR_PEOPLE = ("plan.json", "PLAN.md")
REMARK = re.compile(r"""('[^']*'|"(?:\\.|[^"\\])*"|\\.)|(?:(?<=\s)|^)#[^\n]*""", re.MULTILINE)


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the names of the files for tools that mean something else, came, or went."""
    names = sorted({*before, *after} - set(FOR_PEOPLE))
    return [name for name in names if not _same(name, before.get(name), after.get(name))]


def _same(name: str, before: str | None, after: str | None) -> bool:
    if before == after or before is None or after is None:
        return before == after
    return bool(meaning(name, before) == meaning(name, after))


@lru_cache(maxsize=1000)
def meaning(name: str, text: str) -> Any:
    """Return what a file says to a tool, to be compared with another's."""
    if name.endswith(".yaml"):
        return repr(plain(read_text(Source(name, text))))
    if name.endswith(".json"):
        return repr(json.loads(text))
    if name.endswith(".py"):
        return ast.dump(ast.parse(text))
    if name.endswith(".sh"):
        return REMARK.sub(lambda found: found[1] or "", text).split()
    return text
