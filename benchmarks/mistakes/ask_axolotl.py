"""Ask Axolotl's own validation about configurations; runs under the Python of an Axolotl environment.

Argument: a file that holds a JSON list of YAML texts. Standard output: for each, what was raised (null where nothing was)
and the warnings that Axolotl logged. The machine is declared, four A100s: one without a GPU would refuse bf16.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "WORLD_SIZE": "4"}
CAPABILITIES = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 4, "n_node": 1, "compute_capability": "sm_80"}


class Kept(logging.Handler):
    """Keeps the text of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


def main() -> None:
    """Judge each text as `axolotl train` does before it looks at the model: PyYAML, plugins, validate_config."""
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out = os.dup(1)
    os.dup2(2, 1)  # what Axolotl prints is not the answer
    import torch
    import yaml
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    answers: list[dict[str, Any]] = []
    for text in texts:
        kept, error = Kept(), None
        logging.getLogger("axolotl").addHandler(kept)
        try:
            cfg = DictDefault(yaml.safe_load(text))
            prepare_plugins(cfg)
            validate_config(
                cfg, capabilities=CAPABILITIES, env_capabilities={"torch_version": torch.__version__.split("+")[0]}
            )
        except Exception as refusal:  # whatever it raises is its answer
            error = f"{type(refusal).__name__}: {refusal}"
        logging.getLogger("axolotl").removeHandler(kept)
        answers.append({"error": error, "warnings": sorted(set(kept.texts))})
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(answers, stream)


if __name__ == "__main__":
    main()
