"""Contradictions about methods: their hyperparameters, their sampling and their rewards."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.generate import Generate
from recipec.kinds.train.methods import CHOSEN, COMPARED, METHODS, PPO_WORDS, REWARD_WORDS, WORDS
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest

METHOD = ("train.method",)
ROLLOUT = ("train.method", "rollout", "hardware.gpu")
REWARDS = ("train.method", "rewards")
EITHER = ("path", "stage")  # of a reward model


@contradiction(
    "P070", "hyperparameter-of-another-method", words=(*METHOD, *(f"train.{word}" for word in (*WORDS, "loss")))
)
def hyperparameters(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a hyperparameter that the method does not have.

    Why is this bad:
    The value is not passed on, or a tool reads it as something else.

    Example:
        train: {learning_rate: 1e-5, beta: 0.1}

    Use instead:
        train: {learning_rate: 1e-5}
    """
    method = METHODS[s.method]
    knows = ", ".join([*method.words, *["loss"][: len(method.losses)]]) or "no such hyperparameters"
    for word in (*WORDS, "loss"):
        has = word in method.words or (word == "loss" and method.losses)
        if see.said.wrote(f"train.{word}") and not has:
            yield Fault(f"train.{word}", f"{s.method} has no {word}", f"drop it; {s.method} has {knows}")


@contradiction("P254", "reference-that-there-is-not", words=(*METHOD, "train.reference_model", "start_from"))
def no_reference(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reference model that is no stage before this one, or a method that cannot be given one.

    Why is this bad:
    There would be nothing to compare with, or another model than the one that is meant.

    Example:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: orpo, learning_rate: 5e-6, reference_model: base}

    Use instead:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: orpo, learning_rate: 5e-6}
    """
    here, train = "train.reference_model", see.said.recipe.train
    named = train.reference_model if train is not None else None
    if named is None:
        return
    if s.method not in CHOSEN:
        has = "is compared with what it starts from" if s.method in COMPARED else "has no reference model"
        yield Fault(here, f"{s.method} {has}", f"drop it; {', '.join(CHOSEN)} can be given one")
    elif s.reference is None:
        before = see.graph.listed[: see.graph.listed.index(s.name)]
        known = [name for name in see.graph.models if name in ("base", *before)]
        message = f'"{named}" is not a stage before this one that leaves a model'
        yield Fault(here, message, f"there are {', '.join(known)}", nearest(named, known))
    elif see.graph.models[named].model.head != "next token":
        yield Fault(here, f"{named} is a reward model, which writes nothing", "name a model that writes answers")


@contradiction("P071", "loss-of-another-method", words=(*METHOD, "train.loss"))
def losses(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a loss that the method does not have.

    Why is this bad:
    The tool refuses it, or trains with its usual loss.

    Example:
        adapter: {rank: 16}
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: dpo, learning_rate: 5e-6, loss: kto}

    Use instead:
        train: {method: dpo, learning_rate: 5e-6, loss: hinge}
    """
    known = METHODS[s.method].losses
    if s.objective is not None and known and s.objective.loss not in known:
        message = f"{s.objective.loss} is not a loss of {s.method}"
        yield Fault("train.loss", message, f"it has {', '.join(known)}")


@contradiction("P072", "sampling-without-completions", words=ROLLOUT)
def samples_nothing(see: Context, s: Train) -> Iterator[Fault]:
    """Finds keys about sampling with a method that does not sample, or about a critic with a method that has none.

    Why is this bad:
    The keys have no effect. Most often, another method was meant.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {gae_lambda: 0.9}
        rewards: [{type: exact}]

    Use instead:
        rollout: {temperature: 0.9}
    """
    if s.rollout is None:
        if see.otherwise("rollout"):
            advice = "drop rollout, or use grpo, rloo or ppo"
            yield Fault("rollout", f"{s.method} samples no completions", advice)
        return
    has_critic = any(one.body.method == "ppo" for one in see.plan.of_kind("train"))  # which the recipe may say it for
    for word in PPO_WORDS:
        said = see.otherwise if has_critic else see.said.wrote
        if said(f"rollout.{word}") and s.method != "ppo":
            yield Fault(f"rollout.{word}", f"{s.method} has no critic", "it belongs to method: ppo")


