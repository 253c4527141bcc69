"""`serve`: a server for a model of the course, and the check that it answers."""

from __future__ import annotations

from typing import Literal

from recipec.decide.graph import Graph, Handed, Made, as_handed
from recipec.decide.said import Decided, Said, indexed, plain, section, several
from recipec.facts.models import KnownModel, fitting, is_folder, known_model
from recipec.facts.tokens import template
from recipec.kinds import merge
from recipec.kinds.kind import Kind
from recipec.language.serve import Serve as Words
from recipec.plan import FileRead, Hardware, Precision, Record, Resources, ServiceOutput, Stage
from recipec.plural import counted
from recipec.render.markdown import code, inert
from recipec.systems.registry import doing, system

SHARE = 0.9
ANSWER = 64  # tokens of the answer to the check
FILE = "service.json"
NAME = "serve"  # what the names of stages begin with that nobody wrote


class Adapter(Record, frozen=True):
    """An adapter that is served by its name, over the base of all."""

    name: str
    path: str
    rank: int | None


class Speculative(Record, frozen=True):
    """What proposes tokens, and how many at a time."""

    method: Literal["ngram", "draft_model", "eagle3", "mtp"]
    model: str | None
    tokens: int


class Serve(Record, frozen=True):
    """A server for one model, at `path`; `adapters` are served beside it, by their names.

    `max_length` is in tokens, prompt and answer together; None of `max_requests` and `max_batched_tokens` is what the tool
    takes by itself. `group` are the weights that share a scale, where they are in groups.
    `ends` are the tokens that end an answer, as far as they are known. `replaces` is the name of the adapter that is the model meant, where the weights are only its base.
    """

    seed: int
    output: str
    tool: str
    name: str
    replaces: str | None
    path: str
    revision: str | None
    tokenizer: str
    precision: Precision
    trust_remote_code: bool
    format: str | None
    scheme: str | None
    group: int | None
    adapters: tuple[Adapter, ...]
    host: str
    port: int
    key_variable: str | None
    max_length: int
    max_requests: int | None
    max_batched_tokens: int | None
    gpu_memory_share: float
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    expert_parallel: bool
    prefix_caching: bool
    kv_cache: Literal["auto", "fp8"]
    tool_parser: str | None
    reasoning_parser: str | None
    structured_outputs: str
    speculative: Speculative | None
    ask: str
    chat: bool
    ends: tuple[str, ...]
    hardware: Hardware


class Served(Record, frozen=True):
    """A server that another stage starts for itself: of which stage, by which tool, and what requests ask for.

    `port`, `tokenizer`, `chat`, `max_length` (in tokens) and `max_requests` are those of its body. `likelihoods`: it tells how likely the
    tokens of a prompt are.
    """

    stage: str
    tool: str
    model: str
    port: int
    key_variable: str | None
    tokenizer: str
    chat: bool
    max_length: int
    max_requests: int | None
    likelihoods: bool


def served(stage: Stage[Serve]) -> Served:
    """Return how the model of a stage is asked."""
    s = stage.body
    return Served(
        stage=stage.name,
        tool=s.tool,
        model=_asked(s),
        port=s.port,
        key_variable=s.key_variable,
        tokenizer=s.tokenizer,
        chat=s.chat,
        max_length=s.max_length,
        max_requests=s.max_requests,
        likelihoods=system(s.tool).gives_likelihoods,
    )


def _asked(s: Serve) -> str:
    """Return what requests name for the model meant: its name or that of its adapter, else its folder or hub name."""
    if system(s.tool).knows_names:
        return s.name
    return s.path if s.revision in (None, "main") else f"{s.path}@{s.revision}"


def behind(say: Said, graph: Graph, handed: Handed, word: str, room: int = 0) -> tuple[tuple[Made, ...], Stage[Serve]]:
    """Return the stage that serves a model, for one that asks it, and what makes it where none does yet.

    `word` is what of the recipe wants it, `room` how many tokens its longest conversation may have, if that is known.
    """
    merged = graph.merged.get(handed.name)
    inputs = [one.input for one in (handed, merged) if one is not None]
    known = next((one for one in graph.services.values() if one.inputs[0] in inputs), None)
    if known is not None:
        return (), known
    given = say.recipe.evaluate.server if say.recipe.evaluate is not None else None
    tool = say.take("evaluate.server", given, _able(graph)[0], "what serves there", word, "hardware.gpu")
    before, parent = _loadable(say, graph, handed, tool.value, word)
    made = _made(say, graph, Words(), parent, tool, f"{NAME}-{handed.name.replace('@', '-')}", room)
    return (*before, made), made.stage


def _able(graph: Graph) -> list[str]:
    """Return what can serve on the machine, the usual first."""
    return [one for one in doing("serve") if graph.machine.value.device == "gpu" or not system(one).needs_gpu]


