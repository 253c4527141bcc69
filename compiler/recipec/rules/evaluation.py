"""Rules about what is evaluated: names of tasks, and whether a task and the way it is asked belong together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fnmatch import filter as matching
from pathlib import Path

from recipec.contracts import Tasks, tasks
from recipec.facts import pinned
from recipec.facts.datasets import example_length, most_examples
from recipec.facts.models import follows
from recipec.facts.presets import presets
from recipec.kinds.evaluate import Evaluate, asks, held
from recipec.plural import counted
from recipec.regular_file import read_regular
from recipec.rules.rule import Context, Fault, rule
from recipec.suggest import nearest

FEW = 50  # questions, below which a score says hardly more than none
MANY, LARGE = 2000, 1 << 20  # files of a task folder that are read, and bytes of one
_OWN = re.compile(r"^(?:task|group|tag):[ \t]*(.*(?:\n[ \t]*-.*)*)", re.MULTILINE)
COMPLETES = re.compile(r"humaneval\w*")  # the answer is the rest of a function whose beginning is the prompt
TWIN = "{}_instruct"


def listed(see: Context) -> Tasks | None:
    """Return the tasks of the lm-eval that evaluates; None where they are not known."""
    assert see.stage is not None
    try:
        return tasks(pinned(see.stage.environment, "lm-eval"))
    except (LookupError, OSError):  # an environment without pins is told elsewhere
        return None


def own(folder: str) -> set[str] | None:
    """Return the names that the files of a task folder declare; None where there are too many to read."""
    found: set[str] = set()
    for number, file in enumerate(Path(folder).rglob("*.yaml")):
        try:
            if number >= MANY:
                return None
            text = read_regular(file, LARGE).decode()
        except (OSError, ValueError):
            return None
        found.update(one for words in _OWN.findall(text) for one in re.split(r"[\s,\[\]'\"]+", words))
        if re.search(r"^include:", text, re.MULTILINE):
            found.add(file.stem)  # what it includes may name it
    return found


def single(s: Evaluate) -> Iterator[tuple[int, str]]:
    """Yield every name of a task with its place in the list: one text may hold several, behind commas."""
    for index, text in enumerate(s.tasks):
        yield from ((index, name) for name in text.split(","))


def place_of(see: Context, index: int, name: str) -> str:
    """Return where the recipe names a task of an evaluation: in its tasks, or in those of its programs."""
    given = see.said.recipe.evaluate
    if given is None or index < len(given.tasks) or given.code is None or name not in given.code.tasks:
        return f"evaluate.tasks[{index}]"
    return f"evaluate.code.tasks[{given.code.tasks.index(name)}]"


@rule("L140", "unknown-task", "error", "evaluate", sources="lm-eval: Tasks not found")
def unknown_task(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task that the pinned lm-eval does not have, nor the task folder.

    Why is this bad:
    lm-eval refuses the whole list, and does so when the training is over.

    Example:
        evaluate: {tasks: [gsm8k, hellaswg]}

    Use instead:
        evaluate: {tasks: [gsm8k, hellaswag]}
    """
    known = listed(see)
    if known is None or (s.task_folder is not None and not see.folders):
        return
    local: set[str] | None = set()
    if s.task_folder is not None:
        local = own(s.task_folder) if Path(s.task_folder).is_dir() else None
    if local is None:
        return
    assert see.stage is not None
    for index, name in single(s):
        if name in known or name in local or name.endswith(".yaml") or "/" in name:  # a path: a file of the user
            continue
        if re.search(r"[*?\[]", name) and (matching(known.names(), name) or matching(local, name)):
            continue
        whose = f"lm-eval {pinned(see.stage.environment, 'lm-eval')}"
        nor = f", nor has {s.task_folder}" if s.task_folder is not None else ""
        advice = "`lm-eval ls tasks` lists them" + ("" if nor else "; name your own by evaluate.task_folder")
        close = nearest(name.strip(), [*known.names(), *local]) if name == s.tasks[index] else None
        yield Fault(f"tasks[{index}]", f'{whose} has no task "{name}"{nor}', advice, close)


