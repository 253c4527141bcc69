"""`init`: a tokenizer from the data, and a model with random weights."""

from __future__ import annotations

from recipec.decide.graph import Graph, Made
from recipec.decide.said import Decided, Said, section
from recipec.facts.tokens import Tokenizer
from recipec.kinds.kind import Kind
from recipec.kinds.train.records import DataSource
from recipec.plan import FileRead, ModelOutput, Precision, Record, Resources, Stage

NAME = "init"
TOKENIZER = Tokenizer(NAME, "chatml", ("<s>", "<pad>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", instruct=True)


class Scratch(Record, frozen=True):
    """Sizes of a model that starts from random weights, and its tokenizer's. Widths in units, lengths in tokens."""

    family: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int
    vocab_size: int
    tie_embeddings: bool
    max_length: int
    chat_template: str


class Init(Record, frozen=True):
    """Makes a tokenizer from the data and a model with random weights."""

    seed: int
    output: str
    model: Scratch
    data: tuple[DataSource, ...]


def _scratch(say: Said, longest: int) -> Decided[Scratch]:
    here, given = "model.from_scratch", say.recipe.model.from_scratch
    if given is None:
        raise LookupError("the model is not from scratch")
    return section(
        Scratch,
        family=say.word(f"{here}.family", given.family),
        hidden_size=say.word(f"{here}.hidden_size", given.hidden_size),
        layers=say.word(f"{here}.layers", given.layers),
        heads=say.word(f"{here}.heads", given.heads),
        vocab_size=say.word(f"{here}.vocab_size", given.vocab_size),
        tie_embeddings=say.word(f"{here}.tie_embeddings", given.tie_embeddings),
        kv_heads=say.take(f"{here}.kv_heads", given.kv_heads, given.heads, "as many as heads: multi-head attention"),
        intermediate_size=say.take(
            f"{here}.intermediate_size", given.intermediate_size, 4 * given.hidden_size, "4 × hidden_size"
        ),
        max_length=say.rule(longest, "the longest sequence trained on", "model.max_length"),
        chat_template=say.rule("chatml", "a new tokenizer gets ChatML", "model.chat_template"),
    )


def before(
    say: Said, graph: Graph, data: Decided[tuple[DataSource, ...]], precision: Precision, reads: tuple[FileRead, ...]
) -> Made:
    """Return the stage that makes the model of a first training, whose local data its tokenizer learns from, if it has any."""
    output = graph.folder(NAME)
    local = tuple(source for source in data.value if source.path is not None)
    body = section(
        Init,
        seed=say.word("seed", say.recipe.seed),
        output=say.rule(output, "where the later stages read it", "name"),
        model=_scratch(say, graph.longest),
        data=say.rule(local or data.value, "the local training data" if local else "the training data"),
    )
    sizes = body.value.model
    left = ModelOutput(
        "full", output, None, None, output, "chatml", False, sizes.max_length, precision, trust_remote_code=False
    )
    stage = Stage(
        name=NAME,
        kind="init",
        system="",
        release="",
        environment="",
        inputs=(),
        outputs=(left,),
        reads=reads,
        resources=Resources("cpu", None, 1, 1),
        output=output,
        resumable=False,
        body=body.value,
    )
    return Made(stage, body.origins)


def _sentence(stage: Stage[Init]) -> str:
    m = stage.body.model
    return f"makes a {m.family} model with random weights: {m.layers} layers of width {m.hidden_size}, vocabulary {m.vocab_size}"


KIND = Kind("init", Init, "Makes the tokenizer and a model with random weights.", None, _sentence)
