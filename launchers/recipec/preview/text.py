"""A preview as text: which tokens are trained and which are masked, and how long the rows are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recipec.plural import counted
from recipec.preview.rows import Packing, Piece, Row, SourcePreview, StagePreview
from recipec.source import visible

BARS, WIDTH = 8, 40  # most rows in a histogram, and the length of its longest bar in characters
TRAINED, MASKED, SPECIAL = "32", "2", "1"  # ANSI codes: green, dim, bold


def page(stages: Sequence[StagePreview], *, colour: bool) -> str:
    """Return the previews of stages as one text."""
    return "\n".join(_stage(stage, colour=colour) for stage in stages)


def _stage(stage: StagePreview, *, colour: bool) -> str:
    lines = [f"{stage['stage']} by {stage['trainer']} {stage['release']}".rstrip()]
    lines += [f"note: {note}" for note in stage["notes"]]
    if any("ids" in row for source in stage["sources"] for row in source["rows"]):
        lines.append(
            "trained tokens are green, masked ones dim" if colour else "⟦trained tokens⟧, the others are masked"
        )
    for source in stage["sources"]:
        for number, row in enumerate(source["rows"], 1):
            lines += ["", _head(source, row, number), *_row(row, colour=colour)]
        if lengths := source.get("lengths"):
            lines += ["", *_counts(source, lengths, stage["max_length"])]
    if stage["packing"]:
        lines.append(packing_line(stage["packing"], stage["max_length"]))
    return "\n".join(lines) + "\n"


def _head(source: SourcePreview, row: Row, number: int) -> str:
    head = f"{source['name']} ({source['format']}), row {number}"
    if "ids" not in row:
        return head
    cut = f", cut from {row['cut_from']:,}" if "cut_from" in row else ""
    return f"{head}: {counted(len(row['ids']), 'token')}{cut}, {sum(row['mask'])} trained"


def _row(row: Row, *, colour: bool) -> list[str]:
    if "pieces" in row:
        return marked(row["pieces"], colour=colour).split("\n")
    return [line for name, text in row["texts"].items() for line in _part(name, text)]


def _part(name: str, text: str) -> list[str]:
    first, *others = _shown(text).removesuffix("\n").split("\n")
    return [f"  {name}: {first}", *(f"    {line}" for line in others)]


def marked(pieces: Sequence[Piece], *, colour: bool) -> str:
    """Return a row as indented lines.

    Trained text is green when `colour` is set, else between ⟦ and ⟧. Line breaks in the row are shown as ⏎.
    """
    text, inside = "", False
    for said, trained, special, _tokens in pieces:
        shown = _shown(said)
        if colour:
            style = f"{TRAINED if trained else MASKED}{';' + SPECIAL if special else ''}"
            text += "\n".join(f"\x1b[{style}m{line}\x1b[0m" if line else "" for line in shown.split("\n"))
            continue
        if bool(trained) != inside:
            text = text + "⟦" if trained else _closed(text)
            inside = bool(trained)
        text += shown
    text = _closed(text) if inside else text
    return re.sub(r"^", "  ", text.removesuffix("\n"), flags=re.MULTILINE)


def _closed(text: str) -> str:
    """Return text with ⟧ after it, before a final line break."""
    return f"{text[:-1]}⟧\n" if text.endswith("\n") else f"{text}⟧"


def _shown(text: str) -> str:
    return "\n".join(visible(line) for line in re.split(r"(?<=⏎)\n", text.replace("\n", "⏎\n")))


def _counts(source: SourcePreview, lengths: Sequence[int], limit: int) -> list[str]:
    more, cut, dropped = source.get("more", 0), source.get("cut", 0), source.get("dropped", 0)
    head = f"lengths of {counted(len(lengths), 'row')} of {source['name']}, in tokens"
    lines = [f"{head} ({more:,} more not read)" if more else head]
    lines += [f"  {low:>6,}–{high:<6,} {'█' * cells:{WIDTH}} {count:,}" for low, high, count, cells in bars(lengths)]
    kept = len(lengths) - dropped - cut
    lines.append(f"  at max_length {limit:,}: {kept:,} kept, {cut:,} cut, {dropped:,} dropped")
    if (trained := source.get("trained")) is not None:
        lines.append(f"  trained: {share(sum(trained), sum(lengths))} of the tokens")
    return lines


def packing_line(packing: Packing, limit: int) -> str:
    """Return the line that says how full packed sequences are."""
    full = share(packing["tokens"], packing["room"])
    sequences = counted(packing["sequences"], "sequence")
    return f"packing: {counted(packing['tokens'], 'token')} in {sequences} of {limit:,}: {full} full"


def share(part: int, whole: int) -> str:
    """Return a percentage with one decimal."""
    return f"{part / whole:.1%}" if whole else "0%"


def histogram(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (first, last, rows) for at most BARS bins of equal width, which is 1, 2 or 5 times a power of ten."""
    low, high = min(lengths), max(lengths)
    widths = (base * 10**power for power in range(12) for base in (1, 2, 5))
    width = next(width for width in widths if high // width - low // width < BARS)
    first = low // width
    counts = [0] * (high // width - first + 1)
    for length in lengths:
        counts[length // width - first] += 1
    return [((first + i) * width, (first + i + 1) * width - 1, count) for i, count in enumerate(counts)]


def bars(lengths: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Return the bins of a histogram, each with the length of its bar, which is 0 only for an empty bin."""
    bins = histogram(lengths)
    most = max(count for *_, count in bins)
    return [(low, high, count, -(-count * WIDTH // most)) for low, high, count in bins]
