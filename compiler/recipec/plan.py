"""The plan: what will happen, fully decided, in the field's words. A graph of stages; frozen; no tool's vocabulary.

`plan.json` is written from these records and read into them again (`recipec.manifest`). `None` means that the thing does
not exist (no adapter, no revision of a local folder), never "the default". Why msgspec: `docs/decisions/004-records.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, Self, TypeVar

import msgspec

from recipec.source import Span, is_mapping

Precision = Literal["bf16", "fp16", "fp32"]
OriginKind = Literal["recipe", "command line", "rule", "default", "fact"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A frozen record. It cannot come to stand in a cycle, so that no garbage collection has to look at it."""

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with other values of some fields. Raises TypeError when there is no such field."""
        return msgspec.structs.replace(self, **changes)


class Origin(Record, frozen=True):
    """Why a plan leaf has its value: what was read of the recipe, and the reason in words.

    `span` is the recipe line that says it outright; `reads` are the recipe paths that went into it. `usual`: it is what
    the compiler would have decided without that line.
    """

    kind: OriginKind
    why: str
    span: Span | None = None
    reads: tuple[str, ...] = ()
    usual: bool = False


class Hardware(Record, frozen=True):
    """The declared machine. `world` = nodes × processes per node; `host_memory_gib` is a node's, None where not given."""

    gpu: str
    device: Literal["gpu", "cpu"]
    memory_gib: int
    sm: int
    bf16: bool
    per_node: int
    nodes: int
    world: int
    host_memory_gib: int | None


class Track(Record, frozen=True):
    """Where metrics go; `None` for a tracker that is not used.

    `group` holds the runs of all stages of one recipe; it is empty in plans of before there were groups.
    """

    run_name: str
    wandb_project: str | None
    wandb_entity: str | None
    mlflow_uri: str | None
    mlflow_experiment: str | None
    trackio_project: str | None
    trackio_space: str | None
    tensorboard: bool
    telemetry: bool
    group: str = ""


# What stages hand on to one another.


class ModelOutput(Record, frozen=True, tag_field="type", tag="model"):
    """A model that is handed on, with everything that whoever takes it must know.

    `path` are weights that can be loaded (a hub name or a folder); with `form` adapter they are its base, and `adapter`
    is the adapter's folder. `template` says what is known of the chat template that its tokenizer carries: `none` (it
    has none), the name of one, `own` (a training laid one over it), or None (not known). `conversations`: it was trained
    on conversations that a template rendered. `max_length` is in tokens; `head` says what it answers with. Quantised weights
    have a `scheme`, the `format` that whoever loads them must know, and perhaps a `group` of weights that share a scale.
    """

    form: Literal["full", "adapter", "quantised"]
    path: str
    revision: str | None
    adapter: str | None
    tokenizer: str
    template: str | None
    conversations: bool
    max_length: int
    precision: Precision
    trust_remote_code: bool
    head: Literal["next token", "score"] = "next token"
    scheme: str | None = None
    format: str | None = None
    group: int | None = None

    @property
    def place(self) -> str:
        """The folder or hub name of what the stage itself made: the adapter, where it is one."""
        return self.adapter if self.adapter is not None else self.path


class ScoresOutput(Record, frozen=True, tag_field="type", tag="scores"):
    """Scores of one model: a folder with the results of each task."""

    place: str
    model: str
    tasks: tuple[str, ...]


class RowsOutput(Record, frozen=True, tag_field="type", tag="rows"):
    """Rows of data that a stage made: a file, and the format of its rows."""

    place: str
    format: str


class FilesOutput(Record, frozen=True, tag_field="type", tag="files"):
    """A folder of files that only a program of the user knows."""

    place: str


class ServiceOutput(Record, frozen=True, tag_field="type", tag="service"):
    """A model that answers on a port while the stage runs."""

    place: str
    model: str


