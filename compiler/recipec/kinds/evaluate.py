"""`evaluate`: one model on a list of tasks. An evaluation of several models is a stage for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from recipec.decide.graph import Graph, Handed, Made, as_handed
from recipec.decide.machine import tracked
from recipec.decide.said import Decided, Said, plain, section
from recipec.facts.models import KnownModel, fitting, follows, is_folder, known_model
from recipec.facts.presets import presets
from recipec.facts.schemes import schemes
from recipec.kinds import code, gate, judge
from recipec.kinds.code import Code
from recipec.kinds.kind import Kind
from recipec.kinds.serve import Serve, Served, served
from recipec.language.base import BEST
from recipec.language.evaluate import Evaluate as EvaluateWords
from recipec.plan import FileRead, Hardware, Input, Precision, Record, Resources, ScoresOutput, Stage, Track
from recipec.plural import counted
from recipec.render.markdown import inert
from recipec.systems.registry import doing, system

ENOUGH = 8192  # tokens: five examples of the longest usual tasks, and an answer
LONG = re.compile(r"babilong|infinitebench|longbench|longproc|niah|ruler|scrolls|libra")  # tasks that are about length
# Asked as a user, answered as an assistant: what a model that follows instructions is trained to do, and others are not.
CHATS = re.compile(
    r"(?:leaderboard_)?ifeval(?:_\w+)?|leaderboard_instruction_following|arc_challenge_chat|\w+_instruct"
)
# Of which the score compares the likelihoods of given answers, which is published without a template as a rule.
CHOICES = re.compile(
    r"(?:[ck]|global_)?mmlu(?:_(?!pro|flan|redux|(?:hard_)?(?:direct|cot)|generative)\w+)?|hellaswag|arc_(?:easy|challenge)|winogrande|piqa|boolq|openbookqa|sciq|race"
    r"|truthfulqa_mc[12]|ceval-valid|haerae(?:_\w+)?|kobest(?:_\w+)?|lambada\w*|wikitext|commonsense_qa"
)
FORMATS: dict[str | None, Precision] = {"bf16": "bf16", "fp16": "fp16", "fp32": "fp32"}  # of weights loaded as they are
FILLED = 0.9  # share of a GPU's memory that weights may take, for there is more in it
LAST = "tuned"  # the name that the last model has beside its own


class Subject(Record, frozen=True):
    """The model that is evaluated: weights by folder or hub name, in a `format` where they are quantised, with the adapter merged over them.

    `chat_template`: prompts are rendered by its tokenizer's template; `template` is what is known of that, `none` where
    it is known to be missing.
    """

    name: str
    path: str
    revision: str | None
    adapter: str | None
    tokenizer: str
    chat_template: bool
    template: str | None
    format: str | None = None
    scheme: str | None = None


class Evaluate(Record, frozen=True):
    """One evaluation of one model. `max_length` is in tokens, prompt and answer together; `model`: as many as it was made for.

    `code` is how the programs of those tasks are written and run that have any, `sandbox` where. `attention` is None where transformers chooses. `server` is what answers, where the model is asked as it is served. `copies` of the model answer side by side, each split over `gpus_per_copy`; 1 where there is no GPU.
    """

    seed: int
    output: str
    model: Subject
    preset: str | None
    tasks: tuple[str, ...]
    task_folder: str | None
    backend: Literal["hf", "vllm"]
    batch_size: int | Literal["auto"]
    few_shot: int | Literal["task"]
    limit: int | Literal["all"]
    log_samples: bool
    allow_code_execution: bool
    code: Code | None
    sandbox: bool
    precision: Precision
    attention: str | None
    max_length: int | Literal["model"]
    trust_remote_code: bool
    copies: int
    gpus_per_copy: int
    server: Served | None
    hardware: Hardware
    track: Track


def chosen(say: Said, graph: Graph) -> tuple[str, ...]:
    """Return the names of the models that are evaluated: those that the recipe names, else all that can write."""
    given = say.recipe.evaluate
    if given is not None and given.models is not None:
        return tuple(given.models)
    return tuple(name for name, one in graph.models.items() if one.model.path and writes(one) and not is_best(name))


def writes(handed: Handed) -> bool:
    """Return whether a model can write answers: a reward model cannot."""
    return handed.model.head == "next token"


def is_best(name: str) -> bool:
    """Return whether a name is that of the best checkpoint of a training."""
    return name.endswith(BEST)


def known(graph: Graph) -> dict[str, Handed]:
    """Return the models there are by every name that they have: `tuned` is the last that can write, if any can.

    What serves a model stands for it, as it is served.
    """
    found = {name: handed for name, handed in graph.models.items() if handed.model.path}
    handed_on = {handed.input: handed for handed in (*graph.models.values(), *graph.merged.values())}
    for name, stage in graph.services.items():
        if stage.inputs[0] in handed_on:
            found[name] = handed_on[stage.inputs[0]]
    made = [handed for name, handed in graph.models.items() if name != "base" and not is_best(name)]
    made = [handed for handed in made if writes(handed)] or made
    if not made:
        return found
    last = found.get(LAST, made[-1])
    best = found.get(f"{last.name}{BEST}")
    return {**found, LAST: last} | ({f"{LAST}{BEST}": best} if best is not None else {})


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make a stage for each model that is evaluated; names that there are not are told by a rule (P080).

    A stage of a course evaluates what it starts from.
    """
    from recipec.kinds import checkpoints  # which evaluates as this does

    given = say.recipe.evaluate
    if given is None:
        return ()
    if say.part.own is not None:
        name = say.part.start_from or graph.previous
        start = known(graph).get(name)
        if start is None:
            return ()
        own = measured(say, graph, given, {name: start})
        return (*own, *gate.after(say, graph, given, own), *checkpoints.of_stage(say, graph, start))
    models = known(graph)
    own = measured(say, graph, given, {name: models[name] for name in chosen(say, graph) if name in models})
    return (*own, *gate.after(say, graph, given, own))


