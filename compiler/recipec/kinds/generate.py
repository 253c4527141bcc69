"""`generate`: rows that a model writes: conversations, or pairs of a better and a worse answer."""

from __future__ import annotations

from typing import Literal

from recipec.decide.graph import Graph, Handed, Made, as_handed
from recipec.decide.machine import precision
from recipec.decide.said import Said, indexed, section, several
from recipec.facts.models import is_folder
from recipec.kinds.kind import Kind
from recipec.kinds.train.data import Talk, sources
from recipec.kinds.train.methods import judging, reward
from recipec.kinds.train.records import DataSource, Reward
from recipec.plan import FileRead, Hardware, Precision, Record, Resources, RowsOutput, Stage
from recipec.plural import counted
from recipec.render.markdown import code

FILE = "rows.jsonl"


class Generate(Record, frozen=True):
    """How rows are made: every prompt of `sources` is answered `completions` times by a model.

    `path` are the model's weights, with an adapter over them where there is one, in a `format` where they are quantised. Lengths are in tokens: `max_length` is of
    prompt and answer together, longer prompts are left out. Of `rewards`, each answer gets the weighted sum. `makes` are
    conversations, of which `keep` says which answers, or pairs of the best and the worst answer, at least `margin` apart;
    what has less than `min_reward` is neither kept nor chosen. `keep_truncated`: answers that did not end within `max_new_tokens` too.
    """

    seed: int
    output: str
    path: str
    revision: str | None
    adapter: str | None
    tokenizer: str
    precision: Precision
    trust_remote_code: bool
    max_length: int
    sources: tuple[DataSource, ...]
    makes: Literal["chat", "preference"]
    keep: Literal["all", "best"]
    min_reward: float | None
    margin: float | None
    keep_truncated: bool
    batch_size: int
    completions: int
    max_new_tokens: int
    temperature: float
    top_p: float
    engine: Literal["hf", "vllm"]
    rewards: tuple[Reward, ...]
    hardware: Hardware
    format: str | None = None


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make the stage that a user wrote."""
    given, rollout = say.part.generate, say.recipe.rollout
    parent = graph.models.get(say.part.start_from or graph.previous)
    if given is None or parent is None:
        return ()
    name, model, on = say.part.name, parent.model, graph.machine.value
    output = graph.folder(name)
    judged = bool(say.recipe.rewards)
    talks = model.conversations or (parent.tokenizer is not None and parent.tokenizer.instruct)
    usual, named = 4 if judged else 1, "model.base" if parent.stage is None else "start_from"
    own = f"as {parent.name} has it"

    body = section(
        Generate,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "results of a run stay out of the emitted files", "name"),
        path=say.rule(model.path, f"that of {parent.name}", named),
        revision=say.rule(model.revision, "", "model.revision"),
        adapter=say.rule(model.adapter, f"what {parent.name} leaves", named),
        tokenizer=say.rule(model.tokenizer, "that of the model", "model.tokenizer", named),
        precision=precision(say, on),
        trust_remote_code=as_handed(say, parent, "trust_remote_code", model.trust_remote_code, own),
        max_length=as_handed(say, parent, "max_length", model.max_length, own),
        sources=several(sources(say, "generate.prompts", given.prompts, Talk(talks, ("start_from",)), graph)),
        makes=say.word("generate.makes", given.makes),
        keep=say.take(
            "generate.keep",
            given.keep,
            "best" if judged else "all",
            "there are rewards" if judged else "there are no rewards",
            "rewards",
        ),
        min_reward=say.word("generate.min_reward", given.min_reward),
        margin=say.word("generate.margin", given.margin),
        keep_truncated=say.word("generate.keep_truncated", given.keep_truncated),
        batch_size=say.word("generate.batch_size", given.batch_size),
        completions=say.take(
            "rollout.completions",
            rollout.completions,
            usual,
            "usual with rewards" if judged else "one answer",
            "rewards",
        ),
        max_new_tokens=say.word("rollout.max_new_tokens", rollout.max_new_tokens),
        temperature=say.word("rollout.temperature", rollout.temperature),
        top_p=say.word("rollout.top_p", rollout.top_p),
        engine=say.word("rollout.engine", rollout.engine),
        rewards=several(
            reward(say, indexed("rewards", index), one, graph) for index, one in enumerate(say.recipe.rewards)
        ),
        hardware=graph.machine,
        format=say.rule(model.format, f"that of {parent.name}", named),
    )
    rows = RowsOutput(f"{output}/{FILE}", given.makes)
    stage = Stage(
        name=name,
        kind="generate",
        system="",
        release="",
        environment="",
        inputs=(
            *(one.input for one in (parent, *judging(say, graph))),
            *graph.taken_rows(source.path for source in body.value.sources),
        ),
        outputs=(rows,),
        reads=_reads(say, body.value, parent, graph),
        resources=Resources(on.device, on.gpu if on.device == "gpu" else None, 1, on.per_node),
        output=output,
        resumable=False,
        body=body.value,
    )
    return (Made(stage, body.origins, rows=rows),)


def _reads(say: Said, s: Generate, parent: Handed, graph: Graph) -> tuple[FileRead, ...]:
    """Return every file and folder of the user that shapes the rows."""
    found: dict[str, FileRead] = {}
    for index, source in enumerate(s.sources):
        if source.path is not None and graph.made_rows(source.path) is None:
            found.setdefault(source.path, FileRead(source.path, at=say.span(f"generate.prompts[{index}].path").label()))
    for index, one in enumerate(s.rewards):
        if one.path is not None and say.wrote(f"rewards[{index}].path"):
            at = say.span(f"rewards[{index}].path").label()
            found.setdefault(one.path, FileRead(one.path, at=at, needed=one.type == "python"))
    if parent.stage is None:
        for path in (s.path, s.tokenizer):
            found.setdefault(path, FileRead(path, needed=is_folder(path)))
    return tuple(found.values())


def _sentence(stage: Stage[Generate]) -> str:
    s = stage.body
    what = "conversations" if s.makes == "chat" else "pairs of a better and a worse answer"
    model = s.path if s.adapter is None else s.adapter
    how = f"{counted(s.completions, 'answer')} to each prompt, at most {s.max_new_tokens:,} tokens at temperature {s.temperature:g}"
    if s.rewards:
        how += f", judged by {counted(len(s.rewards), 'reward')}"
    return f"lets {code(model)} write {what}: {how}; rows go to {code(f'{s.output}/{FILE}')}"


ACTS = ("output", "hardware")
KIND = Kind("generate", Generate, "Generates rows.", decide, _sentence, ACTS)
