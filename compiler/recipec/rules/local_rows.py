"""What the rows of local files say against the recipe: found by `recipec.rows`, told at the places of the recipe."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any, NamedTuple

from recipec.decide.decision import Decision
from recipec.decide.said import Said, indexed
from recipec.diagnostics import Finding, Severity
from recipec.facts import pinned, version
from recipec.facts.models import known_model
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import DataSource, Train
from recipec.plan import Stage
from recipec.plural import counted
from recipec.source import Span
from recipec.systems.registry import system

if TYPE_CHECKING:
    from recipec.rows.judging import RowUse
    from recipec.rows.survey import RowSurvey

REPEATED = 0.2  # share of repeated rows above which it is told: some repeat rows on purpose, to weigh them
MOSTLY = 0.5  # share of repeated rows above which it is told although nothing is held out
PASSES = 200  # over the same rows, above which nothing is meant to be learnt but the rows themselves
LONG = 100  # steps: below that, a checkpoint at the end is enough
ENOUGH = 10  # rows of which a share says something
UNBALANCED = 4  # weighed good and bad rows may differ by this factor; arXiv:2402.01306 takes 1 to 4/3
GROUPS = ("train", "validation")
READ = {"quantize": "quantize.calibration.data", "generate": "generate.prompts"}  # what other kinds than trainings read
# The tokenizer's own templates (facts/models.yaml) in which user and assistant must alternate, or a system turn is refused.
ALTERNATING, WITHOUT_SYSTEM = ("llama2", "mistral", "gemma"), ("gemma",)
GEMMA = re.compile(
    r"[^/]+/(?:code)?gemma-(?:(?:1\.1|2)-)?\d+b-it", re.IGNORECASE
)  # from 3 on its template takes a system turn
WITHOUT_TOOLS = ("llama2", "zephyr", "gemma")  # those of them that write no tools


class Seen(NamedTuple):
    """A source that was looked at: the path of its words, what the plan says of it, and what it holds."""

    here: str
    source: DataSource
    survey: RowSurvey


def findings(decision: Decision, wrong: Set[Span]) -> Iterator[Finding]:
    """Yield what is wrong with the rows that every stage reads; sources with words at `wrong` places are not looked at."""
    for stage in decision.resolved.plan.stages:
        said: Said = decision.said[stage.name]
        if stage.kind == "train" and not said.unsure(("data", "train.method")):
            yield from _of_training(said, stage.body, wrong, _marked_arrays(stage.environment))
        elif stage.kind in READ:
            yield from _of_reading(said, stage, wrong)


def _of_reading(said: Said, stage: Stage[Any], wrong: Set[Span]) -> Iterator[Finding]:
    """Yield what is wrong with rows that are read, and not trained on."""
    words = READ[stage.kind]
    if not said.wrote(words):  # they are those of a training
        return
    from recipec.rows.judging import RowUse

    s, use = stage.body, RowUse(marked_arrays=_marked_arrays(stage.environment))
    counts: list[int | None] = []
    for index, source in enumerate(s.sources):
        here = indexed(words, index)
        survey = _looked_at(said, here, source, use, wrong)
        counts.append(survey.total if survey is not None else None)
        for found in survey.problems if survey is not None else ():
            mapped = f"{here}.columns.{found.column}"
            where = mapped if found.column and said.wrote(mapped) else f"{here}.path"
            yield _told(said, found.code, where, found.message, found.advice, found.suggestion, found.severity)
    known = sum(count or 0 for count in counts)
    if stage.kind == "quantize" and known and None not in counts and known < s.rows:
        message = f"{counted(known, 'row')} of {s.rows:,} that are to be read"
        word = "quantize.calibration.rows"
        where = word if said.wrote(word) else f"{indexed(words, 0)}.path"
        yield _told(said, "D037", where, message, "give more rows, or say that fewer are read: calibration.rows")


def _looked_at(said: Said, here: str, source: DataSource, use: RowUse, wrong: Set[Span]) -> RowSurvey | None:
    """Return what a local file holds; None where it is not here, or something is wrong with what the recipe says of it."""
    if source.path is None or not source.path.isprintable() or _at(said, here, wrong):
        return None
    if not os.path.isfile(source.path):  # noqa: PTH113  # pathlib takes longer to load
        return None  # `local_files` looks for it
    return _survey(source, use)


def _of_training(said: Said, s: Train, wrong: Set[Span], marked_arrays: bool) -> Iterator[Finding]:
    seen: dict[str, list[Seen]] = {group: [] for group in GROUPS}
    for group in GROUPS:
        for index, source in enumerate(getattr(s.data, group)):
            here = indexed(f"data.{group}", index)
            survey = _looked_at(said, here, source, _use(s, source, marked_arrays=marked_arrays), wrong)
            if survey is None:
                continue
            seen[group].append(Seen(here, source, survey))
            for found in survey.problems:
                mapped = f"{here}.columns.{found.column}"
                where = mapped if found.column and said.wrote(mapped) else f"{here}.path"
                if (
                    found.code == "D026" and found.severity == "error" and said.wrote("model.max_length")
                ):  # of every row
                    where = "model.max_length"
                yield _told(said, found.code, where, found.message, found.advice, found.suggestion, found.severity)
    yield from _twice(said, s)
    yield from _together(said, s, seen)
    yield from _balance(said, s, seen["train"])


def absent(s: Train, environment: str) -> frozenset[str]:
    """Return which of the kinds that checks of systems are about no row of a training has: all its rows lie here, and were read."""
    found: list[RowSurvey] = []
    for source in (*s.data.train, *s.data.validation):
        here = source.path is not None and source.path.isprintable() and os.path.isfile(source.path)  # noqa: PTH113
        survey = _survey(source, _use(s, source, marked_arrays=_marked_arrays(environment))) if here else None
        if survey is None or survey.total is None or survey.longest is None:
            return frozenset()
        found.append(survey)
    some = {
        "long": any((one.longest or 0) > s.model.max_length for one in found),
        "odd turns": any(one.odd_turns for one in found),
        "blanks": any(one.blanks for one in found),
        "text answers": any(one.text_answers for one in found),
    }
    return frozenset(kind for kind, there in some.items() if not there)


def counted_rows(s: Train, source: DataSource, environment: str) -> int | None:
    """Return how many rows a local source of a training has; None where its file is not here, or was not read to its end."""
    here = source.path is not None and source.path.isprintable() and os.path.isfile(source.path)  # noqa: PTH113
    survey = _survey(source, _use(s, source, marked_arrays=_marked_arrays(environment))) if here else None
    return survey.total if survey is not None else None


def _marked_arrays(environment: str) -> bool:
    """Return whether `datasets` of an environment reads a JSON array behind a byte order mark, as it does from 5.0 on."""
    try:
        return version(pinned(environment, "datasets")) >= (5,)
    except (LookupError, OSError):
        return True


def _use(s: Train, source: DataSource, *, marked_arrays: bool) -> RowUse:
    """Return what a training does with the rows of a source."""
    from recipec.rows.judging import RowUse

    trainer, template = system(s.trainer), s.model.chat_template
    turns = source.format == "instruction" and template not in ("tokenizer", "alpaca")
    talks = source.format in ("chat", "prompt") or "messages" in source.columns
    known = known_model(s.model.tokenizer) if template == "tokenizer" else None
    own = (known.template or "") if known is not None else template
    if own in ("", "tokenizer") and GEMMA.fullmatch(s.model.tokenizer):
        own = "gemma"
    alternating, without = (
        (ALTERNATING, WITHOUT_SYSTEM) if template == "tokenizer" else (trainer.alternating, trainer.without_system)
    )
    named = template != "tokenizer" and s.model.chat_template_file is None
    wordless = known is not None and (
        own in WITHOUT_TOOLS or (own == "llama3" and "<|python_tag|>" not in known.tokens)  # 3.0 has no tools, 3.1 has
    )
    strict = talks and s.model.chat_template_file is None
    return RowUse(
        max_length=0 if source.format == "text" or METHODS[s.method].online else s.model.max_length,
        templated=turns or talks,
        alternating=own if strict and own in alternating else "",
        without_system=own if strict and own in without else "",
        without_tools=own if talks and (wordless or (named and own not in trainer.writing_tools)) else "",
        pairs=trainer.pairs,
        unpaired_turns=trainer.unpaired_turns,
        reads=None if trainer.reads is None else _read(trainer.reads, source),
        marked_arrays=marked_arrays,
    )


def _at(said: Said, here: str, wrong: Set[Span]) -> bool:
    """Return whether something stands at a path or below it that is at one of the `wrong` places."""
    below = (here + ".", here + "[")
    return any(said.span(path) in wrong for path in said.nodes if path == here or path.startswith(below))


def _told(
    said: Said,
    code: str,
    path: str,
    message: str,
    advice: str,
    suggestion: str | None = None,
    severity: Severity = "warning",
) -> Finding:
    return Finding(code, message, said.span(path), suggestion, advice, severity)


def _read(reads: Mapping[str, frozenset[str]], source: DataSource) -> frozenset[str]:
    """Return what is read of the rows of a source beside its columns: nothing of texts."""
    texts = source.format == "preference" and "prompt" in source.columns
    return frozenset() if texts else reads.get(source.format, frozenset())


def _survey(source: DataSource, use: RowUse) -> RowSurvey | None:
    from recipec.rows.judging import RowSource  # json and csv are off the way of what cannot be looked at
    from recipec.rows.survey import survey_rows

    return survey_rows(RowSource(str(source.path), source.format, source.columns, source.roles, use))


def _twice(said: Said, s: Train) -> Iterator[Finding]:
    """Tell of a source that stands in the recipe twice, also where its path is written in another way."""
    first: dict[object, int] = {}
    for index, source in enumerate(s.data.train):
        if source.path is not None and not source.path.isprintable():
            continue
        before = first.setdefault(_place(source), index)
        if before == index:
            continue
        here = indexed("data.train", index)
        where = f"{here}.{'path' if source.path is not None else 'hub'}"
        message = f"{source.path or source.hub} is given twice: it is data.train[{before}] too"
        message += ", so most held-out rows are also training rows" if s.data.holdout else ""
        more = " beside data.validation" if s.data.holdout else ""
        advice = f"drop one of them; to take its rows twice, set weight: 2{more}"
        yield _told(said, "D021", where, message, advice, None, "error" if s.data.holdout else "warning")
    for index, source in enumerate(s.data.validation):
        compared = source.path is not None and os.path.exists(source.path)  # noqa: PTH110  # row by row
        if _place(source) in first and not compared:
            where = f"{indexed('data.validation', index)}.{'path' if source.path is not None else 'hub'}"
            message = (
                f"{source.path or source.hub} is validation and training data: data.train[{first[_place(source)]}]"
            )
            advice = "name other rows, or cut them from the training rows: holdout: 2%"
            yield _told(said, "D021", where, message, advice)


def _place(source: DataSource) -> tuple[object, ...]:
    """Return what two mentions of the same rows have in common."""
    place = os.path.realpath(source.path) if source.path is not None else source.hub
    return (place, source.subset, source.split, source.revision, source.format, str(source.columns))


def _together(said: Said, s: Train, seen: dict[str, list[Seen]]) -> Iterator[Finding]:
    """Yield what is wrong with all sources together: rows in two of them, and too few rows for a step or for the schedule."""
    train = {row for _, _, survey in seen["train"] for row in survey.row_hashes}
    for here, _, survey in seen["validation"]:
        both = sum(count for row, count in survey.row_hashes.items() if row in train)
        if both:
            message = f"{both:,} of {survey.row_hashes.total():,} validation rows are also training rows"
            advice = "remove them from one of the two: their loss says nothing about new data"
            yield _told(said, "D013", f"{here}.path", message, advice)
    held = s.data.holdout
    for at, (here, source, survey) in enumerate(seen["train"]):
        known, repeated = survey.row_hashes.total(), survey.row_hashes.total() - len(survey.row_hashes)
        if known >= ENOUGH and repeated > (REPEATED if held else MOSTLY) * known:
            message = f"{repeated:,} of {known:,} rows are repeated"
            message += ": most held-out rows are also training rows" if held else ""
            advice = "drop them" + (", or give data.validation" if held else " and weigh sources by weight")
            yield _told(said, "D012", f"{here}.path", message, advice)
        for _, other, earlier in seen["train"][:at]:
            both = sum(count for row, count in survey.row_hashes.items() if row in earlier.row_hashes)
            same = os.path.realpath(str(other.path)) == os.path.realpath(str(source.path))
            if known >= ENOUGH and both > REPEATED * known and not same:
                message = f"{both:,} of {known:,} rows of {source.path} are also in {other.path}"
                message += ": held-out rows are also training rows" if held else ""
                advice = "drop them from one of the two; weight says how often the rows of a source are taken"
                yield _told(said, "D022", f"{here}.path", message, advice)
                break
    counts = [survey.total for _, _, survey in seen["train"]]
    sources = s.data.train
    if not sources or len(counts) < len(sources) or any(count is None for count in counts):
        return
    total = sum((count or 0) * source.weight for count, source in zip(counts, sources, strict=True))
    left = total - (held if isinstance(held, int) else int(total * held))
    if total and left < 1:
        message = f"holdout {held} leaves nothing of {total:,} rows to train on"
        yield _told(said, "P052", "data.holdout", message, "hold out fewer rows", None, "error")
    elif total and left < s.batch.total and not METHODS[s.method].online:
        rows = counted(left, "row")
        message = f"{rows} for batches of {s.batch.total:,}: an epoch is one step with an incomplete batch"
        yield _told(said, "D014", "train.batch_size", message, "lower batch_size, or is it the right file?")
    if total and left >= 1 and s.length.unit == "epochs" and not METHODS[s.method].online:
        yield from _schedule(said, s, left)
    passes = s.length.amount * s.batch.total / left if left >= 1 and s.length.unit == "steps" else 0
    if passes > PASSES and not METHODS[s.method].online and not s.data.packing:
        steps, rows = counted(s.length.amount, "step"), counted(left, "row")
        message = f"{steps} of {s.batch.total:,} are {passes:,.0f} passes over {rows}"
        advice = "train.steps counts batches, not rows; a few passes are usual"
        yield _told(said, "D033", "train.steps", message, advice)


def _schedule(said: Said, s: Train, rows: int) -> Iterator[Finding]:
    """Tell of a schedule, checkpoints and validations that come later than the last step; a text may become several rows."""
    if any(source.format == "text" for source in s.data.train):
        return
    steps = math.ceil(math.ceil(rows / s.batch.total) * s.length.amount)
    give = f"{counted(rows, 'row')} in batches of {s.batch.total:,} for {counted(s.length.amount, 'epoch')} are "
    give += f"{'at most ' if s.data.packing else ''}{counted(steps, 'step')}"
    for word in ("warmup", "decay"):
        long = getattr(s.optimizer, word)
        if isinstance(long, int) and long > steps:
            never = "the learning rate never reaches its peak" if word == "warmup" else "it is longer than the training"
            advice = f"give a share, such as {word}: {'3%' if word == 'warmup' else '10%'}, or fewer steps"
            yield _told(
                said, "D027", f"train.{word}", f"{give}, and {word} takes {long:,}: {never}", advice, None, "error"
            )
    if rows < s.batch.total:
        return  # it is told that these are too few rows
    save, look = s.watch.save_every, s.watch.evaluate_every
    if isinstance(save, int) and save > steps >= LONG:
        message = f"{give}, and the first checkpoint would come at step {save:,}"
        yield _told(said, "D028", "train.save.every", message, "save more often")
    if isinstance(look, int) and look > steps and (s.data.holdout or s.data.validation):
        message = f"{give}, and the first validation would come at step {look:,}"
        yield _told(said, "D028", "train.evaluate_every", message, "validate more often, or drop the validation data")
    if s.watch.log_every > steps and said.wrote("train.log_every"):
        message = f"{give}, and the first loss would be logged at step {s.watch.log_every:,}"
        yield _told(said, "D028", "train.log_every", message, "log more often")


def _balance(said: Said, s: Train, seen: list[Seen]) -> Iterator[Finding]:
    """Tell of good and bad rows whose weighed numbers are far from one another."""
    if s.objective is None or not s.objective.desirable_weight or not s.objective.undesirable_weight:
        return
    good, bad = (sum(one.survey.labels[label] * one.source.weight for one in seen) for label in (True, False))
    weighed = good * s.objective.desirable_weight, bad * s.objective.undesirable_weight
    if good + bad < ENOUGH or not good or not bad or max(weighed) <= UNBALANCED * min(weighed):
        return
    rare = "undesirable" if weighed[0] > weighed[1] else "desirable"
    now = getattr(s.objective, f"{rare}_weight")
    better = float(f"{now * max(weighed) / min(weighed):.2g}")
    message = f"labels true and false are {good:,} to {bad:,}: the {rare} rows hardly count"
    written = next(
        (f"train.{word}_weight" for word in (rare, "undesirable", "desirable") if said.wrote(f"train.{word}_weight")),
        "",
    )
    yield _told(
        said, "D025", written or f"{seen[0].here}.path", message, f"weigh them: train.{rare}_weight: {better:g}"
    )
