"""Contradictions about the course: what is trained, merged and evaluated, and what each stage starts from."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.kinds.code import asked
from recipec.kinds.evaluate import Evaluate, chosen, known
from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.language.base import BEST
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest
from recipec.systems.registry import system

WITH_TRAINING = ("parallel", "data", "rollout", "rewards", "script", "trainer")


@contradiction("P000", "nothing-to-do", "recipe", words=("recipe",))
def nothing(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a recipe that neither trains nor evaluates.

    Why is this bad:
    There is nothing to compile.

    Example:
        recipe: 1
        name: example
        model: {base: my-lab/my-model}
        hardware: {gpu: a100-80gb}

    Use instead:
        evaluate: {tasks: [gsm8k]}
    """
    if recipe.evaluate is None and recipe.train is None and not see.graph.several and not see.plan.stages:
        yield Fault("recipe", "the recipe neither trains nor evaluates", "add train, or evaluate")


@contradiction("P025", "tokenizer-without-text", "recipe", words=("model.from_scratch", "train", "data"))
def untrained_tokenizer(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a model from scratch in a recipe that trains nothing.

    Why is this bad:
    Its weights are random, and its tokenizer is made from the training data, of which there is none.

    Example:
        recipe: 1
        name: example
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}}
        hardware: {gpu: a100-80gb}
        evaluate: {tasks: [gsm8k]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
        train: {learning_rate: 1e-3}
    """
    if recipe.model.from_scratch is not None and recipe.train is None and not see.graph.several:
        message = "a tokenizer from scratch needs training data"
        yield Fault("model.from_scratch", message, "add data and train")


@contradiction("P026", "tokenizer-of-a-script-without-text", "init", words=("data.train",))
def no_text(see: Context, s: object) -> Iterator[Fault]:
    """Finds a tokenizer from scratch for a script in a recipe that names no data.

    Why is this bad:
    The tokenizer is made before the script starts, and learns from the data that the recipe names.

    Example:
        recipe: 1
        name: example
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}}
        trainer: script
        script: {path: train.py, arguments: {out: '${plan:train.output}'}}
        train: {}
        hardware: {gpu: a100-80gb}

    Use instead:
        script: {path: train.py, arguments: {out: '${plan:train.output}', rows: '${plan:train.data.train.0.path}'}}
        data: {train: [{path: data/chat.jsonl, format: chat}]}
    """
    if not getattr(s, "data", ()):
        message = "a tokenizer from scratch is trained on data, and the recipe names none"
        yield Fault(
            "data.train" if see.said.wrote("data") else "model.from_scratch",
            message,
            "add data.train with its sources",
        )


@contradiction("P027", "no-adapter-to-start-from", words=("parent_adapter",))
def no_adapter(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds a stage that continues an adapter, stacks on it or merges it where there is none.

    Why is this bad:
    The stage starts from whole weights. Either the stage before should have trained an adapter, or another one was meant.

    Example:
        stages:
          - {name: first}
          - {name: second, parent_adapter: merge}

    Use instead:
        stages:
          - {name: first}
          - {name: second}
    """
    if see.said.part.parent_adapter == "merge" and _merged(see, start(see)):
        return  # what it asks for is done by the stage before
    if see.said.part.parent_adapter is not None and not left_adapter(see):
        message = f"there is no adapter to start from{_merged(see, start(see))}"
        yield Fault("parent_adapter", message, "drop parent_adapter")


