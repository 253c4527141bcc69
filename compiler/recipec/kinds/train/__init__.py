"""`train`: one training, and what must come before it (a model from scratch, a merge) and after it (a stack, a merge)."""

from __future__ import annotations

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.machine import precision, tracked
from recipec.decide.said import Decided, Said, indexed, plain, section
from recipec.facts import releases
from recipec.facts.models import is_folder, known_model
from recipec.facts.tokens import Tokenizer, known_tokenizer
from recipec.kinds import init, merge, stack
from recipec.kinds.kind import Kind
from recipec.kinds.train import model as models
from recipec.kinds.train.data import data
from recipec.kinds.train.methods import compared, judges, objective, reference, rewards, rollout
from recipec.kinds.train.parallel import batch, parallel, wants
from recipec.kinds.train.records import Adapter, Script, Train
from recipec.kinds.train.schedule import length, optimizer, watch
from recipec.language import train as recipe
from recipec.plan import FileRead, ModelOutput, Plan, Resources, Stage
from recipec.plural import counted
from recipec.render.markdown import code
from recipec.systems.registry import system

HANDED = ("model.max_length", "numerics.precision", "model.trust_remote_code")


def base(say: Said, graph: Graph) -> Handed:
    """Return the recipe's own model as what a stage can start from, or evaluate."""
    given = say.recipe.model
    scratch = given.from_scratch is not None
    path = graph.folder(init.NAME) if scratch else given.base or ""
    tokenizer = path if scratch else given.tokenizer or path
    computed = precision(say, graph.machine.value)
    length_, trust = (
        say.word("model.max_length", given.max_length),
        say.word("model.trust_remote_code", given.trust_remote_code),
    )
    origins = {
        "max_length": length_.origins[""],
        "precision": computed.origins[""],
        "trust_remote_code": trust.origins[""],
    }
    output = ModelOutput(
        "full",
        path,
        None if scratch else given.revision,
        None,
        tokenizer,
        "chatml" if scratch else _template(tokenizer),
        False,
        length_.value,
        computed.value,
        trust.value,
    )
    knows = init.TOKENIZER if scratch else known_tokenizer(tokenizer, folders=False)
    return Handed("base", init.NAME if scratch else None, output, origins, knows, path)


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Decide one training with what must come before and after it."""
    train = say.recipe.train
    if train is None or (say.recipe.data is None and not system(say.recipe.trainer).own_program):
        return ()  # an error of its own (P038, P040)
    before: list[Made] = []
    start = _start(say, graph)
    below = start if start is not None and start.model.adapter is not None else None
    if start is not None and below is not None and say.part.parent_adapter in ("merge", "stack"):
        made, start = merge.before(say, graph, start, "parent_adapter")
        before += made
    first = len(graph.models) == 1
    parent = start or _own(say, graph)
    body = _body(say, graph, train, start, parent)
    body = models.fitted(say, body, parent.root, "model.base" if start is None else "start_from")
    beside = (*judges(say, train, graph), *(one for one in [compared(train, graph)] if one is not None))
    stage, handed = _stage(say, graph, body, parent, beside)
    if say.recipe.model.from_scratch is not None and first:
        at = Decided(body.value.data.train, {})
        local = tuple(read for read in stage.reads if read.path in {one.path for one in body.value.data.train})
        before.append(init.before(say, graph, at, body.value.numerics.precision, local))
    found = [*before, Made(stage, body.origins, handed)]
    if below is not None and say.part.parent_adapter == "stack" and body.value.adapter is not None:
        found.append(stack.after(say, graph, below, handed))
        handed = found[-1].hands or handed
    if body.value.adapter is not None and body.value.adapter.merge:
        found.append(merge.after(say, graph, handed, "adapter.merge"))
    return tuple(found)


def _start(say: Said, graph: Graph) -> Handed | None:
    """Return what a training begins with; None for the recipe's own model."""
    name = say.part.start_from or graph.previous
    return graph.models.get(name) if name != "base" else None


def _own(say: Said, graph: Graph) -> Handed:
    """Return the recipe's own model, as this stage says it: a stage may name another base."""
    return graph.models["base"] if say.recipe.model.from_scratch is not None else base(say, graph)


