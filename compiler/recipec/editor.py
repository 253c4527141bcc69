"""What editors show beside the bare JSON Schema: texts in Markdown with defaults, and an example for each key."""

from __future__ import annotations

from typing import Any


def for_editors(schema: dict[str, Any]) -> None:
    """Dress a recipe's schema for the YAML language server, in place; what it accepts stays the same.

    Titles go, for they would stand above the text of every key below them. A key's example is the one in its
    section's worked example.
    """
    for section in (schema, *schema["$defs"].values()):
        section.pop("title", None)
        worked = (section.get("examples") or [{}])[0]
        for key, field in section["properties"].items():
            if (default := _default(field)) is not None:
                field["markdownDescription"] = f"{field['description']} Default: `{default}`."
            if key in worked and not isinstance(worked[key], dict | list):
                field.setdefault("examples", [_unquoted(worked[key])])


def _default(field: dict[str, Any]) -> str | None:
    """Return a default as one writes it; where it depends on other keys, the description tells of it."""
    default = field.get("default")
    if default is None or default in ([], {}):
        return None
    return str(default).lower() if isinstance(default, bool) else str(default)


def _unquoted(value: Any) -> Any:
    """Worked examples hold quotes where YAML needs them."""
    return value.strip("'") if isinstance(value, str) else value
