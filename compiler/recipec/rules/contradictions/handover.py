"""Contradictions about what one stage leaves and another does with it."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import normpath
from typing import Any

from recipec.decide.said import indexed
from recipec.facts.layers import adapter_config
from recipec.facts.models import KnownModel
from recipec.kinds.merge import Merge
from recipec.kinds.train.continued import kept_from, left
from recipec.kinds.train.model import PROMPTED
from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.plan import ModelOutput
from recipec.rules.contradictions.course import before, left_adapter, start
from recipec.rules.contradictions.stacking import unfit
from recipec.rules.rule import Context, Fault, contradiction
from recipec.source import is_tuple
from recipec.suggest import nearest
from recipec.systems.registry import doing, system

SHAPE = ("type", "rank", "alpha", "dropout", "targets", "target_pattern", "also_train", "dora", "rslora", "virtual_tokens", "options")  # fmt: skip


@contradiction(
    "P117", "another-shape-of-a-continued-adapter", "part", words=("parent_adapter", "start_from", "adapter")
)
def other_shape(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that continues an adapter, but has none or one of another shape.

    Why is this bad:
    A continued adapter is loaded as it was saved. Another rank has no effect, and a stage without an adapter would train all weights of the base instead.

    Example:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 32}, parent_adapter: continue}

    Use instead:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 16}, parent_adapter: continue}
    """
    name = left_adapter(see)
    if see.said.part.parent_adapter != "continue" or not name or recipe.train is None:
        return
    earlier = [stage.body for stage in see.plan.stages if stage.name == name and stage.kind == "train"]
    here = [one.body for one in see.plan.stages if one.name == see.said.part.name and one.kind == "train"]
    if not earlier or not here or earlier[0].adapter is None:
        return
    outside = kept_from(see.plan, earlier[0])
    if outside is not None and adapter_config(outside) is not None:
        return  # what that is counts, not what the stage before says of it: L240
    old, new = earlier[0].adapter, here[0].adapter
    made = see.graph.models[name].model.adapter
    if made != earlier[0].output:  # it is stacked
        both = left(see.plan, made)
        old = both if both is not None else new
    if new is None:
        advice = f"give it the adapter of {name}, or set parent_adapter: merge"
        yield Fault("parent_adapter", "this stage has no adapter: it would train all weights", advice)
        return
    for word in SHAPE:
        there, given = getattr(old, word), getattr(new, word)
        if there != given:
            message = f"the adapter of {name} is continued, and its {word} is not {_shown(given)}"
            advice = (
                f"make it {_shown(there)}, or set parent_adapter: merge"
                if there not in (None, 0, ())
                else "drop it, or set parent_adapter: merge"
            )
            yield Fault(f"adapter.{word}", message, advice)
            return


def _shown(value: object) -> str:
    """Return a value as a recipe has it."""
    if is_tuple(value):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


@contradiction("P118", "adapter-that-cannot-be-merged", "merge", words=("merge", "parent_adapter", "adapter"))
def unmergeable(see: Context, s: Merge) -> Iterator[Fault]:
    """Finds a merge of an adapter that changes no weights, or that cannot be combined with others.

    Why is this bad:
    PEFT refuses it, after all trainings. A learnt prompt stands beside the weights, and only the matrices of LoRA can be combined by weight: of DoRA,
    layers that are trained in full and what PiSSA takes out of the base, PEFT makes another model without a word.

    Example:
        trainer: trl
        adapter: {type: prompt_tuning}
        stages: [{name: first}, {name: whole, merge: first}]

    Use instead:
        trainer: trl
        adapter: {type: lora}
        stages: [{name: first}, {name: whole, merge: first}]
    """
    part = see.said.part
    if part.kind != "merge" and part.parent_adapter != "merge":
        return  # what adapter.merge asks for is told beside the adapter
    taken = [one.stage for one in see.stage.inputs] if see.stage is not None else []
    for stage in see.plan.stages:
        adapter = stage.body.adapter if stage.name in taken and stage.kind == "train" else None
        if adapter is None:
            continue
        lost = unfit(see, adapter, stage.body)
        here = "parent_adapter" if part.kind != "merge" else "merge.adapters" if s.parts else "merge"
        if adapter.type in PROMPTED:
            message = f"{stage.name} leaves an adapter of type {adapter.type}, which changes no weights"
            yield Fault(here, message, "evaluate it as it is, or train an adapter of another type")
        elif s.parts and adapter.type != "lora":
            message = f"{stage.name} leaves an adapter of type {adapter.type}, and only lora is combined by weight"
            yield Fault(here, message, f"merge it alone: merge: {stage.name}")
        elif s.parts and lost is not None:
            message = f"{stage.name} leaves an adapter that cannot be combined by weight: {lost[1]} ({lost[0]})"
            yield Fault(here, message, f"merge it alone: merge: {stage.name}")