@rule("L141", "completion-asked-as-chat", "error", "evaluate", sources="lm-eval#2676, #3103")
def completion_as_chat(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task that lets the model complete code, asked by a chat template.

    Why is this bad:
    The prompt is the beginning of a function, and what the model says is appended to it. In a conversation it answers with a sentence or a
    code block instead: few answers run, and the score is near 0 whatever the model can do.

    Example:
        evaluate: {tasks: [humaneval], chat_template: true, allow_code_execution: true}

    Use instead:
        evaluate: {tasks: [humaneval_instruct], chat_template: true, allow_code_execution: true}
    """
    known = listed(see)
    if known is None or not s.model.chat_template:
        return
    for index, name in single(s):
        twin = TWIN.format(name)
        if asks(name) or not known.runs_code(name):
            continue
        if twin in known:
            message = f"{name} is to be completed, not answered: with the chat template its score says nothing"
            whole = twin if name == s.tasks[index] else None
            yield Fault(f"tasks[{index}]", message, f"use {twin}, or set evaluate.chat_template: false", whole)
        elif COMPLETES.fullmatch(name):
            message = f"{name} is to be completed, not answered: with the chat template its score says nothing"
            yield Fault(f"tasks[{index}]", message, "set evaluate.chat_template: false, or use humaneval_instruct")


def _examples(see: Context, s: Evaluate) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the tasks that are asked without examples whatever is said, and those that have fewer than are asked for."""
    known = listed(see)
    if known is None or not isinstance(s.few_shot, int) or s.few_shot == 0:
        return [], []
    local = own(s.task_folder) if s.task_folder is not None and see.folders else set[str]()
    if local is None or (s.task_folder is not None and not see.folders):
        return [], []  # a task of one's own goes before one of the same name
    names = [name for _, name in single(s) if name not in local]
    brought = [(name, known.most_examples(name)) for name in names]
    most = [(name, most_examples(name) if count is None else count) for name, count in brought]
    none = [name for name, count in most if count == 0]
    return none, [(name, count) for name, count in most if count is not None and 0 < count < s.few_shot]


@rule(
    "L241", "examples-that-a-task-does-not-have", "error", "evaluate", sources="lm-eval: num_fewshot has been set to 0"
)
def no_examples(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a number of worked examples for tasks that are always asked without any, or more than a task brings.

    Why is this bad:
    A task that sets 0 itself keeps it, without a message that anybody sees: its score is one without examples. One that has few
    examples ends with an error where more are asked for, after the training.

    Example:
        evaluate: {tasks: [ifeval], few_shot: 5, chat_template: true}

    Use instead:
        evaluate: {tasks: [gsm8k], few_shot: 5, chat_template: true}
    """
    none, few = _examples(see, s)
    if none and len(none) == len(list(single(s))):
        message = f"{' and '.join(none)} {'is' if len(none) == 1 else 'are'} always asked without examples"
        yield Fault("few_shot", message, "drop few_shot")
    for name, count in few[:1]:
        yield Fault(
            "few_shot",
            f"{name} has {count} examples, fewer than {s.few_shot}",
            f"ask for at most {count}, or drop few_shot",
        )


@rule(
    "L242",
    "examples-that-one-task-does-not-take",
    "warning",
    "evaluate",
    sources="lm-eval: num_fewshot has been set to 0",
)
def some_examples(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a number of worked examples for several tasks of which some are always asked without any.

    Why is this bad:
    Whoever reads the recipe takes the number for that of every task. A task that sets 0 itself keeps it.

    Example:
        evaluate: {tasks: [gsm8k, ifeval], few_shot: 5, chat_template: true}

    Use instead:
        evaluate: {tasks: [gsm8k, hellaswag], few_shot: 5, chat_template: true}
    """
    none, _ = _examples(see, s)
    if none and len(none) < len(list(single(s))):
        message = f"{' and '.join(none)} {'is' if len(none) == 1 else 'are'} asked without examples nevertheless"
        yield Fault("few_shot", message, "allow it where that is meant, or evaluate them by a recipe of their own")


@rule("L142", "chat-task-as-text", "warning", "evaluate", sources="lm-eval#1841, #2676")
def chat_as_text(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task of instructions for a model that follows them, asked without its chat template.

    Why is this bad:
    The model goes on with the text of the instruction instead of following it. Published scores of such tasks are made with the template.

    Example:
        recipe: 1
        name: example
        model: {base: meta-llama/Llama-3.1-8B-Instruct}
        hardware: {gpu: a100-80gb}
        evaluate: {tasks: [ifeval, mmlu]}

    Use instead:
        evaluate: {tasks: [ifeval, mmlu], chat_template: true}
    """
    if s.model.chat_template or s.model.template == "none" or not follows(see.model(s.model.path)):
        return
    if any(one.model.conversations for one in see.graph.models.values()):  # L025 tells it of what is trained on them
        return
    for index, name in single(s):
        if asks(name):
            message = f"{name} asks for an answer, and {s.model.name} is asked without its chat template"
            yield Fault(f"tasks[{index}]", message, "set evaluate.chat_template: true")


@rule(
    "L144",
    "evaluation-beyond-the-memory",
    "error",
    "evaluate",
    sources="lm-eval#1625, vLLM: No available memory for the cache blocks",
)
def too_large(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a model to evaluate whose weights alone are larger than the memory of the node's GPUs, or leave vLLM no room for one answer.

    Why is this bad:
    An evaluation loads the model in 16 bits, also one that was trained beside a quantised base. It ends for want of memory after all trainings.

    Example:
        model: {base: meta-llama/Meta-Llama-3-70B, max_length: 2048, load_in: nf4}
        adapter: {rank: 16}
        data: {train: [{path: data/rows.jsonl, format: instruction}]}
        evaluate: {tasks: [mmlu]}
        hardware: {gpu: a100-80gb}

    Use instead:
        evaluate: {tasks: [mmlu]}
        hardware: {gpu: a100-80gb, per_node: 4}
    """
    known, on = see.model(s.model.path), s.hardware
    weights = held(known, s.precision, s.model.scheme)
    if not weights or known is None or on.device == "cpu":
        return
    room, gib = on.memory_gib, 1024**3
    cache, tokens = 0.0, 0
    if s.backend == "vllm":  # its gpu_memory_utilization is 0.9, and it starts only with room for one whole sequence
        length = known.context if s.max_length == "model" else s.max_length
        sizes = (known.layers, known.kv_heads, known.head_size, length)
        layers, kv_heads, head, tokens = (size or 0 for size in sizes)
        # keys and values in 16 bits; of fewer heads than GPUs, each GPU holds a whole one
        cache = 2 * layers * max(1.0, kv_heads / s.gpus_per_copy) * head * tokens * 2
    each = weights / s.gpus_per_copy + cache
    if each <= (0.9 if s.backend == "vllm" else 1.0) * room * gib:
        return
    beside = f" and {cache / gib:.0f} GiB of keys and values of {tokens:,} tokens" if cache >= gib / 2 else ""
    over = f" over {s.gpus_per_copy} GPUs" if s.gpus_per_copy > 1 else ""
    free = f"{0.9 * room:.1f} GiB that vLLM takes of the {room} GiB" if s.backend == "vllm" else f"{room} GiB"
    message = f"{s.model.name} is evaluated in {s.precision}: {weights / gib:.0f} GiB of weights{beside}{over} are more than the {free} of {on.gpu}"
    count = next(
        (size for size in (2, 4, 8, 16) if size > s.gpus_per_copy and weights / size + cache <= 0.9 * room * gib), 0
    )
    ways = [f"hardware.per_node: {count}"] * bool(count) + ["larger GPUs"]
    ways += ["a smaller model.max_length"] if cache > weights / s.gpus_per_copy else []
    yield Fault("hardware.gpu", message, f"use {', or '.join(ways)}, or leave {s.model.name} out of evaluate.models")


@rule("L342", "examples-that-do-not-fit", "warning", "evaluate", sources="lm-eval: Left truncation applied")
def shots_do_not_fit(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds more worked examples than fit into the length at which a model is evaluated.

    Why is this bad:
    lm-eval cuts off what stands first, most of the examples and often half of one, and says so in a line of the log. The score is one of a broken prompt.

    Example:
        model: {base: meta-llama/Llama-2-7b-hf, max_length: 4096}
        adapter: {rank: 16}
        data: {train: [{path: data/rows.jsonl, format: instruction}]}
        evaluate: {tasks: [gsm8k], few_shot: 100}

    Use instead:
        evaluate: {tasks: [gsm8k], few_shot: 5}
    """
    known = see.model(s.model.path)
    room = s.max_length if isinstance(s.max_length, int) else known.context if known is not None else None
    if room is None or not isinstance(s.few_shot, int):
        return
    for _, name in single(s):
        each = example_length(name)
        if each is not None and s.few_shot * each > room:
            message = f"{s.few_shot} examples of {name} are about {s.few_shot * each:,} tokens or more, and there is room for {room:,}"
            yield Fault(
                "few_shot max_length",
                message,
                f"use few_shot: {max(1, room // (3 * each))} or fewer, or a larger model.max_length",
            )
            return


@rule("L343", "too-few-questions", "warning", "evaluate", sources="")
def few_questions(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds an evaluation of so few questions that its scores say nothing.

    Why is this bad:
    The score of n questions is known to ±1/√n: of 10, to 31 points of 100. Models that differ in everything get the same.

    Example:
        evaluate: {tasks: [gsm8k], limit: 10}

    Use instead:
        evaluate: {tasks: [gsm8k], limit: 200}
    """
    if isinstance(s.limit, int) and s.limit < FEW:
        points = round(98 / math.sqrt(s.limit))
        message = f"a score of {counted(s.limit, 'question')} is known to ±{points} points of 100"
        yield Fault("limit", message, f"use {4 * FEW} or more, or all; allow it where it is a trial of the tools")


@rule("L347", "preset-that-is-changed", "warning", "evaluate", sources="")
def changed_preset(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds an evaluation in the way of published scores, of which it changes something.

    Why is this bad:
    Scores depend on the examples, the template and the rows that are asked; beside the published ones they would be read as if they were measured alike.

    Example:
        evaluate: {preset: kmmlu, few_shot: 0}

    Use instead:
        evaluate: {preset: kmmlu}
    """
    if s.preset is None:
        return
    preset = presets()[s.preset]
    beside = s.code.tasks if s.code is not None else ()  # programs are scored by themselves
    there: dict[str, tuple[object, object]] = {
        "tasks": (", ".join(preset.tasks), ", ".join(one for one in s.tasks if one not in beside)),
        "few_shot": (preset.few_shot, s.few_shot),
        "limit": ("all", s.limit),
    }
    if preset.template == "never":
        there["chat_template"] = (False, s.model.chat_template)
    changed = [
        f"{word}: {str(published).lower() if isinstance(published, bool) else published}"
        for word, (published, own_value) in there.items()
        if published != own_value
    ]
    if changed:
        message = f"the scores of {preset.title} are measured with {', '.join(changed)}, which is changed here"
        yield Fault("preset", message, "leave those words out, or drop preset and name the tasks")


RULES = (
    changed_preset,
    shots_do_not_fit,
    few_questions,
    unknown_task,
    completion_as_chat,
    chat_as_text,
    no_examples,
    some_examples,
    too_large,
)