def _tokenizer(say: Said, parent: Handed) -> Tokenizer | None:
    """Return what is known of the tokenizer of a stage that starts from `parent`: another one may be named."""
    given = say.recipe.model.tokenizer
    return parent.tokenizer if given is None else known_tokenizer(given, folders=False)


def _body(say: Said, graph: Graph, train: recipe.Train, start: Handed | None, parent: Handed) -> Decided[Train]:
    machine, tokenizer = graph.machine, _tokenizer(say, parent)
    computed = precision(say, machine.value)
    left, name = (start.model, start.name) if start is not None else (None, None)
    known = releases(say.recipe.trainer)
    program = system(say.recipe.trainer).own_program
    release = say.recipe.versions.get(say.recipe.trainer)
    folder = graph.prepared(f"prepared-{say.part.name}" if graph.several else "prepared")
    named = ("model.tokenizer", "model.base" if start is None else "start_from")
    talk = models.talk(say, tokenizer, named)
    rows = data(say, machine.value, folder, talk.replaced(templated=talk.templated and not program), graph)
    renders = not program and any(source.turns for source in (*rows.value.train, *rows.value.validation))
    turns = models.turns(say, tokenizer, named, renders=renders)
    sized = batch(say, train, machine.value)
    sizes = known_model(parent.root, folders=False)  # what is emitted does not depend on the machine
    return section(
        Train,
        name=plain(say.part.name),
        trainer=say.word("trainer", say.recipe.trainer),
        release=say.take(
            f"versions.{say.recipe.trainer}", release, known[0] if known else "", "the newest known release"
        ),
        method=say.word("train.method", train.method),
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(graph.folder(say.part.name), "results of a run stay out of the emitted files", "name"),
        model=models.model(say, computed.value, left, name, graph.folder(init.NAME), turns),
        adapter=models.adapter(say, left, name),
        data=rows,
        batch=sized,
        length=length(say, train),
        optimizer=optimizer(say, train),
        numerics=models.numerics(say, train, machine.value, computed),
        parallel=parallel(say, machine.value, sizes, sized.value.data_parallel),
        watch=watch(say, train),
        track=tracked(graph.track, say.part.name),
        hardware=machine,
        objective=objective(say, train),
        reference=reference(say, train, graph),
        rollout=rollout(say, train),
        rewards=rewards(say, train, graph),
        script=_script(say),
    )


def _script(say: Said) -> Decided[Script | None]:
    given = say.recipe.script
    if given is None:
        return plain(None)
    arguments = dict(given.arguments)
    return section(
        Script,
        path=say.word("script.path", given.path),
        launcher=say.word("script.launcher", given.launcher),
        arguments=say.rule(arguments, "as given", *(indexed("script.arguments", key) for key in arguments)),
    )


def _stage(
    say: Said, graph: Graph, body: Decided[Train], parent: Handed, beside: tuple[Handed, ...]
) -> tuple[Stage[Train], Handed]:
    """Return the stage of a training and what it leaves. What it starts from is the first of its inputs."""
    s = body.value
    left = _left(s, parent.model)
    machine = s.hardware
    stage = Stage(
        name=s.name,
        kind="train",
        system=s.trainer,
        release=s.release,
        environment="",
        inputs=(
            *(one.input for one in (parent, *beside) if one.model.path),
            *graph.taken_rows(source.path for source in (*s.data.train, *s.data.validation)),
        ),
        outputs=(left,),
        reads=_reads(say, s, parent, graph),
        resources=Resources(
            machine.device, machine.gpu if machine.device == "gpu" else None, machine.nodes, machine.per_node
        ),
        output=s.output,
        resumable=True,
        body=s,
    )
    name = s.name if graph.several else "tuned"
    origins = {path.rpartition(".")[2]: body.origins[path] for path in HANDED}
    return stage, Handed(name, s.name, left, origins, _taught(_tokenizer(say, parent), s), parent.root)


def _taught(known: Tokenizer | None, s: Train) -> Tokenizer | None:
    """Return what is known of the tokenizer that a training saves."""
    model = s.model
    laid = model.chat_template if model.chat_template != "tokenizer" else None
    if model.chat_template_file is not None:
        laid = "own"
    before = known or Tokenizer(model.tokenizer, None, (), None, instruct=False)
    more = tuple(one for one in (*model.new_tokens, *model.special_tokens.values()) if one not in before.tokens)
    return before._replace(
        template=laid or before.template,
        tokens=(*before.tokens, *more) if before.tokens else (),
        eos=model.special_tokens.get("eos", before.eos),
        instruct=before.instruct or laid is not None,
    )


