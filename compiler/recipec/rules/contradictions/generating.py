"""Contradictions about rows that stages make: what makes them, and what takes them."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.course import KINDS
from recipec.decide.said import indexed
from recipec.kinds.evaluate import FILLED, held
from recipec.kinds.generate import Generate
from recipec.language import Recipe
from recipec.language.data import DataSource as SourceWords
from recipec.rules.contradictions.data import SUFFIXES, written
from recipec.rules.rule import Context, Fault, contradiction
from recipec.source import Scalar
from recipec.suggest import nearest
from recipec.systems.registry import system

MADE_OF = ("generate", "start_from", "rewards", "rollout")


def _given(see: Context) -> Iterator[tuple[str, SourceWords]]:
    """Yield every source that a part takes rows or prompts from, as it is written, with its recipe path."""
    rows = see.said.part.generate
    if rows is None:
        yield from written(see)
        return
    for index, source in enumerate(rows.prompts):
        yield indexed("generate.prompts", index), source


@contradiction("P247", "rows-of-no-stage", "part", words=("data", "generate"))
def no_such_rows(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds rows of a stage that is not there, comes later, or makes no rows.

    Why is this bad:
    There is nothing to train on when the stage begins.

    Example:
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: second, start_from: base, adapter: {rank: 16}, data: {train: [{stage: sft, format: chat}]}}

    Use instead:
        stages:
          - {name: sft}
          - {name: answers, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}]}}
          - {name: second, start_from: base, data: {train: [{stage: answers, format: chat}]}}
    """
    before: list[str] = []
    for part in see.graph.listed:
        if part == see.said.part.name:
            break
        before.append(part)
    makers = [name for name in before if name in see.graph.rows]
    for here, source in _given(see):
        if source.stage is not None and source.stage not in makers:
            what = "makes no rows" if source.stage in before else "is not a stage before this one"
            message, advice = f"{source.stage} {what}", f"stages that make rows: {', '.join(makers) or 'none'}"
            yield Fault(f"{here}.stage", message, advice, nearest(source.stage, makers))


@contradiction("P248", "rows-of-another-format", "part", words=("data", "generate"))
def another_format(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds rows of a stage that are read as another format than it makes, or that the trainer does not read.

    Why is this bad:
    The columns are not there: the training ends at its first row, after the stage before has run.

    Example:
        stages:
          - {name: sft}
          - {name: answers, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}]}}
          - {name: second, start_from: base, data: {train: [{stage: answers, format: completion}]}}

    Use instead:
        stages:
          - {name: sft}
          - {name: answers, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}]}}
          - {name: second, start_from: base, data: {train: [{stage: answers, format: chat}]}}
    """
    for here, source in _given(see):
        made = see.graph.rows.get(source.stage) if source.stage is not None else None
        if made is None:
            continue
        if source.format != made.format:
            message = f"{source.stage} makes rows of format {made.format}, not {source.format}"
            yield Fault(f"{here}.format", message, f"write format: {made.format}", made.format)
        shapes = system(recipe.trainer).pairs
        if made.format == "preference" and shapes and "message" not in shapes:
            message = f"{source.stage} makes pairs of one message each, and {recipe.trainer} reads {', '.join(sorted(shapes))}"
            yield Fault(f"{here}.stage", message, "use another trainer for this stage")
        mapped = [name for name, column in source.columns.items() if name != column]
        if mapped or source.roles:
            message = f"the rows of {source.stage} have the standard names"
            yield Fault(f"{here}.columns" if mapped else f"{here}.roles", message, "drop the mapping")


@contradiction("P249", "words-of-several-kinds", "part", words=("merge", "generate", "evaluate"))
def several_kinds(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that would be of two kinds, or that says what a stage of its kind does not have.

    Why is this bad:
    A stage does one thing: what belongs to another kind would not happen.

    Example:
        stages:
          - {name: sft}
          - {name: checked, train: {learning_rate: 1e-6}, evaluate: {tasks: [gsm8k]}}

    Use instead:
        stages:
          - {name: sft}
          - {name: more, train: {learning_rate: 1e-6}}
          - {name: checked, evaluate: {tasks: [gsm8k]}}
    """
    part = see.said.part
    if part.own is None or part.kind not in KINDS:
        return
    for word, node in part.own.entries.items():
        above = see.whole.tree.entries.get(word)  # what a stage repeats says nothing
        repeats = isinstance(node, Scalar) and isinstance(above, Scalar) and node.value == above.value
        if word not in KINDS[part.kind] and not repeats:
            own = part.kind if part.kind != "evaluate" else "evaluation"
            message = f"{word} and {part.kind} are of different stages"
            yield Fault(word, message, f"drop {word}, or give it a stage of its own beside the {own}")
    if part.kind == "evaluate" and see.said.wrote("evaluate.models"):
        yield Fault("evaluate.models", "a stage evaluates what it starts from", "say start_from instead of models")


