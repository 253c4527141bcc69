"""`data`: what it is trained on."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Percent, Section, StageName, Text, example

Format = Literal["chat", "instruction", "completion", "preference", "unpaired-preference", "prompt", "text"]

# The standard column names of each format; `columns` maps them to the names in the data.
COLUMNS: dict[str, tuple[str, ...]] = {
    "chat": ("messages", "role", "content"),
    "instruction": ("instruction", "input", "output", "system"),
    "completion": ("prompt", "completion"),
    "preference": ("messages", "prompt", "chosen", "rejected", "role", "content"),
    "unpaired-preference": ("prompt", "completion", "label"),
    "prompt": ("prompt", "answer"),
    "text": ("text",),
}


class DataSource(Section):
    """One set of rows: a local file (JSONL, JSON, Parquet, CSV), a hub dataset, or what a stage made."""

    model_config = example(
        {
            "path": "data/chat.jsonl",
            "format": "chat",
            "columns": {"messages": "conversations", "role": "from", "content": "value"},
            "roles": {"user": ["human"], "assistant": ["gpt"]},
        }
    )

    path: Text | None = Field(
        default=None,
        description="Local .jsonl, .json, .parquet or .csv file, relative to the folder in which you run. Exactly one of path, hub, stage.",
    )
    hub: Text | None = Field(default=None, description="Hub name of a dataset, `org/name`.")
    stage: StageName | None = Field(default=None, description="Stage before this one that makes the rows.")
    subset: Text | None = Field(default=None, description="Configuration of the hub dataset.")
    split: Text = Field(default="train", description="Split of the dataset.")
    revision: Text | None = Field(default=None, description="Hub branch, tag or commit.")
    format: Format = Field(description="What a row holds.")
    columns: dict[Text, Text] = Field(
        default={},
        description="Standard column name → its name in this data, such as {messages: conversations, role: from, content: value}.",
    )
    roles: dict[Literal["system", "user", "assistant", "tool"], list[Text]] = Field(
        default={}, description="Standard role → the names it has in this data, such as {user: [human]}."
    )
    system: Text | None = Field(
        default=None,
        description="System prompt of rows that have none of their own, of format instruction or prompt.",
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many times the rows are taken in one epoch, relative to the other sources.",
    )


class Data(Section):
    """Training data, and what is held out for validation."""

    model_config = example({"train": [{"path": "data/chat.jsonl", "format": "chat"}], "holdout": "2%", "packing": True})

    train: list[DataSource] = Field(min_length=1, description="Sources to train on.")
    validation: list[DataSource] | None = Field(
        default=None, min_length=1, description="Sources whose loss is watched. At most one of validation, holdout."
    )
    holdout: Percent | Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Part of the training rows kept back for validation: `2%`, or a number of rows. Default: 0.",
    )
    packing: bool = Field(
        default=False, description="Pack several rows into each sequence; attention stays within a row."
    )
    train_on: Literal["assistant", "all"] = Field(
        default="assistant", description="Tokens that carry loss: the assistant's turns (or outputs), or all."
    )
    shuffle: bool = Field(default=True, description="Shuffle the rows, by `seed`.")
    group_by_length: bool = Field(
        default=False, description="Batch rows of similar length, which needs less padding but shuffles less."
    )
    workers: int | None = Field(
        default=None, ge=0, le=1024, description="Loader processes per GPU. Default: 0 on CPU, 4 on GPU."
    )
    streaming: bool = Field(
        default=False,
        description="Read rows while training instead of tokenising all first; needs train.steps. Only format text.",
    )
