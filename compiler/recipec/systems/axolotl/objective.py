"""What Axolotl knows of preference losses, reward models and GRPO: `rl` and its keys."""

from __future__ import annotations

from typing import Any

from recipec.plan import TrainStage
from recipec.systems import rewards
from recipec.systems.check import Unsupported
from recipec.systems.table import OMIT, Row, computed

RL = {"dpo": "dpo", "ipo": "dpo", "orpo": "orpo", "kto": "kto", "simpo": "simpo", "grpo": "grpo"}
GRPO_LOSSES = {"gspo": "grpo"}  # the sequence level of its ratio makes it GSPO


def _losses(s: TrainStage) -> Any:
    """DPO's losses are a list whose weighted sum is the loss; TRL's `sft` is that on the chosen answer."""
    if s.method == "ipo":
        return ["ipo"]
    if s.method != "dpo" or s.objective is None:
        return OMIT
    return [s.objective.loss, *(["sft"] if s.objective.sft_weight else [])]


def _weights(s: TrainStage) -> Any:
    if s.method != "dpo" or s.objective is None or not s.objective.sft_weight:
        return OMIT
    return [1.0, s.objective.sft_weight]


def _smoothing(s: TrainStage) -> Any:
    if s.method != "dpo" or s.objective is None or not s.objective.label_smoothing:
        return OMIT
    if s.objective.loss not in ("sigmoid", "robust", "exo_pair"):
        advice = "drop it, or use loss: sigmoid, robust or exo_pair"
        raise Unsupported("objective.label_smoothing", f"loss {s.objective.loss} knows no wrong labels", advice)
    return s.objective.label_smoothing


def _beta(s: TrainStage) -> Any:
    return s.objective.beta if s.objective is not None and s.method != "grpo" else OMIT


def _kto_loss(s: TrainStage) -> Any:
    if s.method == "kto" and s.objective is not None and s.objective.loss != "kto":
        advice = "use loss: kto, or trainer: trl"
        raise Unsupported("objective.loss", f"Axolotl's KTO has no loss {s.objective.loss}", advice)
    return OMIT


def _of(method: str, word: str) -> Any:
    """Return a row's function: the objective's `word` with this method, else nothing."""
    return lambda s: getattr(s.objective, word) if s.method == method else OMIT


def _trl(s: TrainStage) -> Any:
    """GRPO's own block."""
    if s.rollout is None or s.objective is None:
        return OMIT
    if s.rollout.engine == "vllm":
        advice = "use engine: hf, or another trainer"
        raise Unsupported("rollout.engine", "the pinned environment of Axolotl has no vLLM", advice)
    for index, reward in enumerate(s.rewards):
        if reward.type == "model" and "." not in str(reward.path):
            advice = "use trainer: trl, or a path with a dot in it"
            raise Unsupported(f"rewards.{index}.path", "Axolotl takes this name for a Python module", advice)
    group, own = s.rollout.completions, s.batch.micro * s.batch.accumulation
    if own % group:  # check_grpo_batch_size of its schema, 0.19
        advice = f"make it a multiple of {group} by train.batch_size, or use trainer: trl"
        message = f"Axolotl wants whole groups of {group} completions in the {own} that a process takes per step"
        raise Unsupported("batch.accumulation", message, advice)
    loss = s.objective.loss
    block: dict[str, Any] = {
        "use_vllm": False,
        "beta": s.objective.beta,
        "loss_type": GRPO_LOSSES.get(str(loss), loss),
        "num_generations": s.rollout.completions,
        "max_completion_length": s.rollout.max_new_tokens,
        "temperature": s.rollout.temperature,
        "top_p": s.rollout.top_p,
        "num_iterations": s.rollout.iterations,
        "epsilon": s.rollout.clip,
        "epsilon_high": s.rollout.clip_high,
        "scale_rewards": s.rollout.scale_rewards,
        "mask_truncated_completions": s.rollout.mask_truncated,
        "reward_funcs": rewards.names(s.rewards),
        "reward_weights": rewards.weights(s.rewards),
    }
    return block | ({"importance_sampling_level": "sequence"} if loss == "gspo" else {})


ROWS: tuple[Row, ...] = (
    computed("rl", lambda s: RL.get(s.method, OMIT)),
    computed("rl_beta", _beta),
    computed("dpo_loss_type", _losses),
    computed("dpo_loss_weights", _weights, "of the losses, in their order"),
    computed("dpo_label_smoothing", _smoothing),
    computed("simpo_gamma", _of("simpo", "margin")),
    computed("cpo_alpha", _of("simpo", "sft_weight"), "SimPO alone has no next-token loss; Axolotl's own default is 1"),
    computed("kto_desirable_weight", _of("kto", "desirable_weight")),
    computed("kto_undesirable_weight", _of("kto", "undesirable_weight")),
    computed("\0kto_loss", _kto_loss),
    computed("trl", _trl),
    computed("reward_model", lambda s: True if s.method == "reward" else OMIT),
    computed("model_type", lambda s: "AutoModelForSequenceClassification" if s.method == "reward" else OMIT),
    computed("num_labels", lambda s: 1 if s.method == "reward" else OMIT, "one score"),
    computed("remove_unused_columns", lambda s: False if s.method in ("kto", "grpo") else OMIT, "they are its data"),
)
