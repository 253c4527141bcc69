"""What stands in for judges and their questions: a server of this process that gives every answer the same verdict, and questions made here."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from recipec.course import Part
from recipec.plan import Stage
from recipec.rehearsal.laid import Laid, Not
from recipec.source import Path as Steps
from recipec.source import find, plain

HOST = "127.0.0.1"
NUMBER = 4  # questions that are made
# Every form in which a verdict is read: a score, LogicKor's, and a tie of two answers.
VERDICT = "This is a rehearsal. [[5]] [[C]]\n점수: 5"
TEMPLATES = """PROMPT_STRATEGY = {"default": [], "1-shot": [], "cot-1-shot": []}
JUDGE_TEMPLATE = {"single_turn": "Judge the answer.", "multi_turn": "Judge the second answer."}
"""
EVALUATOR = """from templates import JUDGE_TEMPLATE


def create_answers(client, model_output, judge_model, is_multi_turn=False, i=0):
    system = JUDGE_TEMPLATE["multi_turn" if is_multi_turn else "single_turn"]
    said = "\\n".join(str(turn) for turn in (*model_output["questions"], *model_output["outputs"]))
    messages = [{"role": "system", "content": system}, {"role": "user", "content": said}]
    return client.chat.completions.create(model=judge_model, messages=messages)
"""


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def url(port: int) -> str:
    """Return the address of the server that stands in."""
    return f"http://{HOST}:{port}/v1"


class _Answers(BaseHTTPRequestHandler):
    """Answers as OpenAI's API does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *_arguments: Any) -> None:
        """Say nothing of each request."""

    def do_POST(self) -> None:
        """Give the verdict."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": VERDICT}
        used = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        found = {"id": "rehearsal", "object": "chat.completion", "created": 0, "model": asked["model"]}
        data = json.dumps({**found, "choices": choices, "usage": used}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(port: int | None) -> Generator[None]:
    """Answer at a port for as long as this lasts; without one do nothing. Raises OSError where it is taken."""
    if port is None:
        yield
        return
    server = ThreadingHTTPServer((HOST, port), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def questions(benchmark: str) -> dict[str, str]:
    """Return what stands in for questions that are not here: the text of a file, or of each of a checkout of LogicKor, by its name."""
    turns = [[f"Where is the tea, on day {number}?", "And the milk?"] for number in range(NUMBER)]
    if benchmark != "logickor":
        rows = [{"question_id": n, "category": "made here", "turns": each, "rubric": "It is short."} for n, each in enumerate(turns)]  # fmt: skip
        return {"": _lines(rows)}
    rows = [{"id": n, "category": "made here", "questions": each, "references": [None, None]} for n, each in enumerate(turns)]  # fmt: skip
    return {"questions.jsonl": _lines(rows), "templates.py": TEMPLATES, "evaluator.py": EVALUATOR}


def answers() -> str:
    """Return what stands in for answers to those questions that are not here, in FastChat's format."""
    turns = ["In aisle two.", "In aisle three."]
    return _lines([{"question_id": n, "choices": [{"index": 0, "turns": turns}]} for n in range(NUMBER)])


def lay(laid: Laid, stage: Stage[Any], part: Part, few: int, tokens: int) -> None:
    """Let a few questions be asked, and a server of this process judge what is answered."""
    place = laid.place(part, "evaluate", "judge")
    node = find(laid.tree, place)
    given = plain(node) if node is not None else None
    if stage.kind == "judge":
        laid.cannot.append(Not(f"{stage.name}: the judges", "no judge is asked: each answer is given the same verdict"))
    if laid.judge is None:
        laid.judge = free_port()
    for index, one in enumerate(given if isinstance(given, list) else ()):
        if not isinstance(one, dict):
            continue
        at = (*place, index)
        laid.at((*at, "limit"), few, "a few questions")
        laid.at((*at, "max_tokens"), tokens, "short answers")
        _questions(laid, at, one, str(laid.run / "questions" / f"{part.name or 'all'}-{index}"))
        by = one.get("by")
        for number, who in enumerate(by if isinstance(by, list) else ()):
            laid.at((*at, "by", number, "url"), url(laid.judge), "no judge is asked, and nothing is sent")
            if isinstance(who, dict) and "key_variable" in who:
                laid.at((*at, "by", number, "key_variable"), None, "what stands in for the judge asks for no key")


def _questions(laid: Laid, at: Steps, one: dict[str, Any], made: str) -> None:
    """Make the questions of a benchmark that are not here, and what goes with them."""
    said = str(one.get("questions"))
    if Path(said).exists():
        return
    why = f"{NUMBER} questions made here, for {said} is not here"
    name = made if one.get("benchmark") == "logickor" else f"{made}.jsonl"
    for inner, text in questions(str(one.get("benchmark"))).items():
        laid.files[f"{name}/{inner}" if inner else name] = text
    laid.at((*at, "questions"), name, why)
    for word in ("references", "against_answers"):
        if one.get(word) is not None:
            laid.files[f"{made}-{word}.jsonl"] = answers()
            laid.at((*at, word), f"{made}-{word}.jsonl", why)
