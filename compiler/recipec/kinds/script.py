"""`script`: a program of the user that makes rows, a model or other files, between the stages of a course."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Said, indexed, section
from recipec.kinds.kind import Kind
from recipec.plan import (
    FileRead,
    FilesOutput,
    Hardware,
    Input,
    ModelOutput,
    Output,
    Record,
    Resources,
    RowsOutput,
    Stage,
)
from recipec.references import references, text
from recipec.render.markdown import code

Makes = Literal["rows", "model", "adapter", "files"]


class Script(Record, frozen=True):
    """A program, and what it leaves in `output`: rows in `file`, a model, an adapter, or files that are nobody else's.

    `arguments` are its command line, with what they refer to in the place of the references.
    """

    seed: int
    output: str
    path: str
    launcher: Literal["python", "torchrun"]
    arguments: dict[str, Any]
    makes: Makes
    format: str | None
    file: str | None
    hardware: Hardware


def values(say: Said, graph: Graph) -> dict[str, Any]:
    """Return what arguments may refer to by `${plan:…}`: what the stage starts from, its machine, and the folders of stages before."""
    name, on, start = say.part.name, graph.machine.value, started(say, graph)
    found: dict[str, Any] = {}
    for before, one in graph.stages.items():
        output = one.outputs[0]
        found[f"{before}.output"] = graph.folder(before)
        if isinstance(output, RowsOutput):
            found[f"{before}.rows"] = output.place
    found |= {f"{name}.output": graph.folder(name), f"{name}.seed": say.recipe.seed}
    found |= {f"{name}.hardware.{word}": getattr(on, word) for word in ("device", "per_node", "bf16")}
    if start is not None:
        words = ("path", "revision", "adapter", "tokenizer", "max_length", "precision")
        found |= {f"{name}.model.{word}": getattr(start.model, word) for word in words}
    return found


def started(say: Said, graph: Graph) -> Handed | None:
    """Return the model that the stage says it starts from; without a word of it, it starts from none."""
    return graph.models.get(say.part.start_from) if say.part.start_from is not None else None


def asked(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what arguments refer to in the plan, each with the argument's name."""
    for key, value in arguments.items():
        for reference in references(value):
            if reference.kind == "plan":
                yield key, reference.name


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    found = references(value)
    if not found:
        return value
    parts: list[str] = []
    begin = 0
    for reference in found:
        parts += [value[begin : reference.start], text(known.get(reference.name, ""))]
        begin = reference.end
    return "".join([*parts, value[begin:]])


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make the stage that a user wrote."""
    given = say.part.script
    if given is None:
        return ()
    name, on, start = say.part.name, graph.machine.value, started(say, graph)
    output, known = graph.folder(name), values(say, graph)
    arguments = dict(given.arguments)
    rows = given.makes == "rows"
    body = section(
        Script,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        path=say.word("script.path", given.path),
        launcher=say.word("script.launcher", given.launcher),
        arguments=say.rule(
            {key: _filled(value, known) for key, value in arguments.items()},
            "as given",
            *(indexed("script.arguments", key) for key in arguments),
        ),
        makes=say.word("script.makes", given.makes),
        format=say.word("script.format", given.format),
        file=say.take("script.file", given.file, "rows.jsonl" if rows else None, "a usual name" if rows else "no rows"),
        hardware=graph.machine,
    )
    s = body.value
    left = _left(s, graph, start)
    names = dict.fromkeys(path.partition(".")[0] for _, path in asked(arguments))
    taken = (Input(one, graph.stages[one].outputs[0]) for one in names if one in graph.stages)
    processes = on.per_node if s.launcher == "torchrun" else 1
    reads = {s.path: FileRead(s.path, at=say.span("script.path").label())}
    for index, path in enumerate(given.reads):
        reads.setdefault(path, FileRead(path, at=say.span(f"script.reads[{index}]").label()))
    stage = Stage(
        name=name,
        kind="script",
        system="",
        release="",
        environment="",
        inputs=tuple(dict.fromkeys((*([start.input] if start is not None else []), *taken))),
        outputs=(left,),
        reads=tuple(reads.values()),
        resources=Resources(on.device, on.gpu if on.device == "gpu" else None, 1, processes),
        output=output,
        resumable=False,
        body=s,
    )
    hands = None
    if isinstance(left, ModelOutput):
        parent = start or graph.models["base"]
        root = start.root if start is not None else output
        hands = Handed(name, name, left, parent.origins, start.tokenizer if start is not None else None, root)
    return (Made(stage, body.origins, hands, rows=left if isinstance(left, RowsOutput) else None),)


def _left(s: Script, graph: Graph, start: Handed | None) -> Output:
    """Return what the program leaves: of a model, what it starts from says all that its folder does not."""
    if s.makes == "rows":
        return RowsOutput(f"{s.output}/{s.file}", s.format or "")
    if s.makes == "files" or (s.makes == "adapter" and start is None):  # the latter is an error of its own (P258)
        return FilesOutput(s.output)
    parent = (start or graph.models["base"]).model
    if s.makes == "adapter":
        return parent.replaced(form="adapter", adapter=s.output)
    own = parent.replaced(form="full", path=s.output, revision=None, adapter=None, tokenizer=s.output)
    return own if start is not None else own.replaced(template=None, conversations=False)


def _sentence(stage: Stage[Script]) -> str:
    s = stage.body
    what = {
        "rows": f"rows of format {s.format}, `{s.output}/{s.file}`",
        "model": f"a model in `{s.output}`",
        "adapter": f"an adapter in `{s.output}`",
        "files": f"files in `{s.output}`",
    }
    return f"runs {code(s.path)}, which makes {what[s.makes]}"


ACTS = ("output", "seed", "makes", "format", "file", "hardware")
KIND = Kind("script", Script, "Runs a script.", decide, _sentence, ACTS)
