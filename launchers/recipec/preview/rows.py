"""Rows as the model will see them, as data: what the preparing scripts answer, and what `recipe data --json` prints."""

from __future__ import annotations

from typing import NotRequired, TypedDict, final

Piece = tuple[str, bool, bool, int]  # a run of tokens: its text, is it trained, is it a special token, how many tokens


@final
class TokenRow(TypedDict):
    """A row as tokens. `ids` and `mask` have one entry for each token, `mask` is 1 where it carries loss."""

    ids: list[int]
    mask: list[int]
    pieces: list[Piece]
    cut_from: NotRequired[int]  # tokens before the trainer cut the row


@final
class TextRow(TypedDict):
    """A row as texts, by role or column."""

    texts: dict[str, str]


Row = TokenRow | TextRow


class Packing(TypedDict):
    """How full the packed sequences of a training are; `tokens` and `room` count tokens."""

    sequences: int
    tokens: int
    room: int


class SourceRows(TypedDict):
    """The first rows of one source and, where it was read as tokens, the lengths of all rows that were read."""

    rows: list[Row]
    why: NotRequired[str]  # why there are no rows
    read: NotRequired[int]
    more: NotRequired[int]  # rows beyond those that were read
    lengths: NotRequired[list[int]]  # tokens of each row
    trained: NotRequired[list[int] | None]  # trained tokens of each row; None where the method decides
    dropped: NotRequired[int]
    cut: NotRequired[int]
    histogram: NotRequired[list[tuple[int, int, int]]]  # first and last length of each bin, and its rows


class Answer(TypedDict, total=False):
    """What a script answers; only `missing` when a tokenizer or model is not in the local cache of the hub."""

    missing: str
    notes: list[str]
    versions: dict[str, str]
    template: str | None  # SHA-256 of the chat template
    packing: Packing | None
    sources: list[SourceRows]


class SourcePreview(SourceRows):
    """One source of a training."""

    name: str
    format: str


class StagePreview(TypedDict):
    """One training."""

    stage: str
    trainer: str
    release: str
    method: str
    max_length: int
    tokenizer: str
    chat_template: str
    versions: dict[str, str]  # of the packages that decide what a row becomes; empty where no tokens are shown
    template_sha256: str | None
    packing: Packing | None
    notes: list[str]
    sources: list[SourcePreview]
