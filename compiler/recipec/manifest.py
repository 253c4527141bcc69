"""`plan.json`: the plan with the origin of every value and every emitted line, as records that are written and read.

Its JSON Schema is `docs/plan.schema.json`. Whoever reads `plan.json` reads these records, never the data itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from recipec.kinds import REGISTRY, kind
from recipec.plan import Plan, Record, Stage, fields, leaf
from recipec.terminal import json_text
from recipec.traced import as_record

FORMAT = 2
FILE = "plan.json"


class Text(Record, frozen=True):
    """A text that the recipe was made of, by the name that emitted files use."""

    file: str
    sha256: str


class About(Record, frozen=True):
    """The recipe: its file, what it is merged over (`extends`), and the profiles that were merged over it."""

    name: str
    file: str
    sha256: str
    extends: tuple[Text, ...] = ()
    profiles: tuple[str, ...] = ()


class Environment(Record, frozen=True):
    """The pins of an environment, and what was measured of making it: sizes in GB, time in minutes."""

    file: str
    sha256: str
    download_gb: float | None = None
    disk_gb: float | None = None
    minutes: float | None = None


class Because(Record, frozen=True):
    """Why a value is as it is. `origin` is `recipe`, `command line`, `rule`, `default` or `fact`.

    `at` is the place (`file:line:column`) that says it outright, `reads` are the recipe paths that went into it.
    """

    origin: str
    at: str | None
    why: str
    reads: tuple[str, ...]


class Written(Record, frozen=True):
    """A value of the recipe that has no place in the plan: it goes into files as it is, or is for people."""

    value: Any
    at: str
    why: str


class Line(Record, frozen=True):
    """A key of an emitted file: the line that it stands on, and the plan or recipe paths that it was made of."""

    line: int
    reads: tuple[str, ...]


class Emitted(Record, frozen=True):
    """An emitted file."""

    sha256: str
    lines: dict[str, Line] = {}


class Manifest(Record, frozen=True):
    """Everything that a compile decided and wrote. `because` explains each plan path, `written` each recipe path else."""

    format: int
    recipe: About
    plan: Plan
    environments: dict[str, Environment]
    because: dict[str, Because]
    written: dict[str, Written]
    files: dict[str, Emitted]

    def stage(self, name: str) -> Stage[Any] | None:
        """Return the stage of a name."""
        return next((stage for stage in self.plan.stages if name == stage.name), None)

    def value(self, path: str) -> Any:
        """Return the value at a plan path (`train.batch.micro`). Raises LookupError when there is none."""
        root, _, rest = path.partition(".")
        at = self.plan.hardware if root == "hardware" else getattr(self.stage(root), "body", None)
        try:
            return leaf(at, rest)
        except (AttributeError, KeyError, IndexError, ValueError):
            raise LookupError(path) from None


class Unreadable(Exception):
    """A text is no `plan.json` of this format. `format` is the one that it says, None where it says none."""

    def __init__(self, message: str, format: int | None = None) -> None:
        super().__init__(message)
        self.format = format


class _Head(msgspec.Struct):
    format: int | None = None


def read(text: bytes | str) -> Manifest:
    """Return what `plan.json` says. Raises Unreadable."""
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.format != FORMAT:
            raise Unreadable("the plan has another format", head.format)
        found = msgspec.json.decode(text, type=Manifest)
        stages = tuple(one.replaced(body=msgspec.convert(one.body, kind(one.kind).body)) for one in found.plan.stages)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from None
    except KeyError as error:
        raise Unreadable(f"there is no kind of stage called {error}") from None
    return found.replaced(plan=found.plan.replaced(stages=stages))


_ENCODER = msgspec.json.Encoder(enc_hook=as_record)


def write(manifest: Manifest) -> str:
    """Return the text of `plan.json`: a line for each word of the plan, each story of a value and each line of a file."""
    files = {
        name: _spread(_encoded({"sha256": file.sha256}) | {"lines": _spread(_encoded(file.lines), 3)}, 2)
        if file.lines
        else _encode(file)
        for name, file in manifest.files.items()
    }
    texts = {
        **_encoded({"format": manifest.format, "recipe": manifest.recipe}),
        "plan": _spread(_encoded({name: getattr(manifest.plan, name) for name in fields(manifest.plan)}), 1),
        "environments": _spread(_encoded(manifest.environments), 1),
        "because": _spread(_encoded(manifest.because), 1),
        "written": _spread(_encoded(manifest.written), 1),
        "files": _spread(files, 1),
    }
    return json_text(_spread(texts, 0) + "\n")


def _encode(value: Any) -> str:
    return _ENCODER.encode(value).decode()


def _encoded(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a mapping as JSON, each on one line."""
    return dict(zip(values, _ENCODER.encode_lines(list(values.values())).decode().split("\n"), strict=False))


def _spread(texts: Mapping[str, str], depth: int) -> str:
    """Return a mapping whose values are JSON already as JSON with a line for each of its keys, `depth` mappings deep."""
    if not texts:
        return "{}"
    indent = " " * depth
    keys = _ENCODER.encode_lines(list(texts)).decode().split("\n")
    rows = [f"{indent} {key}: {text}" for key, text in zip(keys, texts.values(), strict=False)]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `plan.json`."""
    bodies = {name: kind(name).body for name in REGISTRY}
    (root, *found), components = msgspec.json.schema_components(
        [Manifest, *bodies.values()], ref_template="#/$defs/{name}"
    )
    stage = next(value for name, value in components.items() if name.startswith("Stage"))
    stage["allOf"] = [
        {"if": {"properties": {"kind": {"const": name}}}, "then": {"properties": {"body": one}}}
        for name, one in zip(bodies, found, strict=True)
    ]
    for one in components.values():
        if "description" in one:  # Python 3.13 dedents docstrings by itself
            one["description"] = inspect.cleandoc(one["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "plan.json of recipec",
        "$defs": components,
        **root,
    }
