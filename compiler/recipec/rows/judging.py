"""What is wrong with one row, held against what a recipe says of its source and what the trainer does with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from recipec.rows import unread
from recipec.source import Plain
from recipec.suggest import nearest
from recipec.systems.scripts import turns

_EMITTED: Any = turns  # what reads these rows when they are trained on
OPTIONAL = ("role", "content", "input", "system")
ROLES = ("system", "user", "assistant", "tool")
# How other formats look: the columns that give them away, and what a recipe says of them.
SHAPES = (
    (("chosen",), "format: preference"),
    (("messages",), "format: chat"),
    (("conversations",), "format: chat, columns: {messages: conversations, role: from, content: value}, "
     "roles: {user: [human], assistant: [gpt]}"),
    (("prompt", "completion", "label"), "format: unpaired-preference"),
    (("instruction", "output"), "format: instruction"),
    (("prompt", "completion"), "format: completion"),
    (("text",), "format: text"),
)  # fmt: skip
READ = (
    "messages",
    "prompt",
    "completion",
    "instruction",
    "input",
    "output",
    "system",
    "chosen",
    "rejected",
    "text",
)  # as text
REPEATED = 12  # characters of a prompt that no answer repeats by chance
# What chat templates write around turns, and what ends or begins a text; no person writes it.
_TEMPLATE_TOKENS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|start_header_id|end_header_id|eot_id|eom_id|begin_of_text|end_of_text|endoftext|eot|system|user"
    r"|assistant|end|start|channel|message|return|START_OF_TURN_TOKEN|END_OF_TURN_TOKEN)\|>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<\|turn>|<turn\|>|<｜(?:User|Assistant|begin▁of▁sentence|end▁of▁sentence)｜>"
    r"|\A\s*(?:<s>|<bos>)|(?:</s>|<eos>)\s*\Z|^### (?:Instruction|Response):",
    re.MULTILINE,
)
_SIGNS = ("<|", "INST]", "SYS>>", "_of_turn>", "<｜", "turn|>", "s>", "### ")
# What pandas, with which CSV is read, takes for no value (pandas._libs.parsers.STR_NA_VALUES).
NO_VALUES = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN",
    "None", "n/a", "nan", "null",
}  # fmt: skip
# The bytes of a letter in UTF-8, taken for Latin-1 or Windows-1252: the first of them is one of these, the others are signs.
_MISREAD = re.compile(
    "(?:[\u00c2\u00c3\u00d0\u00d1][\u0080-\u00bf\u0152-\u2122]|[\u00e0-\u00ef][\u0080-\u00bf\u0152-\u2122]{2})"
)
THOROUGH = 1000  # rows of which every column is looked at that nothing reads
LABELS = {"true": True, "1": True, "false": False, "0": False}


class RowProblem(NamedTuple):
    """What is wrong: the standard column to blame ("" for the file), what, what to do, and the nearest right name."""

    code: str
    column: str
    message: str
    advice: str
    suggestion: str | None = None
    severity: Literal["error", "warning"] = "error"


class RowUse(NamedTuple):
    """What a training does with rows, as far as rows are judged by it.

    `max_length` is in tokens, 0 where longer rows are neither dropped nor cut. `templated` says that a chat template is
    laid over the texts. `alternating` names the template that refuses turns in which user and assistant do not alternate,
    `without_system` that which refuses a system turn, `without_tools` that which writes no tools. `pairs` are the shapes of an
    answer beside messages that the trainer reads, where these are not all; `unpaired_turns`: it reads a prompt and a
    completion that are turns. `reads` are the fields that it reads beside the columns of a format, those of turns with a dot
    before them; None where that is not known. `marked_arrays`: it reads a JSON array behind a byte order mark.
    """

    max_length: int = 0
    templated: bool = False
    alternating: str = ""
    without_system: str = ""
    without_tools: str = ""
    pairs: frozenset[str] = frozenset()
    unpaired_turns: bool = False
    reads: frozenset[str] | None = None
    marked_arrays: bool = True


class RowSource(NamedTuple):
    """What a recipe says of a source: its file, format, and the names of its columns and roles in the data."""

    path: str
    format: str
    columns: Mapping[str, str]
    roles: Mapping[str, tuple[str, ...]]
    use: RowUse = RowUse()


def columns(source: RowSource, where: str, row: Mapping[str, Plain]) -> Iterator[RowProblem]:
    """Yield the first column that a row lacks."""
    for name, column in source.columns.items():
        if name in OPTIONAL or column in row or (name == "messages" and _has_prompt(source, row)):
            continue
        yield _missing_column(where, name, column, row)
        return


def _has_prompt(source: RowSource, row: Mapping[str, Plain]) -> bool:
    """Return whether a pair may do without messages: its answers are turns, and it has a prompt or they begin with one."""
    if source.format != "preference":
        return False
    sides = [row.get(source.columns[side], 0) for side in ("chosen", "rejected")]
    if sides == [None, None]:  # of Parquet, only the names of columns are known
        return True
    return all(isinstance(side, list | dict) for side in sides) and (
        bool(row.get("prompt")) or all(isinstance(side, list) and len(side) > 1 for side in sides)
    )


def label(source: RowSource, row: Plain) -> bool | None:
    """Return whether a row is labelled good; None where it has no label."""
    value = row.get(source.columns.get("label", ""), None) if isinstance(row, dict) else None
    if isinstance(value, str) and source.path.endswith(".csv"):
        return LABELS.get(value.lower())
    return bool(value) if value in (True, False) else None


class Judge:
    """What is wrong with the rows of a source, one by one."""

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self.table = source.path.endswith(".csv")
        self.known_roles = {spelt for names in source.roles.values() for spelt in names} | set(ROLES)
        self.role_of = {spelt: role for role, names in source.roles.items() for spelt in names}
        self.row_count = 0
        # In a conversation so far, user and assistant do not alternate, or the wrong one ends it.
        self.odd_turns = False
        self.text_answers = False  # so far: a pair beside messages has an answer that is a text
        self.numbers: dict[str, bool] = {}  # of a column of CSV: are all its values numbers so far

    def at_end(self) -> Iterator[RowProblem]:
        """Yield what is wrong with all rows together."""
        for name in (name for name, only in self.numbers.items() if only):
            column = self.source.columns[name]
            message = f"{self.source.path}: every {column} is a number, which CSV is read as, not as text"
            yield RowProblem("D029", name, message, "write JSON lines, where it stays text")

    def problems(self, where: str, row: Plain) -> Iterator[RowProblem]:
        """Yield what is wrong with a row; `where` it is begins each message."""
        source = self.source
        if not isinstance(row, dict):
            yield RowProblem(
                "D002",
                "",
                f"{where} is {excerpt(row)}, not a mapping of columns",
                "write one JSON object for each row",
            )
            return
        for lacking in columns(source, where, row):
            yield lacking
            return
        wrong = False
        for name, column in source.columns.items():
            if name in OPTIONAL and name not in ("input", "system"):
                continue
            if name == "messages" and column not in row:
                continue
            for problem in self._of_column(where, name, column, row.get(column)):
                wrong = wrong or problem.severity == "error"
                yield problem
        answers = [row.get(source.columns[side]) for side in ("chosen", "rejected") if side in source.columns]
        self.text_answers = self.text_answers or any(isinstance(answer, str) for answer in answers)
        if not wrong:
            yield from self._of_answers(where, row)
            yield from self._of_texts(where, row)
        if source.use.reads is not None:
            self.row_count += 1
            for severity, message, advice in unread.told(
                source.columns, source.use.reads, source.use.without_tools, row, thorough=self.row_count <= THOROUGH
            ):
                code = "D030" if severity == "error" else "D031"
                yield RowProblem(code, "", f"{where}: {message}", advice, None, severity)

    def _of_column(self, where: str, name: str, column: str, value: Plain) -> Iterator[RowProblem]:
        if name in OPTIONAL:
            if value is not None and not isinstance(value, str):
                yield RowProblem("D004", name, f"{where}: {column} is {excerpt(value)}", "expected text")
            return
        if self.table and name != "label" and isinstance(value, str) and value.strip() and value in NO_VALUES:
            advice = "CSV is read so; write JSON lines, where it stays text"
            yield RowProblem("D029", name, f"{where}: {column} is {value}, which is read as no value", advice)
            return
        expected = self._expected(name, value)
        if expected is not None:
            yield RowProblem("D004", name, f"{where}: {column} is {excerpt(value)}", f"expected {expected}")
            return
        if self.table and value == "" and name != "label":
            advice = "CSV is read so: drop the row, or write JSON lines"
            yield RowProblem("D004", name, f"{where}: {column} is empty, which is read as no value", advice)
            return
        if self.table and name in READ:
            self.numbers[name] = self.numbers.get(name, True) and _is_number(value)
        if isinstance(value, str) and not value.strip() and self._must_speak(name):
            yield RowProblem("D006", name, f"{where}: {column} is empty", "drop the row", None, "warning")
        yield from self._of_messages(where, name, value)

    def _must_speak(self, name: str) -> bool:
        """Return whether a column is an answer, or a prompt on which all depends."""
        return name != "prompt" or self.source.format == "prompt"

    def _expected(self, name: str, value: Plain) -> str | None:
        """Return what a column should hold where it holds something else."""
        columns = self.source.columns
        if name == "messages":
            return None if isinstance(value, list) and value else "a list of messages"
        if name == "label":
            right = isinstance(value, str) and value.lower() in LABELS if self.table else value in (True, False)
            return None if right else "true or false"
        turns = self.source.format == "unpaired-preference" and self.source.use.unpaired_turns
        if name in ("prompt", "completion") and turns:
            return None if isinstance(value, str) or (isinstance(value, list) and value) else "text, or messages"
        if name in ("chosen", "rejected") and "messages" in columns:
            return None if isinstance(value, str | dict) or (isinstance(value, list) and value) else "text, or messages"
        if name == "prompt" and not set(columns) & {"chosen", "completion"}:
            return None if isinstance(value, str) or (isinstance(value, list) and value) else "text, or messages"
        if name == "answer":
            return None if isinstance(value, str | int | float) else "text or a number"
        return None if isinstance(value, str) else "text"

    def _of_messages(self, where: str, name: str, value: Plain) -> Iterator[RowProblem]:
        """Check the messages of a column: their keys, their roles, what they say and in which order."""
        messages = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        if not messages:
            return
        columns = self.source.columns
        role, content = columns.get("role", "role"), columns.get("content", "content")
        order: list[str] = []
        for message in messages:
            if not isinstance(message, dict):
                expected = f"expected a mapping with {role} and {content}"
                yield RowProblem("D004", name, f"{where}: a message is {excerpt(message)}", expected)
                return
            calls = message.get("tool_calls") or message.get("function_call")
            for word, column in (("role", role), ("content", content)):
                if column not in message and not (word == "content" and calls):
                    advice = f"it has {', '.join(map(str, message))}; map it: columns: {{{word}: …}}"
                    blamed = word if word in columns else name
                    yield RowProblem("D003", blamed, f"{where}: a message has no {column}", advice)
                    return
            who = message[role]
            if not isinstance(who, str) or who not in self.known_roles:
                close = nearest(str(who), ROLES)
                advice = "map it to a role: roles: {user: [human], assistant: [gpt]}"
                yield RowProblem("D005", name, f"{where}: {excerpt(who)} is not a known role", advice, close)
                return
            said, speaker = message.get(content), self.role_of.get(who, who)
            if not isinstance(said, str | list) and not (said is None and calls):
                message_ = f"{where}: what the {who} turn says is {excerpt(said)}"
                yield RowProblem("D004", name, message_, "expected text; drop the turn, or the row")
                return
            if not (said.strip() if isinstance(said, str) else said) and not calls and speaker != "system":
                advice = "drop the turn, or the row"
                yield RowProblem("D006", name, f"{where}: the {who} turn is empty", advice, None, "warning")
            order.append(speaker)
        if name in ("chosen", "rejected", "completion") and order[-1] != "assistant":
            message_ = f"{where}: {columns[name]} is said by the {order[-1]}, not by the assistant"
            yield RowProblem("D020", name, message_, "give its last turn the assistant's role, or map roles")
        if name in ("messages", "prompt"):
            yield from self._of_order(where, name, order)

    def _of_order(self, where: str, name: str, order: list[str]) -> Iterator[RowProblem]:
        spoken = order[1:] if order[0] == "system" else order
        usual = [("user", "assistant")[turn % 2] for turn in range(len(spoken))]
        if chat_ends(self.source, name, order):
            message = f"{where}: the user has the last word, of which nothing is learnt"
            yield RowProblem("D035", name, message, "end each conversation with an answer", None, "warning")
        ends = "user" if "chosen" in self.source.columns else "assistant"  # the messages of a pair are its prompt
        self.odd_turns = self.odd_turns or spoken != usual or (name == "messages" and order[-1] != ends)
        chat, use = self.source.format == "chat" and name == "messages", self.source.use
        if chat and "assistant" not in order:
            message = f"{where}: no assistant turn"
            yield RowProblem("D007", name, message, "it teaches nothing: remove the row", None, "warning")
            return
        if use.without_system and "system" in order:
            message, advice = f"{where}: a system turn", "put what it says into the first user turn"
            yield RowProblem("D008", name, f"{message}, which the template {use.without_system} refuses", advice)
            return
        refused = f", which the template {use.alternating} refuses" if use.alternating else ""
        severity: Literal["error", "warning"] = "error" if refused else "warning"
        talk = order[1:] if order[0] == "system" else order
        if talk and talk[0] == "assistant":
            message = f"{where}: the assistant speaks first{refused}"
            advice = "drop the turn, or put a user turn before it: some templates refuse it, some trainers drop the row"
            yield RowProblem("D008", name, message, advice, None, severity)
            return
        if "system" in order[1:]:
            message = f"{where}: a system turn after the first turn{refused}"
            advice = "most templates take one system turn, at the beginning"
            yield RowProblem("D008", name, message, advice, None, severity)
        pairs = [(one, two) for one, two in pairwise(order) if one == two and one in ("user", "assistant")]
        if pairs:
            message = f"{where}: two {pairs[0][0]} turns in a row{refused}"
            advice = "join them: some templates refuse them, others drop the row"
            yield RowProblem("D008", name, message, advice, None, severity)

    def _of_answers(self, where: str, row: dict[str, Plain]) -> Iterator[RowProblem]:
        """Check answers against their prompt and each other."""
        source = self.source
        columns = source.columns
        if "chosen" in columns:
            yield from self._of_pair(where, row)
            chosen, rejected = (self._said(row[columns[name]]) for name in ("chosen", "rejected"))
            if chosen == rejected:
                message = f"{where}: the chosen and the rejected answer are the same"
                yield RowProblem("D009", "chosen", message, "remove the row: it teaches nothing", None, "warning")
        begin, completion = row.get(columns.get("prompt", "")), row.get(columns.get("completion", ""))
        if isinstance(begin, list) and isinstance(completion, list) and completion[: len(begin)] == begin:
            message = f"{where}: {columns['completion']} begins with the prompt"
            yield RowProblem("D024", "completion", message, "leave only the answer there", None, "warning")
        asked = row.get(columns.get("prompt", columns.get("instruction", "")))
        if not isinstance(asked, str) or len(asked.strip()) < REPEATED:
            return
        for name in ("completion", "output", "chosen"):
            answer = row.get(columns.get(name, ""))
            if isinstance(answer, str) and answer.lstrip().startswith(asked.strip()):
                message = f"{where}: {columns[name]} begins with the prompt"
                advice = "take the prompt out of the answer: the model would learn to repeat it"
                yield RowProblem("D024", name, message, advice, None, "warning")
                return

    def _of_pair(self, where: str, row: dict[str, Plain]) -> Iterator[RowProblem]:
        """Check that prompt and answers can be told apart, and that the trainer does."""
        columns, use = self.source.columns, self.source.use
        if "messages" not in columns:
            return
        roles = {role: list(names) for role, names in self.source.roles.items()}
        try:
            prompt: Plain = _EMITTED.pair_of(row, dict(columns), roles)[0]
            told = row.get(columns["messages"])
            asked: Plain = _EMITTED.standard_turns(told, dict(columns), roles) if isinstance(told, list) else None
            held = asked != prompt
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            advice = f"give what is asked in {columns['messages']}, and one answer each in chosen and rejected"
            yield RowProblem("D032", "messages", f"{where}: {error}", advice)
            return
        if not use.pairs:
            return
        for name in ("chosen", "rejected"):
            value = row[columns[name]]
            begin = value[0] if isinstance(value, list) and isinstance(value[0], dict) else {}
            who = str(begin.get(columns["role"], "assistant"))
            if _shape(value) not in use.pairs or self.role_of.get(who, who) != "assistant":
                message = f"{where}: {columns[name]} is {excerpt(value)}, which the trainer does not read as an answer"
                turn = f"{{{columns['role']}: assistant, {columns['content']}: …}}"
                advice = (
                    f"write {turn if 'message' in use.pairs else f'[{turn}]'}, and the prompt in {columns['messages']}"
                )
                yield RowProblem("D016", name, message, advice)
                return
        if held:
            message = (
                f"{where}: {columns['messages']} holds an answer too, and the trainer takes all of it for the prompt"
            )
            yield RowProblem("D016", "messages", message, f"leave only the prompt in {columns['messages']}")

    def _said(self, answer: Plain) -> Plain:
        """Return what an answer says: of messages what the last one does, with what it calls."""
        last = answer[-1] if isinstance(answer, list) and answer else answer
        if isinstance(last, dict):
            said = last.get(self.source.columns.get("content", "content"))
            calls: Plain = {key: value for key, value in last.items() if "call" in str(key) and value}
            return [self._said(said), calls] if calls else self._said(said)
        return last.strip() if isinstance(last, str) else last

    def _of_texts(self, where: str, row: dict[str, Plain]) -> Iterator[RowProblem]:
        """Check the texts of a row as a whole: tokens of a template in them, and more words than a row may have tokens."""
        use = self.source.use
        texts = {
            name: list(self._texts(row.get(column))) for name, column in self.source.columns.items() if name in READ
        }
        garbled = next((found for some in texts.values() for text in some if (found := _garbled(text))), None)
        if garbled is not None:
            message = f"{where}: {garbled} is UTF-8 that was read in another encoding"
            yield RowProblem(
                "D034", "", message, "read the source again as UTF-8, and write the rows anew", None, "warning"
            )
        if use.templated:
            for name, text in ((name, text) for name, found in texts.items() for text in found):
                if any(sign in text for sign in _SIGNS) and (token := _TEMPLATE_TOKENS.search(text)):
                    message = (
                        f"{where}: {self.source.columns[name]} holds {token[0].strip()}, which chat templates write"
                    )
                    advice = "take the template's tokens out of the data: they are written again around each turn"
                    yield RowProblem("D023", name, message, advice, None, "warning")
                    break
        limit = use.max_length
        if limit and sum(len(text) for found in texts.values() for text in found) > 2 * limit:
            words = [sum(len(text.split()) for text in found) for found in texts.values()]
            # an answer of a pair may repeat the prompt
            least = max(words) if "chosen" in texts else sum(words)
            if least > limit:
                message = f"{where} has {least:,} words, each at least one token, and model.max_length is {limit:,}"
                advice = "raise model.max_length, or split the rows: those that are too long are dropped or cut"
                yield RowProblem("D026", "", message, advice, None, "warning")

    def answer(self, row: Plain) -> str | None:
        """Return the answer that a row teaches, where it is one text: of a conversation the last that the assistant gives."""
        if not isinstance(row, dict):
            return None
        columns, form = self.source.columns, self.source.format
        word = {"instruction": "output", "completion": "completion", "chat": "messages"}.get(form, "chosen")
        value = row.get(columns[word]) if word in columns else None
        if form == "chat" and isinstance(value, list):
            role = columns.get("role", "role")
            turns = [
                one
                for one in value
                if isinstance(one, dict) and self.role_of.get(str(one.get(role)), one.get(role)) == "assistant"
            ]
            value = turns[-1].get(columns.get("content", "content")) if turns else None
        return value.strip() or None if isinstance(value, str) else None

    def _texts(self, value: Plain) -> Iterator[str]:
        """Yield the texts of a column: its own, or what its messages say."""
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, dict)):
            content = self.source.columns.get("content", "content")
            for message in value if isinstance(value, list) else [value]:
                said = message.get(content) if isinstance(message, dict) else None
                if isinstance(said, str):
                    yield said
                elif isinstance(said, list):
                    parts = (part.get("text") for part in said if isinstance(part, dict))
                    yield from (part for part in parts if isinstance(part, str))


def chat_ends(source: RowSource, name: str, order: list[str]) -> bool:
    """Return whether a conversation that is trained on ends with a user's turn."""
    return source.format == "chat" and name == "messages" and "assistant" in order and order[-1] == "user"


