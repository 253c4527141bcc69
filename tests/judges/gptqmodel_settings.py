"""Read settings as GPTQModel does, and say what it would do with a layer.

A job: {"file": ..., "kept": where the answer goes}. The verdict refuses what its own code refuses.
"""

import json
from importlib import import_module
from pathlib import Path

from judging import Job, run

LAYERS = ("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "model.layers.0.mlp.gate", "lm_head")


def judge(job: Job) -> list[str]:
    """Return the keys that it drops in silence. Raises whatever it raises."""
    words = json.loads(Path(job["file"]).read_text(encoding="utf-8"))
    config = import_module("gptqmodel").QuantizeConfig(**words)
    found = {
        word: getattr(config, word, None)
        for word in ("bits", "group_size", "sym", "desc_act", "act_group_aware", "damp_percent")
    }
    found |= {"method": config.method.value, "format": config.format.value}
    found["left"] = [layer for layer in LAYERS if config.dynamic_get(layer_name=layer) is False]
    Path(job["kept"]).write_text(json.dumps(found), encoding="utf-8")
    return [word for word in words if not hasattr(config, word)]


if __name__ == "__main__":
    run(judge)
