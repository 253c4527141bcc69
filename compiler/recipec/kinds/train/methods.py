"""What each training method knows: data formats, hyperparameters with their usual values, rollouts and rewards."""

from __future__ import annotations

from collections.abc import Mapping

from recipec.decide.graph import Graph, Handed
from recipec.decide.said import Decided, Said, indexed, plain, section, several
from recipec.kinds.train.records import Objective, Reference, Reward, Rollout
from recipec.language import train as recipe
from recipec.plan import Record


class Method(Record, frozen=True):
    """One method. `words` are the hyperparameters of `train` that it knows, with their usual values; the first of
    `losses` is its default; `online` methods sample completions and learn from rewards which are good."""

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
COMPARED = ("dpo", "ipo", "kto", "grpo", "rloo", "ppo")  # methods with a reference model
CHOSEN = ("dpo", "ipo", "kto")  # those of which a recipe may say which
WORDS = ("beta", "label_smoothing", "margin", "sft_weight", "desirable_weight", "undesirable_weight")
REWARD_WORDS = {
    "exact": (),
    "regex": ("pattern",),
    "length": ("max_words",),
    "language": ("language",),
    "model": ("path", "stage"),  # one of the two
    "remote": ("url",),
    "python": ("path", "function"),
}
PPO_WORDS = {"critic_learning_rate": 9e-6, "gae_lambda": 0.95, "discount": 1.0}


def objective(say: Said, train: recipe.Train) -> Decided[Objective | None]:
    """The loss of a preference or reinforcement method and its hyperparameters; None for a method that has neither."""
    name, method = train.method, METHODS[train.method]
    if not method.words:
        return plain(None)

    def word(one: str) -> Decided[float]:
        if one not in method.words:
            return plain(0.0)
        return say.take(f"train.{one}", getattr(train, one), method.words[one], f"usual with {name}")

    loss = say.take("train.loss", train.loss, method.losses[0] if method.losses else None, f"usual with {name}")
    return section(Objective, loss=loss, **{one: word(one) for one in WORDS})


def compared(train: recipe.Train, graph: Graph) -> Handed | None:
    """Return the model that a recipe names as the reference; None where it names none, or there is no such model (P254)."""
    named = train.reference_model
    return graph.models.get(named) if named is not None and train.method in CHOSEN else None


def reference(say: Said, train: recipe.Train, graph: Graph) -> Decided[Reference | None]:
    """The reference model, where the recipe names one."""
    handed = compared(train, graph)
    if handed is None:
        return plain(None)
    model, here = handed.model, "train.reference_model"
    return section(
        Reference,
        path=say.rule(model.path, f"that of {handed.name}", here),
        revision=say.rule(model.revision, "", here),
        adapter=say.rule(model.adapter, f"what {handed.name} leaves", here),
    )


def rollout(say: Said, train: recipe.Train) -> Decided[Rollout | None]:
    """How an online method samples completions; None for the others."""
    name, given = train.method, say.recipe.rollout
    if not METHODS[name].online:
        return plain(None)
    clip = say.word("rollout.clip", given.clip)
    usual = f"usual with {name}"
    return section(
        Rollout,
        completions=say.take("rollout.completions", given.completions, 1 if name == "ppo" else 8, usual),
        max_new_tokens=say.word("rollout.max_new_tokens", given.max_new_tokens),
        temperature=say.word("rollout.temperature", given.temperature),
        top_p=say.word("rollout.top_p", given.top_p),
        iterations=say.word("rollout.iterations", given.iterations),
        clip=clip,
        clip_high=say.take("rollout.clip_high", given.clip_high, clip.value, "as clip"),
        scale_rewards=say.take(
            "rollout.scale_rewards", given.scale_rewards, "none" if name == "rloo" else "group", usual
        ),
        mask_truncated=say.word("rollout.mask_truncated", given.mask_truncated),
        engine=say.word("rollout.engine", given.engine),
        engines=say.word("rollout.engines", given.engines),
        tensor_parallel=say.word("rollout.tensor_parallel", given.tensor_parallel),
        gpu_memory_share=say.word("rollout.gpu_memory_share", given.gpu_memory_share),
        **{
            one: say.take(f"rollout.{one}", getattr(given, one), known, "usual with ppo")
            for one, known in PPO_WORDS.items()
        },
    )


def rewards(say: Said, train: recipe.Train, graph: Graph) -> Decided[tuple[Reward, ...]]:
    """Reward functions of an online method."""
    if not METHODS[train.method].online:
        return plain(())
    return several(reward(say, indexed("rewards", index), one, graph) for index, one in enumerate(say.recipe.rewards))


def reward(say: Said, here: str, given: recipe.Reward, graph: Graph) -> Decided[Reward]:
    """One reward function, as the recipe says it at a path."""
    words = ("type", "weight", "pattern", "max_words", "language", "path", "function", "url")
    parts = {one: say.word(f"{here}.{one}", getattr(given, one)) for one in words}
    handed = graph.models.get(given.stage) if given.stage is not None and given.path is None else None
    if handed is not None:
        parts["path"] = say.rule(handed.model.place, f"what {handed.name} leaves", f"{here}.stage")
    return section(Reward, **parts)


def judges(say: Said, train: recipe.Train, graph: Graph) -> tuple[Handed, ...]:
    """Return the reward models that earlier stages of the course made for an online method."""
    return judging(say, graph) if METHODS[train.method].online else ()


def judging(say: Said, graph: Graph) -> tuple[Handed, ...]:
    """Return the reward models that rewards name by the earlier stages that made them."""
    names = [one.stage for one in say.recipe.rewards if one.path is None]
    return tuple(graph.models[name] for name in dict.fromkeys(names) if name is not None and name in graph.models)
