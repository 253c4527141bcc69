"""What Axolotl knows of preference losses, reward models and GRPO: `rl` and its keys."""

from __future__ import annotations

from typing import Any

from recipec.source import is_list
from recipec.systems import rewards, trainers
from recipec.systems.check import Check, refuses
from recipec.systems.table import OMIT, Row, choice, constant, made, nonzero, same, where, within

RL = {"dpo": "dpo", "ipo": "dpo", "orpo": "orpo", "kto": "kto", "simpo": "simpo", "grpo": "grpo"}
SMOOTHED = ("sigmoid", "robust", "exo_pair")  # the losses of DPO that know of wrong labels


def _losses_back(losses: Any) -> dict[str, Any]:
    return {"method": "dpo", "objective.loss": losses[0]} if is_list(losses) and losses else {}


def _weights_back(weights: Any) -> dict[str, Any]:
    return {"objective.sft_weight": weights[1]} if is_list(weights) and len(weights) == 2 else {}


GRPO = within(
    "trl",
    constant("use_vllm", False),
    same("beta", "objective.beta"),
    same("loss_type", "objective.loss").unless("objective.loss", "gspo"),
    constant("loss_type", "grpo").when("objective.loss", "gspo"),
    same("num_generations", "rollout.completions"),
    same("generation_batch_size", "batch.total", "of all processes; Axolotl would count what one takes").unless(
        "hardware.world", 1
    ),
    same("max_completion_length", "rollout.max_new_tokens"),
    same("temperature", "rollout.temperature"),
    same("top_p", "rollout.top_p"),
    same("num_iterations", "rollout.iterations"),
    same("epsilon", "rollout.clip"),
    same("epsilon_high", "rollout.clip_high"),
    same("scale_rewards", "rollout.scale_rewards"),
    same("mask_truncated_completions", "rollout.mask_truncated"),
    made("reward_funcs", rewards.names, "rewards"),
    same("reward_weights", "rewards.*.weight"),
    # The sequence level of GRPO's ratio makes it GSPO.
    choice("importance_sampling_level", "objective.loss", {"gspo": "sequence"}),
)

ROWS: tuple[Row, ...] = (
    choice("rl", "method", RL),
    same("rl_beta", "objective.beta").unless("method", "grpo"),
    # DPO's losses are a list whose weighted sum is the loss; TRL's `sft` is that on the chosen answer.
    choice("dpo_loss_type", "method", {"ipo": ["ipo"]}).when("method", "ipo"),
    made(
        "dpo_loss_type",
        lambda loss, sft_weight: [loss, "sft"] if sft_weight else [loss],
        "objective.loss",
        "objective.sft_weight",
        back=_losses_back,
    ).when("method", "dpo"),
    made(
        "dpo_loss_weights",
        lambda sft_weight: [1.0, sft_weight] if sft_weight else OMIT,
        "objective.sft_weight",
        back=_weights_back,
        why="of the losses, in their order",
    ).when("method", "dpo"),
    nonzero("dpo_label_smoothing", "objective.label_smoothing").when("method", "dpo"),
    same("simpo_gamma", "objective.margin").when("method", "simpo"),
    same("cpo_alpha", "objective.sft_weight", "SimPO alone has no next-token loss; Axolotl's own default is 1").when(
        "method", "simpo"
    ),
    same("kto_desirable_weight", "objective.desirable_weight").when("method", "kto"),
    same("kto_undesirable_weight", "objective.undesirable_weight").when("method", "kto"),
    *where("method", "grpo", rows=GRPO),
    choice("reward_model", "method", {"reward": True}),
    choice("model_type", "method", {"reward": "AutoModelForSequenceClassification"}),
    choice("num_labels", "method", {"reward": 1}, why="one score"),
    constant("remove_unused_columns", False, "they are its data").when("method", "kto", "grpo"),
)


def _per_step(accumulation: int, micro: int, completions: int, _processes: int) -> str:
    own = micro * accumulation
    return f"Axolotl wants a whole group of {completions} completions in the {own} that a process takes per step"


CHECKS: tuple[Check, ...] = (
    trainers.own_reference("Axolotl"),
    refuses(
        "objective.label_smoothing",
        "objective.loss",
        when=lambda smoothing, loss: smoothing and loss not in SMOOTHED,
        message=lambda _smoothing, loss: f"loss {loss} has no label smoothing",
        advice="drop it, or use loss: sigmoid, robust or exo_pair",
    ).when("method", "dpo"),
    refuses(
        "objective.loss",
        when=lambda loss: loss != "kto",
        message=lambda loss: f"Axolotl's KTO has no loss {loss}",
        advice="use loss: kto, or trainer: trl",
    ).when("method", "kto"),
    refuses(
        "rollout.engine",
        when=lambda engine: engine == "vllm",
        message="the pinned environment of Axolotl has no vLLM",
        advice="use engine: hf, or another trainer",
    ).when("method", "grpo"),
    refuses(
        "rewards.*.path",
        "rewards.*.type",
        when=lambda path, kind: kind == "model" and "." not in str(path),
        message="Axolotl takes this name for a Python module",
        advice="use trainer: trl, or a path with a dot in it",
    ).when("method", "grpo"),
    refuses(
        "batch.accumulation",
        "batch.micro",
        "rollout.completions",
        "hardware.world",
        when=lambda accumulation, micro, completions, processes: processes > 1 and micro * accumulation < completions,
        message=_per_step,  # check_grpo_batch_size_divisibility of its schema, 0.19
        advice=lambda _accumulation, _micro, completions, processes: (
            f"raise train.batch_size to {completions * processes} or more, or use trainer: trl"
        ),
    ).when("method", "grpo"),
)
