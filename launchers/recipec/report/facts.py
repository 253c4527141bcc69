"""The most important values of a plan, each with its source, and the versions of what ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from recipec.manifest import Manifest
from recipec.plural import counted
from recipec.references import PlanValue

PACKAGES = ("axolotl", "torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "datasets", "lm-eval")


class Fact(NamedTuple):
    """One row of the table about the plan; `source` is the place in the recipe that sets the value, or the reason for it."""

    name: str
    value: str
    source: str


def versions(lines: list[dict[str, Any]], manifest: Manifest) -> dict[str, str]:
    """Return the versions of the tools and of the most important packages, as pinned."""
    stages = [stage for stage in manifest.plan.stages if stage.release]
    found = {stage.system.replace("_", "-"): stage.release for stage in stages}  # as packages are named
    starts = [row for row in lines if row.get("event") == "run-started"]
    packages: dict[str, list[str]] = starts[-1].get("packages", {}) if starts else {}
    pinned = {line.partition("==")[0]: line.partition("==")[2] for pins in packages.values() for line in pins}
    found |= {name: pinned[name] for name in PACKAGES if name in pinned}
    return {name: found[name] for name in sorted(found, key=lambda name: [*PACKAGES, name].index(name))}


def facts(manifest: Manifest) -> list[Fact]:
    """Return the most important values of a plan, each with its source; those of several trainings with their names."""
    found: list[Fact] = []
    for name, root, leaves, show in _FACTS:
        for place, label in _places(manifest, root, name):
            paths = [f"{place}.{leaf}" for leaf in leaves]
            try:
                values = [manifest.value(path) for path in paths]
            except LookupError:  # such as the rank, where there is no adapter
                continue
            if values[0] in (None, False):
                continue
            reasons = [manifest.because[path] for path in paths if path in manifest.because]
            sources = [one.at for one in reasons] + [one.why for one in reasons] + [one.origin for one in reasons]
            found.append(Fact(label, show(*values), next((text for text in sources if text), "")))
    return found


def _places(manifest: Manifest, root: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield where the paths of a fact start, and what it is called there."""
    if root == "hardware":
        yield root, name
        return
    stages = list(manifest.plan.of_kind(root))
    for stage in stages[:1] if root == "evaluate" else stages:  # every evaluation has the same tasks
        yield stage.name, name if len(stages) == 1 or root == "evaluate" else f"{name} ({stage.name})"


def _plain(value: PlanValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _part(value: PlanValue) -> str:
    return f"{value:.0%}" if isinstance(value, float) and value < 1 else f"{_plain(value)}"


def _upper(text: str) -> str:
    return text.upper()


def _length(amount: float, unit: str) -> str:
    return f"{_plain(amount)} {unit}"


def _batch(total: int, micro: int, accumulation: int, processes: int) -> str:
    factors = f"{micro} micro × {accumulation} accumulation × {counted(processes, 'process')}"
    return f"{counted(total, 'sequence')} = {factors}"


def _learning_rate(rate: float, scheduler: str, warmup: float) -> str:
    return f"{rate:g}, {scheduler}, warm-up {_part(warmup)}"


def _hardware(gpu: str, per_node: int, nodes: int) -> str:
    return "CPU" if gpu == "none" else f"{gpu} × {per_node} × {counted(nodes, 'node')}"


# Name of the fact, kind of the stages that it is of (or `hardware`), paths below them, and what makes their values one
# text; a fact whose first value is absent is left out.
_FACTS: tuple[tuple[str, str, Sequence[str], Callable[..., str]], ...] = (
    (
        "From scratch",
        "init",
        ("model.family", "model.layers", "model.hidden_size", "model.heads", "model.vocab_size"),
        "{}, {} layers, hidden {}, {} heads, vocabulary {:,}".format,
    ),
    ("Model", "train", ("model.path",), _plain),
    ("Method", "train", ("method",), _upper),
    ("Adapter", "train", ("adapter.type", "adapter.rank", "adapter.alpha"), "{}, rank {}, alpha {:g}".format),
    ("Longest sequence", "train", ("model.max_length",), "{:,} tokens".format),
    ("Training data", "train", ("data.train.0.path", "data.train.0.format"), "{} ({})".format),
    ("Training data", "train", ("data.train.0.hub", "data.train.0.format"), "{} ({})".format),
    ("Held out", "train", ("data.holdout",), _part),
    ("Length", "train", ("length.amount", "length.unit"), _length),
    ("Batch", "train", ("batch.total", "batch.micro", "batch.accumulation", "batch.data_parallel"), _batch),
    (
        "Learning rate",
        "train",
        ("optimizer.learning_rate", "optimizer.scheduler", "optimizer.warmup"),
        _learning_rate,
    ),
    ("Optimiser", "train", ("optimizer.name",), _plain),
    ("Precision", "train", ("numerics.precision", "model.load_in"), "{}, weights in {}".format),
    ("Hardware", "hardware", ("gpu", "per_node", "nodes"), _hardware),
    ("Sharding", "train", ("parallel.strategy",), _plain),
    ("Evaluation", "evaluate", ("tasks",), _plain),
    ("Seed", "train", ("seed",), str),
)