@contradiction("P073", "group-of-one", words=ROLLOUT)
def group_of_one(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a single completion per prompt with a method that compares several.

    Why is this bad:
    The advantage of a completion is its reward compared with that of the others. With one there are no others: nothing is
    learnt.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {completions: 1}
        rewards: [{type: exact}]

    Use instead:
        rollout: {completions: 8}
    """
    if s.rollout is not None and s.rollout.completions < 2 and s.method != "ppo":
        message = f"{s.method} compares at least two completions of a prompt"
        yield Fault("rollout.completions", message, "use 4 or more")


@contradiction("P245", "exo-pair-without-label-smoothing", words=("train.loss", "train.label_smoothing"))
def unsmoothed(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds EXO's loss of pairs without label smoothing.

    Why is this bad:
    The loss takes the logarithm of the share of wrong labels. TRL refuses a share of 0 when the trainer is made.

    Example:
        adapter: {rank: 16}
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: dpo, learning_rate: 5e-6, loss: exo_pair}

    Use instead:
        train: {method: dpo, learning_rate: 5e-6, loss: exo_pair, label_smoothing: 1e-3}
    """
    if s.objective is not None and s.objective.loss == "exo_pair" and not s.objective.label_smoothing:
        message = "exo_pair needs label smoothing above 0"
        yield Fault("train.loss", message, "set train.label_smoothing, to 1e-3 as its paper does")


@contradiction("P074", "broken-groups", words=(*ROLLOUT, "train.batch_size", "train.micro_batch_size"))
def broken_groups(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a batch that cannot hold whole groups of completions.

    Why is this bad:
    The completions of a prompt are compared within one step. The trainer refuses a batch that cuts a group.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 12, micro_batch_size: 4}
        rollout: {completions: 8}
        rewards: [{type: exact}]

    Use instead:
        train: {method: grpo, learning_rate: 1e-6, batch_size: 16, micro_batch_size: 4}
    """
    if s.rollout is None or s.batch.total % s.rollout.completions == 0:
        return
    group, total = s.rollout.completions, s.batch.total
    below = total // group * group
    near = f"{below} or {below + group}" if below else f"{group}"
    message = f"{total} sequences per step cannot hold whole groups of {group} completions"
    yield Fault("train.batch_size", message, f"batch_size counts completions; {near} would do")


@contradiction("P075", "word-of-vllm", words=ROLLOUT)
def engine(see: Context, s: Train) -> Iterator[Fault]:
    """Finds keys about vLLM engines if Transformers generates, or vLLM without a GPU.

    Why is this bad:
    Transformers generates on the GPUs of the training: it has no engines, and takes no share of memory.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {engine: hf, tensor_parallel: 2}
        rewards: [{type: exact}]

    Use instead:
        rollout: {engine: hf}
    """
    if s.rollout is None:
        return
    if s.rollout.engine != "vllm":
        advice = "drop it" if s.hardware.device == "cpu" else "set engine: vllm, or drop it"
        for word in ("engines", "tensor_parallel", "gpu_memory_share"):
            if see.otherwise(f"rollout.{word}"):
                yield Fault(f"rollout.{word}", f"{word} belongs to vLLM", advice)
    elif s.hardware.device == "cpu":
        yield Fault("rollout.engine", "vLLM needs a GPU", "use engine: hf")


@contradiction("P076", "rewards-without-sampling", words=REWARDS)
def needless_rewards(see: Context, s: Train) -> Iterator[Fault]:
    """Finds reward functions with a method that takes none.

    Why is this bad:
    Only methods that sample completions have something to score. The rewards have no effect.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/chat.jsonl, format: chat}]}
        rewards: [{type: exact}]

    Use instead:
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
    """
    if not METHODS[s.method].online and see.said.recipe.rewards:
        advice = "use grpo, rloo or ppo, or drop rewards"
        yield Fault("rewards", f"{s.method} takes no reward functions", advice)


@contradiction("P077", "sampling-without-rewards", words=REWARDS)
def no_rewards(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a method that learns from rewards, without any.

    Why is this bad:
    Nothing tells a good completion from a bad one.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}

    Use instead:
        rewards: [{type: exact}]
    """
    if METHODS[s.method].online and not s.rewards:
        yield Fault("train.method", f"{s.method} needs a reward", "add rewards, such as [{type: exact}]")