def _left(s: Train, parent: ModelOutput) -> ModelOutput:
    """Return the model that a training leaves: all weights, or an adapter over its base."""
    model, adapter = s.model, s.adapter
    laid = model.chat_template != "tokenizer" or model.chat_template_file is not None
    template = "own" if laid else _template(model.tokenizer) or parent.template
    talks = any(source.format in ("chat", "preference") and source.turns for source in s.data.train)
    return ModelOutput(
        "full" if adapter is None else "adapter",
        s.output if adapter is None else model.path,
        None if adapter is None else model.revision,
        None if adapter is None else s.output,
        s.output,
        template,
        talks or parent.conversations,
        model.max_length,
        s.numerics.precision,
        model.trust_remote_code,
        "score" if s.method == "reward" else "next token",
    )


def _template(tokenizer: str) -> str | None:
    """Return what is known of the chat template of a tokenizer."""
    known = known_tokenizer(tokenizer, folders=False)  # what is emitted does not depend on the machine
    return known.template if known is not None else None


def _reads(say: Said, s: Train, parent: Handed, graph: Graph) -> tuple[FileRead, ...]:
    """Return every file and folder of the user that shapes a training."""
    found: dict[str, FileRead] = {}

    def needs(path: str | None, word: str, *, needed: bool = True) -> None:
        if path and path not in found:
            at = say.span(word).label() if say.wrote(word) else None
            found[path] = FileRead(path, at=at, needed=needed)

    for group in ("train", "validation"):
        for index, source in enumerate(getattr(s.data, group)):
            if graph.made_rows(source.path) is None:
                needs(source.path, f"data.{group}[{index}].path")
    for index, reward in enumerate(s.rewards):
        if reward.path is not None and say.wrote(f"rewards[{index}].path"):
            needs(reward.path, f"rewards[{index}].path", needed=reward.type == "python")
    if s.script is not None:
        needs(s.script.path, "script.path")
    needs(s.model.chat_template_file, "model.chat_template_file")
    if parent.stage is None:
        needs(s.model.path, "model.base", needed=is_folder(s.model.path))
        needs(s.model.tokenizer, "model.tokenizer", needed=is_folder(s.model.tokenizer))
        if s.adapter is not None and s.adapter.start_from is not None:
            needs(s.adapter.start_from, "adapter.start_from", needed=is_folder(s.adapter.start_from))
    return tuple(found.values())


def _sentence(stage: Stage[Train]) -> str:
    s = stage.body
    amount = counted(s.length.amount, s.length.unit.removesuffix("s"))
    if s.script is not None:
        many = counted(s.hardware.world, "process")
        how = f"{s.numerics.precision}, {s.parallel.strategy}"
        return f"{code(s.script.path)} trains, started by {s.script.launcher} as {many}, {how}"
    system = f"{s.trainer} {s.release}".strip()
    how = f"{amount}, {s.numerics.precision}, {s.parallel.strategy}"
    return f"{system} trains {_trained(s.adapter)} of {code(s.model.path)} with {s.method} for {how}"


def _trained(adapter: Adapter | None) -> str:
    if adapter is None:
        return "all weights"
    kind = {"lora": "LoRA"}.get(adapter.type, adapter.type)
    if adapter.start_from is not None:  # which keeps its own rank
        return f"the {kind} adapter {code(adapter.start_from)}"
    return f"a {kind} adapter" + (f" of rank {adapter.rank}" if adapter.rank else "")


def _review(stage: Stage[Train], plan: Plan) -> list[str]:
    from recipec.kinds.train.review import section as review  # only what is written needs it

    return review(stage, plan)


def _wants(s: Train, path: str, value: str) -> str:
    return wants(value, s.hardware) if path == "parallel.strategy" else ""


ACTS = ("name", "trainer", "release", "parallel.strategy", "hardware", "track.telemetry", "output")
KIND = Kind("train", Train, "Trains.", decide, _sentence, ACTS, _review, _wants)
