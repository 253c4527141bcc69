"""Contradictions between what is written and what YAML reads."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.language import Recipe
from recipec.language.defaults import without
from recipec.rules.rule import Context, Fault, contradiction
from recipec.source import Scalar, dotted, leaves


@contradiction("P222", "value-left-empty", "recipe", words=("recipe",), severity="warning", waivable=True)
def empty(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a key with nothing behind it.

    Why is this bad:
    YAML reads nothing as null, which is the same as if the key were not there. It looks as if something were set.

    Example:
        train:
          learning_rate: 1e-5
          micro_batch_size:

    Use instead:
        train:
          learning_rate: 1e-5
          micro_batch_size: 4

    When it is meant:
    The key is a reminder of what can be set. `null` says so without this warning.
    """
    for path, node in leaves(see.said.tree):
        place = dotted(path)
        told = path[-1:] == ("learning_rate",) or place == "model.base"  # where these are needed, it is an error
        if not isinstance(node, Scalar) or node.value is not None or node.text or told:
            continue
        if path[0] in ("overrides", "profiles", "variables") or isinstance(path[-1], int):
            continue
        words = without(path)
        if words is not None:
            message = f"{place} is left empty" + f": {words}" * bool(words)
            yield Fault(place, message, "write a value, or drop the key")


RULES = (empty,)
