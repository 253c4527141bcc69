"""Contradictions about judges: who is asked, what of, and what that may cost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from recipec.kinds.answers import CHECKOUT, Answers, words
from recipec.kinds.evaluate import chosen, known
from recipec.kinds.judge import mode_of, most_of_a_verdict, opponent, task_of
from recipec.language import Recipe
from recipec.language.judge import Judge as Words
from recipec.plural import counted
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest
from recipec.systems.scripts import judging

ALL = ("evaluate", "evaluate.judge")
# Words that act for some benchmarks alone, or in one mode.
ONLY = {
    "shots": ("logickor",),
    "rubric": ("rubric",),
    "references": ("mt_bench", "pairs", "rubric"),
    "prompts": ("mt_bench", "pairs", "rubric"),
}
AGAINST = ("against", "against_answers")
SMALL = 64 * 1024 * 1024  # bytes of a file of questions that is read here


def benchmarks(see: Context, recipe: Recipe) -> Iterator[tuple[str, Words]]:
    """Yield each benchmark that is judged, with its recipe path."""
    given, part = recipe.evaluate, see.said.part
    if given is not None and (part.own is None or part.kind == "evaluate"):
        for index, one in enumerate(given.judge):
            yield words(index), one


@contradiction("P350", "judge-that-nobody-allowed", "recipe", "part", words=ALL)
def not_allowed(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a judge at an address that `allow` does not list, and that is not of this machine.

    Why is this bad:
    It would be sent your questions and all answers to them. The run refuses.

    Example:
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "https://judge.example/v1"}]}

    Use instead:
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "https://judge.example/v1"}], allow: ["https://judge.example/v1"]}
    """
    for at, one in benchmarks(see, recipe):
        listed = {address.rstrip("/") for address in one.allow}
        for number, by in enumerate(one.by):
            if urlsplit(by.url).hostname not in judging.LOOPBACK and by.url.rstrip("/") not in listed:
                message = f"questions and answers would be sent to {by.url}"
                yield Fault(f"{at}.by[{number}].url", message, f'list it, if they may be: allow: ["{by.url}"]')


