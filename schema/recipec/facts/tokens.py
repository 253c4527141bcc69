"""What chat templates write as single tokens, and which of them a tokenizer has: rows of `tokens.yaml`, or a folder's files."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from recipec.facts import FOLDER
from recipec.facts.models import LARGEST, known_model, read_json
from recipec.source import Plain, Source, plain
from recipec.yaml_reader import read_text

EOS = "eos"  # stands for whatever the tokenizer's EOS token is
QUANTISED = ("-bnb-4bit", "-unsloth", "-gptq", "-awq")  # ends of the names of copies


class Template(NamedTuple):
    """What a chat template writes around an answer. `end` is None where it ends one with the tokenizer's EOS token.

    `tokens` are the other markers that must be single tokens. `system`: what becomes of a system turn, None where it is
    rendered; `opens` is what the template writes at the start of an answer, before what the answer says; `unlike` are the `ids`
    of tokenizers that another version of the template was made for.
    """

    name: str
    end: str | None
    tokens: tuple[str, ...]
    system: str | None = None
    opens: str | None = None
    unlike: tuple[str, ...] = ()

    @property
    def markers(self) -> tuple[str, ...]:
        """Everything that must be a single token."""
        return (*self.tokens, *([self.end] if self.end is not None else []))


class Tokenizer(NamedTuple):
    """What is known of a tokenizer. None: not known, and nothing may be concluded.

    `template` names the chat template that it carries: `none` (it has none), `own` (some). `tokens` are its special
    tokens, empty where they are not known. `instruct`: its model has learnt to talk through that template. `ids` names the
    numbering of its tokens: texts have the same numbers by two tokenizers of the same `ids`.
    """

    name: str
    template: str | None
    tokens: tuple[str, ...]
    eos: str | None
    instruct: bool
    ids: str | None = None


@cache
def _tables() -> Mapping[str, Any]:
    found: dict[str, Any] = plain(
        read_text(Source("tokens.yaml", (FOLDER / "tokens.yaml").read_text(encoding="utf-8")))
    )  # type: ignore[assignment]  # a test types each row
    return found


@lru_cache(maxsize=64)
def template(name: str) -> Template | None:
    """Return what is known of a template, by Axolotl's name for it or the name of a known model's own."""
    row = _tables()["templates"].get(name)
    if row is None:
        return None
    return Template(
        name,
        None if row["end"] == EOS else row["end"],
        tuple(row.get("tokens", ())),
        row.get("system"),
        row.get("opens"),
        tuple(row.get("unlike", ())),
    )


def ends() -> tuple[str, ...]:
    """Return every token that is known to end an answer."""
    return tuple(dict.fromkeys(row["end"] for row in _tables()["templates"].values() if row["end"] != EOS))


def known_tokenizer(path: str, *, folders: bool = True) -> Tokenizer | None:
    """Return what is known of the tokenizer of a hub id or a local folder; None where nothing is.

    Without `folders`, the answer is the same on every machine.
    """
    found = _of_name(path)
    if found is None and folders:
        found = _of_folder(path)
    if found is None:
        model = known_model(path, folders=folders)
        if model is not None and model.template is not None:
            found = Tokenizer(path, model.template, model.tokens, None, model.template not in ("none", "own"))
    return found


@lru_cache(maxsize=256)
def _of_name(path: str) -> Tokenizer | None:
    organisation, slash, name = path.lower().rpartition("/")
    copied = organisation in _tables()["copies"]
    if copied:
        for end in QUANTISED:
            name = name.removesuffix(end)
    for row in _tables()["tokenizers"]:
        for pattern in row["names"].split(", "):
            owner, _, wanted = pattern.rpartition("/")
            if (copied or owner == organisation) and fnmatchcase(name, wanted) and (slash or not owner):
                return _made(path, row)
    return None


def _made(path: str, row: Mapping[str, Any]) -> Tokenizer:
    words = _tables()["vocabularies"][row["vocabulary"]]
    instruct = row.get("instruct", False)
    eos = words.get("answer", words["eos"]) if instruct else words["eos"]
    return Tokenizer(path, row.get("template", "none"), tuple(words["tokens"]), eos, instruct, row.get("ids"))


def _of_folder(path: str) -> Tokenizer | None:
    """Return what the files of a folder say; None where no tokenizer is in it."""
    folder = Path(path)
    config = read_json(folder / "tokenizer_config.json")
    if config is None:
        return None
    has = bool(config.get("chat_template")) or any(folder.glob("*chat_template*"))
    tokens = _added(config.get("added_tokens_decoder"))
    if not tokens:
        whole = read_json(folder / "tokenizer.json") or {}
        tokens = _added(whole.get("added_tokens"))
    return Tokenizer(path, "own" if has else "none", tokens, _content(config.get("eos_token")), instruct=False)


def read_template(file: Path) -> str | None:
    """Return the text of a template; None where there is none that can be read: the compiler says so elsewhere."""
    try:
        return file.read_text(encoding="utf-8") if file.is_file() and file.stat().st_size <= LARGEST else None
    except (OSError, ValueError):
        return None


def _added(entries: Plain) -> tuple[str, ...]:
    rows = entries.values() if isinstance(entries, dict) else entries if isinstance(entries, list) else ()
    return tuple(text for text in map(_content, rows) if text is not None)


def _content(token: Plain) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
