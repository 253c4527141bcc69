"""`stack`: an adapter trained over a merged parent, and the parent's own, made one over the parent's base by PEFT."""

from __future__ import annotations

from recipec.decide.graph import Graph, Handed, Made
from recipec.decide.said import Decided, Said, section
from recipec.kinds.kind import Kind
from recipec.plan import Record, Resources, Stage
from recipec.render.markdown import code


class Stack(Record, frozen=True):
    """Makes one adapter over `base` of two: `parent`, which was trained over it, and `adapter`, over both merged.

    Its rank is the sum of theirs. `tokenizer` is the one that is saved with it.
    """

    output: str
    base: str
    revision: str | None
    parent: str
    adapter: str
    tokenizer: str
    trust_remote_code: bool


def after(say: Said, graph: Graph, parent: Handed, new: Handed) -> Made:
    """Return the stage that puts what a training left, over the merged `parent`, on the parent's own base."""
    word, base, name = "parent_adapter", parent.model, f"{new.name}-stack"
    output = graph.folder(name)
    body = section(
        Stack,
        output=say.rule(output, "results of a run stay out of the emitted files", word),
        base=say.rule(base.path, f"the base of {parent.name}'s adapter", word),
        revision=say.rule(base.revision, "as in training", word),
        parent=say.rule(base.place, f"what {parent.name} left", word),
        adapter=say.rule(new.model.place, "what the training left", word),
        tokenizer=say.rule(new.model.tokenizer, "the training saved it with the adapter", word),
        trust_remote_code=Decided(base.trust_remote_code, {"": parent.origins["trust_remote_code"]}),
    )
    left = new.model.replaced(path=base.path, revision=base.revision, adapter=output, tokenizer=output)
    stage = Stage(
        name=name,
        kind="stack",
        system="",
        release="",
        environment="",
        inputs=(new.input, parent.input),  # the nearest training first
        outputs=(left,),
        reads=(),
        resources=Resources("cpu", None, 1, 1),
        output=output,
        resumable=False,
        body=body.value,
    )
    return Made(stage, body.origins, Handed(new.name, name, left, new.origins, new.tokenizer, new.root))


def _sentence(stage: Stage[Stack]) -> str:
    body = stage.body
    return f"stacks the adapter {code(body.adapter)} on {code(body.parent)}: one over {code(body.base)}, by PEFT"


KIND = Kind("stack", Stack, "Makes one adapter of the new one and its parent.", None, _sentence)
