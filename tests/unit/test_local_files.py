"""Files that a recipe names are looked for at every place where it names them, and never stop a compile by not being here."""

import os
from pathlib import Path

import pytest

from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

HEAD = "recipe: 1\nname: files\nhardware: {gpu: a100-80gb}\n"
CHAT = "data: {train: [{path: data/chat.jsonl, format: chat}]}\n"
TRAIN = "train: {learning_rate: 1e-4}\nadapter: {rank: 8}\n"
MODEL = "model: {base: Qwen/Qwen2.5-0.5B-Instruct}\n"
GRPO = """trainer: trl
adapter: {rank: 8}
data: {train: [{path: data/prompts.jsonl, format: prompt}]}
train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
"""
ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


@pytest.fixture(autouse=True)
def _beside_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with some of what recipes name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "chat.jsonl").write_text("".join(ROW.replace("{", f'{{"id": {n}, ', 1) for n in range(40)))
    (tmp_path / "data" / "prompts.jsonl").write_text('{"prompt": [{"role": "user", "content": "a"}]}\n' * 40)


def compiled(text: str) -> Compiled:
    return compile_tree(read_text(Source("files.yaml", HEAD + text)))


def found(text: str) -> list[tuple[str, str, str]]:
    """Return code, severity and the marked text of what is told of files."""
    told = [one for one in compiled(text).told if one.code in ("D015", "D060", "D062", "D063")]
    return [(one.code, one.severity, marked) for one in told if one.span and (marked := text_at(one.span))]


def text_at(span: object) -> str:
    begin, end = span.offsets()  # type: ignore[attr-defined]
    return str(span.source.text[begin:end])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (MODEL.replace("}", ", chat_template_file: data/none.jinja}") + TRAIN + CHAT, "data/none.jinja"),
        (MODEL + TRAIN + CHAT.replace("]}", ", {path: data/none.jsonl, format: chat}]}"), "data/none.jsonl"),
        (MODEL + TRAIN + CHAT[:-2] + ", validation: [{path: held/none.jsonl, format: chat}]}\n", "held/none.jsonl"),
        ("model: {base: ./models/llama}\n" + TRAIN + CHAT, "./models/llama"),
        ("model: {base: /nowhere/llama}\n" + TRAIN + CHAT, "/nowhere/llama"),
        (MODEL.replace("}", ", tokenizer: ./none/tokenizer}") + TRAIN + CHAT, "./none/tokenizer"),
        (MODEL + TRAIN.replace("8}", "8, start_from: ./out/last}") + CHAT, "./out/last"),
        (MODEL + TRAIN.replace("8}", "8, start_from: out/a/checkpoint-9}") + CHAT, "out/a/checkpoint-9"),
        (MODEL + GRPO + "rewards: [{type: python, path: data/none.py, function: brief}]\n", "data/none.py"),
        (MODEL + "evaluate: {tasks: [gsm8k], task_folder: data/mytasks}\n", "data/mytasks"),
        (
            "trainer: script\nscript: {path: data/none.py, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.total}'}}\ntrain: {batch_size: 8}\n",
            "data/none.py",
        ),
    ],
)
def test_what_is_missing_beside_what_is_here_is_a_warning_at_its_place(text: str, path: str) -> None:
    assert found(text) == [("D015", "warning", path)]
    assert compiled(text).files  # it compiles anywhere


def test_every_stage_of_a_course_is_looked_at() -> None:
    second = (
        "{name: two, start_from: one, parent_adapter: continue, data: {train: [{path: data/none.jsonl, format: chat}]}}"
    )
    text = MODEL + TRAIN + f"stages:\n  - {{name: one, {CHAT.strip()}}}\n  - {second}\n"
    assert found(text) == [("D015", "warning", "data/none.jsonl")]


@pytest.mark.parametrize("start", ["runs/files/train", "runs/files/train/checkpoint-5"])
def test_what_a_stage_leaves_counts_as_there(start: str) -> None:
    text = MODEL + TRAIN.replace("8}", f"8, start_from: {start}}}") + CHAT
    assert found(text) == []


def test_where_nothing_is_here_one_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    text = "model: {base: ./models/llama, chat_template_file: t.jinja}\n" + TRAIN + CHAT
    assert found(text) == [("D060", "note", "./models/llama")]
    assert "nor are 2 other paths" in compiled(text).notes[0].message
    (tmp_path / "empty" / "t.jinja").write_text("{{ messages }}")  # travels with the recipe: it says nothing of data
    assert [row[0] for row in found(text)] == ["D060"]


def test_hub_names_are_not_looked_for() -> None:
    assert found("model: {base: models/llama}\n" + TRAIN + CHAT) == []


def test_a_file_of_nearly_the_same_name_is_suggested() -> None:
    (told,) = compiled(MODEL + TRAIN + CHAT.replace("chat.jsonl", "chats.jsonl")).findings
    assert (told.code, told.suggestion) == ("D015", "data/chat.jsonl")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_told_and_not_opened(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "data" / "odd.jsonl"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    odd = CHAT.replace("chat.jsonl", "odd.jsonl")
    assert found(MODEL + TRAIN + odd) == [("D063", "error", "data/odd.jsonl")]


def test_folders_that_hold_something_else_are_told(tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-10").mkdir()
    for step in ("9", "10"):
        (tmp_path / "out" / f"checkpoint-{step}" / "adapter_config.json").write_text("{}")
    text = MODEL + TRAIN.replace("8}", "8, start_from: ./out}") + CHAT
    (told,) = [one for one in compiled(text).findings if one.code == "D063"]
    assert (told.severity, told.suggestion) == ("error", "./out/checkpoint-10")
    assert found(text.replace("./out", "./out/checkpoint-9")) == []
    assert found("model: {base: ./data}\n" + TRAIN + CHAT) == [("D063", "error", "./data")]
    assert found("model: {base: ./data/chat.jsonl}\n" + TRAIN + CHAT) == [("D063", "error", "./data/chat.jsonl")]
    assert found(MODEL + "evaluate: {tasks: [gsm8k], task_folder: data}\n") == [("D062", "warning", "data")]
    (tmp_path / "data" / "mine.yaml").write_text("task: mine\n")
    assert found(MODEL + "evaluate: {tasks: [gsm8k], task_folder: data}\n") == []