@contradiction("P028", "what-becomes-of-an-adapter", words=("parent_adapter", "start_from"))
def undecided_adapter(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds a stage that starts from an adapter and does not say whether it is merged, continued, or gets a new one stacked on it.

    Why is this bad:
    All are usual, and they give different weights: a new adapter on merged weights, two adapters in one, or the same adapter trained further.

    Example:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 16}}

    Use instead:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 16}, parent_adapter: merge}
    """
    name = left_adapter(see)
    if see.said.part.parent_adapter is None and name:
        message = f"{name} leaves an adapter, and this stage does not say whether to merge, stack on or continue it"
        yield Fault("parent_adapter", message, "set parent_adapter: merge, stack or continue")


def left_adapter(see: Context) -> str:
    """Return the name of the stage that this one starts from, where it leaves an adapter; else an empty text."""
    name = start(see)
    handed = see.graph.models.get(name)
    return name if handed is not None and handed.model.adapter is not None else ""


def start(see: Context) -> str:
    """Return the name of the stage that this one starts from."""
    earlier = before(see)
    return see.said.part.start_from or (earlier[-1] if earlier else "base")


def _merged(see: Context, name: str) -> str:
    """Return why a training leaves no adapter, where it is that it merges its own."""
    merges = any(one.name == name and one.body.adapter and one.body.adapter.merge for one in see.plan.of_kind("train"))
    return f": adapter.merge merges that of {name}" if merges else ""


@contradiction("P036", "adapter-without-training", "part", words=("adapter", "train"))
def untrained_adapter(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds an adapter in a recipe that trains nothing.

    Why is this bad:
    Nothing makes the adapter: the base model would be evaluated alone.

    Example:
        recipe: 1
        name: example
        model: {base: my-lab/my-model}
        adapter: {rank: 16}
        hardware: {gpu: a100-80gb}
        evaluate: {tasks: [gsm8k]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
        train: {learning_rate: 1e-4}
    """
    if recipe.adapter is not None and recipe.train is None and see.said.part.kind == "train":
        yield Fault("adapter", "an adapter is given, but nothing is trained", "add train, or drop adapter")