def _loadable(say: Said, graph: Graph, handed: Handed, tool: str, word: str) -> tuple[tuple[Made, ...], Handed]:
    """Return a model as a tool can serve it: an adapter as it is, or merged, and what merges it."""
    if handed.model.adapter is None or system(tool).serves_adapters:
        return (), handed
    return merge.before(say, graph, handed, word)


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make the stage that a user wrote, behind a merge where its server takes no adapter."""
    given = say.part.serve
    parent = graph.models.get(say.part.start_from or graph.previous)
    if given is None or parent is None:
        return ()
    tool = say.take("serve.tool", given.tool, _able(graph)[0], "what serves there", "hardware.gpu")
    before, parent = _loadable(say, graph, parent, tool.value, "start_from")
    return (*before, _made(say, graph, given, parent, tool, say.part.name))


def _length(say: Said, given: Words, parent: Handed, own: str, room: int) -> Decided[int]:
    """Return the length that is served: that of the model, or `room` where that is more and the model was made for it."""
    trained, known = parent.model.max_length, known_model(parent.root, folders=False)
    if known is not None and known.context is not None and trained < min(room, known.context):
        why = f"two turns of the longest answers, more than the {trained:,} of {parent.name}"
        return say.rule(min(room, known.context), why, "evaluate.judge", "model.base")
    return say.take("serve.max_length", given.max_length, trained, own, *parent.origins["max_length"].reads)


def _made(say: Said, graph: Graph, given: Words, parent: Handed, tool: Decided[str], name: str, room: int = 0) -> Made:
    model, on = parent.model, graph.machine.value
    output, named = graph.folder(name), "model.base" if parent.stage is None else "start_from"
    own = f"as {parent.name} has it"
    beside = [graph.models[one] for one in given.adapters if one in graph.models]
    served = _adapters(say, graph, given, parent)
    split = _split(say, given, parent, on)
    usual = parent.name if model.adapter is not None and given.name is None else say.recipe.name
    body = section(
        Serve,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        tool=tool,
        name=say.take("serve.name", given.name, usual, "requests ask for it by this name"),
        replaces=plain(parent.name if model.adapter is not None else None),
        path=say.rule(model.path, f"that of {parent.name}", named),
        revision=say.rule(model.revision, "", "model.revision"),
        tokenizer=say.rule(model.tokenizer, "that of the model", "model.tokenizer", named),
        precision=as_handed(say, parent, "precision", model.precision, own),
        trust_remote_code=as_handed(say, parent, "trust_remote_code", model.trust_remote_code, own),
        format=say.rule(model.format, f"that of {parent.name}", named),
        scheme=say.rule(model.scheme, f"that of {parent.name}", named),
        group=say.rule(model.group, f"that of {parent.name}", named),
        adapters=served,
        host=say.word("serve.host", given.host),
        port=say.word("serve.port", given.port),
        key_variable=say.word("serve.key_variable", given.key_variable),
        max_length=_length(say, given, parent, own, room),
        max_requests=say.word("serve.max_requests", given.max_requests),
        max_batched_tokens=say.word("serve.max_batched_tokens", given.max_batched_tokens),
        gpu_memory_share=say.take(
            "serve.gpu_memory_share", given.gpu_memory_share, SHARE, "the rest is for CUDA itself"
        ),
        tensor_parallel=split,
        pipeline_parallel=say.word("serve.pipeline_parallel", given.pipeline_parallel),
        data_parallel=say.word("serve.data_parallel", given.data_parallel),
        expert_parallel=say.word("serve.expert_parallel", given.expert_parallel),
        prefix_caching=say.word("serve.prefix_caching", given.prefix_caching),
        kv_cache=say.word("serve.kv_cache", given.kv_cache),
        tool_parser=say.word("serve.tool_parser", given.tool_parser),
        reasoning_parser=say.word("serve.reasoning_parser", given.reasoning_parser),
        structured_outputs=say.word("serve.structured_outputs", given.structured_outputs),
        speculative=_speculative(say, given),
        ask=say.word("serve.ask", given.ask),
        chat=say.rule(_talks(parent), "the tokenizer has a chat template", named),
        ends=say.rule(_ends(parent), "what ends a turn of its template", named),
        hardware=graph.machine,
    )
    s = body.value
    stage = Stage(
        name=name,
        kind="serve",
        system=tool.value,
        release="",
        environment="",
        inputs=tuple(dict.fromkeys((parent.input, *(one.input for one in beside)))),
        outputs=(ServiceOutput(f"{output}/{FILE}", _asked(s)),),
        reads=_reads(s, parent),
        resources=_resources(s),
        output=output,
        resumable=False,
        body=s,
    )
    return Made(stage, body.origins)


def _talks(parent: Handed) -> bool:
    known = parent.tokenizer
    return parent.model.template not in (None, "none") or (known is not None and known.template not in (None, "none"))


def _ends(parent: Handed) -> tuple[str, ...]:
    """Return the tokens that end an answer: of the template, where it is known, and the tokenizer's own."""
    known, name = parent.tokenizer, parent.model.template
    laid = template(name) if name is not None else None
    found = (laid.end if laid is not None else None, known.eos if known is not None else None)
    return tuple(dict.fromkeys(one for one in found if one))


