"""Contradictions about programs that a model writes, and that a benchmark runs."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.datasets import answer_length, tests_of
from recipec.kinds.evaluate import Evaluate
from recipec.rules.evaluation import listed, own, place_of, single
from recipec.rules.rule import Context, Fault, contradiction

RUNS_CODE = ("humaneval", "mbpp")
DRAWN = "64 programs each: tasks: [{}], code: {{samples: 64, temperature: 0.2}}"


@contradiction(
    "P081",
    "code-that-nobody-allowed",
    "evaluate",
    words=("evaluate.tasks", "evaluate.code.tasks", "evaluate.allow_code_execution"),
)
def runs_code(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a benchmark that runs code written by the model, without permission in the recipe.

    Why is this bad:
    A model may write code that deletes files or opens connections. It is run in a sandbox, but it is run.

    Example:
        evaluate: {tasks: [humaneval_instruct]}

    Use instead:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true}
    """
    if s.allow_code_execution:
        return
    known = listed(see)
    for index, task in single(s):
        own = s.code is not None and task in s.code.tasks
        if own or task.startswith(RUNS_CODE) or (known is not None and known.runs_code(task)):
            advice = "set evaluate.allow_code_execution: true, and it runs in a sandbox"
            yield Fault(place_of(see, index, task), f"{task} runs code that the model wrote", advice)


@contradiction(
    "P360",
    "code-outside-of-the-sandbox",
    "evaluate",
    words=("evaluate.tasks", "evaluate.code.tasks", "evaluate.code.sandbox", "evaluate.allow_code_execution"),
)
def outside(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a benchmark that lm-eval runs itself, so that what the model wrote would be run outside of the sandbox.

    Why is this bad:
    lm-eval has no sandbox: it runs such code with your rights, in the process that holds the model. It therefore has no permission to, and would end with an error when the model is loaded.

    Example:
        evaluate: {tasks: [humaneval_64_instruct], allow_code_execution: true}

    Use instead:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true}
    """
    known = listed(see)
    if not s.allow_code_execution or known is None or not s.sandbox:
        return
    for index, task in single(s):
        if not known.runs_code(task) or tests_of(task) is not None or (s.code is not None and task in s.code.tasks):
            continue
        twin = task.replace("_64", "", 1)
        advice = (
            f"write {DRAWN.format(twin)}"
            if twin != task and tests_of(twin) is not None
            else "leave it out, or say code: {sandbox: none} where the machine has nothing to lose"
        )
        yield Fault(place_of(see, index, task), f"{task} is run by lm-eval itself, which has no sandbox", advice)


@contradiction(
    "P361",
    "programs-of-no-task",
    "evaluate",
    words=("evaluate.tasks", "evaluate.code", "evaluate.code.tasks", "evaluate.allow_code_execution"),
)
def no_programs(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds words about programs in an evaluation none of whose tasks has any.

    Why is this bad:
    They have no effect. A task of your own that runs code is not known to be one, and lm-eval would refuse it when the model is loaded.

    Example:
        evaluate: {tasks: [gsm8k], allow_code_execution: true}

    Use instead:
        evaluate: {tasks: [gsm8k, humaneval_instruct], allow_code_execution: true}
    """
    known = listed(see)
    if s.code is not None or (known is not None and any(known.runs_code(task) for _, task in single(s))):
        return
    advice = "name those of your own tasks that run code in evaluate.code.tasks, or drop it"
    for word in ("allow_code_execution", "code"):
        if see.said.otherwise(f"evaluate.{word}"):
            yield Fault(f"evaluate.{word}", f"{word} is about programs, and no task here is known to run any", advice)


