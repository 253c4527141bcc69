"""The recipe language, version 1: what a recipe may say, each word with its type, range and meaning."""

import sys
from types import ModuleType

# pydantic looks for its plugins with importlib.metadata, a seventh of a cold start; recipes need none. While the
# language is built, a stand-in says that there are none; where pydantic changes its module, it is only not used.
_LOADER = "pydantic.plugin._loader"
_stand_in = ModuleType(_LOADER)
_stand_in.__dict__["get_plugins"] = lambda: ()
_absent = _LOADER not in sys.modules
if _absent:
    sys.modules[_LOADER] = _stand_in
try:
    from recipec.language.recipe import Recipe

    Recipe.model_rebuild()  # sections defer: only the whole needs a validator
finally:
    if _absent:
        del sys.modules[_LOADER]

__all__ = ["Recipe"]
