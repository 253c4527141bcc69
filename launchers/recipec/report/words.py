"""How a report words what it holds, the same on a page and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recipec.report.benchmarked import TIMES
from recipec.report.scores import p_text, score_text
from recipec.report.significance import Change, Score

MANY = 4  # runs of which a table has a column for each; more are its rows
_PAIRED = "rows are compared one by one, as both models answered the same (Miller 2024, arXiv:2411.00640)"
_METHODS = {
    "paired, McNemar's exact test": f"{_PAIRED}; p is of McNemar's exact test",
    "paired, normal": f"{_PAIRED}; p takes their mean difference as normal",
    "unpaired, normal": "answers to the same rows are not kept, or the score is no mean of them: errors are taken as independent",
    "unpaired": "too little is known to say what is chance",
}


def how_compared(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return in words how the scores of rows were compared; which rows, where not all in the same way."""
    tasks: dict[str, dict[str, None]] = {}
    for row in rows:
        for change in row["changes"].values():
            tasks.setdefault(change["method"], {})[f"{row['task']} {row['metric']}"] = None
    said = [f"{', '.join(names)}: {_METHODS[method]}." for method, names in sorted(tasks.items())]
    if len(tasks) == 1:
        said = [f"{_METHODS[method][0].upper()}{_METHODS[method][1:]}." for method in tasks]
    return " ".join(said)


def score_json_text(score: Mapping[str, Any] | None, sign: bool = False) -> str:
    """Return a score or a change in its machine-readable form as text."""
    return score_text(Score(score["value"], score["stderr"]) if score else None, sign=sign)


def declared_hardware(data: Mapping[str, Any]) -> str:
    """Return the hardware that the recipe declares, as text."""
    return next((fact["value"] for fact in data["facts"] if fact["name"] == "Hardware"), "not declared")


def machine_text(machine: Mapping[str, Any]) -> str:
    """Return the machine that a run really ran on, as text."""
    held: list[Mapping[str, Any]] = machine.get("gpus") or []
    gpus: list[str] = [gpu["name"] for gpu in held]
    parts = [f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus)]
    if cpu := machine.get("cpu"):
        parts.append(f"{cpu}, {machine['cores']} cores")
    if memory := machine.get("memory_gib"):
        parts.append(f"{memory:g} GiB")
    return f"{machine['host']}: {', '.join(parts)}" if parts else str(machine["host"])


def moment(time: str | None) -> str:
    """Return a time of a record as people write it."""
    return time.replace("T", " ").replace("Z", " UTC") if time else "–"


def count(number: int | None) -> str:
    """Return a number of rows as text."""
    return "not recorded" if number is None else f"{number:,}"


def plain(text: str) -> str:
    """Return the words of a plan without Markdown's marks for code."""
    return text.replace("`", "")


def short(value: float) -> str:
    """Return a value of one row as text."""
    return f"{value:.4g}"


QUANTISED = ("stage", "scheme", "by", "rows read", "weights", "perplexity before", "after", "change")


def quantised_cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how a model was quantised as the cells of a row."""
    bytes, before, after, change = (one[name] for name in ("bytes", "perplexity_before", "perplexity_after", "change"))
    size = "not recorded" if bytes is None else f"{bytes / 1e9:.2f} GB" if bytes >= 1e8 else f"{bytes / 1e6:.2f} MB"
    told = [f"{value:,.3f}" if value is not None else "–" for value in (before, after)]
    rows = count(one["rows"]) if one["rows"] else "none"
    changed = f"{change:+.2%}" if change is not None else "–"
    return one["stage"], f"{one['scheme']}, {one['method']}", one["tool"], rows, size, *told, changed


JUDGED = ("stage", "judge", "verdicts", "not read", "tokens in", "tokens out", "cost")


def judged_cells(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return what each judge of a stage was asked, as the cells of a row."""
    found: list[tuple[str, ...]] = []
    for judge in one["judges"]:
        numbers = (count(judge[name]) for name in ("verdicts", "unparsed", "input_tokens", "output_tokens"))
        cost = f"${judge['cost']:,.2f}" if judge["cost"] is not None else "no price"
        found.append((one["stage"], ", ".join(judge["versions"] or [judge["judge"]]), *numbers, cost))
    return found


