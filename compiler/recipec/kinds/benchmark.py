"""`benchmark`: how fast a server answers, started with each of some settings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Decided, Said, indexed, plain, section, several
from recipec.facts.models import known_model
from recipec.kinds import fit
from recipec.kinds.kind import Kind
from recipec.kinds.serve import Serve, Served, behind, gpus, served
from recipec.language.benchmark import Benchmark as Words
from recipec.language.benchmark import Grid, Objective, Workload
from recipec.plan import FilesOutput, Input, ModelOutput, Record, ServiceOutput, Stage
from recipec.plural import counted
from recipec.render.markdown import code, inert
from recipec.systems.registry import doing, system

AS_SERVED = "as-served"
VARIED = tuple(Grid.model_fields)  # words of `serve` that a benchmark varies
USUAL = (1, 8, 32)  # requests at once
EACH, LEAST, MINUTE, FEW = (
    10,
    100,
    60,
    8,
)  # requests of a measurement: of each at once, at least, in seconds of a rate; and before it
FILE, CHOSEN = "benchmark.json", "best.yaml"

Value = int | float | bool | str


class Point(Record, frozen=True):
    """Settings that the server is started with: words of `serve` in the place of its own. `gpus` are those that it takes."""

    name: str
    settings: dict[str, Value]
    gpus: int


class Left(Record, frozen=True):
    """Settings that are left out, because the server would not start with them, or not take the requests."""

    name: str
    why: str


class Load(Record, frozen=True):
    """One measurement: requests of one kind, `concurrency` at once or `rate` a second, the other is None.

    `input` and `output` are tokens of each prompt and answer, `shared_prefix` those before them that all prompts share.
    `warmup` requests come before the `requests` that count.
    """

    name: str
    workload: str
    input: int
    output: int
    shared_prefix: int
    concurrency: int | None
    rate: float | None
    requests: int
    warmup: int
    seed: int


class Slo(Record, frozen=True):
    """What `percentile` of the requests must not wait longer than, in milliseconds; None: however long."""

    first_token_ms: float | None
    between_tokens_ms: float | None
    percentile: int


class Benchmark(Record, frozen=True):
    """Measures a server: started with each of the points, by each of the loads.

    `path` and `revision` are those of the model. `max_length` is the longest request that the server takes as it is, prompt and
    answer together, in tokens; None where it has no bound.
    """

    output: str
    tool: str
    server: Served
    path: str
    revision: str | None
    trust_remote_code: bool
    max_length: int | None
    points: tuple[Point, ...]
    left_out: tuple[Left, ...]
    loads: tuple[Load, ...]
    slo: Slo | None


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make the stage that a user wrote, behind a server for a model that has none."""
    given = say.part.benchmark
    if given is None:
        return ()
    name = say.part.start_from
    if name is None:
        at = graph.listed.index(say.part.name)
        before = graph.listed[at - 1] if at else ""
        name = before if before in graph.services else graph.previous
    if name in graph.services:
        return (_made(say, graph, given, graph.services[name]),)
    if name not in graph.models:
        return ()
    made, stage = behind(say, graph, graph.models[name], "start_from")
    return (*made, _made(say, graph, given, stage))


def _made(say: Said, graph: Graph, given: Words, serving: Stage[Serve]) -> Made:
    name, s = say.part.name, serving.body
    output, own = graph.folder(name), f"that of {serving.name}"
    points, left_out = _points(say, graph, given, serving)
    bound = s.max_length if system(s.tool).joint_length else None
    body = section(
        Benchmark,
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        tool=say.take("benchmark.tool", given.tool, _tool(s), f"what asks {s.tool}", "start_from"),
        server=say.rule(served(serving), own, "start_from"),
        path=say.rule(s.path, own, "start_from"),
        revision=say.rule(s.revision, own, "start_from"),
        trust_remote_code=say.rule(s.trust_remote_code, own, "start_from"),
        max_length=say.rule(bound, own, "start_from"),
        points=points,
        left_out=left_out,
        loads=several(_loads(say, given)),
        slo=_slo(say, given.slo),
    )
    b = body.value
    stage = Stage(
        name=name,
        kind="benchmark",
        system=b.tool,
        release="",
        environment="",
        inputs=(Input(serving.name, _service(serving)), *_weights(serving)),
        outputs=(FilesOutput(output),),
        reads=serving.reads,
        resources=serving.resources.replaced(per_node=max(one.gpus for one in b.points)),
        output=output,
        resumable=False,
        body=b,
    )
    return Made(stage, body.origins)