@contradiction("P250", "rows-that-cannot-be-made", "generate", words=MADE_OF)
def cannot_be_made(see: Context, s: Generate) -> Iterator[Fault]:
    """Finds rows that need rewards or several answers, and have none, and words that have no effect on the rows.

    Why is this bad:
    A pair is the best and the worst of several answers: without a judge, or with one answer, there is none. What has no
    effect was meant to have one.

    Example:
        stages:
          - {name: sft}
          - {name: pairs, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}], makes: preference}}

    Use instead:
        stages:
          - {name: sft}
          - name: pairs
            generate: {prompts: [{path: data/prompts.jsonl, format: prompt}], makes: preference}
            rewards: [{type: length, max_words: 80}]
    """
    wrote = see.said.wrote
    if not s.rewards:
        for word, needs in (
            ("makes", s.makes == "preference"),
            ("keep", s.keep == "best"),
            ("min_reward", s.min_reward is not None),
        ):
            if needs:
                yield Fault(f"generate.{word}", "nothing judges the answers", "add rewards to the stage")
    if s.completions == 1 and (s.makes == "preference" or (s.keep == "best" and s.rewards)):
        message = "one answer to each prompt leaves nothing to choose from"
        yield Fault("rollout.completions", message, "set rollout.completions: 4, or more")
    if s.makes == "chat" and wrote("generate.margin"):
        yield Fault("generate.margin", "only pairs have a margin", "drop it, or set makes: preference")
    if s.makes == "preference" and wrote("generate.keep"):
        yield Fault("generate.keep", "of pairs, the best and the worst are kept", "drop it")
    if s.max_new_tokens >= s.max_length:
        message = f"answers of {s.max_new_tokens:,} tokens leave no room for a prompt in {s.max_length:,}"
        yield Fault("rollout.max_new_tokens", message, "set rollout.max_new_tokens lower, or model.max_length higher")


@contradiction("P251", "prompts-that-cannot-be-asked", "generate", words=("generate", "rewards"))
def prompts(see: Context, s: Generate) -> Iterator[Fault]:
    """Finds prompts that are no prompts, in no one place, weighted, or without the answers that a reward compares with.

    Why is this bad:
    Every prompt is answered once: a weight has no effect. A reward of type exact has nothing to compare with.

    Example:
        stages:
          - {name: sft}
          - {name: answers, generate: {prompts: [{path: data/chat.jsonl, format: chat}]}}

    Use instead:
        stages:
          - {name: sft}
          - {name: answers, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}]}}
    """
    for here, given in _given(see):
        if sum(place is not None for place in (given.path, given.hub, given.stage)) != 1:
            yield Fault(here, "prompts need exactly one of path, hub, stage", "give the file, or the hub name")
        if given.format != "prompt":
            message = f"rows of format {given.format} are no prompts"
            yield Fault(f"{here}.format", message, "give rows of format prompt")
        if given.weight != 1:
            yield Fault(f"{here}.weight", "every prompt is asked once", "drop weight; set rollout.completions")
        if given.path is not None and not given.path.endswith(SUFFIXES):
            yield Fault(f"{here}.path", "this file type is not supported", f"use one of {', '.join(SUFFIXES)}")
    for index, one in enumerate(s.rewards):
        if one.type == "exact" and not all("answer" in source.columns for source in s.sources):
            message = "a reward of type exact needs a column of answers"
            yield Fault(indexed("rewards", index), message, "map the column: columns: {answer: …}")


@contradiction("P252", "model-that-nobody-has-made", "part", words=("generate", "evaluate", "start_from"))
def not_made(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that asks or evaluates a model from scratch before anything is trained.

    Why is this bad:
    A model from scratch, and its tokenizer, are made with the first training: there is none yet.

    Example:
        model: {base: null, from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, max_length: 64}
        stages:
          - {name: checked, evaluate: {tasks: [gsm8k]}}
          - {name: sft}

    Use instead:
        model: {base: null, from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, max_length: 64}
        stages:
          - {name: sft}
          - {name: checked, start_from: base, evaluate: {tasks: [gsm8k]}}
    """
    part = see.said.part
    if part.own is None or part.kind not in KINDS or recipe.model.from_scratch is None:
        return
    before = see.graph.listed[: see.graph.listed.index(part.name)]
    if not any(name in see.graph.models for name in before):
        here = "start_from" if part.start_from is not None else part.kind
        yield Fault(here, "a model from scratch is made with the first training", "train it in a stage before")


@contradiction("P253", "weights-beyond-one-gpu", "generate", words=("model.base", "hardware.gpu", "start_from"))
def too_large(see: Context, s: Generate) -> Iterator[Fault]:
    """Finds a model that writes rows and whose weights do not fit one GPU.

    Why is this bad:
    Each process holds the whole model on its GPU. It ends for want of memory, after the stages before it.

    Example:
        model: {base: meta-llama/Llama-3.1-70B-Instruct, max_length: 2048}
        adapter: {rank: 16}
        stages:
          - {name: sft, model: {load_in: nf4}}
          - {name: answers, start_from: base, generate: {prompts: [{path: data/prompts.jsonl, format: prompt}]}}
        hardware: {gpu: a100-80gb, per_node: 4}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 2048}
        hardware: {gpu: a100-80gb, per_node: 4}
    """
    weights, on = held(see.model(s.path), s.precision), s.hardware
    if on.device == "gpu" and weights > FILLED * on.memory_gib * 1024**3:
        message = f"{weights / 1024**3:.0f} GiB of weights are more than a {on.gpu} holds beside its answers"
        yield Fault("generate", message, "use GPUs with more memory, or let a smaller model write")


RULES = (no_such_rows, another_format, several_kinds, cannot_be_made, prompts, not_made, too_large)
