"""What editors show beside the bare JSON Schema: texts in Markdown with defaults, and an example for each key."""

from __future__ import annotations

from typing import Any

VARIABLE = {"type": "string", "pattern": r"^\$\{var:[^{}]+\}$"}
_NOTES = ("description", "markdownDescription", "default", "examples")


def for_editors(schema: dict[str, Any]) -> None:
    """Dress a recipe's schema for the YAML language server, in place: it takes `${var:NAME}` for any single value.

    Titles go, for they would stand above the text of every key below them. A key's example is the one in its
    section's worked example.
    """
    for section in (schema, *schema["$defs"].values()):
        section.pop("title", None)
        examples: list[dict[str, Any]] = section.get("examples") or [{}]
        worked = examples[0]
        for key, field in section["properties"].items():
            if (default := _default(field)) is not None:
                field["markdownDescription"] = f"{field['description']} Default: `{default}`."
            if key in worked and not isinstance(worked[key], dict | list):
                field.setdefault("examples", [_unquoted(worked[key])])
            _or_variable(field)


def _or_variable(field: dict[str, Any]) -> None:
    """Let `${var:NAME}` stand for a single value; anything else that is wrong there is told as if it could not."""
    ways = field.get("anyOf", [field])
    if any(one.get("type", "object") in ("array", "object") for one in ways):
        return
    offered = any("enum" in one or one["type"] == "boolean" for one in ways)  # only where no condition stands before
    own = {key: field.pop(key) for key in list(field) if key not in _NOTES}
    if offered:
        told = {key: field[key] for key in _NOTES[:2] if key in field}  # and told of only beside the choices
        field["anyOf"] = [*(one | told for one in own.get("anyOf", [own])), VARIABLE]
    else:
        field |= {"if": VARIABLE, "else": own}


def _default(field: dict[str, Any]) -> str | None:
    """Return a default as one writes it; where it depends on other keys, the description tells of it."""
    default = field.get("default")
    if default is None or default in ([], {}):
        return None
    return str(default).lower() if isinstance(default, bool) else str(default)


def _unquoted(value: Any) -> Any:
    """Worked examples hold quotes where YAML needs them."""
    return value.strip("'") if isinstance(value, str) else value