def _tool(s: Serve) -> str:
    """Return what asks a server unless somebody says otherwise: the first that knows how to."""
    return next(one for one in doing("benchmark") if system(one).lays_over or not system(s.tool).full_answers)


def _weights(serving: Stage[Serve]) -> tuple[Input, ...]:
    """Return the models that a server serves: who starts it serves them too."""
    return tuple(one for one in serving.inputs if isinstance(one.output, ModelOutput))


def _service(serving: Stage[Serve]) -> ServiceOutput:
    return next(one for one in serving.outputs if isinstance(one, ServiceOutput))


def _points(
    say: Said, graph: Graph, given: Words, serving: Stage[Serve]
) -> tuple[Decided[tuple[Point, ...]], Decided[tuple[Left, ...]]]:
    """Return the settings that are measured, the server's own first, and those that are left out."""
    body = serving.body
    root = next(
        (one.root for one in _handed(graph) if one.model in [each.output for each in serving.inputs]), body.path
    )
    known = known_model(root, folders=False)
    kept, out = [Point(AS_SERVED, {}, _gpus(body))], list[Left]()
    seen = [_own(body)]
    words = list(_words(given))
    for settings in _settings(given):
        would = body.replaced(**settings)
        if _own(would) in seen:
            continue
        seen.append(_own(would))
        name = ",".join(f"{word}={_said(value)}" for word, value in settings.items())
        bound = would.max_length if system(body.tool).joint_length else None
        why = fit.why_not(known, would) or too_long(bound, max(given.workloads, key=tokens))
        if why:
            out.append(Left(name, why))
        else:
            kept.append(Point(name, settings, _gpus(would)))
    return say.rule(tuple(kept), "", "start_from", *words), say.rule(tuple(out), "", "start_from", *words)


def _handed(graph: Graph) -> Iterator[Handed]:
    yield from graph.models.values()
    yield from graph.merged.values()


def _words(given: Words) -> Iterator[str]:
    """Yield the recipe paths of all settings."""
    if given.grid is not None:
        for word in VARIED:
            for index in range(len(getattr(given.grid, word) or ())):
                yield indexed(f"benchmark.grid.{word}", index)
    for index, one in enumerate(given.points or ()):
        for word in VARIED:
            if getattr(one, word) is not None:
                yield f"{indexed('benchmark.points', index)}.{word}"


def _settings(given: Words) -> Iterator[dict[str, Value]]:
    """Yield every combination of the grid, the last word changing first, and then each point as it is written."""
    if given.grid is not None:
        varied = {word: found for word in VARIED if (found := getattr(given.grid, word)) is not None}
        if varied:
            yield from (dict(zip(varied, values, strict=True)) for values in product(*varied.values()))
    for one in given.points or ():
        yield {word: value for word in VARIED if (value := getattr(one, word)) is not None}


def _own(s: Serve) -> tuple[Any, ...]:
    return tuple(getattr(s, word) for word in VARIED)


def _gpus(s: Serve) -> int:
    return 1 if s.hardware.device == "cpu" else gpus(s)


