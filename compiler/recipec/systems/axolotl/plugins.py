"""Axolotl's plugins: Liger's kernels, and those of ours beside the configuration for what it has no keys for."""

from __future__ import annotations

from typing import Any

from recipec.contracts import OWN_PLUGINS
from recipec.kinds.train.records import Train
from recipec.source import is_list
from recipec.systems.huggingface import without_steps
from recipec.systems.programs import program
from recipec.systems.table import OMIT, Row

LIGER = "axolotl.integrations.liger.LigerPlugin"
FLOAT_WEIGHTS, DECAY_SHARE = f"{OWN_PLUGINS}.FloatWeights", f"{OWN_PLUGINS}.DecayShare"
TRACKIO_PROJECT = f"{OWN_PLUGINS}.TrackioProject"


def _own(
    load_in: str, precision: str, strategy: str, scheduler: str, decay: float, unit: str, trackio: str | None
) -> list[str]:
    """Return plugins of ours. DeepSpeed keeps fp32 copies of the weights by itself."""
    floats = load_in == "fp32" != precision and not strategy.startswith("zero")
    share = scheduler == "warmup_stable_decay" and without_steps(decay, unit)
    return [FLOAT_WEIGHTS] * floats + [DECAY_SHARE] * share + [TRACKIO_PROJECT] * (trackio is not None)


def _all(liger: bool, *own: Any) -> Any:
    return [LIGER] * liger + _own(*own) or OMIT


def _back(plugins: Any) -> dict[str, Any]:
    told: list[str] = plugins if is_list(plugins) else []
    found: dict[str, Any] = {"numerics.liger_kernel": True} if LIGER in told else {}
    return found | ({"model.load_in": "fp32"} if FLOAT_WEIGHTS in told else {})


ROW = Row(
    ("plugins",),
    (
        "numerics.liger_kernel",
        "model.load_in",
        "numerics.precision",
        "parallel.strategy",
        "optimizer.scheduler",
        "optimizer.decay",
        "length.unit",
        "track.trackio_project",
    ),
    _all,
    _back,
    adds=True,
)


def files(s: Train) -> dict[str, str]:
    """Return the module of our plugins, where one of them is used."""
    o, how = s.optimizer, (s.model.load_in, s.numerics.precision, s.parallel.strategy)
    own = _own(*how, o.scheduler, o.decay, s.length.unit, s.track.trackio_project)
    return {f"{OWN_PLUGINS}.py": program("axolotl_plugins.py")} if own else {}
