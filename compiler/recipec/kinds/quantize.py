"""`quantize`: the weights of a model in fewer bits, by rows that it reads meanwhile. An adapter is merged first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from recipec.decide.graph import Graph, Handed, Made, as_handed
from recipec.decide.said import Decided, Said, plain, section, several
from recipec.facts.models import is_folder
from recipec.facts.schemes import schemes
from recipec.kinds import merge
from recipec.kinds.kind import Kind
from recipec.kinds.train.data import Talk, sources
from recipec.kinds.train.records import DataSource
from recipec.language.quantize import Quantize as Words
from recipec.plan import FileRead, Hardware, ModelOutput, Precision, Record, Resources, Stage
from recipec.plural import counted
from recipec.render.markdown import code
from recipec.systems.registry import system

ROWS, LENGTH, GROUP, DAMPING, SMOOTHING, MEASURED = 512, 2048, 128, 0.01, 0.8, 64
UNPAIRED = "unpaired-preference"  # half of its answers are those that a model shall not give
HEAD = ("lm_head", r"re:.*\.(gate|router)$")  # what gives the next token, and what routes to experts


class Quantize(Record, frozen=True):
    """A model's weights in fewer bits. `path` are its full weights, which are read in `precision`.

    `method`: gptq and awq choose weights by the rows, round by nothing. `group_size` are the weights of a row that share a
    scale, None where the scheme fixes them. What a method or scheme does not have is None: `symmetric`, `act_order`, `damping`,
    `smoothing`. `rows` of the `sources` are read, `max_length` tokens of each; others, at most `measure`, give the perplexity
    before and after.
    """

    seed: int
    output: str
    path: str
    revision: str | None
    tokenizer: str
    precision: Precision
    trust_remote_code: bool
    tool: str
    scheme: str
    method: Literal["gptq", "awq", "round"]
    group_size: int | Literal["channel"] | None
    symmetric: bool | None
    act_order: Literal["static", "group", "none"] | None
    damping: float | None
    smoothing: float | None
    ignore: tuple[str, ...]
    sources: tuple[DataSource, ...]
    rows: int
    max_length: int
    measure: int
    hardware: Hardware


def reads(scheme: str, method: str) -> bool:
    """Return whether a model must read rows while it is quantised."""
    return method != "round" or schemes()[scheme].reads


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make the stage that a user wrote, behind a merge where it starts from an adapter."""
    given = say.part.quantize
    parent = graph.models.get(say.part.start_from or graph.previous)
    if given is None or parent is None:
        return ()
    before: tuple[Made, ...] = ()
    learnt = parent.stage
    if parent.model.adapter is not None:
        before, parent = merge.before(say, graph, parent, "start_from")
    return (*before, _made(say, graph, given, parent, learnt))


def _made(say: Said, graph: Graph, given: Words, parent: Handed, learnt: str | None) -> Made:
    name, model, on = say.part.name, parent.model, graph.machine.value
    scheme, output = schemes()[given.scheme], graph.folder(name)
    named, own = "model.base" if parent.stage is None else "start_from", f"as {parent.name} has it"
    usual = "gptq" if scheme.number == "whole" else "round"
    method = say.take("quantize.method", given.method, usual, f"usual for {given.scheme}", "quantize.scheme")
    rows = _rows(say, graph, given, parent, learnt)
    few = "so many tell it well enough" if rows.value else "there are no rows"
    length = min(LENGTH, model.max_length)
    body = section(
        Quantize,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        path=say.rule(model.path, f"that of {parent.name}", named),
        revision=say.rule(model.revision, "", "model.revision"),
        tokenizer=say.rule(model.tokenizer, "that of the model", "model.tokenizer", named),
        precision=as_handed(say, parent, "precision", model.precision, own),
        trust_remote_code=as_handed(say, parent, "trust_remote_code", model.trust_remote_code, own),
        tool=say.word("quantize.tool", given.tool),
        scheme=say.word("quantize.scheme", given.scheme),
        method=method,
        **dict(_choices(say, given, method.value)),
        ignore=_ignored(say, given),
        sources=rows,
        rows=_count(say, given, method.value),
        max_length=say.take(
            "quantize.calibration.max_length",
            given.calibration.max_length,
            length,
            "enough for most rows",
            *parent.origins["max_length"].reads,
        ),
        measure=say.take("quantize.measure", given.measure, MEASURED if rows.value else 0, few),
        hardware=graph.machine,
    )
    left = model.replaced(
        form="quantised",
        path=output,
        revision=None,
        tokenizer=output,
        scheme=given.scheme,
        format=system(given.tool).writes,
        group=body.value.group_size if isinstance(body.value.group_size, int) else scheme.block,
    )
    stage = Stage(
        name=name,
        kind="quantize",
        system=given.tool,
        release="",
        environment="",
        inputs=(parent.input, *graph.taken_rows(source.path for source in rows.value)),
        outputs=(left,),
        reads=_reads(say, body.value, parent, graph),
        resources=Resources(on.device, on.gpu if on.device == "gpu" else None, 1, 1),
        output=output,
        resumable=False,
        body=body.value,
    )
    origins = {leaf: body.origins[leaf] for leaf in ("max_length", "precision", "trust_remote_code")}
    origins["max_length"] = parent.origins["max_length"]
    return Made(stage, body.origins, Handed(name, name, left, origins, parent.tokenizer, parent.root))


