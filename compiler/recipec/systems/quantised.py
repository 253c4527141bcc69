"""Who loads quantised weights: the package of each format, and an environment that holds it."""

from __future__ import annotations

from recipec.systems.system import Need
from recipec.systems.trainers import GENERAL

# Format → the package that Transformers loads it by, and the environment of who writes it.
READERS = {
    "compressed-tensors": ("compressed-tensors", "llmcompressor-0.14.0.1"),
    "gptqmodel": ("gptqmodel", "gptqmodel-7.6.0"),
}


def reading(packages: frozenset[str], form: str | None, alike: str = "") -> Need:
    """Return the need of a stage that loads a model by Transformers, in a format of quantised weights or in none."""
    if form is None:
        return Need(packages=packages, otherwise=GENERAL, alike=alike)
    package, environment = READERS[form]
    return Need(packages=packages | {package}, otherwise=environment, alike=alike)