@contradiction(
    "P119",
    "reward-model-as-a-language-model",
    "train",
    "evaluate",
    "generate",
    words=("train.method", "start_from", "evaluate"),
)
def judge_that_speaks(see: Context, s: Any) -> Iterator[Fault]:
    """Finds a reward model that is evaluated, or trained further by another method.

    Why is this bad:
    A reward model has a head that gives one score for an answer, in the place of the one that predicts the next token. It cannot write.

    Example:
        trainer: trl
        train: {learning_rate: 1e-5}
        stages:
          - {name: judge, train: {method: reward}, data: {train: [{path: data/pairs.jsonl, format: preference}]}}
          - {name: sft}

    Use instead:
        trainer: trl
        train: {learning_rate: 1e-5}
        stages:
          - {name: judge, train: {method: reward}, data: {train: [{path: data/pairs.jsonl, format: preference}]}}
          - {name: sft, start_from: base}
    """
    taken = (
        [one.output for one in see.stage.inputs[:1]] if see.stage is not None else []
    )  # the first: what it begins with
    if not any(isinstance(one, ModelOutput) and one.head == "score" for one in taken):
        return
    if see.stage is not None and see.stage.kind == "evaluate":
        named = see.said.recipe.evaluate.models if see.said.recipe.evaluate is not None else None
        here = f"evaluate.models[{named.index(s.model.name)}]" if named and s.model.name in named else "evaluate"
        message = f"{s.model.name} is a reward model, which cannot write answers"
        yield Fault(here, message, "leave it out: benchmarks are for language models")
    elif (see.stage is not None and see.stage.kind == "generate") or s.method != "reward":
        name = start(see)
        by_default = "" if see.said.part.start_from is not None else "the stage before it, "
        message = f"this stage starts from {name}, {by_default}which is a reward model and cannot write answers"
        able = [one for one in before(see) if (at := see.graph.models.get(one)) and at.model.head == "next token"]
        advice = f"set start_from: {' or '.join(['base', *able])}"
        sampled = see.stage is not None and see.stage.kind == "train" and s.rollout is not None
        if sampled and all(one.stage != name for one in see.said.recipe.rewards):
            advice += f"; to be judged by {name}: rewards: [{{type: model, stage: {name}}}]"
        yield Fault("start_from", message, advice)


@contradiction("P230", "evaluation-of-reward-models-alone", "recipe", words=("train.method", "evaluate", "stages"))
def only_judges(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds benchmarks in a recipe that trains nothing but a reward model.

    Why is this bad:
    A reward model cannot write answers, so the benchmarks would tell of the base model alone.

    Example:
        trainer: trl
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: reward, learning_rate: 1e-5}
        evaluate: {tasks: [gsm8k]}

    Use instead:
        evaluate: {tasks: [gsm8k], models: [base]}
    """
    made = [one.model for name, one in see.graph.models.items() if name != "base"]
    judges = bool(made) and all(model.head == "score" for model in made)
    if judges and recipe.evaluate is not None and recipe.evaluate.models is None:
        message = "what is trained is a reward model, which cannot write answers"
        yield Fault("evaluate.tasks", message, "drop evaluate, or measure the model as it is: models: [base]")


@contradiction(
    "P231", "path-of-a-stage", "part", words=("model.base", "model.tokenizer", "adapter.start_from", "rewards")
)
def path_of_a_stage(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a folder that a stage of the same recipe makes, named by its path instead of by the stage.

    Why is this bad:
    Nothing tells that one waits for the other, what is in the folder, and what becomes of an adapter there. Another name of the recipe, or a stage
    put before it, and the path is that of something else.

    Example:
        trainer: trl
        train: {learning_rate: 1e-5}
        stages:
          - {name: first}
          - {name: second, model: {base: runs/example/first}}

    Use instead:
        stages:
          - {name: first}
          - {name: second, start_from: first}
    """
    paths = [("model.base", recipe.model.base), ("model.tokenizer", recipe.model.tokenizer)]
    paths.append(("adapter.start_from", recipe.adapter.start_from if recipe.adapter is not None else None))
    paths += [(f"{indexed('rewards', index)}.path", one.path) for index, one in enumerate(recipe.rewards)]
    if not any(path for _, path in paths):
        return
    names = {normpath(one.model.place): name for name, one in see.graph.models.items() if name != "base"}
    for word, path in paths:
        maker = see.plan.maker(normpath(path)) if path else None
        if path is None or maker is None:
            continue
        name = names.get(normpath(path), maker.name)
        advice = {
            "model.base": f"set start_from: {name} instead",
            "model.tokenizer": f"drop it: start_from: {name} brings its tokenizer",
            "adapter.start_from": f"set start_from: {name} and parent_adapter: continue of the stage instead",
        }.get(word, f"write stage: {name} in the place of path")
        if name == see.said.part.name or name not in see.graph.models:
            advice = "name what was there before, or a stage before this one"
        yield Fault(word, f"{path} is what the stage {maker.name} of this recipe makes", advice)