def measured(say: Said, graph: Graph, given: EvaluateWords, models: Mapping[str, Handed]) -> tuple[Made, ...]:
    """Make the stages that measure some models, by the names that they have here, on every benchmark that is asked for."""
    own = say.part.name if say.part.own is not None else ""
    found: list[Made] = []
    for name, handed in models.items():
        server = graph.services.get(name)
        if code.asked(given):
            found.append(one(say, graph, given, name, handed, own or f"evaluate-{name.replace('@', '-')}", server))
    return (*found, *judge.judged(say, graph, given, models, known(graph), own))


def one(
    say: Said,
    graph: Graph,
    given: EvaluateWords,
    name: str,
    handed: Handed,
    stage_name: str,
    server: Stage[Serve] | None = None,
) -> Made:
    """Make the stage that evaluates one model, which is called `name` here, by its weights or as a stage serves it."""
    model = handed.model
    output = graph.folder(stage_name)
    own = "as it was trained" if handed.name != "base" else "as the recipe says"
    trained, loaded = len(graph.models) > 1, FORMATS.get(say.recipe.model.load_in)
    precision: Decided[Precision] = as_handed(say, handed, "precision", model.precision, own)
    if not trained and loaded is not None:
        precision = say.take("model.load_in", loaded, model.precision)
    copies, parts = _spread(say, graph.machine.value, given, handed, precision.value)
    body = section(
        Evaluate,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        model=_subject(say, graph, given, name, handed),
        preset=say.word("evaluate.preset", given.preset),
        tasks=_tasks(say, given),
        task_folder=say.word("evaluate.task_folder", given.task_folder),
        backend=say.word("evaluate.backend", given.backend),
        batch_size=say.word("evaluate.batch_size", given.batch_size),
        few_shot=say.take("evaluate.few_shot", given.few_shot, "task", "each task's own"),
        limit=say.take("evaluate.limit", given.limit, "all", "every row"),
        log_samples=say.word("evaluate.log_samples", given.log_samples),
        allow_code_execution=say.word("evaluate.allow_code_execution", given.allow_code_execution),
        code=code.decide(say, given) or plain(None),
        sandbox=code.sandbox(say, given),
        precision=precision,
        attention=say.take(
            "model.attention", None if trained else say.recipe.model.attention, None, "as transformers chooses"
        ),
        max_length=_length(say, graph, given, handed, own, served=server is not None),
        trust_remote_code=as_handed(say, handed, "trust_remote_code", model.trust_remote_code, own),
        copies=copies,
        gpus_per_copy=parts,
        server=plain(served(server) if server is not None else None),
        hardware=graph.machine,
        track=tracked(graph.track, stage_name),
    )
    on = graph.machine.value
    reads = [FileRead(given.task_folder, at=say.span("evaluate.task_folder").label())] if given.task_folder else []
    if handed.stage is None and server is None:
        reads += [FileRead(path, needed=is_folder(path)) for path in dict.fromkeys((model.path, model.tokenizer))]
    resources = Resources(on.device, on.gpu if on.device == "gpu" else None, 1, copies.value * parts.value)
    stage = Stage(
        name=stage_name,
        kind="evaluate",
        system="" if server is None else next(one for one in doing("evaluate") if system(one).asks_server),
        release="",
        environment="",
        inputs=(handed.input,) if server is None else (handed.input, Input(server.name, server.outputs[0])),
        outputs=(ScoresOutput(output, name, body.value.tasks),),
        reads=tuple(reads),
        resources=resources if server is None else server.resources,
        output=output,
        resumable=False,
        body=body.value,
    )
    return Made(stage, body.origins)


