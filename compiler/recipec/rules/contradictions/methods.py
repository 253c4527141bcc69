"""Contradictions about methods: their hyperparameters, their sampling and their rewards; and a script of the user's own."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.train.methods import METHODS, PPO_WORDS, REWARD_WORDS, WORDS
from recipec.kinds.train.records import Script, Train
from recipec.language import Recipe
from recipec.references import Reference, leaves, references
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest
from recipec.systems.registry import system

METHOD = ("train.method",)
ROLLOUT = ("train.method", "rollout", "hardware.gpu")
REWARDS = ("train.method", "rewards")
SCRIPT = ("script", "trainer")


@contradiction(
    "P070", "hyperparameter-of-another-method", words=(*METHOD, *(f"train.{word}" for word in (*WORDS, "loss")))
)
def hyperparameters(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a hyperparameter that the method does not have."""
    method = METHODS[s.method]
    knows = ", ".join([*method.words, *["loss"][: len(method.losses)]]) or "no such hyperparameters"
    for word in (*WORDS, "loss"):
        has = word in method.words or (word == "loss" and method.losses)
        if see.said.wrote(f"train.{word}") and not has:
            yield Fault(f"train.{word}", f"{s.method} has no {word}", f"drop it; {s.method} knows {knows}")


@contradiction("P071", "loss-of-another-method", words=(*METHOD, "train.loss"))
def losses(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a loss that the method does not have."""
    known = METHODS[s.method].losses
    if s.objective is not None and known and s.objective.loss not in known:
        message = f"{s.objective.loss} is not a loss of {s.method}"
        yield Fault("train.loss", message, f"it has {', '.join(known)}")


@contradiction("P072", "sampling-without-completions", words=ROLLOUT)
def samples_nothing(see: Context, s: Train) -> Iterator[Fault]:
    """Finds words about sampling with a method that samples nothing, or about a critic with one that has none."""
    if s.rollout is None:
        if see.said.wrote("rollout"):
            advice = "drop rollout, or use grpo, rloo or ppo"
            yield Fault("rollout", f"{s.method} samples no completions", advice)
        return
    for word in PPO_WORDS:
        if see.said.wrote(f"rollout.{word}") and s.method != "ppo":
            yield Fault(f"rollout.{word}", f"{s.method} has no critic", "it belongs to method: ppo")


@contradiction("P073", "group-of-one", words=ROLLOUT)
def group_of_one(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a single completion of a prompt with a method that compares several."""
    if s.rollout is not None and s.rollout.completions < 2 and s.method != "ppo":
        message = f"{s.method} compares at least two completions of a prompt"
        yield Fault("rollout.completions", message, "use 4 or more")


@contradiction("P074", "broken-groups", words=(*ROLLOUT, "train.batch_size", "train.micro_batch_size"))
def broken_groups(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a batch that cannot hold whole groups of completions."""
    if s.rollout is None or s.batch.total % s.rollout.completions == 0:
        return
    group, total = s.rollout.completions, s.batch.total
    below = total // group * group
    near = f"{below} or {below + group}" if below else f"{group}"
    message = f"{total} sequences per step cannot hold whole groups of {group} completions"
    yield Fault("train.batch_size", message, f"batch_size counts completions; {near} would do")


@contradiction("P075", "word-of-vllm", words=ROLLOUT)
def engine(see: Context, s: Train) -> Iterator[Fault]:
    """Finds words about vLLM engines where Transformers generates, or vLLM without a GPU."""
    if s.rollout is None:
        return
    usual = {"engines": None, "tensor_parallel": 1, "gpu_memory_share": 0.3}
    if s.rollout.engine != "vllm":
        for word, value in usual.items():
            if see.said.wrote(f"rollout.{word}") and getattr(s.rollout, word) != value:
                yield Fault(f"rollout.{word}", f"{word} belongs to vLLM", "set engine: vllm, or drop it")
    elif s.hardware.device == "cpu":
        yield Fault("rollout.engine", "vLLM needs a GPU", "use engine: hf")


@contradiction("P076", "rewards-without-sampling", words=REWARDS)
def needless_rewards(see: Context, s: Train) -> Iterator[Fault]:
    """Finds reward functions with a method that takes none."""
    if not METHODS[s.method].online and see.said.recipe.rewards:
        advice = "use grpo, rloo or ppo, or drop rewards"
        yield Fault("rewards", f"{s.method} takes no reward functions", advice)


@contradiction("P077", "sampling-without-rewards", words=REWARDS)
def no_rewards(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a method that learns from rewards, without any."""
    if METHODS[s.method].online and not s.rewards:
        yield Fault("train.method", f"{s.method} needs a reward", "add rewards, such as [{type: exact}]")


@contradiction("P078", "word-of-another-reward", words=REWARDS)
def reward_words(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward without a word that its type needs, or with one that it does not have."""
    for index, reward in enumerate(s.rewards):
        here = indexed("rewards", index)
        for word in ("pattern", "max_words", "language", "path", "function", "url"):
            value, needed = getattr(reward, word), word in REWARD_WORDS[reward.type]
            if needed and value is None and not see.said.unsure((f"{here}.{word}",)):
                yield Fault(here, f"a reward of type {reward.type} needs {word}", f"add {word}")
            if not needed and value is not None:
                yield Fault(f"{here}.{word}", f"a reward of type {reward.type} has no {word}", "drop it")


@contradiction("P079", "exact-answers-without-answers", words=(*REWARDS, "data.train"))
def no_answers(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward for exact answers where no source of data has answers."""
    if any("answer" in source.columns for source in s.data.train):
        return
    for index, reward in enumerate(s.rewards):
        if reward.type == "exact":
            advice = "map the column: columns: {answer: …}"
            yield Fault(indexed("rewards", index), "an exact answer needs the answers", advice)


@contradiction("P104", "reward-function-that-cannot-be-called", words=REWARDS)
def reward_functions(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward function of the user's own that is not there, or cannot be called as it would be."""
    for index, reward in enumerate(s.rewards):
        if reward.type != "python" or reward.path is None or reward.function is None:
            continue
        from recipec.rules.reward_file import trouble  # ast is off the way of most recipes

        found = trouble(reward.path, reward.function)
        if found is not None:
            here = indexed("rewards", index)
            yield Fault(f"{here}.{found.word}", found.message, found.advice, found.suggestion)


@contradiction("P095", "script-and-trainer-disagree", "part", words=SCRIPT)
def which_program(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a script without the trainer that runs it, or that trainer without a script."""
    if recipe.train is None:
        return
    own = system(recipe.trainer).own_program
    if own and recipe.script is None:
        yield Fault("trainer", f"trainer: {recipe.trainer} needs the script", "add script: {path: train.py}")
    if not own and recipe.script is not None:
        yield Fault("script", f"{recipe.trainer} runs no script", "set trainer: script, or drop script")


def _asked(script: Script) -> Iterator[tuple[str, Reference]]:
    for key, value in script.arguments.items():
        for reference in references(value):
            yield key, reference


@contradiction("P096", "argument-that-nothing-gives", words=SCRIPT)
def arguments(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an argument of a script that asks for what neither the plan nor an emitted file gives."""
    if s.script is None or not system(s.trainer).own_program:
        return
    name = see.stage.name if see.stage is not None else s.name
    known = {path: value for path, value in leaves(s, name) if not path.startswith(f"{name}.script.")}
    emitted = [*["accelerate.yaml"][: s.script.launcher == "accelerate"]]
    emitted += [*["ds_config.json"][: s.parallel.strategy.startswith("zero")]]
    for key, reference in _asked(s.script):
        here = indexed("script.arguments", key)
        whole = f"${{{reference.kind}:{reference.name}}}"
        if reference.kind == "file" and reference.name not in emitted:
            there = f"there is {', '.join(emitted)}" if emitted else "there is none with this launcher and strategy"
            yield Fault(here, f"no file {reference.name} is emitted", there, nearest(reference.name, emitted))
        elif reference.kind not in ("file", "plan"):
            advice = f"write ${{plan:{name}.batch.micro}} for a value of the plan"
            if reference.kind == "env":  # a command line is seen by everybody on the machine
                advice = f"write {reference.name}: {whole} in launch.environment; the script finds it there"
            yield Fault(here, f"{whole} is neither of the plan nor an emitted file", advice)
        elif reference.kind == "plan" and reference.name not in known:
            below = [path for path in known if path.startswith(reference.name + ".")]
            message = f"no {reference.name} in the plan"
            if below:
                message = f"{reference.name} is not a single value of the plan"
            advice = f"it holds {', '.join(below[:6])}" if below else "`plan.json` lists every value"
            yield Fault(here, message, advice, None if below else nearest(reference.name, list(known)))
        elif reference.kind == "plan" and known[reference.name] in (None, ""):
            yield Fault(here, f"the recipe gives no {reference.name}", "say it in the recipe, or drop the argument")


def _asks(s: Train) -> set[str]:
    return {f"{one.kind}:{one.name}" for _key, one in _asked(s.script)} if s.script is not None else set()


@contradiction("P097", "script-without-its-folder", words=SCRIPT)
def output_folder(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a script that is not told where its result goes."""
    if s.script is None or not system(s.trainer).own_program or f"plan:{s.name}.output" in _asks(s):
        return
    advice = f"give it its folder, such as output-dir: ${{plan:{s.name}.output}}"
    yield Fault("script", "nothing tells the script where its result goes", advice)


@contradiction("P098", "sharding-that-nothing-does", words=(*SCRIPT, "parallel.strategy"))
def sharding(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a strategy that neither the launcher of a script nor the script itself carries out."""
    if s.script is None or not system(s.trainer).own_program:
        return
    asked, launcher, strategy = _asks(s), s.script.launcher, s.parallel.strategy
    if launcher == "ray" and strategy.startswith("zero"):
        advice = "use launcher: accelerate, or deepspeed"
        yield Fault("parallel.strategy", "Ray's environment has no DeepSpeed", advice)
        return
    shards = launcher == "accelerate" or strategy in ("single", "ddp") or f"plan:{s.name}.parallel.strategy" in asked
    if launcher == "deepspeed" and strategy.startswith("zero"):
        shards = shards or "file:ds_config.json" in asked
    if not shards:
        how = "deepspeed_config: ${file:ds_config.json}" if strategy.startswith("zero") else ""
        how = how or f"strategy: ${{plan:{s.name}.parallel.strategy}}"
        advice = f"use launcher: accelerate; or where the script itself shards, tell it by an argument such as {how}"
        message = f"{launcher} only starts processes: nothing would do {strategy}"
        yield Fault("parallel.strategy", message, advice)


@contradiction("P099", "accumulation-that-nothing-does", words=(*SCRIPT, "train"))
def accumulation(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a script that is told the micro batch, and not how many of them make a step."""
    if s.script is None or not system(s.trainer).own_program or s.parallel.strategy.startswith("zero"):
        return
    batch = {f"plan:{s.name}.batch.{word}" for word in ("micro", "accumulation", "total")} & _asks(s)
    if batch == {f"plan:{s.name}.batch.micro"} and s.batch.accumulation > 1:
        message = f"nothing tells the script to accumulate gradients over {s.batch.accumulation} batches"
        advice = f"give it ${{plan:{s.name}.batch.accumulation}}, or set train.gradient_accumulation: 1"
        yield Fault("train", message, advice)


RULES = (
    hyperparameters,
    losses,
    samples_nothing,
    group_of_one,
    broken_groups,
    engine,
    needless_rewards,
    no_rewards,
    reward_words,
    no_answers,
    reward_functions,
    which_program,
    arguments,
    output_folder,
    sharding,
    accumulation,
)
