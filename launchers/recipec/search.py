"""What a search tries next: values that Optuna (TPE) chooses by what the trials so far have measured.

Nothing of Optuna is kept between two questions: the trials' own records are all that there is to know, so that a search goes
on after a stop as if there had been none. Needs optuna (`pip install 'recipec[search]'`).
"""

from __future__ import annotations

import hashlib
import importlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.source import Plain, Span, plain
from recipec.sweep import Range, Search, Setting

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TRIES = 50  # proposals that are all known already; then any that is not known will do
DRAWS = 1000  # of those; then there is nothing left to try


class Tried(NamedTuple):
    """A trial: its values by their paths, how it stands, and what it has measured where that is `measured`."""

    values: Mapping[str, Plain]
    state: Literal["measured", "running", "failed", "refused"]
    value: float | None = None


def needed(span: Span) -> None:
    """Check that Optuna is there. Raises RecipeError, at the place of the sweep."""
    try:
        importlib.import_module("optuna")
    except ImportError:
        advice = "install it with: pip install 'recipec[search]'"
        raise RecipeError([Finding("S066", "a search needs the package optuna", span, help=advice)]) from None


def proposal(search: Search, tried: Sequence[Tried], *, least: bool) -> tuple[Setting, ...] | None:
    """Return the settings of the next trial, the same for the same trials; None where all that can be were tried.

    `least`: the smallest value is the best. What the rules refuse, and a value that is not finite, counts as worse than all
    others; what failed, as nothing. A running trial is taken for a bad one, so that several at once are unlike one another.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {one.path: _space(one) for one in search.ranges}
    known = [dict(one.values) for one in tried]
    past = [trial for one in tried if (trial := _trial(search, one, spaces)) is not None]
    for attempt in range(TRIES):
        text = f"{search.seed}:{len(tried)}:{attempt}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        sampler = optuna.samplers.TPESampler(n_startup_trials=1, seed=seed, constant_liar=True)
        study = optuna.create_study(sampler=sampler, direction="minimize" if least else "maximize")
        study.add_trials(past)
        numbers = study.ask(spaces).params
        found = search.chosen([numbers[one.path] for one in search.ranges])
        if _values(found) not in known:
            return found
    drawn = random.Random(f"{search.seed}:{len(tried)}")  # no secret
    for _ in range(DRAWS):
        found = tuple(Setting(one.path, one.key, one.drawn(drawn.random())) for one in search.ranges)
        if _values(found) not in known:
            return found
    return None


def _values(settings: Sequence[Setting]) -> dict[str, Plain]:
    return {one.path: plain(one.value) for one in settings}


def _space(one: Range) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    low, high = one.ends
    match one.word:
        case "choice":
            return CategoricalDistribution(range(int(high) + 1))
        case "integer":
            return IntDistribution(int(low), int(high))
        case word:
            return FloatDistribution(low, high, log=word == "log_uniform")


def _trial(search: Search, one: Tried, spaces: dict[str, BaseDistribution]) -> FrozenTrial | None:
    """Return a trial as Optuna keeps it."""
    from optuna.trial import TrialState, create_trial

    params = {where.path: where.number(one.values[where.path]) for where in search.ranges}
    match one.state:
        case "measured" if one.value is not None and math.isfinite(one.value):
            return create_trial(params=params, distributions=spaces, value=one.value)
        case "measured" | "refused":
            return create_trial(params=params, distributions=spaces, state=TrialState.PRUNED)
        case "running":
            return create_trial(params=params, distributions=spaces, state=TrialState.RUNNING)
        case _:
            return None


__all__ = ["Tried", "needed", "proposal"]