def _tasks(say: Said, given: EvaluateWords) -> Decided[tuple[str, ...]]:
    """Return what lm-eval asks: its tasks, and those of which only the section of programs speaks."""
    every = code.asked(given)
    if given.tasks or not every:
        return say.take("evaluate.tasks", every, ())
    return say.rule(every, "programs are written by its prompts", "evaluate.tasks", "evaluate.code.tasks")


def _length(
    say: Said, graph: Graph, given: EvaluateWords, handed: Handed, own: str, *, served: bool
) -> Decided[int | Literal["model"]]:
    """Return the length of an evaluation: that of the training, or else what the tasks need and the model was made for.

    Where a program alone may be as long as what the training saw, the model has the room that it was made for.
    """
    known = known_model(handed.root, folders=False)  # what is emitted does not depend on the machine
    if len(graph.models) > 1 or say.wrote("model.max_length"):
        trained, answer = handed.model.max_length, code.longest(given)
        short = len(graph.models) > 1 and not served and trained <= answer
        if short and known is not None and known.context is not None and known.context > answer:
            words = ("model.base", "evaluate.tasks", "evaluate.code.tasks", "evaluate.code.max_new_tokens")
            why = f"programs of up to {answer:,} tokens and their prompts, more than the {trained:,} of the training"
            return say.rule(min(2 * answer, known.context), why, *words)
        return as_handed(say, handed, "max_length", trained, own)
    if known is None or known.context is None:
        return say.rule("model", "as many as the model was made for", "model.base")
    if any(LONG.match(task) for task in code.asked(given)):
        return say.rule(known.context, f"what {known.id} was made for, of which some tasks need all", "model.base")
    length = min(known.context, ENOUGH)
    return say.rule(
        length, f"enough for usual tasks, of the {known.context} that {known.id} was made for", "model.base"
    )


def held(known: KnownModel | None, precision: Precision, scheme: str | None = None) -> float:
    """Return the bytes of a model's weights as an evaluation holds them; 0 where its size is not known.

    Of a `scheme`, all weights but the embeddings are in its bits.
    """
    if known is None or known.parameters is None or known.quantised is not None:
        return 0.0
    each = 4.0 if precision == "fp32" else 2.0
    if scheme is None:
        return known.parameters * each
    return (known.parameters - known.embedding_parameters) * schemes()[
        scheme
    ].weights / 8 + known.embedding_parameters * each


