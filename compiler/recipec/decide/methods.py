"""What each training method knows: data formats, hyperparameters with their usual values, rollouts and rewards."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from recipec.decide.draft import Draft, indexed
from recipec.plan import Objective, Reward, Rollout


class Method(NamedTuple):
    """One method. `words` are the hyperparameters of `train` that it knows, with their usual values; the first of
    `losses` is its default; `online` methods sample completions and are told by rewards which are good."""

    formats: tuple[str, ...]
    words: Mapping[str, float] = {}
    losses: tuple[str, ...] = ()
    online: bool = False


DPO_LOSSES = (
    "sigmoid", "hinge", "robust", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "discopop",
    "apo_zero", "apo_down",
)  # fmt: skip
PAIRS, PROMPTS = ("preference",), ("prompt",)
METHODS = {
    "pretrain": Method(("text",)),
    "sft": Method(("chat", "instruction", "completion", "text")),
    "dpo": Method(PAIRS, {"beta": 0.1, "label_smoothing": 0.0, "sft_weight": 0.0}, DPO_LOSSES),  # arXiv:2305.18290
    "ipo": Method(PAIRS, {"beta": 0.1}),  # arXiv:2310.12036, its τ
    "orpo": Method(PAIRS, {"beta": 0.1}),  # arXiv:2403.07691, its λ
    "kto": Method(
        ("unpaired-preference",),
        {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
        ("kto", "apo_zero_unpaired"),
    ),  # arXiv:2402.01306
    "simpo": Method(PAIRS, {"beta": 2.0, "margin": 1.0, "sft_weight": 0.0}),  # arXiv:2405.14734
    "cpo": Method(
        PAIRS, {"beta": 0.1, "label_smoothing": 0.0, "sft_weight": 1.0}, ("sigmoid", "hinge")
    ),  # arXiv:2401.08417
    "reward": Method(PAIRS),
    "grpo": Method(
        PROMPTS, {"beta": 0.0}, ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "gspo"), True
    ),  # arXiv:2402.03300
    "rloo": Method(PROMPTS, {"beta": 0.05}, (), True),  # arXiv:2402.14740
    "ppo": Method(PROMPTS, {"beta": 0.05}, ("ppo", "reinforce++"), True),  # arXiv:1707.06347
}
WORDS = ("beta", "label_smoothing", "margin", "sft_weight", "desirable_weight", "undesirable_weight")
REWARD_WORDS = {
    "exact": (),
    "regex": ("pattern",),
    "length": ("max_words",),
    "language": ("language",),
    "model": ("path",),
    "remote": ("url",),
    "python": ("path", "function"),
}
PPO_WORDS = {"critic_learning_rate": 9e-6, "gae_lambda": 0.95, "discount": 1.0}


def objective(d: Draft) -> None:
    """The loss of a preference or reinforcement method and its hyperparameters."""
    name = d.values["train.method"]
    method = METHODS[name]
    for word in (*WORDS, "loss"):
        if d.said(f"train.{word}") and word not in method.words and not (word == "loss" and method.losses):
            knows = ", ".join([*method.words, *["loss"][: len(method.losses)]]) or "no such hyperparameters"
            d.error("P070", f"train.{word}", f"{name} has no {word}", f"drop it; {name} knows {knows}")
    if not method.words:
        d.values["train.objective"] = None
        return
    for word in WORDS:
        if word in method.words:
            d.copy(f"train.objective.{word}", f"train.{word}", method.words[word], f"usual with {name}")
        else:
            d.values[f"train.objective.{word}"] = 0.0
    default = method.losses[0] if method.losses else None
    loss = d.copy("train.objective.loss", "train.loss", default, f"usual with {name}")
    if d.said("train.loss") and method.losses and loss not in method.losses:
        d.error("P071", "train.loss", f"{loss} is not a loss of {name}", f"it has {', '.join(method.losses)}")
    d.values["train.objective"] = d.make(Objective, "train.objective")


def rollout(d: Draft) -> None:
    """How an online method samples; whole groups must fit into a step."""
    name = d.values["train.method"]
    if not METHODS[name].online:
        if d.said("rollout"):
            d.error("P072", "rollout", f"{name} samples no completions", "drop rollout, or use grpo, rloo or ppo")
        d.values["train.rollout"] = None
        return
    for word in (
        "max_new_tokens", "temperature", "top_p", "iterations", "clip", "mask_truncated", "engine",
        "engines", "tensor_parallel", "gpu_memory_share",
    ):  # fmt: skip
        d.copy(f"train.rollout.{word}", f"rollout.{word}")
    alone = name == "ppo"
    group = d.copy("train.rollout.completions", "rollout.completions", 1 if alone else 8, f"usual with {name}")
    d.copy("train.rollout.clip_high", "rollout.clip_high", d.values["train.rollout.clip"], "as clip")
    scale = "none" if name == "rloo" else "group"
    d.copy("train.rollout.scale_rewards", "rollout.scale_rewards", scale, f"usual with {name}")
    for word, usual in PPO_WORDS.items():
        d.copy(f"train.rollout.{word}", f"rollout.{word}", usual, "usual with ppo")
        if d.said(f"rollout.{word}") and not alone:
            d.error("P072", f"rollout.{word}", f"{name} has no critic", "it belongs to method: ppo")
    if group < 2 and not alone:
        d.error("P073", "rollout.completions", f"{name} compares at least two completions of a prompt", "use 4 or more")
    total = d.values["train.batch.total"]
    if total % group:
        below = total // group * group
        near = f"{below} or {below + group}" if below else f"{group}"
        message = f"{total} sequences per step cannot hold whole groups of {group} completions"
        d.error("P074", "train.batch_size", message, f"batch_size counts completions; {near} would do")
    if d.values["train.rollout.engine"] != "vllm":
        for word in ("engines", "tensor_parallel", "gpu_memory_share"):
            if d.said(f"rollout.{word}"):
                d.error("P075", f"rollout.{word}", f"{word} belongs to vLLM", "set engine: vllm, or drop it")
    elif d.values["hardware.device"] == "cpu":
        d.error("P075", "rollout.engine", "vLLM needs a GPU", "use engine: hf")
    d.values["train.rollout"] = d.make(Rollout, "train.rollout")


def rewards(d: Draft) -> None:
    """Reward functions: each with the words of its type, and no others."""
    name = d.values["train.method"]
    given = d.get("rewards") or []
    if not METHODS[name].online:
        if given:
            d.error("P076", "rewards", f"{name} takes no reward functions", "use grpo, rloo or ppo, or drop rewards")
        d.values["train.rewards"] = ()
        return
    if not given:
        d.error("P077", "train.method", f"{name} needs a reward", "add rewards, such as [{type: exact}]")
    answers = any("answer" in source.columns for source in d.values["train.data.train"])
    made = []
    for index, reward in enumerate(given):
        here, there = indexed("rewards", index), f"train.rewards.{index}"
        words = REWARD_WORDS[reward.type]
        for word in ("pattern", "max_words", "language", "path", "function", "url"):
            value: Any = d.copy(f"{there}.{word}", f"{here}.{word}")
            if word in words and value is None:
                d.error("P078", here, f"a reward of type {reward.type} needs {word}", f"add {word}")
            if word not in words and value is not None:
                d.error("P078", f"{here}.{word}", f"a reward of type {reward.type} has no {word}", "drop it")
        d.copy(f"{there}.type", f"{here}.type")
        d.copy(f"{there}.weight", f"{here}.weight")
        if reward.type == "exact" and not answers:
            d.error("P079", here, "an exact answer needs the answers", "map the column: columns: {answer: …}")
        if reward.type == "python" and reward.path is not None and reward.function is not None:
            _judge_function(d, here, reward.path, reward.function)
        made.append(d.make(Reward, there))
    d.values["train.rewards"] = tuple(made)


def _judge_function(d: Draft, here: str, path: str, name: str) -> None:
    from recipec.decide.reward_file import trouble  # ast is off the way of most recipes

    found = trouble(path, name)
    if found is not None:
        d.error("P097", f"{here}.{found.word}", found.message, found.advice, found.suggestion)