@contradiction("P232", "stage-that-gives-no-reward", "train", "generate", words=("rewards", "train.method", "adapter"))
def no_judge(see: Context, s: Any) -> Iterator[Fault]:
    """Finds a reward whose stage is no reward model that this stage could load.

    Why is this bad:
    A language model has no head for scores: it would get a random one, and so would a reward model whose head is saved apart. Random scores train too.

    Example:
        trainer: trl
        train: {learning_rate: 1e-5}
        stages:
          - {name: sft}
          - name: rl
            data: {train: [{path: data/prompts.jsonl, format: prompt}]}
            train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
            rewards: [{type: model, stage: sft}]

    Use instead:
        stages:
          - {name: sft}
          - {name: judge, data: {train: [{path: data/pairs.jsonl, format: preference}]}, train: {method: reward}}
          - name: rl
            start_from: sft
            data: {train: [{path: data/prompts.jsonl, format: prompt}]}
            train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
            rewards: [{type: model, stage: judge}]
    """
    taker = see.stage.system if see.stage is not None else see.said.recipe.trainer
    for index, given in enumerate(see.said.recipe.rewards if s.rewards else ()):
        name, here = given.stage, f"{indexed('rewards', index)}.stage"
        if name is None:
            continue
        handed, known = see.graph.models.get(name), before(see)
        if handed is None or name not in known:
            message = f'"{name}" is not a stage before this one'
            yield Fault(here, message, f"stages before it: {', '.join(known) or 'none'}", nearest(name, known))
            continue
        maker = next((one for one in see.plan.stages if one.kind == "train" and one.name == name), None)
        if handed.model.head != "score":
            yield Fault(
                here, f"{name} leaves a language model, which gives no scores", "name a stage with method: reward"
            )
        elif handed.model.adapter is not None:
            message = f"{name} leaves an adapter, and a reward model is loaded whole"
            yield Fault(here, message, f"set adapter.merge: true in {name}")
        elif maker is not None and system(maker.system).scores_apart and maker.system != taker:
            message = (
                f"{maker.system} saves the head that gives the scores apart, and {taker} would begin with a random one"
            )
            able = next(
                (
                    one
                    for one in (taker, *doing("train"))
                    if "train" in system(one).kinds and not system(one).scores_apart
                ),
                taker,
            )
            yield Fault(here, message, f"train {name} by another trainer, such as {able}")


@contradiction("P233", "reward-model-of-another-tokenizer", words=("rewards", "model.base"))
def foreign_judge(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward model of another vocabulary than the policy's, where it is given the policy's tokens.

    Why is this bad:
    The same number means another word to each of them. The scores are noise, or the embedding ends with an error.

    Example:
        trainer: openrlhf
        model: {base: meta-llama/Llama-3.1-8B-Instruct}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: ppo, learning_rate: 5e-7, batch_size: 64}
        rollout: {engine: vllm}
        rewards: [{type: model, path: Qwen/Qwen2.5-7B-Instruct}]
        hardware: {gpu: h100-80gb, per_node: 8}
        parallel: {strategy: zero3}

    Use instead:
        rewards: [{type: model, path: my-lab/llama-3-reward}]
    """
    policy = see.model(s.model.path)
    if policy is None or policy.vocab is None or not system(s.trainer).scores_tokens:
        return
    for index, reward in enumerate(s.rewards):
        judge = see.model(reward.path) if reward.type == "model" and reward.path is not None else None
        if judge is not None and judge.vocab is not None and judge.tokens and not _share(judge, policy):
            message = (
                f"{judge.id} has another vocabulary than {policy.id}, and {s.trainer} gives it the policy's tokens"
            )
            advice = "use a reward model of the policy's family, or trainer: trl, which writes the text out for it"
            yield Fault(indexed("rewards", index), message, advice)


def _share(one: KnownModel, other: KnownModel) -> bool:
    """Return whether the special tokens of one are among those of the other: sizes differ by padding and by additions."""
    smaller, larger = sorted((set(one.tokens), set(other.tokens)), key=len)
    return not smaller or smaller <= larger


RULES = (other_shape, unmergeable, judge_that_speaks, only_judges, path_of_a_stage, no_judge, foreign_judge)