@contradiction("P037", "word-of-a-training-without-one", "part", words=("train", *WITH_TRAINING))
def needs_training(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds keys that only a training uses, in a recipe that trains nothing.

    Why is this bad:
    They have no effect, and the training that was meant does not happen.

    Example:
        recipe: 1
        name: example
        model: {base: my-lab/my-model}
        data: {train: [{path: data/chat.jsonl, format: chat}]}
        hardware: {gpu: a100-80gb}
        evaluate: {tasks: [gsm8k]}

    Use instead:
        train: {learning_rate: 1e-5}
    """
    several = see.said.part.own is not None
    if recipe.train is not None or (several and any(one.kind == "train" for one in see.plan.stages)):
        return
    if several and (recipe.script is None or see.said.part.script is not None):
        return  # of stages, all but the whole recipe's program is judged by what acts on it
    for word in ("script",) if several else WITH_TRAINING:
        if see.otherwise(word) and not (word == "data" and recipe.model.from_scratch is not None):
            yield Fault(word, f"{word} is given, but nothing is trained", f"add train, or drop {word}")


@contradiction("P038", "stage-without-training", "part", words=("train", "merge"))
def stage_without_training(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage with neither train nor merge.

    Why is this bad:
    The stage has nothing to do, and those after it start from what it should have left.

    Example:
        recipe: 1
        name: example
        model: {base: my-lab/my-model}
        data: {train: [{path: data/chat.jsonl, format: chat}]}
        hardware: {gpu: a100-80gb}
        stages: [{name: first, train: {learning_rate: 1e-5}}, {name: second}]

    Use instead:
        stages: [{name: first, train: {learning_rate: 1e-5}}, {name: second, train: {learning_rate: 1e-6}}]
    """
    if see.said.part.own is not None and recipe.train is None and see.said.part.kind == "train":
        yield Fault("train", "the stage has no training", "give it train, or give train to the recipe")


@contradiction("P040", "training-without-data", "part", words=("train", "data", "trainer"))
def no_data(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a training that names no data.

    Why is this bad:
    There is nothing to learn from.

    Example:
        recipe: 1
        name: example
        model: {base: my-lab/my-model}
        train: {learning_rate: 1e-5}
        hardware: {gpu: a100-80gb}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
    """
    wanted = recipe.train is not None and see.said.part.kind == "train"
    if wanted and recipe.data is None and not system(recipe.trainer).own_program:
        yield Fault("train", "there is a training, but no data", "add data: {train: […]}")


@contradiction("P080", "unknown-model-to-evaluate", "recipe", words=("evaluate.models", "train", "stages"))
def unknown_model(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a model to evaluate that no stage makes.

    Why is this bad:
    The evaluation would end with an error, after all trainings.

    Example:
        evaluate: {tasks: [gsm8k], models: [tuned2]}

    Use instead:
        evaluate: {tasks: [gsm8k], models: [tuned]}
    """
    if recipe.evaluate is None or recipe.evaluate.models is None:
        return
    there = known(see.graph)
    trained = len(see.graph.models) > 1
    listed = [name for name in there if name != "tuned" or "tuned" in see.graph.models]
    for index, name in enumerate(chosen(see.said, see.graph)):
        if name not in there:
            nothing = f"nothing is trained, so there is no {name}"
            message = f'"{name}" is neither base, tuned nor a stage' if trained else nothing
            here = f"evaluate.models[{index}]"
            yield Fault(here, message, f"there is {', '.join(listed)}", nearest(name, list(there)))


@contradiction(
    "P331",
    "evaluation-without-a-benchmark",
    "recipe",
    "part",
    words=("evaluate", "evaluate.tasks", "evaluate.code.tasks"),
)
def nothing_measured(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds an evaluation that names nothing to measure.

    Why is this bad:
    Nothing would be evaluated, and nobody told.

    Example:
        evaluate: {models: [base]}

    Use instead:
        evaluate: {models: [base], tasks: [gsm8k]}
    """
    given = recipe.evaluate
    part = see.said.part
    if given is None or asked(given) or given.judge or (part.own is not None and part.kind != "evaluate"):
        return
    yield Fault("evaluate", "evaluate names nothing to measure", "name benchmarks: tasks: [gsm8k], or judge: […]")


@contradiction("P082", "vllm-without-a-gpu", "evaluate", words=("evaluate.backend", "hardware.gpu"))
def vllm_on_cpu(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds an evaluation by vLLM on a machine without a GPU.

    Why is this bad:
    The vLLM of the evaluation's environment is built for CUDA, and does not start.

    Example:
        hardware: {gpu: none}
        evaluate: {tasks: [gsm8k], backend: vllm}

    Use instead:
        evaluate: {tasks: [gsm8k], backend: hf}
    """
    if s.backend == "vllm" and s.hardware.device == "cpu":
        yield Fault("evaluate.backend", "the vllm back end needs a GPU", "use hf")


@contradiction("P110", "unknown-adapter-to-merge", "part", words=("merge",))
def unknown_adapter(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a merge of something that no earlier stage makes, or of a model that is not an adapter.

    Why is this bad:
    A merge adds adapters to their base. Weights that are whole already have nothing to add.

    Example:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: whole, merge: math}

    Use instead:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: whole, merge: maths}
    """
    given = see.said.part.merge
    names = [given] if isinstance(given, str) else list(given.adapters) if given is not None else []
    earlier = before(see)
    for name in names:
        here = "merge" if isinstance(given, str) else f"merge.adapters.{name}"
        handed, training = see.graph.models.get(name), name.removesuffix(BEST)
        if training not in earlier or (handed is None and training == name):
            message = f'"{name}" is not a stage before this one'
            yield Fault(here, message, f"stages before it: {', '.join(earlier) or 'none'}", nearest(name, earlier))
        elif handed is not None and handed.model.adapter is None:  # of a best that there is not: P263
            message = f"{name} leaves no adapter that could be merged{_merged(see, name)}"
            yield Fault(here, message, "name a stage that trains an adapter")


def before(see: Context) -> tuple[str, ...]:
    """Return the names of the stages that are listed before this one."""
    path = see.said.part.path
    return see.graph.listed[: int(path[1])] if path else ()


RULES = (
    nothing,
    untrained_tokenizer,
    no_text,
    no_adapter,
    undecided_adapter,
    untrained_adapter,
    needs_training,
    stage_without_training,
    no_data,
    unknown_model,
    nothing_measured,
    vllm_on_cpu,
    unknown_adapter,
)
