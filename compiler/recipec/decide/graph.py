"""What a kind of stage decides from, and what it makes: models that earlier stages hand on, and new stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from recipec.decide.said import Decided, Said
from recipec.facts.tokens import Tokenizer
from recipec.plan import (
    Hardware,
    Input,
    ModelOutput,
    Origin,
    Record,
    RowsOutput,
    ScoresOutput,
    ServiceOutput,
    Stage,
    Track,
)

T = TypeVar("T")


class Handed(Record, frozen=True):
    """A model that there is to start from: the name of the stage that makes it, None for the recipe's own.

    `origins` are those of `max_length`, `precision` and `trust_remote_code`; `tokenizer` is what is known of its tokenizer,
    `root` the hub name or folder of the weights that its training began with.
    """

    name: str
    stage: str | None
    model: ModelOutput
    origins: Mapping[str, Origin]
    tokenizer: Tokenizer | None
    root: str

    @property
    def input(self) -> Input:
        """The model as what a stage takes."""
        return Input(self.stage, self.model)


class Graph(Record, frozen=True):
    """The course so far, on the declared `machine`. `models` are what there is to start from, by name, `base` (the recipe's own) first.

    `rows` are those that stages have made, by their names; `scores` the stages that evaluated a model last, by its name; `stages` all that leave something. `merged` are those whose adapter was merged for a stage that starts from them. `run` is the recipe's name, `several` whether the recipe lists its stages: those `listed`, by name;
    `previous` is the one before in that list. `longest` is the longest sequence of all trainings, in tokens.
    """

    run: str
    machine: Decided[Hardware]
    track: Decided[Track]
    several: bool
    models: Mapping[str, Handed]
    merged: Mapping[str, Handed]
    rows: Mapping[str, RowsOutput]
    scores: Mapping[str, Stage[Any]]
    stages: Mapping[str, Stage[Any]]
    listed: tuple[str, ...]
    previous: str
    longest: int

    @property
    def services(self) -> dict[str, Stage[Any]]:
        """The stages that serve a model, by name."""
        found = self.stages.items()
        return {name: one for name, one in found if any(isinstance(output, ServiceOutput) for output in one.outputs)}

    def folder(self, stage: str) -> str:
        """Return the folder of a stage's results: they stay out of the emitted files."""
        return f"runs/{self.run}/{stage}"

    def prepared(self, name: str) -> str:
        """Return a folder of prepared data; variants of a sweep share it."""
        return f"runs/{self.run.partition('/')[0]}/{name}"

    def taken_rows(self, places: Iterable[str | None]) -> tuple[Input, ...]:
        """Return what stages of the course make at some paths as what a stage takes, each once."""
        return tuple(dict.fromkeys(made for place in places if (made := self.made_rows(place)) is not None))

    def made_rows(self, path: str | None) -> Input | None:
        """Return the rows at a path as what a stage takes; None where no stage of the course makes them."""
        return next((Input(name, rows) for name, rows in self.rows.items() if rows.place == path), None)


class Made(Record, frozen=True):
    """A stage that a kind decided, the origins of its leaves below its name, and the model or the rows that it hands on, if any.

    `merges`: that model stands beside the one of its name, whose adapter it has in itself. `aside`: it stands beside the
    course, so that nothing starts from it that does not say so.
    """

    stage: Stage[Any]
    origins: dict[str, Origin]
    hands: Handed | None = None
    merges: bool = False
    rows: RowsOutput | None = None
    aside: bool = False


def scored(made: Iterable[Made]) -> dict[str, Stage[Any]]:
    """Return the stages that evaluate a model by the model's name."""
    outputs = ((one.stage, output) for one in made for output in one.stage.outputs)
    return {output.model: stage for stage, output in outputs if isinstance(output, ScoresOutput)}


def as_handed(say: Said, handed: Handed, leaf: str, value: T, why: str) -> Decided[T]:
    """Decide a leaf as a model has it that is handed on: it follows from what that followed from."""
    origin = handed.origins.get(leaf)
    reads = origin.reads if origin is not None else ()
    decided = say.rule(value, why)
    return decided.replaced(origins={"": decided.origins[""].replaced(reads=reads)})