@contradiction("P351", "pairs-without-an-opponent", "recipe", "part", words=(*ALL, "evaluate.models"))
def without_opponent(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds pairs of answers of which one is nobody's, or an opponent that nothing is compared with.

    Why is this bad:
    There is nothing to compare, or what is named has no effect.

    Example:
        evaluate:
          judge:
            - {benchmark: pairs, questions: data/q.jsonl, by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        evaluate:
          models: [tuned]
          judge:
            - {benchmark: pairs, questions: data/q.jsonl, against: base, by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
    """
    for at, one in benchmarks(see, recipe):
        there = known(see.graph)
        said = [word for word in AGAINST if getattr(one, word) is not None]
        if mode_of(one) == "single":
            other = "say mode: pairwise" if one.benchmark == "mt_bench" else "use benchmark: pairs"
            for word in said:
                yield Fault(f"{at}.{word}", "each answer is scored by itself", f"{other}, or drop it")
        elif len(said) == 2:
            yield Fault(
                f"{at}.against_answers",
                "against is said too, and an answer is compared with one other",
                "drop one of the two",
            )
        elif not said:
            place = f"{at}.{'mode' if one.mode is not None else 'benchmark'}"
            yield Fault(place, "it is not said with what each answer is compared", "say against: base, or against_answers: FILE")  # fmt: skip
        elif opponent(one, there) is None:
            message = f"{one.against} is no model of this course"
            yield Fault(
                f"{at}.against", message, f"there is {', '.join(there)}", nearest(str(one.against), list(there))
            )
        elif see.said.part.own is None and set(chosen(see.said, see.graph)) <= {one.against}:
            yield Fault(f"{at}.against", f"{one.against} is the only model that is evaluated", "name others in models")


@contradiction("P352", "words-of-another-benchmark", "recipe", "part", words=ALL)
def other_words(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a word of a judged benchmark that does not act there, or a mode that it does not have.

    Why is this bad:
    It would be read and dropped, and the scores would not be what was asked for.

    Example:
        evaluate:
          judge:
            - {benchmark: rubric, shots: 1-shot, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
    """
    for at, one in benchmarks(see, recipe):
        for word, able in ONLY.items():
            if see.said.otherwise(f"{at}.{word}") and one.benchmark not in able:
                yield Fault(f"{at}.{word}", f"{one.benchmark} has no {word}", f"drop it; it acts for {', '.join(able)}")
        if one.mode == "pairwise" and one.benchmark in ("logickor", "rubric"):
            yield Fault(f"{at}.mode", f"{one.benchmark} scores each answer by itself", "drop it, or use benchmark: pairs")  # fmt: skip
        if one.mode == "single" and one.benchmark == "pairs":
            yield Fault(f"{at}.mode", "pairs are two answers", "drop it, or use benchmark: rubric")
        if one.temperature == "category" and one.benchmark != "mt_bench":
            yield Fault(f"{at}.temperature", f"{one.benchmark} has no temperatures of its own", "give a number")
        if one.attempts is not None and one.attempts > 1 and all(by.temperature == 0 for by in one.by):
            message = "a judge at temperature 0 answers the same again, and is asked once"
            yield Fault(f"{at}.attempts", message, "drop it, or give a judge a temperature")


@contradiction("P353", "judge-of-its-own-answers", "recipe", "part", words=(*ALL, "model.base"), severity="warning", waivable=True)  # fmt: skip
def own_answers(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a judge that is the model, by its name, that the judged ones were made of.

    Why is this bad:
    Judges prefer answers that read like their own (Zheng et al. 2023, arXiv:2306.05685, section 3.3; Panickssery et al. 2024,
    arXiv:2404.13076).

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: qwen2.5-7b-instruct, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: llama-3.3-70b-instruct, url: "http://127.0.0.1:9/v1"}]}

    When it is meant:
    There is no other judge, and all models that are compared were made of this one.
    """
    for at, one in benchmarks(see, recipe):
        roots = {_last(one.root) for one in see.graph.models.values()}
        for number, by in enumerate(one.by):
            if _last(by.model) in roots:
                message = f"{by.model} judges answers of models that were made of it"
                yield Fault(f"{at}.by[{number}].model", message, "let another model judge, or several")


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()


@contradiction("P354", "two-benchmarks-of-one-name", "recipe", "part", words=(*ALL, "evaluate.tasks"))
def same_name(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds scores of two benchmarks, or verdicts of two judges, that would have one name.

    Why is this bad:
    Reports and requirements tell them by their names: one would stand for the other.

    Example:
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Short., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        evaluate:
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
            - {benchmark: rubric, name: short, questions: data/q.jsonl, rubric: Short., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
    """
    given = recipe.evaluate
    taken = [task.strip() for text in (given.tasks if given is not None else ()) for task in text.split(",")]
    for at, one in benchmarks(see, recipe):
        if task_of(one) in taken:
            where = f"{at}.{'name' if one.name is not None else 'benchmark'}"
            yield Fault(where, f"other scores are called {task_of(one)} already", "give it a name of its own, by name")
        taken.append(task_of(one))
        called: set[str] = set()
        for number, by in enumerate(one.by):
            short = judging.slug(by.model)  # as files and metrics have it
            if short in called:
                message = f"another judge is called {by.model} too: their verdicts would be mixed"
                yield Fault(f"{at}.by[{number}].model", message, "name each judge once")
            called.add(short)


@contradiction("P355", "questions-that-cannot-be-asked", "recipe", "part", words=ALL)
def wrong_questions(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a file of questions, references, prompts or answers that is here and cannot be used, with the line.

    Why is this bad:
    The stage would end at it, after the model was trained.

    Example:
        evaluate:
          judge:
            - {benchmark: rubric, questions: questions/three-turns.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        evaluate:
          judge:
            - {benchmark: rubric, questions: questions/right.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
    """
    for at, one in benchmarks(see, recipe):
        yield from _wrong_checkout(at, one)
        questions = _questions(one)
        if isinstance(questions, str):
            yield Fault(f"{at}.questions", questions, "one JSON object a line: {question_id, category, turns: […]}")
            continue
        if questions and one.benchmark == "rubric" and one.rubric is None:
            bare = next((each for each in questions if not each.rubric), None)
            if bare is not None:
                message = f"{one.questions}:{bare.line}: it has no rubric, and there is none for all"
                yield Fault(f"{at}.questions", message, "add rubric: to the recipe, or to each question")
        for word in ("references", "prompts", "against_answers"):
            path = getattr(one, word)
            if path is not None and _here(path) and (why := _unreadable(word, path, one, questions)):
                yield Fault(f"{at}.{word}", why, "correct that line")


def _here(path: str) -> bool:
    return path.isprintable() and os.path.isfile(path) and os.path.getsize(path) <= SMALL  # noqa: PTH113, PTH202


def _questions(one: Words) -> list[judging.Question] | str:
    """Return the questions of a file that is here, none of one that is not; as text, what is wrong with them."""
    if not _here(str(judging.question_file(one.questions, one.benchmark))):
        return []
    try:
        return judging.read_questions(one.questions, one.benchmark, one.limit)
    except (judging.Wrong, OSError) as error:
        return str(error)


def _unreadable(word: str, path: str, one: Words, questions: list[judging.Question]) -> str:
    """Return what is wrong with another file of a benchmark; nothing where it can be used."""
    try:
        if word == "references":
            judging.lay_references(questions, path)
        elif word == "against_answers":
            judging.read_answers(path, questions)
        else:
            prompts = judging.read_prompts(path)
            for turn in sorted({number + 1 for each in questions for number in range(len(each.turns))}):
                judging.chosen_prompt(prompts, mode_of(one), turn, reference=False, rubric=one.benchmark == "rubric")
    except (judging.Wrong, OSError) as error:
        return str(error)
    return ""


def _wrong_checkout(at: str, one: Words) -> Iterator[Fault]:
    """Tell of a folder that is here and is no checkout of LogicKor."""
    if one.benchmark != "logickor" or not one.questions.isprintable() or not os.path.exists(one.questions):  # noqa: PTH110
        return
    lacking = [name for name in CHECKOUT if not os.path.isfile(f"{one.questions}/{name}")]  # noqa: PTH113
    if lacking:
        message = f"{one.questions} is no checkout of LogicKor: it has no {', '.join(lacking)}"
        yield Fault(f"{at}.questions", message, "clone LogicKor's repository, and name its folder")
        return
    text = (Path(one.questions) / judging.TEMPLATES).read_text(encoding="utf-8", errors="replace")
    if f'"{one.shots}"' not in text and f"'{one.shots}'" not in text:
        message = f"{one.questions}/{judging.TEMPLATES} has no mode {one.shots}"
        yield Fault(f"{at}.shots", message, "name a mode that it has")


@contradiction("P356", "questions-without-a-reference", "recipe", "part", words=ALL)
def no_reference(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds questions of MT-Bench on math, reasoning and coding that have no reference answer.

    Why is this bad:
    MT-Bench judges these categories beside a reference: a judge that solves them itself is often wrong (Zheng et al. 2023,
    arXiv:2306.05685, section 3.4). The stage would refuse them.

    Example:
        evaluate:
          judge:
            - {benchmark: mt_bench, questions: questions/math.jsonl, by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        evaluate:
          judge:
            - {benchmark: mt_bench, questions: questions/math.jsonl, references: questions/references.jsonl, by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
    """
    for at, one in benchmarks(see, recipe):
        questions = _questions(one) if one.benchmark == "mt_bench" else []
        if isinstance(questions, str) or (one.references is not None and not _here(one.references)):
            continue
        if one.references is not None and _unreadable("references", one.references, one, questions):
            continue  # told by P355
        lacking = judging.lacking_reference(questions)
        if lacking:
            first = lacking[0]
            what = f"{counted(len(lacking), 'question')} of {', '.join(sorted({each.category for each in lacking}))}"
            message = f"{what} without a reference answer, such as {first.key} in line {first.line}"
            place = f"{at}.{'references' if one.references is not None else 'questions'}"
            yield Fault(place, message, "name a file of them: references:")


@contradiction("P357", "not-all-of-logickor", "recipe", "part", words=ALL, severity="warning", waivable=True)
def not_all(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a checkout of LogicKor of which not all 42 questions are asked.

    Why is this bad:
    Its scores do not compare with those of others.

    Example:
        evaluate:
          judge:
            - {benchmark: logickor, questions: questions/logickor, by: [{model: m, url: "http://127.0.0.1:9/v1"}], limit: 2}

    Use instead:
        evaluate:
          judge:
            - {benchmark: logickor, questions: LogicKor, by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    When it is meant:
    It is a trial, or the questions are your own in its format.
    """
    for at, one in benchmarks(see, recipe):
        questions = _questions(one) if one.benchmark == "logickor" else []
        if isinstance(questions, str) or not questions or len(questions) == judging.LOGICKOR_ITEMS:
            continue
        message = f"{counted(len(questions), 'question')} of LogicKor are asked, which has {judging.LOGICKOR_ITEMS}"
        place = "limit" if one.limit is not None and one.limit == len(questions) else "questions"
        yield Fault(f"{at}.{place}", message, "ask all of them for a result")


@contradiction("P358", "bound-of-costs-that-cannot-hold", "recipe", "part", words=ALL)
def unheld_bound(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a bound of the costs that a judge has no price for, or that the verdicts alone may exceed.

    Why is this bad:
    The stage would refuse to begin, after the models were trained and had answered.

    Example:
        evaluate:
          judge:
            - {benchmark: rubric, max_cost: 5, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        evaluate:
          judge:
            - {benchmark: rubric, max_cost: 5, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1", price: {input: 2.0, output: 8.0}}]}
    """
    for at, one in benchmarks(see, recipe):
        for number, by in enumerate(one.by):
            if one.max_cost is not None and by.price is None:
                advice = "say its price for a million tokens: price: {input: …, output: …}; 0 where it costs nothing"
                yield Fault(f"{at}.by[{number}].model", f"max_cost is said, and {by.model} has no price", advice)
        costs = [most_of_a_verdict(one, by) for by in one.by]
        questions = _questions(one)
        if one.max_cost is None or isinstance(questions, str) or None in costs:
            continue
        number = sum(len(each.turns) for each in questions) * (2 if mode_of(one) == "pairwise" else 1)
        least = number * sum(cost for cost in costs if cost is not None)
        if least > one.max_cost:
            message = f"{counted(number, 'verdict')} may cost ${least:.2f} for what is said in them alone, more than ${one.max_cost:.2f}"
            yield Fault(
                f"{at}.max_cost", message, "raise it, or let a verdict have fewer tokens: by: [{max_tokens: …}]"
            )


@contradiction("P359", "conversations-without-a-template", "answers", words=(*ALL, "model.base", "model.tokenizer", "model.chat_template"))  # fmt: skip
def no_template(see: Context, s: Answers) -> Iterator[Fault]:
    """Finds a model that is asked in turns, and whose tokenizer has no chat template.

    Why is this bad:
    Its server refuses every request of the kind.

    Example:
        model: {base: mistralai/Mistral-7B-v0.3}
        evaluate:
          models: [base]
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}

    Use instead:
        model: {base: mistralai/Mistral-7B-Instruct-v0.3}
        evaluate:
          models: [base]
          judge:
            - {benchmark: rubric, questions: data/q.jsonl, rubric: Kind., by: [{model: m, url: "http://127.0.0.1:9/v1"}]}
    """
    one = known(see.graph).get(s.subject.name)
    if one is None or s.server.chat:
        return
    template = one.model.template or (one.tokenizer.template if one.tokenizer is not None else None)
    if template == "none":
        yield Fault("evaluate.judge", f"{s.subject.name} has no chat template, and is asked in turns", "train it on conversations with a template, or name other models")  # fmt: skip


RULES = (
    not_allowed,
    without_opponent,
    other_words,
    own_answers,
    same_name,
    wrong_questions,
    no_reference,
    not_all,
    unheld_bound,
    no_template,
)