@contradiction("P078", "word-of-another-reward", "train", "generate", words=REWARDS)
def reward_words(see: Context, s: Train | Generate) -> Iterator[Fault]:
    """Finds a reward without a key that its type needs, or with one that it does not have.

    Why is this bad:
    The reward cannot be computed, or not as the recipe says.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rewards: [{type: length}]

    Use instead:
        rewards: [{type: length, max_words: 100}]
    """
    for index, reward in enumerate(see.said.recipe.rewards if s.rewards else ()):
        here = indexed("rewards", index)
        for word in ("pattern", "max_words", "language", "path", "function", "url", "stage"):
            value, needed = getattr(reward, word), word in REWARD_WORDS[reward.type]
            if word in EITHER and needed:
                continue
            if needed and value is None and not see.said.unsure((f"{here}.{word}",)):
                yield Fault(here, f"a reward of type {reward.type} needs {word}", f"add {word}")
            if not needed and value is not None:
                yield Fault(f"{here}.{word}", f"a reward of type {reward.type} has no {word}", "drop it")
        if reward.type == "model" and not see.said.unsure(f"{here}.{word}" for word in EITHER):
            given = [word for word in EITHER if getattr(reward, word) is not None]
            if not given:
                yield Fault(here, "a reward of type model needs a path or a stage", "add stage, or path")
            elif len(given) > 1:
                yield Fault(f"{here}.path", "a reward model is named twice, by path and by stage", "drop one of them")


@contradiction("P079", "exact-answers-without-answers", words=(*REWARDS, "data.train"))
def no_answers(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward for exact answers if no data source has answers.

    Why is this bad:
    There is nothing to compare a completion with.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rewards: [{type: exact}]

    Use instead:
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
    """
    if any("answer" in source.columns for source in s.data.train):
        return
    for index, reward in enumerate(s.rewards):
        if reward.type == "exact":
            advice = "map the column: columns: {answer: …}"
            yield Fault(indexed("rewards", index), "a reward of type exact needs a column of answers", advice)


@contradiction("P104", "reward-function-that-cannot-be-called", "train", "generate", words=REWARDS)
def reward_functions(_see: Context, s: Train | Generate) -> Iterator[Fault]:
    """Finds a user's reward function that cannot be called with the arguments it would get.

    Why is this bad:
    The training would end at its first step, after the model is loaded and the first completions are sampled. A file that
    is not here is not checked: the run checks again.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rewards: [{type: python, path: rewards.py, function: brief}]

    Use instead:
        rewards: [{type: python, path: rewards.py, function: brevity}]
    """
    for index, reward in enumerate(s.rewards):
        if reward.type != "python" or reward.path is None or reward.function is None:
            continue
        from recipec.rules.reward_file import trouble  # ast is off the way of most recipes

        found = trouble(reward.path, reward.function)
        if found is not None:
            here = indexed("rewards", index)
            yield Fault(f"{here}.{found.word}", found.message, found.advice, found.suggestion)


RULES = (
    hyperparameters,
    losses,
    unsmoothed,
    samples_nothing,
    group_of_one,
    broken_groups,
    engine,
    needless_rewards,
    no_rewards,
    reward_words,
    no_answers,
    reward_functions,
    no_reference,
)
