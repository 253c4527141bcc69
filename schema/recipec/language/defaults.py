"""What the language says of a key that is not written: its default, in words."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel

from recipec.language.recipe import Recipe
from recipec.source import Path

_DEFAULT = re.compile(r"Default: (.+?)\.?$")
_ABSENT = re.compile(r"Absent: (.+?)\.(?:\s|$)")


def without(path: Path) -> str | None:
    """Return what happens without the key at a path; an empty text where the language does not say, None for no key of it."""
    steps = [step for step in path if isinstance(step, str)]
    model: Any = Recipe
    for index, step in enumerate(steps):
        field = model.model_fields.get(step) if model is not None else None
        if field is None:
            return None
        section = _section(field.annotation)
        if index < len(steps) - 1:
            model = section
            continue
        if isinstance(field.default, str | int | float):
            said = str(field.default).lower() if isinstance(field.default, bool) else f"{field.default}"
            return f"the default is {said}"
        found = _DEFAULT.search(field.description or "")
        if found:
            return f"the default is: {found[1]}"
        absent = _ABSENT.search(section.__doc__ or "") if section is not None else None
        return absent[1] if absent else ""
    return None


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a type holds, within lists, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for member in get_args(annotation) if (found := _section(member)) is not None), None)
