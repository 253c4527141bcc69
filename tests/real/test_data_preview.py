"""`recipe data` by the trainers' own code on a tiny model: masks, dropped rows, and the snapshot's whole way."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from before_training import batches, made

from recipec.output import write
from recipec.pipeline import compile_file

pytestmark = pytest.mark.xdist_group("data preview")  # its runs are made once, by one worker

TURNS = [{"role": "user", "content": "Where is the tea?"}, {"role": "assistant", "content": "In aisle 7."}]
MAKE = """recipe: 1
name: made
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 64}
data: {train: [{path: rows.jsonl, format: chat}]}
train: {learning_rate: 1e-3}
hardware: {gpu: none}
"""
RECIPE = """recipe: 1
name: shown
trainer: %s
model: {base: runs/made/init, max_length: 64, chat_template: chatml}
data:
  train: [{path: rows.jsonl, format: chat}]
  packing: true
train: {epochs: 1, batch_size: 2, micro_batch_size: 2, learning_rate: 1e-5}
hardware: {gpu: none}
"""


@pytest.fixture(scope="module")
def place(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four rows, one of them too long and with a space behind its answer, and a tokenizer that knows them."""
    folder = tmp_path_factory.mktemp("preview")
    rows = [[*TURNS], [*TURNS, *TURNS], [TURNS[0], {"role": "assistant", "content": "aisle " * 80}], [*TURNS]]
    lines = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    made(folder, MAKE, tool_python("trl-1.16.0"))
    return folder


def data(place: Path, *more: str, file: str = "shown.yaml") -> tuple[int, dict[str, Any]]:
    """Run `recipe data --json` in a folder; return the exit code and what it said."""
    command = [sys.executable, "-m", "recipec.cli", "data", file, "--json", *more]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.real
@pytest.mark.parametrize("trainer", ["axolotl", "trl"])
def test_what_is_trained(trainer: str, tool_python: Callable[[str], Path], place: Path) -> None:
    release = {"axolotl": "0.19.0", "trl": "1.16.0"}[trainer]  # the newest of Axolotl needs Python 3.12
    tool_python(f"{trainer}-{release}")
    (place / "shown.yaml").write_text(RECIPE % trainer + f"versions: {{{trainer}: {release}}}\n", encoding="utf-8")
    before = sorted(place.rglob("*"))
    code, said = data(place, "--rows", "3")
    assert sorted(place.rglob("*")) == before  # nothing is left anywhere, and nothing is prepared for the run
    assert (code, said["findings"]) == (0, [])
    [stage] = said["stages"]
    [source] = stage["sources"]
    assert stage["notes"] == []
    trained = [[text for text, is_trained, *_ in row["pieces"] if is_trained] for row in source["rows"][:2]]
    assert trained == [["In aisle 7.", "<|im_end|>"], ["In aisle 7.", "<|im_end|>"] * 2]
    asked = "".join(text for text, is_trained, *_ in source["rows"][0]["pieces"] if not is_trained)
    assert asked == "<|im_start|>user\nWhere is the tea?<|im_end|>\n<|im_start|>assistant\n\n"
    assert [len(row["ids"]) for row in source["rows"]] == source["lengths"][:3]
    assert (source["dropped"], source["cut"], len(source["lengths"])) == (1, 0, 4)
    kept = [length for length in source["lengths"] if length <= 64]
    packing = stage["packing"]
    assert packing["tokens"] == sum(kept)
    assert packing["room"] == packing["sequences"] * 64
    assert packing["sequences"] < len(kept)


def shown(source: dict[str, Any]) -> list[list[list[int]]]:
    """Return the rows of a preview as batches have them, in an order of their own."""
    rows = source["rows"]
    labels = [[i if mask else -100 for i, mask in zip(row["ids"], row["mask"], strict=True)] for row in rows]
    return sorted([row["ids"], said] for row, said in zip(rows, labels, strict=True))


ODD = [TURNS[0], TURNS[0], TURNS[1]]
PLAIN = """recipe: 1
name: plain
trainer: llamafactory
model: {base: runs/made/init, max_length: 64}
data: {train: [{path: plain.jsonl, format: completion}]}
train: {epochs: 1, micro_batch_size: 2, learning_rate: 1e-5}
hardware: {gpu: none}
"""


