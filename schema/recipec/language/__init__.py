"""The recipe language, version 1: what a recipe may say, each word with its type, range and meaning."""

import os

# Looking for pydantic's plugins imports importlib.metadata, 50 CPU ms, at the first model; recipes need none.
_before = os.environ.get("PYDANTIC_DISABLE_PLUGINS")
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
try:
    from recipec.language.recipe import Recipe
finally:
    if _before is None:
        del os.environ["PYDANTIC_DISABLE_PLUGINS"]
    else:
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = _before

__all__ = ["Recipe"]
