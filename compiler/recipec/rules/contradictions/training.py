"""Contradictions about the batch, the length, the optimiser and its schedule, checkpoints and validation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from recipec.facts import pins, releases
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.parallel import MACHINE, SIZES
from recipec.kinds.train.records import Train
from recipec.plural import counted
from recipec.rules.contradictions.machine import could
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest
from recipec.systems.emit import heard
from recipec.systems.huggingface import ADAM, BETAS
from recipec.systems.registry import system
from recipec.systems.table import flattened

SCHEDULE = ("train.scheduler", "train.min_lr_ratio", "train.warmup", "train.decay", "train.cycles")
SHAPES = {"min_lr_ratio": "cosine_with_min_lr", "cycles": "cosine_with_restarts", "decay": "warmup_stable_decay"}
SCHEDULE_FREE = "adamw_schedule_free"
WATCH = ("train.save", "train.evaluate_every", "train.early_stopping", "data")


@contradiction("P107", "no-learning-rate", words=("train.learning_rate", "trainer"))
def learning_rate(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a training without a learning rate.

    Why is this bad:
    No value fits all methods, adapters and models, and the tools' defaults differ by a factor of ten and more.

    Example:
        train: {batch_size: 8}

    Use instead:
        train: {batch_size: 8, learning_rate: 1e-5}
    """
    if s.optimizer.learning_rate is None and not system(s.trainer).own_program:
        empty = "train.learning_rate" in see.said.nodes
        message = "train.learning_rate is left empty" if empty else "the training has no learning rate"
        advice = "write a value, such as 2e-5" if empty else "set train.learning_rate, such as 2e-5"
        yield Fault("train.learning_rate" if empty else "train", message, advice)


