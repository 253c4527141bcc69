"""Contradictions about a course that undoes itself: what one stage makes, and a later one throws away, unlearns or never looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.kinds.evaluate import LAST, Evaluate, chosen, known, writes
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import DataSource, Train
from recipec.language import Recipe
from recipec.language.base import BEST
from recipec.plan import Plan, Stage
from recipec.rules.contradictions.course import before
from recipec.rules.contradictions.data import sources
from recipec.rules.rule import Context, Fault, contradiction

ASKING = ("human", "user", "prompter", "question", "questioner", "customer")
ANSWERING = ("gpt", "assistant", "bot", "chatgpt", "model", "ai", "answer", "chatbot", "agent")
QUESTIONS = ("prompt", "instruction", "question", "query", "problem", "user")
ANSWERS = ("completion", "output", "response", "answer", "solution", "reply", "assistant")
PARTS = {
    "instruction": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "prompt": ("prompt", "answer"),
}
# What is learnt first: text, then to answer, then which answers are better. A reward model stands beside the course.
ORDER = {"pretrain": 0, "sft": 1, "reward": None}


def order(method: str) -> int | None:
    """Return where a method stands in a usual course; None where it has no place in it."""
    return ORDER.get(method, 2)


@contradiction("P300", "roles-exchanged", words=("data.train", "data.validation"), waivable=True)
def roles(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a name of the user among those of the assistant, or the reverse.

    Why is this bad:
    The loss is on the assistant's turns. With the names exchanged, the model learns to ask, and never to answer.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat, roles: {user: [gpt], assistant: [human]}}]}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat, roles: {user: [human], assistant: [gpt]}}]}

    When it is meant:
        You train a model that plays the user.
    """
    for here, source in sources(see, s):
        for role, others, whose in (("assistant", ASKING, "user"), ("user", ANSWERING, "assistant")):
            wrong = next((name for name in source.roles.get(role, ()) if name.lower() in others), None)
            if wrong is not None:
                message = f'"{wrong}" is declared the {role}: it is a name of the {whose}'
                yield Fault(f"{here}.roles.{role}", message, "exchange the names: user: [human], assistant: [gpt]")
                break


def _crossed(source: DataSource) -> tuple[str, str] | None:
    """Return the columns of what is asked and what is answered, where each is named after the other."""
    asked, answered = PARTS.get(source.format, ("", ""))
    question, answer = source.columns.get(asked, ""), source.columns.get(answered, "")
    return (asked, answered) if question.lower() in ANSWERS and answer.lower() in QUESTIONS else None


