"""`data`: what it is trained on."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Percent, Section, Text, example

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
    """One set of rows: a local file (JSONL, JSON, Parquet, CSV) or a hub dataset."""

    model_config = example(
        {
            "path": "data/chat.jsonl",
            "format": "chat",
            "columns": {"messages": "conversations", "role": "from", "content": "value"},
            "roles": {"user": ["human"], "assistant": ["gpt"]},
        }
    )

    path: Annotated[
        Text | None,
        Field(
            description="Local .jsonl, .json, .parquet or .csv file, relative to the folder in which you run. Exactly one of path, hub."
        ),
    ] = None
    hub: Annotated[Text | None, Field(description="Hub name of a dataset, `org/name`.")] = None
    subset: Annotated[Text | None, Field(description="Configuration of the hub dataset.")] = None
    split: Annotated[Text, Field(description="Split of the dataset.")] = "train"
    revision: Annotated[Text | None, Field(description="Hub branch, tag or commit.")] = None
    format: Annotated[Format, Field(description="What a row holds.")]
    columns: Annotated[
        dict[Text, Text],
        Field(
            description="Standard column name → its name in this data, such as {messages: conversations, role: from, content: value}."
        ),
    ] = {}
    roles: Annotated[
        dict[Literal["system", "user", "assistant", "tool"], list[Text]],
        Field(description="Standard role → the names it has in this data, such as {user: [human]}."),
    ] = {}
    weight: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="How many times the rows are taken in one epoch, relative to the other sources.",
        ),
    ] = 1


class Data(Section):
    """Training data, and what is held out for validation."""

    model_config = example({"train": [{"path": "data/chat.jsonl", "format": "chat"}], "holdout": "2%", "packing": True})

    train: Annotated[list[DataSource], Field(min_length=1, description="Sources to train on.")]
    validation: Annotated[
        list[DataSource] | None,
        Field(min_length=1, description="Sources whose loss is watched. At most one of validation, holdout."),
    ] = None
    holdout: Annotated[
        Percent | Annotated[int, Field(ge=1)] | None,
        Field(description="Part of the training rows kept back for validation: `2%`, or a number of rows."),
    ] = None
    packing: Annotated[
        bool, Field(description="Pack several rows into each sequence; attention stays within a row.")
    ] = False
    train_on: Annotated[
        Literal["assistant", "all"],
        Field(description="Tokens that carry loss: the assistant's turns (or outputs), or all."),
    ] = "assistant"
    shuffle: Annotated[bool, Field(description="Shuffle the rows, by `seed`.")] = True
    group_by_length: Annotated[
        bool, Field(description="Batch rows of similar length, which needs less padding but shuffles less.")
    ] = False
    workers: Annotated[
        int | None, Field(ge=0, le=1024, description="Loader processes per GPU. Default: 0 on CPU, 4 on GPU.")
    ] = None
    streaming: Annotated[
        bool,
        Field(
            description="Read rows while training instead of tokenising all first; needs train.steps. Only format text."
        ),
    ] = False
