"""Extract the contract of lm-eval's run configuration; run by an environment that holds lm_eval."""

import common
from lm_eval.config.evaluate_config import DICT_KEYS, EvaluatorConfig
from lm_eval.models.huggingface import HFLM


def build() -> dict[str, common.Node]:
    """Return `config` and, for the hf back end, `model_args.hf`."""
    config = common.fields(EvaluatorConfig)
    for name in DICT_KEYS:
        if name in config["keys"]:
            config["keys"][name] = common.node("map", "str", "null")
    for name in ("batch_size", "max_batch_size"):  # annotated as int, but the command line takes auto and auto:N
        config["keys"][name] = common.node("int", "str", "null")
    return {"config": config, "model_args.hf": common.signature(HFLM.__init__)}


if __name__ == "__main__":
    common.main("lm_eval", "lm_eval", "lm_eval_config.py", build)
