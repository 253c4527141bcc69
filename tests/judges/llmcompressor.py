"""Read llm-compressor recipes as it does, and say what each of their modifiers would do with a layer.

A job: {"file": ..., "kept": where the answer goes}. The verdict refuses what its own code refuses.
"""

import json
from importlib import import_module
from pathlib import Path

from judging import Job, run


def judge(job: Job) -> list[str]:
    """Return nothing: unknown keys are refused. Raises whatever it raises."""
    recipe = import_module("llmcompressor.recipe").Recipe.create_instance(job["file"])
    found = {}
    for modifier in recipe.modifiers:
        words = {
            name: getattr(modifier, name, None) for name in ("dampening_frac", "smoothing_strength", "duo_scaling")
        }
        if hasattr(modifier, "resolve_quantization_config"):
            config = modifier.resolve_quantization_config()
            [group] = config.config_groups.values()
            words |= {"ignore": config.ignore, **group.model_dump(mode="json", exclude_none=True)}
        found[type(modifier).__name__] = words
    Path(job["kept"]).write_text(json.dumps(found), encoding="utf-8")
    return []


if __name__ == "__main__":
    run(judge)
