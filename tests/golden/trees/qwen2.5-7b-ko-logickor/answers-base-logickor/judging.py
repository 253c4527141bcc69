"""What asking and judging share: questions, answers and prompts as they are read, verdicts, and what follows from them.

Copied as it is into the output of a recipe that has a judge; needs only Python. Files are JSON lines in FastChat's formats:
questions `{question_id, category, turns, reference?}`, answers `{question_id, answer_id, model_id, choices: [{index, turns}],
tstamp}`, prompts `{name, type, system_prompt, prompt_template, output_format}`. Questions may also be LogicKor's (`id`,
`questions`, `references`) and Arena-Hard's (`uid`, `prompt`, or turns with a `content`).
"""

import hashlib
import importlib.util
import json
import math
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

NEED_REFERENCE = (
    "math",
    "reasoning",
    "coding",
)  # categories that MT-Bench judges beside a reference (FastChat, llm_judge/common.py)
# Temperatures of MT-Bench's categories, as FastChat asks them (llm_judge/common.py).
TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0, "stem": 0.1, "humanities": 0.1,
}  # fmt: skip
MOST_TURNS = 2
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOGICKOR_ITEMS = 42
RANGES = {"mt_bench": (1.0, 10.0), "rubric": (1.0, 10.0), "logickor": (0.0, 10.0)}
QUESTIONS, TEMPLATES, EVALUATOR = "questions.jsonl", "templates.py", "evaluator.py"  # of a checkout of LogicKor
WINS = {"model_1": 1.0, "tie": 0.5, "model_2": 0.0}


class Wrong(Exception):
    """What was given cannot be used, and why; where it stands in a file is named."""


class Question:
    """One question: its turns, one reference answer for each of them or None, and a rubric of its own, if any."""

    def __init__(self, row: dict[str, Any], line: int) -> None:
        self.row, self.line = row, line
        self.id = next(row[name] for name in ("question_id", "id", "uid") if name in row)
        self.category = str(row.get("category") or "")
        self.turns: list[str] = turns_of(row)
        given = row.get("references", row.get("reference"))
        given = [given] if isinstance(given, str) else list(given or [])
        self.references = [str(one) if one else None for one in given] + [None] * (len(self.turns) - len(given))
        self.rubric: str | None = row.get("rubric")

    @property
    def key(self) -> str:
        """The identity of the question as text."""
        return str(self.id)

    @property
    def hash(self) -> str:
        """The SHA-256 of what is asked."""
        return digest(json.dumps([self.key, self.turns], ensure_ascii=False))


def digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def rows_of(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line of a file of JSON lines with its number, from 1. Raises Wrong, OSError."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Wrong(f"{path}: not UTF-8: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Wrong(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise Wrong(f"{path}:{number}: not an object")
        yield number, row


def turns_of(row: dict[str, Any]) -> list[Any]:
    """Return the turns of a question: a list of texts, of objects with a `content`, or one prompt."""
    turns = row.get("turns", row.get("questions", row.get("prompt")))
    turns = [turns] if isinstance(turns, str) else turns if isinstance(turns, list) else []
    return [one.get("content") if isinstance(one, dict) else one for one in turns]


def mistake(row: dict[str, Any]) -> str:
    """Return what is wrong with the shape of a question; nothing where it can be asked."""
    named = [row[name] for name in ("question_id", "id", "uid") if name in row]
    if not named:
        return "it has no question_id, id or uid"
    if not isinstance(named[0], int | str) or isinstance(named[0], bool):
        return "its question_id is no number or text"
    turns = turns_of(row)
    if not turns:
        return "it has no turns: a list of texts"
    if not all(isinstance(one, str) and one.strip() for one in turns):
        return "a turn of it is no text, or empty"
    if len(turns) > MOST_TURNS:
        return f"it has {len(turns)} turns; {MOST_TURNS} at most are judged"
    given = row.get("references", row.get("reference"))
    if given is not None and not isinstance(given, str | list):
        return "its reference is no list of texts"
    if isinstance(given, list) and (
        len(given) > len(turns) or not all(one is None or isinstance(one, str) for one in given)
    ):
        return "its references are not one text for each turn"
    if row.get("rubric") is not None and not isinstance(row["rubric"], str):
        return "its rubric is no text"
    return ""


def question_file(path: str, benchmark: str) -> Path:
    """Return the file of the questions: that of a checkout where the benchmark is one."""
    return Path(path) / QUESTIONS if benchmark == "logickor" else Path(path)


def read_questions(path: str, benchmark: str, limit: int | None = None) -> list[Question]:
    """Return the questions of a file, the first `limit` of them. Raises Wrong with the line, OSError."""
    file = question_file(path, benchmark)
    found, seen = [], {}
    for number, row in rows_of(file):
        wrong = mistake(row)
        if wrong:
            raise Wrong(f"{file}:{number}: {wrong}")
        one = Question(row, number)
        if one.key in seen:
            raise Wrong(f"{file}:{number}: question {one.key} stands in line {seen[one.key]} already")
        seen[one.key] = number
        found.append(one)
    if not found:
        raise Wrong(f"{file}: there is no question in it")
    return found[:limit]


def read_answers(path: str, questions: list[Question]) -> dict[str, list[str]]:
    """Return the answers to some questions by their keys, one text for each turn. Raises Wrong, OSError."""
    found = {}
    for number, row in rows_of(path):
        choices = row.get("choices")
        turns = (
            choices[0].get("turns") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        )
        if "question_id" not in row or not isinstance(turns, list):
            raise Wrong(f"{path}:{number}: no answer: question_id and choices: [{{turns: […]}}] are needed")
        found[str(row["question_id"])] = [str(one.get("content") if isinstance(one, dict) else one) for one in turns]
    lacking = [one.key for one in questions if len(found.get(one.key, [])) < len(one.turns)]
    if lacking:
        raise Wrong(f"{path}: no answer to {len(lacking)} of {len(questions)} questions, such as {lacking[0]}")
    return found


def lay_references(questions: list[Question], path: str) -> None:
    """Give questions the references of a file in FastChat's format of answers. Raises Wrong, OSError."""
    found = {}
    for number, row in rows_of(path):
        choices = row.get("choices")
        if "question_id" not in row or not isinstance(choices, list) or not choices:
            raise Wrong(f"{path}:{number}: no reference answer: question_id and choices: [{{turns: […]}}] are needed")
        found[str(row["question_id"])] = list(choices[0].get("turns") or [])
    for one in questions:
        given = [str(text) if text else None for text in found.get(one.key, one.references)]
        one.references = (given + [None] * len(one.turns))[: len(one.turns)]


def lacking_reference(questions: list[Question]) -> list[Question]:
    """Return the questions of categories that are judged beside a reference and have none."""
    return [one for one in questions if one.category in NEED_REFERENCE and not any(one.references)]


def has_reference(question: Question, benchmark: str) -> bool:
    """Return whether a question is judged beside a reference: in MT-Bench only those of some categories are."""
    return any(question.references) and (benchmark != "mt_bench" or question.category in NEED_REFERENCE)


# Prompts


def read_prompts(path: str | Path) -> list[dict[str, Any]]:
    """Return the prompts of a file in FastChat's format, in their order. Raises Wrong, OSError."""
    found = []
    for number, row in rows_of(path):
        lacking = [name for name in ("name", "type", "prompt_template") if not isinstance(row.get(name), str)]
        if lacking:
            raise Wrong(f"{path}:{number}: a prompt needs {', '.join(lacking)}")
        found.append(row)
    return found


def chosen_prompt(
    prompts: list[dict[str, Any]], kind: str, turn: int, *, reference: bool, rubric: bool
) -> dict[str, Any]:
    """Return the first prompt for a kind (`single`, `pairwise`) and a turn, with or without a reference and a rubric. Raises Wrong."""

    def fits(row: dict[str, Any]) -> bool:
        text = row["prompt_template"]
        return (
            row["type"] == kind
            and ("{question_2}" in text) == (turn == 2)
            and ("{ref_answer_1}" in text) == reference
            and ("{rubric}" in text) == rubric
        )

    for row in prompts:
        if fits(row):
            return row
    what = f"{kind}, turn {turn}, {'with' if reference else 'without'} a reference, {'with' if rubric else 'without'} a rubric"
    raise Wrong(
        f"there is no prompt for this: {what}; one is known by its type and by {{question_2}}, {{ref_answer_1}}, {{rubric}}"
    )


def written(
    prompt: dict[str, Any], question: Question, turn: int, answers: list[list[str]], rubric: str | None = None
) -> list[dict[str, Any]]:
    """Return the messages that ask for a verdict on one answer, or on two in their order. `answers` have a text for each turn."""
    words = {"rubric": rubric or ""}
    for index in range(turn):
        words[f"question_{index + 1}"] = question.turns[index]
        words[f"ref_answer_{index + 1}"] = question.references[index] or ""
        names = ("answer",) if len(answers) == 1 else ("answer_a", "answer_b")
        for name, one in zip(names, answers, strict=True):
            words[f"{name}_{index + 1}"] = one[index]
            words.setdefault(name, one[0])
    words["question"] = question.turns[0]
    try:
        text = prompt["prompt_template"].format(**words)
    except (KeyError, IndexError, ValueError) as error:
        raise Wrong(f"prompt {prompt['name']}: {error!r} is nothing that it may name") from None
    system = prompt.get("system_prompt") or ""
    return ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": text}]


def load_checkout(folder: str, name: str) -> types.ModuleType:
    """Return a module of a checkout of LogicKor, which is run; what it needs for other things than text is left out. Raises Wrong."""
    file = Path(folder) / name
    if not file.is_file():
        raise Wrong(f"{folder}: there is no {name}: a checkout of LogicKor is needed")
    stubs = {"pandas": types.ModuleType("pandas"), "openai": types.ModuleType("openai")}
    stubs["openai"].OpenAI = object
    before = {one: sys.modules.get(one) for one in (*stubs, "templates")}
    sys.path.insert(0, str(folder))
    sys.modules.pop("templates", None)
    sys.modules.update(stubs)
    try:
        spec = importlib.util.spec_from_file_location(f"logickor_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        raise Wrong(f"{file}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(folder))
        for one, old in before.items():
            sys.modules.pop(one, None)
            if old is not None:
                sys.modules[one] = old
    return module


def shots(folder: str, mode: str) -> list[dict[str, Any]]:
    """Return the messages that stand before every question in a mode of LogicKor (`default`, `1-shot`, `cot-1-shot`). Raises Wrong."""
    strategies = getattr(load_checkout(folder, TEMPLATES), "PROMPT_STRATEGY", None)
    if not isinstance(strategies, dict) or not isinstance(strategies.get(mode), list):
        raise Wrong(f"{Path(folder) / TEMPLATES}: there is no mode {mode} in PROMPT_STRATEGY")
    return [{"role": one["role"], "content": one["content"]} for one in strategies[mode]]


class _Asked(BaseException):
    """What would be sent to the judge: no Exception, which its evaluator would catch to try again."""


def checkout_messages(
    evaluator: types.ModuleType, question: Question, turn: int, answer: list[str]
) -> list[dict[str, Any]]:
    """Return the messages by which a checkout of LogicKor asks its judge: its own evaluator writes them, and nothing is sent. Raises Wrong."""

    def taken(**words: list) -> None:
        raise _Asked(words["messages"])

    client = types.SimpleNamespace(chat=types.SimpleNamespace(completions=types.SimpleNamespace(create=taken)))
    references = question.references if any(question.references) else None
    row = {"questions": question.turns, "outputs": answer, "references": references}
    try:
        evaluator.create_answers(client, row, "judge", is_multi_turn=turn == 2)
    except _Asked as asked:
        return [{"role": one["role"], "content": one["content"]} for one in asked.args[0]]
    except Exception as error:
        raise Wrong(f"its {EVALUATOR} could not write a prompt: {type(error).__name__}: {error}") from error
    raise Wrong(f"its {EVALUATOR} asked nothing")


# Verdicts


def score_in(text: str, benchmark: str) -> float | None:
    """Return the score that a judge gave, None where there is none that its scale has.

    It is the number after `점수:`, without asterisks, for LogicKor (its evaluator.py); else that in `[[…]]`, or in `[…]`, as FastChat
    reads it.
    """
    if benchmark == "logickor":
        found = re.search(r"점수:\s*(\d+(?:\.\d+)?)", text.replace("*", ""))
    else:
        found = re.search(r"\[\[(\d+(?:\.\d+)?)\]\]", text) or re.search(r"\[(\d+(?:\.\d+)?)\]", text)
    if found is None:
        return None
    low, high = RANGES[benchmark]
    score = float(found[1])
    return score if low <= score <= high else None


_CHOICES = {
    "A": "A",
    "B": "B",
    "C": "tie",
    "A>>B": "A",
    "A>B": "A",
    "A=B": "tie",
    "B=A": "tie",
    "B>A": "B",
    "B>>A": "B",
}
_CHOICE = re.compile(r"\[\[\s*(A>>B|A>B|A=B|B=A|B>A|B>>A|A|B|C)\s*\]\]")


def choice_in(text: str) -> str | None:
    """Return which of two answers a judge prefers: `A`, `B` or `tie`, None where it says none, or several things.

    `[[A]]`, `[[B]]` and `[[C]]` are FastChat's labels; Arena-Hard's are `[[A>>B]]` to `[[B>>A]]`.
    """
    found = {_CHOICES[one] for one in _CHOICE.findall(text)}
    return found.pop() if len(found) == 1 else None


def winner(choice: str | None, *, swapped: bool) -> str | None:
    """Return a choice in terms of the models: `model_1` is the one that is judged, which stands second where they are `swapped`."""
    if choice in (None, "tie"):
        return choice
    return "model_1" if (choice == "A") != swapped else "model_2"


def outcome(first: str | None, second: str | None) -> float | None:
    """Return 1 for a win of the judged model, 0 for a loss, 0.5 for a tie; None where an order has no verdict.

    A win counts only where both orders say so; else it is a tie (Zheng et al. 2023, arXiv:2306.05685, section 3.4).
    """
    if first is None or second is None:
        return None
    return WINS[first] if first == second else 0.5


# Numbers


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has: four ASCII characters, or one other character, are counted as one."""
    plain = sum(character < "\x80" for character in text)
    return math.ceil(plain / 4) + len(text) - plain


def price_of(price: dict | None, tokens_in: int, tokens_out: int) -> float | None:
    """Return what tokens cost, by prices for a million; None where there is no price."""
    return None if price is None else (tokens_in * price["input"] + tokens_out * price["output"]) / 1e6


def mean_of(values: list) -> tuple[float | None, float | None]:
    """Return the mean of values and its standard error, each None where there are too few."""
    values = [one for one in values if one is not None]
    return (fmean(values) if values else None, stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None)


def kappa(pairs: list[tuple[float, float]], *, squared: bool = False) -> float | None:
    """Return how far two judges agree beyond chance on the same items, 1 at most; None where chance alone would agree.

    Cohen's kappa (1960, doi:10.1177/001316446002000104); `squared`: weighted by the squared difference of scores (Cohen 1968,
    doi:10.1037/h0026256).
    """
    if not pairs:
        return None

    def apart(one: float, other: float) -> float:
        return (one - other) ** 2 if squared else float(one != other)

    seen = fmean(apart(one, other) for one, other in pairs)
    by_chance = fmean(apart(one, other) for one, _ in pairs for _, other in pairs)
    return None if by_chance == 0 else 1 - seen / by_chance


def agreement(marks: dict[str, dict], *, squared: bool) -> list[dict[str, Any]]:
    """Return how far each two judges agree: the share of the same verdicts, and kappa. `marks` are verdicts by judge and item."""
    found = []
    judges = list(marks)
    for index, one in enumerate(judges):
        for other in judges[index + 1 :]:
            both = [
                (marks[one][item], marks[other][item])
                for item in marks[one]
                if marks[one][item] is not None and marks[other].get(item) is not None
            ]
            found.append(
                {
                    "judges": [one, other],
                    "items": len(both),
                    "same": fmean(a == b for a, b in both) if both else None,
                    "kappa": kappa(both, squared=squared),
                }
            )
    return found


def slug(text: str) -> str:
    """Return a name that files and tasks may have: of what stands in parentheses in Latin letters, if anything does."""
    inner = re.search(r"\(([A-Za-z][A-Za-z ]*)\)", text)
    return re.sub(r"\W+", "_", (inner[1] if inner else text).lower()).strip("_") or "other"


# Results in lm-eval's layout


def table_of(
    task: str, metrics: list[str], questions: list[Question], values: dict[str, dict]
) -> tuple[dict, dict, dict]:
    """Return `results` and `n-samples` of a task and of each of its categories.

    `metrics` are names, the first of which is the overall one; `values` a dictionary of them for each question's key, in which what
    could not be judged is missing.
    """
    results, counts = {}, {}
    groups = {task: questions}
    categories = list(dict.fromkeys(one.category for one in questions if one.category))
    for category in categories if len(categories) > 1 else []:
        groups[f"{task}_{slug(category)}"] = [one for one in questions if one.category == category]
    for name, members in groups.items():
        row = {"alias": name if name == task else f" - {name}"}
        for metric in metrics if name == task else metrics[:1]:
            mean, error = mean_of([values[one.key].get(metric) for one in members])
            if mean is not None:
                row[f"{metric},none"] = mean
                row[f"{metric}_stderr,none"] = error if error is not None else "N/A"
        judged = sum(metrics[0] in values[one.key] for one in members)
        results[name] = row
        counts[name] = {"original": len(members), "effective": judged}
    return results, counts, groups


def sample_row(number: int, question: Question, answer: list[str], values: dict, told: list) -> dict:
    """Return one row of an item as lm-eval writes them, with what the judges said."""
    asked = "\n\n".join(question.turns)
    return {
        "doc_id": number,
        "doc": question.row,
        "target": "\n\n".join(one or "" for one in question.references).strip(),
        "arguments": {"gen_args_0": {"arg_0": asked, "arg_1": {}}},
        "resps": [["\n\n".join(answer)]],
        "filtered_resps": ["\n\n".join(answer)],
        "filter": "none",
        "metrics": list(values),
        "doc_hash": question.hash,
        "prompt_hash": digest(asked),
        "target_hash": digest("".join(one or "" for one in question.references)),
        **values,
        "judgments": told,
    }


def write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_lines(path: Path, rows: list[dict]) -> None:
    """Write JSON lines whole or not at all."""
    write_text(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows))


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