def _spread(
    say: Said, on: Hardware, given: EvaluateWords, handed: Handed, precision: Precision
) -> tuple[Decided[int], Decided[int]]:
    """Return how many copies of a model answer side by side on a node, and over how many GPUs each is split.

    Transformers holds a copy on each GPU, or splits its layers over the fewest that hold it; vLLM splits each layer over
    as many as its heads allow.
    """
    known, words = known_model(handed.root, folders=False), ("hardware.per_node", "hardware.gpu", "evaluate.backend")
    if on.device == "cpu" or on.per_node == 1:
        return say.rule(1, "one process", *words[:1]), say.rule(1, "one process", *words[:1])
    divisors = [size for size in range(1, on.per_node + 1) if on.per_node % size == 0]
    if given.backend == "vllm":
        parts = fitting(known, on.per_node, copies=True)
        why = "as many as its attention heads allow"
    else:
        weights, room = held(known, precision, handed.model.scheme), FILLED * on.memory_gib * 1024**3
        parts = next((size for size in divisors if weights / size <= room), on.per_node)
        why = "its weights fit one GPU" if parts == 1 else f"its weights are {weights / 1024**3:.0f} GiB"
    copies = on.per_node // parts
    return say.rule(copies, f"{on.per_node} GPUs ÷ {parts} for each copy", *words), say.rule(parts, why, *words)


def asks(task: str) -> bool:
    """Return whether a task is asked as a user and answered as an assistant."""
    return CHATS.fullmatch(task) is not None


def compares(task: str) -> bool:
    """Return whether a task compares the likelihoods of given answers instead of letting the model write one."""
    return CHOICES.fullmatch(task) is not None


def _subject(say: Said, graph: Graph, given: EvaluateWords, name: str, handed: Handed) -> Decided[Subject]:
    """A model is given conversations where it has a template, and something of the course was trained on them.

    So is one that follows instructions where all tasks are answered as an assistant does.
    """
    model = handed.model
    any_talks = any(one.model.conversations for one in graph.models.values())
    talks = model.conversations or (handed.name == "base" and any_talks)
    asked = all(asks(task) for text in code.asked(given) for task in text.split(","))
    published = presets()[given.preset] if given.preset is not None else None
    if published is not None and published.template == "follows" and given.chat_template is None:
        talks = talks or follows(known_model(handed.root, folders=False))
        template = say.rule(talks, f"as in {published.title}", "evaluate.preset", "model.base")
    elif not talks and asked and given.chat_template is None and follows(known_model(handed.root, folders=False)):
        words = ("evaluate.tasks", "model.base")
        template = say.rule(True, "the model follows instructions, and the tasks ask for answers", *words)
    elif talks and model.template == "none" and given.chat_template is None:
        template = say.rule(False, f"{model.tokenizer} has no chat template", kind="fact")
    else:
        template = say.take("evaluate.chat_template", given.chat_template, talks, "as in the model's training")
    return section(
        Subject,
        name=say.rule(name, "", "evaluate.models"),
        path=say.rule(model.path, "", "model.base"),
        revision=say.rule(model.revision, "", "model.revision"),
        adapter=say.rule(model.adapter, "", "adapter.merge"),
        tokenizer=say.rule(model.tokenizer, "", "model.tokenizer"),
        chat_template=template,
        template=plain(model.template),
        format=plain(model.format),
        scheme=plain(model.scheme),
    )


def _sentence(stage: Stage[Evaluate]) -> str:
    body = stage.body
    length = "at its own length" if body.max_length == "model" else f"at {body.max_length:,} tokens"
    asked = f"as {body.server.stage} serves it" if body.server is not None else body.backend
    how = f"with lm-evaluation-harness ({asked})"
    how += f" as in {presets()[body.preset].title}" if body.preset is not None else ""
    how += ", prompts in its chat template" if body.model.chat_template else ", prompts as plain text"
    how += f", {counted(body.few_shot, 'example')} each" if isinstance(body.few_shot, int) else ""
    how += f", the first {body.limit} rows only" if body.limit != "all" else ""
    how += f"; {code.sentence(body.code, boxed=body.sandbox)}" if body.code is not None else ""
    return f"evaluates {body.model.name} on {inert(', '.join(body.tasks))} {length} {how}; scores go to `{body.output}`"


# of the machine, nothing takes several nodes
ACTS = ("model", "preset", "hardware.gpu", "hardware.host_memory_gib", "track.telemetry", "output")
# what scores depend on beside the model
TERMS = ("few_shot", "limit", "task_folder")


def _keys(s: Evaluate) -> tuple[str, ...]:
    return (s.server.key_variable,) if s.server is not None and s.server.key_variable is not None else ()


KIND = Kind("evaluate", Evaluate, "Evaluates.", decide, _sentence, ACTS, terms=TERMS, keys=_keys)