def _said(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def tokens(one: Workload | Load) -> int:
    """Return the tokens of a request and its answer together."""
    return (one.shared_prefix or 0) + one.input + one.output


def too_long(bound: int | None, one: Workload) -> str:
    """Return that the requests of a workload are longer than a server takes; an empty text where they are not."""
    if bound is None or tokens(one) <= bound:
        return ""
    return f"a request of {one.name} has {tokens(one):,} tokens with its answer, and {bound:,} are served"


def _loads(say: Said, given: Words) -> Iterator[Decided[Load]]:
    """Yield the measurements: of each workload those at once, and then those a second."""
    seed = say.recipe.seed
    for index, one in enumerate(given.workloads):
        here = indexed("benchmark.workloads", index)
        at_once = one.concurrency if one.concurrency is not None else [*USUAL] if one.rate is None else []
        for place, many in enumerate(at_once):
            path = indexed(f"{here}.concurrency", place)
            yield _load(say, given, one, here, path, f"{one.name}-{many}", many, None, seed)
            seed = (seed + 1) % 2**32  # else a server that keeps prompts would answer the next from its cache
        for place, rate in enumerate(one.rate or ()):
            path = indexed(f"{here}.rate", place)
            yield _load(say, given, one, here, path, f"{one.name}-{rate:g}-a-second", None, rate, seed)
            seed = (seed + 1) % 2**32


def _load(
    say: Said,
    given: Words,
    one: Workload,
    here: str,
    path: str,
    name: str,
    many: int | None,
    rate: float | None,
    seed: int,
) -> Decided[Load]:
    requests = max(LEAST, EACH * many if many is not None else round(MINUTE * (rate or 0)))
    return section(
        Load,
        name=say.rule(name, "", f"{here}.name", path),
        workload=say.word(f"{here}.name", one.name),
        input=say.word(f"{here}.input", one.input),
        output=say.word(f"{here}.output", one.output),
        shared_prefix=plain(0) if one.shared_prefix is None else say.word(f"{here}.shared_prefix", one.shared_prefix),
        concurrency=plain(None) if many is None else say.take(path, many, many, "usual"),
        rate=plain(None) if rate is None else say.word(path, rate),
        requests=say.take("benchmark.requests", given.requests, requests, "so many tell it", path),
        warmup=say.take(
            "benchmark.warmup", given.warmup, many or FEW, "what is compiled at first does not count", path
        ),
        seed=say.rule(seed, "", "seed"),
    )


def _slo(say: Said, given: Objective | None) -> Decided[Slo | None]:
    if given is None:
        return plain(None)
    return section(
        Slo,
        first_token_ms=say.word("benchmark.slo.first_token_ms", given.first_token_ms),
        between_tokens_ms=say.word("benchmark.slo.between_tokens_ms", given.between_tokens_ms),
        percentile=say.word("benchmark.slo.percentile", given.percentile),
    )


def _sentence(stage: Stage[Benchmark]) -> str:
    s = stage.body
    asked = sum(one.requests + one.warmup for one in s.loads) * len(s.points)
    written = sum((one.requests + one.warmup) * one.output for one in s.loads) * len(s.points)
    out = f" ({counted(len(s.left_out), 'other')} left out)" if s.left_out else ""
    held = ""
    if s.slo is not None:
        said = [
            f"{what} within {value:g} ms{' each' if what != 'their first token' else ''}"
            for what, value in (("their first token", s.slo.first_token_ms), ("the next ones", s.slo.between_tokens_ms))
            if value is not None
        ]
        held = f", chosen among those that give {s.slo.percentile} % of requests {' and '.join(said)}" if said else ""
    return (
        f"measures the server of {inert(s.server.stage)} by {stage.system} {stage.release}, started with"
        f" {counted(len(s.points), 'setting')}{out}: {counted(len(s.loads), 'load')} each, {asked:,} requests and"
        f" {written:,} written tokens in all{held}; {code(CHOSEN)} is what is best"
    )


def _section(stage: Stage[Benchmark], _plan: object) -> list[str]:
    """Return what PLAN.md says of the settings that are left out."""
    s = stage.body
    if not s.left_out:
        return []
    rows = [f"- {code(one.name)}: {inert(one.why)}" for one in s.left_out]
    return [f"## Settings that {stage.name} leaves out", "", *rows]


ACTS = ("output", "left_out", "max_length", "path")
KIND = Kind("benchmark", Benchmark, "Measures how fast the server answers.", decide, _sentence, ACTS, section=_section)