def gpus(s: Serve) -> int:
    """Return how many GPUs a server takes: those of each copy, by the copies."""
    return s.tensor_parallel * s.pipeline_parallel * s.data_parallel


def _resources(s: Serve) -> Resources:
    on = s.hardware
    return Resources("cpu", None, 1, 1) if on.device == "cpu" else Resources("gpu", on.gpu, 1, gpus(s))


def _adapters(say: Said, graph: Graph, given: Words, parent: Handed) -> Decided[tuple[Adapter, ...]]:
    """Name the adapters that are served: the one that is started from, and those that are named beside it."""
    found: list[Decided[Adapter]] = []
    if parent.model.adapter is not None:
        first = Adapter(parent.name, parent.model.adapter, _rank(graph, parent.stage))
        found.append(say.rule(first, f"what {parent.name} leaves", "start_from"))
    for index, name in enumerate(given.adapters):
        one = graph.models.get(name)
        if one is not None and one.model.adapter is not None:
            made = Adapter(name, one.model.adapter, _rank(graph, one.stage))
            found.append(say.rule(made, "", indexed("serve.adapters", index)))
    return several(found) if found else plain(())


def _rank(graph: Graph, name: str | None) -> int | None:
    """Return the rank of what a stage left as an adapter: its own, or the sum of those that it stacks; None: not known."""
    stage = graph.stages.get(name) if name is not None else None
    if stage is None:
        return None
    if stage.kind == "train":
        adapter = stage.body.adapter
        return adapter.rank if adapter is not None else None
    ranks = [_rank(graph, one.stage) for one in stage.inputs]
    known = [one for one in ranks if one is not None]
    return sum(known) if known and len(known) == len(ranks) else None


def _split(say: Said, given: Words, parent: Handed, on: Hardware) -> Decided[int]:
    """Decide over how many GPUs each layer is split: as many as are left, and as the heads allow."""
    if on.device == "cpu" or on.per_node == 1:
        return say.take("serve.tensor_parallel", given.tensor_parallel, 1, "one GPU", "hardware.per_node")
    left = max(1, on.per_node // (given.pipeline_parallel * given.data_parallel))
    parts = shared(known_model(parent.root, folders=False), left, parent.model.group)
    words = ("hardware.per_node", "serve.pipeline_parallel", "serve.data_parallel")
    return say.take("serve.tensor_parallel", given.tensor_parallel, parts, "as many as the heads allow", *words)


def uneven(known: KnownModel | None, parts: int, group: int | None) -> str:
    """Return which layer's inputs are no whole groups of weights on each of some GPUs; nothing where all are, or it is not known."""
    if known is None or group is None or parts == 1:
        return ""
    heads = known.heads * known.head_size if known.heads and known.head_size else None
    widths = (("the width of the heads", heads), ("the width of the feed-forward layer", known.ffn_size))
    return next(
        (f"{name}, {width:,}," for name, width in widths if width and (width % parts or width // parts % group)), ""
    )


def shared(known: KnownModel | None, most: int, group: int | None) -> int:
    """Return over how many GPUs, up to `most`, each layer is split: as its heads and its groups of weights allow."""
    able = fitting(known, most, copies=True)
    return next(one for one in range(able, 0, -1) if able % one == 0 and not uneven(known, one, group))


def _speculative(say: Said, given: Words) -> Decided[Speculative | None]:
    one = given.speculative
    if one is None:
        return plain(None)
    return section(
        Speculative,
        method=say.word("serve.speculative.method", one.method),
        model=say.word("serve.speculative.model", one.model),
        tokens=say.word("serve.speculative.tokens", one.tokens),
    )


def _reads(s: Serve, parent: Handed) -> tuple[FileRead, ...]:
    paths = [s.path, s.tokenizer] if parent.stage is None else []
    paths += [s.speculative.model] if s.speculative is not None and s.speculative.model else []
    return tuple(FileRead(path, needed=is_folder(path)) for path in dict.fromkeys(paths))


def _sentence(stage: Stage[Serve]) -> str:
    s = stage.body
    what = code(s.adapters[0].path) if s.replaces is not None else code(s.path)
    extra = [one for one in s.adapters if one.name != s.replaces]
    more = f", with {counted(len(extra), 'adapter')} beside it" if extra else ""
    return (
        f"serves {what} as {inert(s.name)} at {inert(s.host)}:{s.port} by {stage.system} {stage.release}{more}: the run starts it,"
        f" asks one question and stops it; {code('serve.sh')} keeps it up"
    )


# of the machine, nothing takes several nodes
ACTS = ("output", "tool", "hardware.gpu", "hardware.per_node", "hardware.host_memory_gib")


def _keys(s: Serve) -> tuple[str, ...]:
    return (s.key_variable,) if s.key_variable is not None else ()


KIND = Kind("serve", Serve, "Serves the model, and checks that it answers.", decide, _sentence, ACTS, keys=_keys)
