"""What an emitted file says, value by value: without comments, layout, and what only names a run or where it reports."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from recipec.diagnostics import RecipeError
from recipec.secrets import has_shape, is_named

LONGEST = 160  # characters of a value that is kept as it is; of a longer one, its hash
_SECRET = "secret:"
_SETS = re.compile(r"(?:export )?(?P<key>[A-Za-z_]\w*)=(?P<value>.*)|\s+(?P<flag>--[\w.-]+)[ =]?(?P<rest>.*?)(?: \\)?")
_TELEMETRY = re.compile(
    r"(?:\w+_)?DO_NOT_TRACK|\w+_DISABLE_(?:TELEMETRY|STATISTICS)"
)  # variables by which tools are told
_NAMES = ("name", "model.name")  # of the plan: what a tracker's name of a run consists of, beside the run's own


def sha256(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def reports(reads: tuple[str, ...], stage: str) -> bool:
    """Return whether a value that was made of these plan paths of a stage only says where, and by what name, it reports."""
    own = [path.removeprefix(f"{stage}.") for path in reads]
    tracked = [path.startswith("track.") for path in own]
    return any(tracked) and all(is_so or path in _NAMES for is_so, path in zip(tracked, own, strict=True))


def silences(variable: str) -> bool:
    """Return whether a variable only says that a tool is to send no telemetry."""
    return _TELEMETRY.fullmatch(variable) is not None


def values(
    name: str, text: str, keys: Mapping[str, int], left_out: Callable[[str], bool], place: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """Yield each value of an emitted file by its key: as JSON, or as the line of a program that sets it.

    `keys` are the lines that keys stand on; a key that is `left_out` counts nowhere; `place` says what the folders in a
    text are to the stage. What no key names of a program counts as one value, under the name of the file.
    """
    data = _data(name, text)
    if data is None:
        found = _lines(name, text, keys, left_out, place)
    else:
        found = ((key, json.dumps(value, sort_keys=True, default=str)) for key, value in _flat(data, place, left_out))
    for key, value in found:
        yield f"{name}:{key}" if key else name, kept(key.rpartition(".")[2], value)


def kept(key: str, value: str) -> str:
    """Return what is kept of a value: its hash where it is long, and never a secret."""
    if has_shape(value) or is_named(key, value.strip("\"'")):
        return _SECRET + sha256(value)
    return value if len(value) <= LONGEST else f"sha256:{sha256(value)}"


def is_secret(kept: str) -> bool:
    """Return whether what was kept of a value stands for a secret."""
    return kept.startswith(_SECRET)


def _data(name: str, text: str) -> Any:
    """Return what a file of data says; None for a program, and for what cannot be read."""
    if name.endswith(".json"):
        try:
            return json.loads(text)
        except ValueError:
            return None
    return yaml(name, text) if name.endswith((".yaml", ".yml")) else None


def yaml(name: str, text: str) -> Any:
    """Return what a YAML file says; None where it cannot be read."""
    from recipec.source import Source, plain
    from recipec.yaml_reader import read_text

    try:
        return plain(read_text(Source(name, text)))
    except RecipeError:
        return None


def _flat(
    data: Any, place: Callable[[str], str], left_out: Callable[[str], bool], at: str = ""
) -> Iterator[tuple[str, Any]]:
    if at and left_out(at):
        return
    rows: Any = ()
    if isinstance(data, dict):
        rows = data.items()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    elif isinstance(data, list) and any(isinstance(one, (dict, list)) for one in data):  # pyright: ignore[reportUnknownVariableType]
        rows = enumerate(data)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not rows:
        yield at, _placed(data, place)
    for key, value in rows:
        yield from _flat(value, place, left_out, f"{at}.{key}" if at else str(key))


def _placed(data: Any, place: Callable[[str], str]) -> Any:
    if isinstance(data, list):
        return [_placed(one, place) for one in data]  # pyright: ignore[reportUnknownVariableType]
    return place(data) if isinstance(data, str) else data


def _lines(
    name: str, text: str, keys: Mapping[str, int], left_out: Callable[[str], bool], place: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """Yield what the lines of a program set; the rest, with a mark where each of them stood, comes last."""
    by_line = {line: key for key, line in keys.items()}
    bare = python_lines if name.endswith(".py") else shell_lines
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    for number, line in enumerate(bare(text), 1):
        if not line.strip():
            continue
        key, value = by_line.get(number), line.strip().removesuffix("\\").rstrip(" ,")
        if key is None and not name.endswith(".py") and (sets := _SETS.fullmatch(line)):
            key, value = sets["key"] or sets["flag"], sets["value"] or sets["rest"] or ""
        elif key is not None:
            value = re.sub(r"^[\w.-]+(?:=|\s+)", "", value)  # its own name, or that of its flag
        if key is None:
            rest.append(place(line.strip()))
        elif not left_out(key):
            found.setdefault(key, []).append(place(value))
            rest.append(f"<{key}>")
    yield from ((key, "\n".join(each)) for key, each in found.items())
    yield "", f"sha256:{sha256(chr(10).join(rest))}"


def python_lines(text: str) -> list[str]:
    """Return the lines of a Python program without comments; as they are where it is none."""
    lines = text.splitlines()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column].rstrip()
    except (tokenize.TokenError, SyntaxError):
        return text.splitlines()
    return lines


def shell_lines(text: str) -> list[str]:
    """Return the lines of a shell's script, or of pins, without comments."""
    found: list[str] = []
    quote = ""
    for line in text.splitlines():
        end, escaped = len(line), False
        for index, char in enumerate(line):
            if escaped:
                escaped = False
            elif char == "\\" and quote != "'":
                escaped = True
            elif quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "#" and (index == 0 or line[index - 1].isspace()):
                end = index
                break
        found.append(line[:end].rstrip())
    return found


def code(text: str) -> str:
    """Return a Python program without comments and layout; as it is where it is none."""
    try:
        return ast.dump(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError):
        return text