@contradiction(
    "P301",
    "questions-and-answers-exchanged",
    words=("data.train", "data.validation"),
    severity="warning",
    waivable=True,
)
def columns(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a prompt that is taken from a column of answers, and an answer from one of questions.

    Why is this bad:
    The model learns to write the question that belongs to an answer.

    Example:
        data: {train: [{path: data/rows.jsonl, format: completion, columns: {prompt: response, completion: question}}]}

    Use instead:
        data: {train: [{path: data/rows.jsonl, format: completion, columns: {prompt: question, completion: response}}]}

    When it is meant:
    You train a model that writes questions, as for instruction back-translation.
    """
    for here, source in sources(see, s):
        crossed = _crossed(source)
        if crossed is not None:
            asked, answered = (source.columns[one] for one in crossed)
            message = f"{crossed[0]} is taken from the column {asked}, and {crossed[1]} from {answered}"
            yield Fault(f"{here}.columns.{crossed[0]}", message, "exchange the names of the columns")


def _parent(plan: Plan, stage: Stage[Any]) -> Stage[Train] | None:
    """Return the training whose weights a stage starts from, merged or not; None where it starts from a model of others."""
    made = {one.name: one for one in plan.stages}
    while stage.inputs and stage.inputs[0].stage is not None:
        stage = made[stage.inputs[0].stage]
        if stage.kind == "train":
            return stage
    return None


def _ancestors(plan: Plan, stage: Stage[Any]) -> Iterator[Stage[Train]]:
    """Yield the trainings that a stage's weights come from, the nearest first."""
    parent = _parent(plan, stage)
    while parent is not None:
        yield parent
        parent = _parent(plan, parent)


def _wanted(see: Context, stage: Stage[Any]) -> bool:
    """Return whether anybody takes what a stage makes: a training, a merge that the recipe lists, or an evaluation that names it."""
    evaluate = see.said.recipe.evaluate
    named = evaluate.models or () if evaluate is not None else ()
    for other in see.plan.stages:
        if stage.name not in other.after:
            continue
        if other.kind in ("train", "generate") or (
            other.kind in ("merge", "stack", "checkpoints") and (other.name in see.graph.listed or _wanted(see, other))
        ):
            return True
        if other.kind == "evaluate" and (other.body.model.name in named or other.name in see.graph.listed):
            return True
    return False


@contradiction(
    "P302", "stage-that-is-thrown-away", "recipe", words=("start_from", "stages", "train.method", "evaluate"),
    severity="warning", waivable=True,
)  # fmt: skip
def thrown_away(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that starts before what an earlier one has learnt, which nothing then uses.

    Why is this bad:
    Without `start_from` a stage starts from the one before. With `start_from: base` the earlier training is paid for and lost: a
    preference method meets a model that never learnt to answer.

    Example:
        stages:
          - {name: sft}
          - name: dpo
            start_from: base
            data: {train: [{path: data/pairs.jsonl, format: preference}]}
            train: {method: dpo, learning_rate: 5e-7}

    Use instead:
        stages:
          - {name: sft}
          - name: dpo
            data: {train: [{path: data/pairs.jsonl, format: preference}]}
            train: {method: dpo, learning_rate: 5e-7}

    When it is meant:
    You compare the two. Naming both in `evaluate.models` says so too.
    """
    trained = {one.name: one for one in see.plan.of_kind("train")}
    listed = see.graph.listed
    for index, name in enumerate(listed):
        stage, here = trained.get(name), f"stages[{index}].start_from"
        mine = order(stage.body.method) if stage is not None else None
        if stage is None or mine is None or not see.said.wrote(here):
            continue
        mothers = [one.name for one in _ancestors(see.plan, stage)]
        for other in reversed(listed[:index]):
            earlier = trained.get(other)
            rank = order(earlier.body.method) if earlier is not None else None
            if earlier is None or rank is None or rank >= mine or other in mothers or _wanted(see, earlier):
                continue
            message = f"{name} starts from {[*mothers, 'base'][0]}, and what {other} learns is used by nothing"
            yield Fault(here, message, f"set start_from: {other}, or drop the stage {other}")
            break


@contradiction(
    "P303",
    "reward-model-that-judges-nothing",
    words=("rewards", "stages", "train.method"),
    severity="warning",
    waivable=True,
)
def idle_judge(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward model that is trained in the course, while what is judged later is judged by something else.

    Why is this bad:
    The reward model is paid for and never asked: `rewards` names what judges, and nothing stands in for it.

    Example:
        trainer: trl
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: reward, learning_rate: 1e-5}
        stages:
          - {name: judge}
          - name: rl
            start_from: base
            data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
            train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
            rewards: [{type: exact}]

    Use instead:
        stages:
          - {name: judge}
          - name: rl
            start_from: base
            data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
            train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
            rewards: [{type: exact}, {type: model, stage: judge}]

    When it is meant:
    The reward model is for another recipe.
    """
    named = [one.stage is not None or see.made(one.path or "") for one in see.said.recipe.rewards]
    if not METHODS[s.method].online or any(named):  # of one that is named wrongly is told elsewhere
        return
    for name in before(see):
        judge = next((one for one in see.plan.of_kind("train") if one.name == name), None)
        if judge is not None and judge.body.method == "reward" and not _wanted(see, judge):
            message = f"{name} is trained to judge, and nothing here is judged by it"
            yield Fault("rewards", message, f"add {{type: model, stage: {name}}}, or drop the stage {name}")


def _template(s: Train) -> tuple[str | None, str | None]:
    """Return the template that a training renders turns by, and the file that it stands in; None, where neither is known."""
    if not any(source.turns for source in s.data.train):
        return None, None
    file = s.model.chat_template_file
    return (None if file is not None else s.model.template), file


@contradiction(
    "P304", "template-that-changes-midway",
    words=("model.chat_template", "model.chat_template_file", "model.tokenizer", "start_from"), severity="warning", waivable=True,
)  # fmt: skip
def other_template(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a stage that talks to the model by another chat template than the one that it was taught by the stage before.

    Why is this bad:
    What marks a turn, and where an answer ends, is learnt with the template. By another one the model is a beginner again, and a
    preference method compares answers that it would not give.

    Example:
        trainer: trl
        model: {base: my-lab/my-model, chat_template: chatml}
        stages:
          - {name: sft}
          - name: dpo
            model: {chat_template: llama3}
            data: {train: [{path: data/pairs.jsonl, format: preference}]}
            train: {method: dpo, learning_rate: 5e-7}

    Use instead:
        stages:
          - {name: sft}
          - name: dpo
            data: {train: [{path: data/pairs.jsonl, format: preference}]}
            train: {method: dpo, learning_rate: 5e-7}

    When it is meant:
    The later stage has rows enough to teach the other template.
    """
    parent = _parent(see.plan, see.stage) if see.stage is not None else None
    if parent is None:
        return
    old, new = _template(parent.body), _template(s)
    if None in (old[0] or old[1], new[0] or new[1]) or old == new or "none" in (old[0], new[0]):
        return
    message = f"{parent.name} teaches the template {old[0] or old[1]}, and this stage talks by {new[0] or new[1]}"
    word = "chat_template_file" if new[1] is not None else "chat_template"
    yield Fault(f"model.{word}", message, "give the course one template: model.chat_template of the recipe")


@contradiction(
    "P305",
    "earlier-lesson-after-a-later-one",
    words=("start_from", "stages", "train.method"),
    severity="warning",
    waivable=True,
)
def upside_down(see: Context, s: Train) -> Iterator[Fault]:
    """Finds supervised fine-tuning after preferences or reinforcement learning, and pretraining after either.

    Why is this bad:
    A model keeps what it learnt last. General fine-tuning after DPO trains the preferences away again, and plain text after
    conversations the habit of answering.

    Example:
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: dpo, learning_rate: 5e-7}
        stages:
          - {name: dpo}
          - {name: sft, data: {train: [{path: data/chat.jsonl, format: chat}]}, train: {method: sft, learning_rate: 1e-5}}

    Use instead:
        stages:
          - {name: sft, data: {train: [{path: data/chat.jsonl, format: chat}]}, train: {method: sft, learning_rate: 1e-5}}
          - {name: dpo}

    When it is meant:
    You fine-tune on the best of the answers that the model itself gave, or repair what reinforcement learning broke. A course that
    goes on with a later lesson, such as sft, dpo, sft, dpo, is not found.
    """
    parent = _parent(see.plan, see.stage) if see.stage is not None else None
    mine, last = order(s.method), order(parent.body.method) if parent is not None else None
    if see.stage is None or parent is None or mine is None or last is None or last <= mine:
        return
    for later in see.plan.of_kind("train"):
        rank = order(later.body.method)
        if rank is not None and rank > mine and any(one.name == see.stage.name for one in _ancestors(see.plan, later)):
            return
    message = f"{s.method} after {parent.body.method}: it unlearns what {parent.name} taught"
    yield Fault("train.method", message, f"put it before {parent.name}, or drop it")


@contradiction(
    "P306",
    "result-that-is-not-measured",
    "recipe",
    words=("evaluate.models", "stages", "train"),
    severity="warning",
    waivable=True,
)
def unmeasured(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds benchmarks of what an earlier stage makes that leave out what the last one does.

    Why is this bad:
    The result of the course is the one that nobody knows the scores of.

    Example:
        stages:
          - {name: sft}
          - name: dpo
            data: {train: [{path: data/pairs.jsonl, format: preference}]}
            train: {method: dpo, learning_rate: 5e-7}
        evaluate: {tasks: [gsm8k], models: [base, sft]}

    Use instead:
        evaluate: {tasks: [gsm8k], models: [base, sft, dpo]}

    When it is meant:
    The last model is measured elsewhere.
    """
    models = known(see.graph)
    result = models.get(LAST)
    if recipe.evaluate is None or recipe.evaluate.models is None or result is None or not writes(result):
        return
    names = [models[name].name if name in models else LAST for name in chosen(see.said, see.graph)]
    merges = (one for one in see.plan.of_kind("merge") if one.name == result.stage and len(one.inputs) == 1)
    if any(merge.inputs[0].output in [models[name].model for name in names] for merge in merges):
        return  # the weights of an adapter that is measured, added to its base's
    if result.name not in [name.removesuffix(BEST) for name in names] and any(
        name not in ("base", LAST) and writes(models[name]) for name in names
    ):
        message = f"{result.name} is the result, and is not evaluated"
        yield Fault("evaluate.models", message, "add tuned, which is the last model")


@contradiction(
    "P307", "task-that-is-listed-twice", "evaluate", words=("evaluate.tasks",), severity="warning", waivable=True
)
def twice(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task that is in the list twice, by itself or as a part of a group that is in it too.

    Why is this bad:
    Its score is in the group's: it costs its time again, and says nothing new.

    Example:
        evaluate: {tasks: [mmlu, mmlu_stem]}

    Use instead:
        evaluate: {tasks: [mmlu]}

    When it is meant:
    You want the part's score in a line of its own, whatever it costs.
    """
    for index, task in enumerate(s.tasks):
        others = s.tasks[:index]
        group = next(
            (
                one
                for one in s.tasks
                if task.startswith(f"{one}_") and task.removeprefix(f"{one}_") in PARTS_OF.get(one, ())
            ),
            None,
        )
        if task in others:
            yield Fault(f"evaluate.tasks[{index}]", f"{task} is listed twice", "drop one of them")
        elif group is not None:
            yield Fault(
                f"evaluate.tasks[{index}]",
                f"{task} is a part of {group}, which is listed too",
                f"drop it: the results of {group} hold it",
            )


# Groups of lm-eval whose parts people name beside them, and what stands behind `group_` in the names of those.
SUBJECTS = ("stem", "humanities", "social_sciences", "other")
PARTS_OF = {
    "mmlu": SUBJECTS,
    "mmlu_generative": SUBJECTS,
    "kmmlu": ("stem", "humss", "applied_science", "other"),
    "kobest": ("boolq", "copa", "hellaswag", "sentineg", "wic"),
    "leaderboard": ("bbh", "gpqa", "ifeval", "math_hard", "mmlu_pro", "musr"),
    "minerva_math": (
        "algebra",
        "counting_and_prob",
        "geometry",
        "intermediate_algebra",
        "num_theory",
        "prealgebra",
        "precalc",
    ),
}


RULES = (roles, columns, thrown_away, idle_judge, other_template, upside_down, unmeasured, twice)