@contradiction(
    "P362", "more-programs-than-there-are", "evaluate", words=("evaluate.code.pass_at", "evaluate.code.samples")
)
def too_few(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a pass@k of more programs than are written for each problem.

    Why is this bad:
    pass@k is how likely one of k programs passes. Fewer programs than k cannot tell.

    Example:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true, code: {samples: 5, pass_at: [1, 10]}}

    Use instead:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true, code: {samples: 20, pass_at: [1, 10]}}
    """
    if s.code is None:
        return
    for k in s.code.pass_at:
        if k > s.code.samples:
            message = f"pass@{k} cannot be told from {s.code.samples} of them for each problem"
            yield Fault("evaluate.code.pass_at", message, f"set samples: {2 * k}, or leave out {k}")


@contradiction(
    "P363",
    "programs-that-are-all-alike",
    "evaluate",
    words=("evaluate.code.samples", "evaluate.code.temperature", "evaluate.code.top_p"),
)
def alike(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds several programs for each problem, or a share of tokens, at temperature 0.

    Why is this bad:
    At temperature 0 each token is the likeliest one: all programs for a problem are the same, and pass@10 is pass@1 at ten times the price.

    Example:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true, code: {samples: 10, temperature: 0}}

    Use instead:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true, code: {samples: 10, temperature: 0.8}}
    """
    if s.code is None or s.code.temperature:
        return
    if s.code.samples > 1:
        message = f"at temperature 0 the {s.code.samples} programs for a problem are the same"
        yield Fault("evaluate.code.temperature", message, "use temperature: 0.8, or samples: 1")
    if see.said.wrote("evaluate.code.top_p"):
        message = "at temperature 0 the likeliest token is taken, whatever top_p says"
        yield Fault("evaluate.code.top_p", message, "set a temperature, such as 0.8, or drop top_p")


@contradiction(
    "P364",
    "code-without-a-sandbox",
    "evaluate",
    words=("evaluate.code.sandbox",),
    severity="warning",
    waivable=True,
)
def unboxed(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds programs that a model writes and that are run without a sandbox.

    Why is this bad:
    They can read your keys, delete your files, use your network and hold your processors. A model need not mean it: a wrong path is enough.

    Example:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true, code: {sandbox: none}}

    Use instead:
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true}

    When it is meant:
    The machine is thrown away behind the evaluation, holds no keys and reaches no network that matters.
    """
    if not s.sandbox:
        message = "what the model writes is run with the rights of whoever starts the evaluation"
        advice = "install bubblewrap and drop sandbox: none; allow it where the machine has nothing to lose"
        yield Fault("evaluate.code.sandbox", message, advice)


@contradiction(
    "P365",
    "no-room-for-the-problem",
    "evaluate",
    words=("evaluate.code.max_new_tokens", "evaluate.tasks", "model.max_length"),
)
def no_room(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds answers that may be as long as a prompt and its answer together.

    Why is this bad:
    lm-eval keeps the room for an answer free and cuts prompts to what is left. Where nothing is, it ends with an error when the model is loaded.

    Example:
        model: {base: my-lab/my-model, max_length: 1024}
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true}

    Use instead:
        model: {base: my-lab/my-model, max_length: 2048}
        evaluate: {tasks: [humaneval_instruct], allow_code_execution: true}
    """
    if s.code is None or s.max_length == "model":
        return
    for task in s.code.tasks:
        own_length = answer_length(task)
        tokens = s.code.max_new_tokens if s.code.max_new_tokens is not None else own_length
        if tokens is not None and tokens >= s.max_length:
            message = f"an answer to {task} may have {tokens:,} tokens, and there is room for {s.max_length:,} with its prompt"
            here = "model.max_length" if s.code.max_new_tokens is None else "evaluate.code.max_new_tokens"
            advice = f"set evaluate.code.max_new_tokens to {s.max_length // 2:,} or fewer, or model.max_length to {2 * tokens:,} or more"
            yield Fault(here, message, advice)
            return


@contradiction("P366", "tests-that-are-no-program", "evaluate", words=("evaluate.code.tasks", "evaluate.task_folder"))
def no_tests(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task of lm-eval among those whose answers are programs, of which it is not known that they are.

    Why is this bad:
    What the model answers would be run as a program with the task's target behind it as its tests. Of a task that asks for a number, every program fails.

    Example:
        evaluate: {tasks: [mmlu], allow_code_execution: true, code: {tasks: [gsm8k]}}

    Use instead:
        evaluate: {tasks: [mmlu], allow_code_execution: true, code: {tasks: [humaneval_instruct]}}
    """
    known, given = listed(see), see.said.recipe.evaluate
    if s.code is None or known is None or given is None or given.code is None:
        return
    there = own(s.task_folder) if s.task_folder is not None else set[str]()
    for index, task in enumerate(given.code.tasks):
        if tests_of(task) is None and task in known and there is not None and task not in there:
            message = f"{task} of lm-eval has no programs with tests behind them"
            yield Fault(f"evaluate.code.tasks[{index}]", message, "name it in evaluate.tasks, or leave it out")


RULES = (runs_code, outside, no_programs, too_few, alike, unboxed, no_room, no_tests)