def judged_notes(one: Mapping[str, Any]) -> list[str]:
    """Return in words how far the verdicts of a stage are to be believed."""
    found: list[str] = []
    pairs = one["pairs"]
    if pairs and pairs["position_bias"] is not None:
        longer = (
            f"; {pairs['longer']:.0%} of the verdicts that name one are for the longer answer"
            if pairs["longer"] is not None
            else ""
        )
        found.append(
            f"{one['stage']}: {pairs['wins']:.0%} wins, {pairs['ties']:.0%} ties, {pairs['losses']:.0%} losses against {one['against']}, a win or"
            f" a loss only where both orders say so. {pairs['position_bias']:.0%} of {pairs['pairs']} pairs of verdicts turn with the order,"
            f" {pairs['first']:.0%} for whatever stands first{longer}."
        )
    for two in one["agreement"]:
        kappa = f", kappa {two['kappa']:.2f}" if two["kappa"] is not None else ""
        names = " and ".join(two["judges"])
        found.append(f"{one['stage']}: {names} say the same of {two['same']:.0%} of {two['items']}{kappa}.")
    prompts, digest = ", ".join(one["prompts"] or []), str(one["prompts_sha256"])[:12]
    return [*found, f"{one['stage']}: asked by {one['asked_by']} with the prompts {prompts} (SHA-256 {digest}…)."]


def measured_on(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return on how many rows perplexities were measured."""
    told = ", ".join(f"{count(one['measured_rows'])} of {one['stage']}" for one in rows)
    return f"Perplexity by token, before and after on the same rows, which were not read to quantise: {told}. It says little of a task: compare the scores too."


MEASURED = (
    "settings",
    "load",
    "tokens/s",
    "requests/s",
    *(f"{what}, ms" for what in TIMES.values()),
    "unbeaten in",
    "failed",
)
MEASURED_NUMBERS = tuple(
    index for index, name in enumerate(MEASURED) if name not in ("settings", "load", "unbeaten in")
)  # the columns that hold numbers


def settings_text(point: str) -> str:
    """Return the name of a server's settings as text that can be broken."""
    return point.replace(",", ", ")


def measured_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a measurement as the cells of a row."""
    load = row["load"] or "every load"
    if row["problem"]:
        return settings_text(row["point"]), load, *["–"] * (len(MEASURED) - 3), row["problem"]
    speeds = [f"{row['output_tokens_per_second']:,.0f}", short(row["requests_per_second"])]
    times = [f"{row[word]:,.1f}" if row[word] is not None else "not seen" for word in TIMES]
    unbeaten = ", ".join(TIMES[word] for word in row["unbeaten"]) or "–"
    return settings_text(row["point"]), load, *speeds, *times, unbeaten, f"{row['failed']:,}"


def chosen(one: Mapping[str, Any]) -> str:
    """Return which settings of a server were the best, and by what."""
    limits = [f"{TIMES[word]} {value:g} ms" for word, value in one["limits"].items() if value is not None]
    held = f"{' and '.join(limits)} at most for {one['share']} % of requests" if limits else ""
    if one["best"] is None:
        return f"No settings held {held}." if limits else "No settings answered every request."
    reached = [
        f"{workload}: {found['output_tokens_per_second']:,.0f} tokens/s at {found['load']}"
        f" ({', '.join(f'{what} {found[word]:,.0f} ms' for word, what in TIMES.items() if found[word] is not None)})"
        for workload, found in one["best"]["loads"].items()
    ]
    within = f", with {held}" if held else ""
    return f"{settings_text(one['best']['point'])} wrote most{within}. {'; '.join(reached)}. The words for a recipe are in best.yaml of the stage's folder."


def measured_note(one: Mapping[str, Any]) -> str:
    """Return what the numbers of a server's measurements are."""
    share = f"times that {one['share']} % of requests did not exceed" if one["share"] != 50 else "medians of times"
    return f"Measured by {one['tool']}; {share}. Each once: differences of a few percent are chance. Unbeaten is what nothing else of the workload exceeds in tokens a second at so short a time."


__all__ = [
    "JUDGED",
    "MANY",
    "MEASURED",
    "MEASURED_NUMBERS",
    "QUANTISED",
    "Change",
    "chosen",
    "count",
    "declared_hardware",
    "how_compared",
    "judged_cells",
    "judged_notes",
    "machine_text",
    "measured_cells",
    "measured_note",
    "measured_on",
    "moment",
    "p_text",
    "plain",
    "quantised_cells",
    "score_json_text",
    "settings_text",
    "short",
]