@pytest.mark.real
def test_llamafactory_trains_on_what_is_shown(tool_python: Callable[[str], Path], place: Path) -> None:
    """Cut rows, the line break that is trained, rows that are left out, packing, and an answer without an end."""
    python = tool_python("llamafactory-0.9.5")
    rows = (place / "rows.jsonl").read_text(encoding="utf-8") + json.dumps({"messages": ODD}) + "\n"
    (place / "odd.jsonl").write_text(rows, encoding="utf-8")
    (place / "plain.jsonl").write_text('{"prompt": "Tea?", "completion": "Aisle 7."}\n', encoding="utf-8")
    recipe = (RECIPE % "llamafactory").replace("rows.jsonl", "odd.jsonl").replace("true", "true\n  shuffle: false")
    (place / "odd.yaml").write_text(recipe.replace("shown", "odd"), encoding="utf-8")
    (place / "plain.yaml").write_text(PLAIN, encoding="utf-8")
    with ThreadPoolExecutor(3) as pool:
        preview = pool.submit(data, place, "--rows", "9", file="odd.yaml")
        plain = pool.submit(data, place, file="plain.yaml")
        arguments = ("train", "{stage}/llamafactory.yaml")
        real = batches(python, place, "odd.yaml", "first_epoch.py", "llamafactory.cli", *arguments)
    code, said = preview.result()
    [stage] = said["stages"]
    [source] = stage["sources"]
    assert code == 0
    assert shown(source) == sorted(real["rows"])
    assert stage["packing"]["sequences"] == real["sequences"] < 4
    assert stage["packing"]["tokens"] == sum(len(ids) for ids, _labels in real["rows"])
    assert stage["packing"]["room"] == real["sequences"] * 64
    assert [[text for text, trained, *_ in row["pieces"] if trained] for row in source["rows"][:1]] == [
        ["In aisle 7.", "<|im_end|>", "\n"]
    ]
    assert (source["read"], len(source["lengths"]), source["cut"], source["dropped"]) == (5, 4, 1, 0)
    assert stage["notes"] == ["odd.jsonl: LLaMA-Factory skips 1 of 5 rows, because it rejects their turns"]
    cut = source["rows"][2]
    assert (len(cut["ids"]), cut["cut_from"], cut["mask"][-1]) == (63, source["lengths"][2], 1)
    code, said = plain.result()
    [source] = said["stages"][0]["sources"]
    assert source["rows"][0]["pieces"][-1][:2] == ["Aisle 7.", True]
    assert "no token ends the answer" in next(f["message"] for f in said["findings"] if f["code"] == "D090")


@pytest.mark.real
def test_unsloth_trains_on_what_is_shown(tool_python: Callable[[str], Path], place: Path) -> None:
    """The preview is of a training on a GPU, packed; the batches are those of the same rows on a CPU."""
    python = tool_python("unsloth-2026.10.9")
    on_gpu = (RECIPE % "unsloth").replace("gpu: none", "gpu: rtx-4090")
    on_cpu = (RECIPE % "unsloth").replace("packing: true", "shuffle: false").replace("shown", "batched")
    (place / "packed.yaml").write_text(on_gpu, encoding="utf-8")
    (place / "batched.yaml").write_text(on_cpu, encoding="utf-8")
    before = set(place.rglob("*"))
    with ThreadPoolExecutor(1) as pool:
        preview = pool.submit(data, place, "--rows", "9", file="packed.yaml")
        real = batches(python, place, "batched.yaml", "first_epoch.py", "{stage}/train.py")
    code, said = preview.result()
    [stage] = said["stages"]
    [source] = stage["sources"]
    assert (code, said["findings"], stage["notes"]) == (0, [], [])
    fresh = set(place.rglob("*")) - before
    assert {path for path in fresh if "batched" not in path.parts} <= {place / "real"}  # nothing is left by the preview
    kept = {"rows": [row for row in source["rows"] if len(row["ids"]) <= 64]}
    assert shown(kept) == sorted(real["rows"])
    assert (source["dropped"], source["cut"], len(source["lengths"])) == (1, 0, 4)
    assert stage["packing"]["tokens"] == sum(len(ids) for ids, _labels in real["rows"])
    assert stage["packing"]["room"] == stage["packing"]["sequences"] * 64
    assert stage["packing"]["sequences"] < len(real["rows"])


@pytest.mark.real
def test_the_snapshot(tool_python: Callable[[str], Path], place: Path) -> None:
    tool_python("trl-1.16.0")
    (place / "shown.yaml").write_text(RECIPE % "trl", encoding="utf-8")
    code, said = data(place, "--snapshot", "--rows", "2")
    kept = place / "shown.tokens.json"
    assert (code, said["snapshot"]) == (0, "shown.tokens.json")
    assert str(place) not in kept.read_text(encoding="utf-8")
    code, said = data(place, "--rows", "1")
    assert (code, said["findings"], said["differences"]) == (0, [], [])

    rows = place / "rows.jsonl"
    before = rows.read_text(encoding="utf-8")
    rows.write_text(before.replace("aisle 7", "aisle 8", 1), encoding="utf-8")
    code, said = data(place, "--set", "model.chat_template=alpaca")
    rows.write_text(before, encoding="utf-8")
    kept.unlink()
    assert code == 1
    assert [finding["code"] for finding in said["findings"]] == ["D093", "D093", "D097"]
    first, second = said["differences"][0].split("--- rows.jsonl, row 2 (snapshot)")
    assert "-  ⟦In aisle 7.<|im_end|>⟧⏎" in first
    assert "+  ⟦In aisle 8.<|im_end|>⟧" in first
    assert "aisle 8" not in second
    assert "### Instruction:⏎" in second


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.real
def test_the_page(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    """The commands of docs/data.md do what it says, where the quickstart's tokenizer has been made."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    compiled = compile_file(str(tmp_path / "recipes" / "quickstart.yaml"))
    write(tmp_path / "build", compiled.files)
    init = tmp_path / "build" / "init"
    python = str(tool_python("axolotl-0.19.0"))
    subprocess.run([python, init / "init_model.py", init / "init.json"], cwd=tmp_path, check=True, capture_output=True)
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert COMMANDS[0] == COMMANDS[3]
    assert COMMANDS[1].endswith("--json")
    for command in COMMANDS[2:]:  # the first stands there again, and JSON is what the other tests read
        line = [sys.executable, "-m", "recipec.cli", *command.split()[1:]]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert (shown in done.stdout) is (command.split()[1] == "data")
    assert (tmp_path / "recipes" / "quickstart.tokens.json").exists()
