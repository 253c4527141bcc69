"""What is wrong with rows as the model will see them, as findings at the line that names the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recipec.diagnostics import Finding
from recipec.preview.rows import Piece, SourcePreview, StagePreview
from recipec.source import Span


def findings(stage: StagePreview, spans: Sequence[Span | None], file: str) -> list[Finding]:
    """Return findings D090 to D092 for the preview of a stage; `spans` are the places that name its sources."""
    found: list[Finding] = []
    for source, span in zip(stage["sources"], spans, strict=True):
        found += [finding._replace(span=span, file=None if span else file) for finding in _of_source(source, stage)]
    return found


def _of_source(source: SourcePreview, stage: StagePreview) -> Iterator[Finding]:
    rows = [row for row in source["rows"] if "ids" in row]
    if rows and not any(any(row["mask"]) for row in rows):
        first = "row" if len(rows) == 1 else f"{len(rows)} rows"
        message = f"{source['name']}: no token is trained in the first {first}"
        advice = "check that the roles are mapped (roles: {assistant: […]}) and the answers are not empty"
        yield Finding("D091", message, help=advice)
        return
    if stage["method"] == "sft":  # in pre-training, a text may end anywhere
        for number, row in enumerate(rows, 1):
            whole = "cut_from" not in row and len(row["ids"]) <= stage["max_length"]
            wrong = stop_problem(row["pieces"], whole=whole)
            if wrong:
                message = f"{source['name']}, row {number}: {wrong}, so the model does not learn to stop"
                advice = "use a chat template whose turns end with the tokenizer's end-of-turn token"
                yield Finding("D090", message, help=advice, severity="warning")
                break
    lengths, dropped = source.get("lengths", []), source.get("dropped", 0)
    if dropped * 2 > len(lengths):
        count = f"{dropped:,} of {len(lengths):,} rows"
        message = f"{source['name']}: {count} dropped, because they are longer than max_length {stage['max_length']:,}"
        yield Finding("D092", message, help="raise model.max_length, or split the rows", severity="warning")


def stop_problem(pieces: Sequence[Piece], *, whole: bool = True) -> str | None:
    """Return what is wrong with the end of an answer; None when every trained run ends with a trained special token.

    When a row was cut (it is not `whole`), its last run is not checked.
    """
    for index, (_text, trained, _special, _tokens) in enumerate(pieces):
        after = index + 1
        if not trained or (after < len(pieces) and pieces[after][1]):
            continue
        if after == len(pieces) and not whole:
            continue
        last = index
        while last > 0 and pieces[last][1] and not pieces[last][2] and not pieces[last][0].strip():
            last -= 1  # a line break after the stop token
        if pieces[last][1] and pieces[last][2]:
            continue
        if after < len(pieces) and pieces[after][2]:
            return f"the token {pieces[after][0]} that ends the answer is masked"
        return "no token ends the answer"
    return None