Output = ModelOutput | ScoresOutput | RowsOutput | FilesOutput | ServiceOutput


class Input(Record, frozen=True):
    """What a stage takes: `stage` is the name of the stage that makes it, None where it comes from outside."""

    stage: str | None
    output: Output


class FileRead(Record, frozen=True):
    """A file or folder of the user that shapes a stage.

    `sha256` is that of a file that was there when the recipe was compiled and is not large, else None: a run hashes it
    anyway. `at` is where the recipe names it. `needed`: without it the stage cannot run; else it may be a hub name.
    """

    path: str
    sha256: str | None = None
    at: str | None = None
    needed: bool = True


class Resources(Record, frozen=True):
    """What a stage takes of the machine: processes on each of some nodes, and a GPU for each unless on `cpu`."""

    device: Literal["gpu", "cpu"]
    gpu: str | None
    nodes: int
    per_node: int


B = TypeVar("B", covariant=True)


class Stage(Record, Generic[B], frozen=True):
    """One stage of whatever kind. `name` is its folder, and starts the paths of its values; `body` is its kind's own.

    `system` does it, in `environment`. `after` are the names of the stages that it waits for, `output` is the folder that
    it writes, `resumable` whether it resumes from a checkpoint there.
    """

    name: str
    kind: str
    system: str
    release: str
    environment: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    reads: tuple[FileRead, ...]
    resources: Resources
    output: str
    resumable: bool
    body: B

    @property
    def after(self) -> tuple[str, ...]:
        """The names of the stages that make what it takes, each once."""
        return tuple(dict.fromkeys(one.stage for one in self.inputs if one.stage is not None))


class Plan(Record, frozen=True):
    """A whole run: stages, each behind those that it waits for.

    `variables` are environment variables of every stage, `launcher` turns its jobs into scripts.
    """

    name: str
    description: str | None
    hardware: Hardware
    stages: tuple[Stage[Any], ...]
    variables: dict[str, str]
    launcher: str

    def of_kind(self, kind: str) -> Iterator[Stage[Any]]:
        """Yield the stages of a kind."""
        return (stage for stage in self.stages if stage.kind == kind)

    def maker(self, place: str | None) -> Stage[Any] | None:
        """Return the stage that makes what stands at a place; None where it comes from outside."""
        return _makers(self).get(place)


_LAST: list[tuple[Plan, dict[str | None, Stage[Any]]]] = []


def _makers(plan: Plan) -> dict[str | None, Stage[Any]]:
    """Return the stages of a plan by the places that they make; of the plan that was last asked about, from memory."""
    if _LAST and _LAST[0][0] is plan:
        return _LAST[0][1]
    found: dict[str | None, Stage[Any]] = {}
    for stage in plan.stages:
        for output in stage.outputs:
            found.setdefault(output.place, stage)
    _LAST[:] = [(plan, found)]
    return found


class Resolved(Record, frozen=True):
    """A plan and, beside it, the origin of each leaf by dotted path that starts at a stage's name (`train.batch.micro`)."""

    plan: Plan
    origins: dict[str, Origin]

    def usual(self) -> frozenset[str]:
        """Return the recipe paths that say, wherever they are taken, what would have been decided without them."""
        said: dict[str, bool] = {}
        for origin in self.origins.values():
            if origin.span is not None and len(origin.reads) == 1:
                said[origin.reads[0]] = said.get(origin.reads[0], True) and origin.usual
        return frozenset(path for path, usual in said.items() if usual)


def fields(value: Any) -> tuple[str, ...]:
    """Return the names of a record's fields; none of what is no record."""
    return getattr(value, "__struct_fields__", ())


def leaf(value: Any, path: str) -> Any:
    """Return the value at a dotted path below a record. Raises AttributeError when there is none."""
    for step in path.split("."):
        value = value[int(step)] if step.isdecimal() else value[step] if is_mapping(value) else getattr(value, step)
    return value
