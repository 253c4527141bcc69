"""lm-evaluation-harness 0.4.13 on a model that a server answers for: its run configuration, beside that server.

Where the server tells how likely the tokens of a prompt are, lm-eval renders prompts by the model's own template and sends their tokens;
else it sends turns, which the server renders, or text.
"""

from __future__ import annotations

import json
from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.evaluate import Evaluate
from recipec.systems import lm_eval, serving
from recipec.systems.document import Sheet
from recipec.systems.lm_eval import ALIKE, CODE, FILE, ITSELF, PACKAGE, RUN, TRACKED, WRITER
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, constant, flag, made, number, same, within

NAME, ENVIRONMENT = "lm_eval_served", "lm-eval-0.4.13"
DRAWS_IF_TOLD = "transformers_serve"
AT_ONCE = 32  # requests, where the server has no number of its own
KEY = "OPENAI_API_KEY"  # where lm-eval looks for the key that requests send


def _tells(likelihoods: bool, chat: bool) -> bool:
    """Return whether requests are tokens, or text as it is."""
    return likelihoods or not chat


def _model(likelihoods: bool, chat: bool) -> str:
    return "local-completions" if _tells(likelihoods, chat) else "local-chat-completions"


def _url(port: int, likelihoods: bool, chat: bool) -> str:
    return f"http://127.0.0.1:{port}/v1/{'completions' if _tells(likelihoods, chat) else 'chat/completions'}"


def _many(batch_size: Any, max_requests: int | None, likelihoods: bool) -> int:
    if batch_size != "auto":
        return int(batch_size)
    return (max_requests or AT_ONCE) if likelihoods else 1


def _weights(*paths: str | None) -> list[str]:
    """Return where the weights are that the server has: with others, programs are written anew."""
    return [path for path in paths if path]


def _drawn(tool: str, temperature: float) -> Any:
    """Return what else a request says where answers are drawn: Transformers' server draws none by a temperature alone."""
    return {"generation_config": json.dumps({"do_sample": True})} if temperature and tool == DRAWS_IF_TOLD else OMIT


HOW = ("server.likelihoods", "model.chat_template")
MODEL_ARGS: tuple[Row, ...] = (
    same("model", "server.model"),
    made("base_url", _url, "server.port", *HOW),
    made("num_concurrent", _many, "batch_size", "server.max_requests", "server.likelihoods"),
    same("max_length", "server.max_length"),
    made("tokenizer_backend", lambda tells, chat: "huggingface" if _tells(tells, chat) else OMIT, *HOW),
    made("tokenizer", lambda name, tells, chat: name if _tells(tells, chat) else OMIT, "server.tokenizer", *HOW),
    made("tokenized_requests", lambda tells, chat: tells if _tells(tells, chat) else OMIT, *HOW),
    # what the tokenizer sets before a text; a template has it written out
    made("add_bos_token", lambda tells, chat: not chat if tells else OMIT, *HOW),
    flag("trust_remote_code", "trust_remote_code"),
    constant("timeout", 3600),
)
ROWS: tuple[Row, ...] = (
    made("model", _model, *HOW),
    *within("model_args", *MODEL_ARGS),
    same("tasks", "tasks"),
    same("include_path", "task_folder"),
    number("num_fewshot", "few_shot"),
    number("limit", "limit"),
    same("apply_chat_template", "model.chat_template"),
    same("log_samples", "log_samples"),
    ITSELF,
    made("seed", lambda seed: [seed] * 4, "seed"),
    same("output_path", "output"),
    *TRACKED,
)
SERVER: tuple[Row, ...] = (*serving.OWN_PORT, constant("key_as", KEY))


# programs are written beside the server, and run when it is gone
WRITES: tuple[Row, ...] = (
    constant("command", lm_eval.placed(serving.beside_words("python", Beside(WRITER), Beside(CODE), *RUN))),
    made("weights", _weights, "model.path", "model.adapter"),
    same("seed", "seed", "requests differ by theirs"),
    made("request", _drawn, "server.tool", "code.temperature"),
)


def _sheets(s: Evaluate, environment: str) -> list[Sheet]:
    release = pinned(environment, PACKAGE)
    own = Sheet(FILE, ROWS, lm_eval.TOOL, release, "config", alike=ALIKE)
    code = [lm_eval.of_code(environment, *WRITES)] if s.code is not None else []
    return [own, *code, serving.beside(PACKAGE, release, SERVER)]


def _job(s: Evaluate) -> Job:
    assert s.server is not None
    ports = serving.ports(s.server.port)
    if s.code is not None:
        return lm_eval.coding(1, lm_eval.allowed(s)).replaced(ports=ports)
    return Job(serving.beside_words("lm-eval", *RUN), ports=ports, variables=lm_eval.allowed(s))


SYSTEM = System(
    NAME,
    kinds=frozenset(["evaluate"]),
    sheets=_sheets,
    needs=lambda _s: Need(packages=frozenset([PACKAGE, "tenacity"]), otherwise=ENVIRONMENT),
    job=_job,
    files=lambda s: {**serving.beside_files(), **lm_eval.files(s)},
    uses=lm_eval.uses,
    package=PACKAGE,
    asks_machine=True,
    asks_server=True,
)
