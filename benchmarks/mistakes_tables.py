"""The tables that benchmarks/mistakes.py puts into the documents, from what was found."""

from collections.abc import Iterator, Mapping
from typing import Any

from mistakes_cases import FILES, NAMED, ROOT

TITLES = {
    "recipe": "`recipe check`",
    "axolotl": "Axolotl",
    "trl": "TRL",
    "llamafactory": "LLaMA-Factory",
    "deepspeed": "DeepSpeed",
    "accelerate": "accelerate",
}
Found = Mapping[str, Any]


def caught(verdict: Found) -> bool:
    """Tell whether a mistake was refused, or warned of by name; any other warning may be about anything."""
    return bool(verdict["error"]) or bool(verdict["warnings"] and verdict["located"])


def verdicts(found: Found, language: str, side: str = "wrong", kind: str | None = None) -> list[Found]:
    """Return what was said in a language of every mistake that it can say, or of what is right in their places."""
    rows = (row for row in found["mistakes"] if kind in (None, row["kind"]))
    return [row[language][side] for row in rows if side in row[language]]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "–"


def summary(found: Found) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of the table of the tools: a title, and a cell for each language."""
    every = {language: verdicts(found, language) for language in FILES}
    hits = {language: [v for v in said if caught(v)] for language, said in every.items()}
    named = {word: [v for kind in NAMED for v in verdicts(found, word, kind=kind)] for word in FILES}
    fine = {language: verdicts(found, language, "right") for language in FILES}
    yield "can be expressed in it", [str(len(every[word])) for word in FILES]
    yield "caught", [f"{_share(len(hits[word]), len(every[word]))} ({_percent(found, word)})" for word in FILES]
    yield (
        "caught with the right line",
        [_share(sum(v["located"] for v in hits[word]), len(every[word])) for word in FILES],
    )
    yield (
        "right name suggested, where there is one",
        [_share(sum(caught(v) and v["suggested"] for v in named[word]), len(named[word])) for word in FILES],
    )
    yield (
        "alarms where nothing is wrong",
        [_share(sum(bool(v["error"] or v["warnings"]) for v in fine[word]), len(fine[word])) for word in FILES],
    )
    for title, key in (("wall-clock time", "seconds"), ("user CPU time", "user_seconds"), ("peak memory", "mib")):
        own = found["cost"]["recipe"][key]
        yield f"{title}, cold process", [_times(found["cost"][word][key] / own) for word in FILES]


def _times(ratio: float) -> str:
    return f"{ratio:.0f} ×" if ratio >= 1.95 or ratio == 1 else f"{ratio:.1f} ×"


def _percent(found: Found, language: str) -> str:
    said = verdicts(found, language)
    return f"{100 * sum(map(caught, said)) / len(said):.0f}%"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [_line(heads), "|" + "---|" * len(heads), *map(_line, rows)]


def short_table(found: Found) -> str:
    """Return the table of the README."""
    heads = [f"{len(found['mistakes'])} mistakes, planted one at a time", *TITLES.values()]
    return "\n".join(_table(heads, [[title, *cells] for title, cells in summary(found)]))


def whole_table(found: Found) -> str:
    """Return the tables of docs/comparison.md: by tool, by kind, and every row."""
    heads = list(TITLES.values())
    kinds = list(dict.fromkeys(row["kind"] for row in found["mistakes"]))
    pace = "under" if found["cost"]["recipe"]["seconds"] < 1 else "over"
    lines = [
        *short_table(found).splitlines(),
        "",
        f"`recipe check` answers in {pace} a second, as a whole process.",
        "",
    ]
    by_kind = []
    for kind in kinds:
        said = [verdicts(found, word, kind=kind) for word in FILES]
        by_kind.append([kind, *(_share(sum(map(caught, cell)), len(cell)) for cell in said)])
    lines += ["Caught, of what can be written, by kind:", "", *_table(["kind", *heads], by_kind), ""]
    lines += ["What `recipe check` misses:", ""]
    missed = [r["what"] for r in found["mistakes"] if "wrong" in r["recipe"] and not caught(r["recipe"]["wrong"])]
    lines += [f"- {what}" for what in missed] or ["- nothing of this list"]
    lines += ["", "What it is alarmed by, though nothing is wrong:", ""]
    alarms = [
        f"- in the place of “{row['what']}”: {(verdict['error'] or verdict['warnings'][0])}"
        for row in found["mistakes"]
        if (verdict := row["recipe"].get("right")) and (verdict["error"] or verdict["warnings"])
    ]
    lines += alarms or ["- nothing of this list"]
    for kind in kinds:
        rows = [
            [row["what"], *(_cell(row, word) for word in FILES)] for row in found["mistakes"] if row["kind"] == kind
        ]
        lines += ["", f"### {kind.capitalize()}", "", *_table(["mistake", *heads], rows)]
    trained = [(row["what"], row["training"]) for row in found["mistakes"] if "training" in row]
    if trained:
        lines += ["", "### What Axolotl's validation lets through, really trained", ""]
        ends = [[what, "trains, exit code 0" if end == "trains" else "stops with an error"] for what, end in trained]
        lines += _table(["mistake", "its training then"], ends)
    return "\n".join(lines)


def _cell(row: Found, language: str) -> str:
    verdict = row[language].get("wrong")
    if verdict is None:
        return f"cannot be written: {row['because']}" if language == "recipe" and row["because"] else "–"
    if not caught(verdict):
        return "**missed**"
    code = verdict["error"] or verdict["warnings"][0]
    word = "refused" if verdict["error"] else "warned"
    parts = [f"{word} ({code.split()[0]})" if language == "recipe" else word]
    parts += ["located"] if verdict["located"] else []
    parts += ["suggested"] if verdict["suggested"] and row["kind"] in NAMED else []
    return ", ".join(parts)


def documents(found: Found) -> dict[Any, str]:
    """Return the documents with their tables as they should be. Raises ValueError where a marker is missing."""
    texts = {}
    for name, table in (("README.md", short_table(found)), ("docs/comparison.md", whole_table(found))):
        text = (ROOT / name).read_text(encoding="utf-8")
        begin, end = "<!-- mistakes: begin -->\n", "<!-- mistakes: end -->"
        if begin not in text or end not in text:
            raise ValueError(f"{name} has no place for the table")
        texts[ROOT / name] = text.partition(begin)[0] + begin + table + "\n" + end + text.partition(end)[2]
    return texts
