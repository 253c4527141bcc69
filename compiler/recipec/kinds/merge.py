"""`merge`: adapters merged into their base by PEFT, one as it is or several by weight."""

from __future__ import annotations

from typing import Literal

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Decided, Said, indexed, plain, section
from recipec.kinds.kind import Kind
from recipec.language.stages import Merge as MergeWords
from recipec.plan import Precision, Record, Resources, Stage
from recipec.render.markdown import code

# combination_type of peft.tuners.lora.LoraModel.add_weighted_adapter
How = Literal[
    "linear", "svd", "cat", "ties", "ties_svd", "dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd",
    "magnitude_prune", "magnitude_prune_svd",
]  # fmt: skip


class Part(Record, frozen=True):
    """An adapter that is merged, with its factor."""

    adapter: str
    weight: float


class Merge(Record, frozen=True):
    """Merges adapters into their common base, by PEFT. `precision` is the number format of the merged weights.

    `parts` are several adapters that are combined first (`how`, and the share of values that sparse ways keep as
    `density`); with one adapter, `adapter` alone says which.
    """

    output: str
    base: str
    revision: str | None
    adapter: str
    tokenizer: str
    precision: Precision
    trust_remote_code: bool
    parts: tuple[Part, ...]
    how: How | None
    density: float | None
    majority: Literal["total", "frequency"] | None


def after(say: Said, graph: Graph, handed: Handed, word: str) -> Made:
    """Return the stage that merges what a training left, because the recipe says so at `word`."""
    return _made(say, graph, f"{handed.name}-merge" if graph.several else "merge", handed.name, (handed,), word)


def before(say: Said, graph: Graph, handed: Handed, word: str) -> tuple[tuple[Made, ...], Handed]:
    """Return the merged model of an adapter for a stage that starts from it, and the stage that makes it where none does yet.

    The adapter stays what its name means.
    """
    merged = graph.merged.get(handed.name)
    if merged is not None:
        return (), merged
    made = after(say, graph, handed, word).replaced(merges=True)
    return (made,), made.hands or handed


def decide(say: Said, graph: Graph) -> tuple[Made, ...]:
    """Make the stage that a user wrote."""
    given = say.part.merge
    names = {given: 1.0} if isinstance(given, str) else dict(given.adapters) if given is not None else {}
    known = tuple(graph.models[name] for name in names if name in graph.models)
    if not known:  # an error of its own (P040 …): there is nothing that could be merged
        return ()
    name = say.part.name
    made = _made(say, graph, name, name, known, "merge", given)
    return (made,)


def _made(
    say: Said,
    graph: Graph,
    name: str,
    model: str,
    parts: tuple[Handed, ...],
    word: str,
    given: str | MergeWords | None = None,
) -> Made:
    first = parts[0]
    words = given if isinstance(given, MergeWords) else None
    base, output = first.model, graph.folder(name)
    weighed: tuple[Part, ...] = ()
    if words is not None:
        weights = dict(words.adapters)
        weighed = tuple(Part(one.model.place, weights[one.name]) for one in parts)
    precision = (
        say.word("merge.precision", words.precision)
        if words is not None and words.precision is not None
        else say.rule(base.precision, "as the computation: never into quantised weights", word)
    )
    body = section(
        Merge,
        output=say.rule(output, "results of a run stay out of the emitted files", word),
        base=say.rule(base.path, "the adapter's base", word),
        adapter=say.rule(base.place, "" if weighed else "what the training left", word),
        tokenizer=say.rule(base.tokenizer, "the training saved it with the adapter", word),
        precision=precision,
        revision=say.rule(base.revision, "as in training", word),
        trust_remote_code=Decided(base.trust_remote_code, {"": first.origins["trust_remote_code"]}),
        parts=say.rule(weighed, "as given", *(indexed("merge.adapters", one.name) for one in parts))
        if weighed
        else plain(()),
        how=say.word("merge.how", words.how) if words is not None else plain(None),
        density=say.word("merge.density", words.density) if words is not None else plain(None),
        majority=say.word("merge.majority", words.majority) if words is not None else plain(None),
    )
    left = base.replaced(
        form="full",
        path=output,
        revision=None,
        adapter=None,
        tokenizer=output,
        precision=body.value.precision,
        max_length=max(one.model.max_length for one in parts),
        conversations=any(one.model.conversations for one in parts),
    )
    stage = Stage(
        name=name,
        kind="merge",
        system="",
        release="",
        environment="",
        inputs=tuple(one.input for one in parts),
        outputs=(left,),
        reads=(),
        resources=Resources("cpu", None, 1, 1),
        output=output,
        resumable=False,
        body=body.value,
    )
    return Made(stage, body.origins, Handed(model, name, left, first.origins, first.tokenizer, first.root))


def _sentence(stage: Stage[Merge]) -> str:
    body = stage.body
    if not body.parts:
        return f"merges the adapter of {code(body.adapter)} into {code(body.base)} in {body.precision}, by PEFT"
    names = " + ".join(f"{part.weight:g} × {code(part.adapter)}" for part in body.parts)
    return f"combines {names} by PEFT ({body.how}) and merges them into {code(body.base)} in {body.precision}"


KIND = Kind("merge", Merge, "Merges the adapter into its base.", decide, _sentence)