@contradiction("P060", "batch-that-does-not-multiply-out", words=(*SIZES, *MACHINE))
def batch(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a batch size that is not micro batch × accumulation × processes.

    Why is this bad:
    Tools take the factors. The step would have another number of sequences than the recipe says, and the learning rate
    would not fit it.

    Example:
        train: {learning_rate: 1e-5, batch_size: 50, micro_batch_size: 4}

    Use instead:
        train: {learning_rate: 1e-5, batch_size: 48, micro_batch_size: 4}
    """
    words, b = see.said.recipe.train, s.batch
    if words is None or words.batch_size is None or words.batch_size == b.total:
        return
    total = words.batch_size
    unit = b.micro * b.data_parallel if words.gradient_accumulation is None else b.total
    below = total // unit * unit
    near = " or ".join(str(size) for size in (below, below + unit) if size) if unit != b.total else str(b.total)
    parts = f"{b.micro} micro batch × {b.accumulation} accumulation × {counted(b.data_parallel, 'process')}"
    advice = f"batch_size = micro_batch_size × gradient_accumulation × processes; here {near} would do"
    split = {word: getattr(s.parallel, word) for word in ("context_parallel", "tensor_parallel")}
    for word, share in split.items():
        advice += f"; the {share} GPUs of parallel.{word} share each sequence, and count as one" * (share > 1)
    if s.rollout is not None and b.data_parallel * prod(split.values()) != s.hardware.world:
        advice += "; the GPUs of rollout.engines, and of a critic or reward model, hold no sequences"
    yield Fault("train.batch_size", f"batch_size {total} is not {parts} = {b.total}", advice)


@contradiction("P061", "length-given-twice", words=("train.epochs", "train.steps"))
def length(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds both epochs and steps.

    Why is this bad:
    Both are the length of the training. Transformers uses the steps, and no message says so.

    Example:
        train: {learning_rate: 1e-5, epochs: 3, steps: 400}

    Use instead:
        train: {learning_rate: 1e-5, epochs: 3}
    """
    words = see.said.recipe.train
    if words is not None and words.steps is not None and words.epochs is not None:
        apart = see.said.span("train.epochs").source != see.said.span("train.steps").source
        advice = "give one of them" + "; `null` deletes what another place sets" * apart
        yield Fault("train.epochs", "both epochs and steps are given", advice)


def _does(s: Train, scheduler: str) -> bool:
    """Return whether the trainer can do a schedule; where not, that is told of it (T001)."""
    return scheduler in system(s.trainer).can["optimizer.scheduler"]


@contradiction("P062", "word-of-another-schedule", words=SCHEDULE)
def other_schedule(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a key about the shape of another schedule.

    Why is this bad:
    The schedule that is chosen does not read it: the learning rate takes another course than the recipe says.

    Example:
        train: {learning_rate: 1e-5, scheduler: cosine, min_lr_ratio: 0.1}

    Use instead:
        train: {learning_rate: 1e-5, scheduler: cosine_with_min_lr, min_lr_ratio: 0.1}
    """
    said = [word for word in SHAPES if see.otherwise(f"train.{word}")]
    for word in said:
        owner = SHAPES[word]
        if s.optimizer.scheduler != owner:
            what = "has a floor" if word == "min_lr_ratio" else f"has {word}"
            fits = said == [word] and _does(s, owner) and s.optimizer.name != SCHEDULE_FREE
            yield Fault(
                f"train.{word}", f"only {owner} {what}", f"use scheduler: {owner}, or drop it" if fits else "drop it"
            )


@contradiction("P063", "schedule-without-its-shape", words=SCHEDULE)
def shapeless(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a schedule without the floor or the decay that it needs.

    Why is this bad:
    Transformers refuses to make the schedule when the training starts.

    Example:
        train: {learning_rate: 1e-5, steps: 400, scheduler: warmup_stable_decay}

    Use instead:
        train: {learning_rate: 1e-5, steps: 400, scheduler: warmup_stable_decay, decay: 40}
    """
    if not _does(s, s.optimizer.scheduler):
        return
    floor = see.said.wrote("train.min_lr_ratio")
    if s.optimizer.scheduler == "cosine_with_min_lr" and not floor:
        yield Fault("train.scheduler", "cosine_with_min_lr needs a floor", "set train.min_lr_ratio, such as 0.1")
    if s.optimizer.scheduler == "warmup_stable_decay" and not s.optimizer.decay:
        yield Fault("train.scheduler", "warmup_stable_decay needs a decay", "set train.decay, such as 10%")


@contradiction("P064", "schedule-longer-than-the-training", words=(*SCHEDULE, "train.steps"))
def too_long(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds warmup and decay that are longer than the training.

    Why is this bad:
    The learning rate never reaches its peak, or never comes down.

    Example:
        train: {learning_rate: 1e-5, steps: 100, warmup: 200}

    Use instead:
        train: {learning_rate: 1e-5, steps: 100, warmup: 10}
    """
    total = s.length.amount if s.length.unit == "steps" else None
    for word in ("warmup", "decay"):
        steps = getattr(s.optimizer, word)
        if total is not None and isinstance(steps, int) and (steps > total or (word, steps) == ("warmup", total)):
            longer = "longer than" if steps > total else "all of"
            message = f"{word} of {steps} steps is {longer} the training of {total}"
            yield Fault(f"train.{word}", message, "lower it")
    warmup, decay = s.optimizer.warmup, s.optimizer.decay
    if isinstance(warmup, float) and warmup >= 1:
        message = "warmup of 100% is all of the training: the learning rate only rises, and never comes down"
        yield Fault("train.warmup", message, "lower it: 3% to 10% is usual")
        return
    shares = isinstance(decay, float) and isinstance(warmup, float)
    if s.optimizer.scheduler == "warmup_stable_decay" and shares and decay + warmup > 1:
        yield Fault("train.decay", "warmup and decay are longer than the training", "lower one of them")


@contradiction("P065", "warmup-of-a-constant", words=SCHEDULE)
def constant_warmup(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a warmup with the schedule `constant`, which has none.

    Why is this bad:
    Transformers ignores the warmup: the first steps are taken at the full learning rate.

    Example:
        train: {learning_rate: 1e-5, scheduler: constant, warmup: 5%}

    Use instead:
        train: {learning_rate: 1e-5, scheduler: constant_with_warmup, warmup: 5%}
    """
    if s.optimizer.scheduler == "constant" and s.optimizer.warmup:
        yield Fault("train.scheduler", "schedule constant has no warmup", "use constant_with_warmup")


@contradiction("P066", "adam-words-of-another-optimiser", words=("train.optimizer", "train.beta2", "train.epsilon"))
def not_adam(see: Context, s: Train) -> Iterator[Fault]:
    """Finds Adam's β₂ or ε with an optimiser that does not use them.

    Why is this bad:
    The value is not passed on, or means something else to that optimiser. Lion has both β, and no ε.

    Example:
        train: {learning_rate: 1e-5, optimizer: adafactor, beta2: 0.95}

    Use instead:
        train: {learning_rate: 1e-5, optimizer: adamw, beta2: 0.95}
    """
    name = s.optimizer.name
    for word, having in (("beta2", BETAS), ("epsilon", ADAM)):
        if name not in having and see.otherwise(f"train.{word}"):
            yield Fault(f"train.{word}", f"{name} has no {word} here", "drop it, or use adamw")
            return


@contradiction("P067", "states-that-cannot-be-sharded", words=("train.optimizer", "parallel.strategy"))
def unsharded(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an optimiser under FSDP2 whose states cannot be sharded.

    Why is this bad:
    bitsandbytes keeps quantised and paged states by itself, which FSDP2 cannot split over processes. The states of torchao's
    optimisers (adamw_8bit_torchao, adamw_4bit) are tensors that it can.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: fsdp2}
        train: {learning_rate: 1e-5, optimizer: adamw_8bit}

    Use instead:
        train: {learning_rate: 1e-5, optimizer: adamw}
    """
    name = s.optimizer.name
    if s.parallel.strategy == "fsdp2" and (name.endswith("8bit") or "paged" in name):
        few = " or adamw_8bit_torchao" * ("adamw_8bit_torchao" in system(s.trainer).can.get("optimizer.name", ()))
        advice = f"use adamw{few}" + (f", or {able}" if (able := could(s, "zero2")) else "")
        yield Fault("train.optimizer", f"{name} keeps states that FSDP2 cannot shard", advice)


@contradiction("P068", "optimiser-that-cannot-be-offloaded", words=("train.optimizer", "parallel.offload"))
def offloaded(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an optimiser other than AdamW whose states are to live in host memory.

    Why is this bad:
    Under ZeRO, accelerate 1.15 puts DeepSpeed's CPU Adam in the place of any other optimiser without a message, or fails
    (`map_pytorch_optim_to_deepspeed`). Under FSDP2, SGD runs where the weights are, but bitsandbytes on the GPU only.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: zero3, offload: {optimizer: cpu}}
        train: {learning_rate: 1e-5, optimizer: lion}

    Use instead:
        train: {learning_rate: 1e-5, optimizer: adamw}
    """
    here = s.parallel.strategy == "fsdp2" and s.optimizer.name == "sgd"
    if s.parallel.optimizer_offload != "none" and s.optimizer.name != "adamw" and not here:
        yield Fault("train.optimizer", f"{s.optimizer.name} cannot be offloaded", "use adamw, which can")


@contradiction("P069", "validation-without-data", words=WATCH)
def unvalidated(see: Context, s: Train) -> Iterator[Fault]:
    """Finds validation without data for it.

    Why is this bad:
    Nothing is validated, although the recipe reads as if it were.

    Example:
        train: {learning_rate: 1e-5, evaluate_every: 100}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
    """
    validated = s.data.holdout or s.data.validation
    if see.otherwise("train.evaluate_every") and not validated:
        yield Fault("train.evaluate_every", "there is no validation data", "add data.holdout or data.validation")


@contradiction("P240", "part-of-an-unknown-epoch", words=("train.evaluate_every", "train.epochs", "train.steps"))
def part_of_an_epoch(see: Context, s: Train) -> Iterator[Fault]:
    """Finds several validations per epoch where there is no whole epoch, or nobody says how many.

    Why is this bad:
    Trainers count validations in steps. How many steps an epoch has is known only once the rows are counted; with `epochs`,
    its share of the whole training is known.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
        train: {learning_rate: 1e-5, steps: 100, evaluate_every: epoch/4}

    Use instead:
        train: {learning_rate: 1e-5, epochs: 2, evaluate_every: epoch/4}
    """
    train = see.said.recipe.train
    every = train.evaluate_every if train is not None else None
    if isinstance(every, str) and every.startswith("epoch/"):
        if s.length.unit == "steps":
            advice = "give train.epochs, or a number of steps here"
            yield Fault("train.evaluate_every", f"with train.steps, {every} is of no known length", advice)
        elif isinstance(s.watch.evaluate_every, float) and s.watch.evaluate_every >= 1:
            message = f"the training ends before the first validation of {every}"
            yield Fault("train.evaluate_every", message, "give a share of all steps, such as 25%")


_DATABASE = re.compile(r"(sqlite|postgresql|mysql|mssql)(?:\+\w+)?:")


@contradiction("P243", "tracker-that-is-not-installed", words=("track", "trainer", "versions"), waivable=True)
def tracker(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a database as MLflow's store, which needs packages that are not among the exact pins of the trainer's environment.

    Why is this bad:
    The environment has MLflow's client, which logs to a server or into a folder. The trainer asks for the store after the model
    is loaded, and ends with an error.

    Example:
        track: {mlflow: {tracking_uri: "sqlite:///mlflow.db"}}

    Use instead:
        track: {mlflow: {tracking_uri: mlruns}}

    When it is meant:
    The training is started by hand in an environment of one's own that has the whole of MLflow.
    """
    store = _DATABASE.match(s.track.mlflow_uri or "")
    if store is None or see.stage is None or s.release not in releases(s.trainer):  # the last is told by P094
        return
    values, held = flattened(see.stage.body), pins(see.stage.environment)
    able = all(values.get(path) in (None, *known) for path, known in system(s.trainer).can.items())
    if able and "\nsqlalchemy==" not in held and "track.mlflow_uri" in heard(see.stage):
        message = f"the environment {see.stage.environment} has no packages for a database ({store[1]})"
        yield Fault("track.mlflow.tracking_uri", message, "give the address of a server, or a folder")


@contradiction("P094", "unknown-release", words=("versions", "trainer"))
def release(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a release of a tool without exact pins.

    Why is this bad:
    Its environment cannot be created, and the keys that it reads are not known.

    Example:
        versions: {axolotl: 0.1.0}

    Use instead:
        versions: {axolotl: 0.19.0}
    """
    known = releases(s.trainer)
    if s.release not in known and (known or s.release):
        message = f"release {s.release} of {s.trainer} is not supported"
        close = nearest(s.release, known)
        yield Fault(f"versions.{s.trainer}", message, f"known: {', '.join(known) or 'none'}", close)


@contradiction(
    "P103",
    "neftune-beyond-sft",
    words=("train.neftune_alpha", "train.method"),
    severity="warning",
    waivable=True,
)
def neftune(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds NEFTune with another method than SFT.

    Why is this bad:
    The noise on embeddings was measured in instruction tuning. Preference methods compare log probabilities, which it blurs.

    Example:
        data: {train: [{path: data/text.jsonl, format: text}]}
        train: {method: pretrain, learning_rate: 1e-5, neftune_alpha: 5}

    Use instead:
        train: {method: pretrain, learning_rate: 1e-5}

    When it is meant:
    You try the noise with another method. A trainer that has NEFTune adds it whatever the method is.
    """
    if s.optimizer.neftune_alpha and s.method != "sft":
        yield Fault("train.neftune_alpha", f"NEFTune is made for sft, not for {s.method}", "drop it")


@contradiction(
    "P102", "schedule-of-a-schedule-free-optimiser", words=("train.optimizer", "train.scheduler"), waivable=True
)
def schedule_free(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a schedule with schedule-free AdamW.

    Why is this bad:
    It averages weights instead of lowering the learning rate. A schedule lowers it on top of that.

    Example:
        train: {learning_rate: 1e-5, optimizer: adamw_schedule_free, scheduler: cosine}

    Use instead:
        train: {learning_rate: 1e-5, optimizer: adamw_schedule_free, scheduler: constant}

    When it is meant:
    You compare schedules on this optimiser. The trainer runs them.
    """
    if s.optimizer.name == SCHEDULE_FREE and not s.optimizer.scheduler.startswith("constant"):
        yield Fault("train.scheduler", f"{s.optimizer.name} needs no schedule", "use scheduler: constant")


@contradiction("P105", "engines-that-leave-no-gpu", words=("rollout", *MACHINE))
def engines(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds generation engines that take all GPUs, or leave a number that cannot be shared out.

    Why is this bad:
    Engines have GPUs of their own. The policy, its critic and a reward model share what is left in equal parts.

    Example:
        trainer: openrlhf
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero3}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8}
        rollout: {engine: vllm, engines: 4}
        rewards: [{type: exact}]

    Use instead:
        rollout: {engine: vllm, engines: 2}
    """
    roll, world = s.rollout, s.hardware.world
    if roll is None or roll.engine != "vllm" or roll.engines is None or not METHODS[s.method].online:
        return
    taken = roll.engines * roll.tensor_parallel
    rest = world - taken
    if rest < 1:
        message = f"{roll.engines} engines take {taken} of {world} GPUs, and leave none to train on"
        yield Fault("rollout.engines", message, "use fewer engines, or declare more hardware")
        return
    critic = s.method == "ppo" and (s.objective is None or s.objective.loss != "reinforce++")
    scored = any(reward.type == "model" for reward in s.rewards)
    if system(s.trainer).engines_apart and (critic or scored) and rest % 2:
        message = f"{rest} GPUs beside those of the engines cannot be halved between the policy and its critic or reward model"
        yield Fault("rollout.engines", message, "leave an even number of GPUs")


RULES = (
    learning_rate,
    batch,
    length,
    other_schedule,
    shapeless,
    too_long,
    constant_warmup,
    not_adam,
    unsharded,
    offloaded,
    unvalidated,
    tracker,
    part_of_an_epoch,
    release,
    neftune,
    schedule_free,
    engines,
)