def _choices(say: Said, given: Words, method: str) -> Iterator[tuple[str, Decided[Any]]]:
    """Yield what only some schemes and methods have: None where it means nothing, unless somebody wrote it."""
    scheme = schemes()[given.scheme]
    gptq, groups = method == "gptq", scheme.groups
    many: int | Literal["channel"] = GROUP if scheme.weights == 4 else "channel"
    yield (
        "group_size",
        say.take("quantize.group_size", given.group_size, many if groups else None, "usual", "quantize.scheme"),
    )
    yield (
        "symmetric",
        say.take(
            "quantize.symmetric", given.symmetric, method != "awq" if groups else None, f"as {method} is published",
            "quantize.method",
        ),
    )  # fmt: skip
    yield (
        "act_order",
        say.take(
            "quantize.act_order", given.act_order, "static" if gptq else None, "costs no speed", "quantize.method"
        ),
    )
    yield (
        "damping",
        say.take("quantize.damping", given.damping, DAMPING if gptq else None, "usual", "quantize.method"),
    )
    smooths = scheme.number == "whole" and scheme.activations == 8
    yield (
        "smoothing",
        say.take("quantize.smoothing", given.smoothing, SMOOTHING if smooths else None, "usual", "quantize.scheme"),
    )


def _ignored(say: Said, given: Words) -> Decided[tuple[str, ...]]:
    names = tuple(given.ignore) if given.ignore is not None else None
    return say.take("quantize.ignore", names, HEAD, "the output layer, and what routes to experts")


def _count(say: Said, given: Words, method: str) -> Decided[int]:
    """Decide how many rows are read: none where nothing is learnt from them."""
    needed = reads(given.scheme, method) or _smooths(given)
    because = ("quantize.scheme", "quantize.method")
    if not needed:
        none = say.rule(0, f"{given.scheme} by rounding needs none", *because)
        return say.word("quantize.calibration.rows", given.calibration.rows) if given.calibration.rows else none
    return say.take("quantize.calibration.rows", given.calibration.rows, ROWS, "usual", *because)


def _smooths(given: Words) -> bool:
    scheme = schemes()[given.scheme]
    return scheme.number == "whole" and scheme.activations == 8 and given.smoothing != 0


def _rows(say: Said, graph: Graph, given: Words, parent: Handed, learnt: str | None) -> Decided[tuple[DataSource, ...]]:
    """Decide what is read: the sources that are written, else what the model was trained on last, by or before `learnt`."""
    if given.calibration.data is not None:
        known = parent.tokenizer
        talks = parent.model.conversations or (known is not None and known.instruct)
        talk = Talk(talks, ("start_from",))
        return several(sources(say, "quantize.calibration.data", given.calibration.data, talk, graph))
    name = learnt
    while name is not None and (stage := graph.stages.get(name)) is not None:
        if stage.kind == "train" and stage.body.script is None:
            rows = tuple(one for one in stage.body.data.train if one.format != UNPAIRED)
            if rows:
                return say.rule(rows, f"what {name} was trained on", "start_from")
        name = next((one.stage for one in stage.inputs if isinstance(one.output, ModelOutput)), None)
    return plain(())


def _reads(say: Said, s: Quantize, parent: Handed, graph: Graph) -> tuple[FileRead, ...]:
    """Return every file and folder of the user that shapes the weights."""
    found: dict[str, FileRead] = {}
    for index, source in enumerate(s.sources):
        if source.path is not None and graph.made_rows(source.path) is None:
            word = f"quantize.calibration.data[{index}].path"
            at = say.span(word).label() if say.wrote(word) else None
            found.setdefault(source.path, FileRead(source.path, at=at))
    if parent.stage is None:
        for path in dict.fromkeys((s.path, s.tokenizer)):
            found.setdefault(path, FileRead(path, needed=is_folder(path)))
    return tuple(found.values())


def _sentence(stage: Stage[Quantize]) -> str:
    s = stage.body
    how = {"round": "rounded to the nearest"}.get(s.method, f"by {s.method.upper()}")
    if s.group_size is not None:
        how += ", a scale per channel" if s.group_size == "channel" else f", groups of {s.group_size}"
    read = f", reading {counted(s.rows, 'row')} of at most {s.max_length:,} tokens" if s.rows else ""
    return f"quantises {code(s.path)} to {s.scheme} {how}, with {s.tool}{read}; {', '.join(map(code, s.ignore))} stay as they are"


# of the machine, nothing takes several nodes
ACTS = ("output", "hardware.gpu", "hardware.per_node", "hardware.host_memory_gib")
KIND = Kind("quantize", Quantize, "Quantises the model.", decide, _sentence, ACTS)