def _garbled(text: str) -> str | None:
    """Return a word of a text whose bytes in UTF-8 were taken for another encoding; None where there is none."""
    if text.isascii():
        return None
    for found in _MISREAD.finditer(text):
        for encoding in ("cp1252", "latin-1"):
            try:
                found[0].encode(encoding).decode("utf-8")
            except UnicodeError:
                continue
            return text[max(0, found.start() - 4) : found.end() + 4].strip()
    return None


def _shape(answer: Plain) -> str:
    return "text" if isinstance(answer, str) else "message" if isinstance(answer, dict) else "messages"


def _is_number(value: Plain) -> bool:
    """Return whether pandas reads a field as a number or a truth value, where all of its column are such."""
    if not isinstance(value, str) or len(value) > 40:
        return False
    if value in ("True", "False", "true", "false", "TRUE", "FALSE"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value


def _missing_column(where: str, name: str, column: str, row: Mapping[str, Plain]) -> RowProblem:
    there = [str(key) for key in row]
    shape = next((said for names, said in SHAPES if set(names) <= set(there)), None)
    close = nearest(column, there)
    advice = f"it has {', '.join(there)}; map one of them: columns: {{{name}: …}}"
    if shape is not None and close is None:
        advice = f"it has {', '.join(there)}; such rows are {shape}"
    return RowProblem("D003", name, f"{where} has no column {column}", advice, close)


def excerpt(value: Plain) -> str:
    """Return the beginning of a value, as JSON has it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:39] + "…"
