"""Jobs as scripts: words of bash, and several nodes that wait for one another. Tools are stand-ins that write down who ran."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_build import LIMIT, wait_for

from recipec.diagnostics import RecipeError
from recipec.engine import runner
from recipec.engine.build import Build, load, preflight
from recipec.engine.runner import run
from recipec.engine.standing import Standing
from recipec.job import ADDRESS, PORT, RANK, Beside
from recipec.launch import nodes as launch_nodes
from recipec.launch import words
from recipec.output import write
from recipec.pipeline import Compiled, compile_file

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": "environments"}
COURSE = """\
recipe: 1
name: c
model: {base: a/b}
hardware: {gpu: a100-80gb, nodes: 2}
stages:
  - name: sft
    data: {train: [{path: a.jsonl, format: chat}]}
    train: {learning_rate: 1e-4, batch_size: 4}
    model: {chat_template: chatml}
    adapter: {rank: 8}
  - {name: merged, merge: sft}
  - name: dpo
    start_from: merged
    data: {train: [{path: b.jsonl, format: preference}]}
    train: {method: dpo, learning_rate: 1e-6, batch_size: 4}
"""
# Stand-ins: what launches the training, and what merges.
TRAINS = """#!/usr/bin/env bash
echo "$NODE_RANK $(basename "$(dirname "$3" 2>/dev/null || true)") $*" >> started
folder=$(grep -o "[a-z]*/axolotl.yaml" <<< "$*" | cut -d/ -f1)
echo "$folder $NODE_RANK" >> order
"""
PYTHON = """#!/usr/bin/env bash
case "$1" in *merge_adapter.py) sleep "${SLOW:-0}"; echo "merge $NODE_RANK" >> order; exit "${CODE:-0}";; esac
exec REAL "$@"
"""


def compiled(folder: Path, text: str) -> Compiled:
    (folder / "c.yaml").write_text(text)
    found = compile_file(str(folder / "c.yaml"))
    assert [one for one in found.findings if one.severity == "error"] == []
    return found


class Nodes:
    """A folder that two nodes share, with stand-ins for the tools."""

    def __init__(self, folder: Path, recipe: str = COURSE) -> None:
        self.folder = folder
        files = compiled(folder, recipe).files
        write(folder / "build", files)
        for name in ("a.jsonl", "b.jsonl"):
            (folder / name).write_text("{}\n")
        for environment in json.loads(files["plan.json"])["environments"]:
            bin = folder / "environments" / environment / "bin"
            bin.mkdir(parents=True)
            pins = (folder / "build" / "environments" / f"{environment}.txt").read_bytes()
            (bin.parent / ".complete").write_bytes(pins)
            for tool, text in (("accelerate", TRAINS), ("python", PYTHON.replace("REAL", sys.executable))):
                (bin / tool).write_text(text)
                (bin / tool).chmod(0o755)

    def start(self, rank: int, **more: str) -> subprocess.Popen[str]:
        own = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": "environments", "NODE_RANK": str(rank)}
        return subprocess.Popen(
            ["bash", "build/run.sh"],
            cwd=self.folder,
            env={**own, "MASTER_ADDR": "10.0.0.1", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def both(self, last: dict[str, str], first: dict[str, str]) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        """Start node 1, then node 0: a stand-in does not wait for the others, as a training does."""
        started = self.start(1, RECIPE_WAIT_SECONDS="60", **last)
        wait_for(lambda: (self.folder / "runs/c/nodes/sft.1").exists())
        return started, self.start(0, **first)

    def order(self) -> list[str]:
        path = self.folder / "order"
        return path.read_text().splitlines() if path.exists() else []


def test_words_are_what_bash_reads(tmp_path: Path) -> None:
    given = ("it's $HOME", "", ("--out=", Beside("x y.yaml")), ("a $ ", Beside("z")), RANK, ADDRESS, PORT, "--plain")
    script = f'here="/the place"; printf "%s\\0" {words.line(given)}'
    variables = {"NODE_RANK": "3", "MASTER_ADDR": "10.0.0.1", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=True)
    expected = ["it's $HOME", "", "--out=/the place/x y.yaml", "a $ /the place/z", "3", "10.0.0.1", "29500", "--plain"]
    assert done.stdout.split("\0")[:-1] == expected


def test_what_is_done_once_is_done_by_node_0_while_the_others_wait(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    for _again in range(2):  # the second time with the signs that the first one left
        (tmp_path / "order").unlink(missing_ok=True)
        last = nodes.start(1)
        time.sleep(1.0)
        assert nodes.order() == []
        first = nodes.start(0, SLOW="2")
        said = [process.communicate(timeout=LIMIT)[0] for process in (first, last)]
        assert (first.returncode, last.returncode) == (0, 0), said
        assert said == ["", "".join(f"node 1 waits for node 0 to begin {stage}\n" for stage in ("sft", "dpo"))]
        order = nodes.order()
        assert sorted(order[:2]) == ["sft 0", "sft 1"]
        assert order[2] == "merge 0"
        assert sorted(order[3:]) == ["dpo 0", "dpo 1"]
    started = (tmp_path / "started").read_text()
    assert "--machine_rank 1 --main_process_ip 10.0.0.1 --main_process_port 29500" in started


def test_nodes_do_not_wait_for_one_that_has_failed(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    first, last = nodes.start(0, CODE="7"), nodes.start(1)
    first.communicate(timeout=LIMIT)
    assert first.returncode == 7
    said = last.communicate(timeout=LIMIT)[0]
    assert (last.returncode, said.splitlines()[-1]) == (1, "node 0 has failed: see its output")
    assert set(nodes.order()) <= {"sft 0", "sft 1", "merge 0"}


def test_nodes_do_not_wait_for_one_that_was_terminated(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    last, first = nodes.both({}, {"SLOW": "5"})
    wait_for(lambda: len(nodes.order()) == 2)  # now node 0 merges
    first.terminate()
    said = last.communicate(timeout=LIMIT)[0]
    first.communicate(timeout=LIMIT)  # what it had started goes on
    assert (last.returncode, said.splitlines()[-1]) == (1, "node 0 has failed: see its output")


def test_all_nodes_go_on_from_the_checkpoint_of_node_0(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    origin = "runs/c/sft/my checkpoint-5"
    both = nodes.both({"RECIPE_RESUME_FROM": "stale"}, {"RECIPE_RESUME_FROM": origin, "SLOW": "3"})
    said = [process.communicate(timeout=LIMIT)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    lines = (tmp_path / "started").read_text().splitlines()
    assert len(lines) == 4
    assert {line.partition("--resume-from-checkpoint=")[2] for line in lines} == {origin}


def test_other_nodes_skip_what_node_0_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(tmp_path)
    monkeypatch.chdir(tmp_path)
    build = load(Path("build"))
    with launch_nodes.passed(build.manifest.plan, ["sft"]):
        last = nodes.start(1, RECIPE_WAIT_SECONDS="60")
        wait_for(lambda: (tmp_path / "runs/c/nodes/dpo.1").exists())
        first = subprocess.Popen(
            ["bash", "build/dpo/run.sh"],
            env={**ENVIRONMENT, "NODE_RANK": "0", "MASTER_ADDR": "10.0.0.1"},
        )
        said = last.communicate(timeout=LIMIT)[0]
        assert first.wait(LIMIT) == 0
    assert last.returncode == 0
    assert "node 0 has sft already" in said
    assert sorted(nodes.order()) == ["dpo 0", "dpo 1"]


def test_a_run_tells_the_other_nodes_what_it_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(words.NODE, "0")

    def all_there(_build: Build, standings: Mapping[str, Standing], *_: object, **__: bool) -> list[runner.Decision]:
        return [runner.Decision(one.stage, "skip", one.history) for one in standings.values()]

    monkeypatch.setattr(runner, "decide", all_there)
    assert run(Path("build"), Path("runs")) == 0
    signs = {path.name for path in Path("runs/c/nodes").iterdir()}
    assert signs == {"sft.done", "merged.done", "dpo.done"}
    assert nodes.order() == []

    def mixed(*_: object, **__: bool) -> list[runner.Decision]:
        raise RecipeError([])

    monkeypatch.setattr(runner, "decide", mixed)
    with pytest.raises(RecipeError):
        run(Path("build"), Path("runs"))
    assert Path("runs/c/nodes/failed").exists()


def test_nodes_of_a_ray_cluster_wait_like_all_others(tmp_path: Path) -> None:
    recipe = (
        "recipe: 1\nname: c\ntrainer: openrlhf\nmodel: {base: a/b}\nparallel: {strategy: zero3}\n"
        "data: {train: [{path: a.jsonl, format: prompt, columns: {answer: answer}}]}\nrewards: [{type: exact}]\nrollout: {engine: vllm}\n"
        "train: {method: grpo, learning_rate: 1e-6, batch_size: 32}\nhardware: {gpu: a100-80gb, per_node: 4, nodes: 2}\n"
    )
    rows = "".join(json.dumps({"prompt": str(n), "answer": "a"}) + "\n" for n in range(64))
    (tmp_path / "a.jsonl").write_text(rows)
    nodes = Nodes(tmp_path, recipe)
    last = nodes.start(1, RECIPE_WAIT_SECONDS="60")
    wait_for(lambda: (tmp_path / "runs/c/nodes/train.1").exists())
    (tmp_path / "runs/c/nodes/failed").touch()
    said = last.communicate(timeout=LIMIT)[0]
    assert (last.returncode, said.splitlines()[-1]) == (1, "node 0 has failed: see its output")


def test_nodes_do_not_wait_for_ever(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    last = nodes.start(1, RECIPE_WAIT_SECONDS="0")
    said = last.communicate(timeout=LIMIT)[0]
    assert (last.returncode, "did not begin sft in time (RECIPE_WAIT_SECONDS)" in said) == (3, True), said


def test_a_node_without_rank_or_address_is_told(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    for missing, said in (("NODE_RANK", "rank of this node, from 0"), ("MASTER_ADDR", "address of node 0")):
        variables = {"PATH": os.environ["PATH"], "NODE_RANK": "0", "MASTER_ADDR": "x"}
        del variables[missing]
        for script in ("build/run.sh", "build/sft/run.sh"):
            done = subprocess.run(
                ["bash", script],
                cwd=tmp_path,
                env=variables | {"RECIPE_ENVIRONMENTS": "environments"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert f"{missing}: {said}" in done.stderr
    assert nodes.order() == []


@pytest.mark.parametrize("rank", ["2", "-1", "node1", "01", ""])
def test_a_rank_that_no_node_has_is_told(tmp_path: Path, rank: str) -> None:
    nodes = Nodes(tmp_path)
    for script in ("build/run.sh", "build/sft/run.sh"):
        variables = {**ENVIRONMENT, "NODE_RANK": rank, "MASTER_ADDR": "x"}
        done = subprocess.run(
            ["bash", script], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        said = f"NODE_RANK is {rank}, but the 2 nodes are 0 to 1" if rank else "NODE_RANK: rank of this node, from 0"
        assert (done.returncode, said in done.stderr) == (2 if rank else 1, True), done.stderr
    assert nodes.order() == []


def test_the_plan_says_how_it_is_started(tmp_path: Path) -> None:
    several = compiled(tmp_path, COURSE).files["PLAN.md"]
    assert "on each of the 2 nodes" in several
    assert "29500" in several
    assert "Node 0 alone does `merged`" in several
    alone = compiled(tmp_path, COURSE.replace(", nodes: 2", ""))
    assert "To run everything, run this folder's `run.sh`" in alone.files["PLAN.md"]
    assert not [name for name, text in alone.files.items() if name.endswith("run.sh") and words.NODE in text]


def test_a_job_of_a_ray_cluster_is_started_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "recipe: 1\nname: c\ntrainer: script\n"
        "script: {path: t.py, launcher: ray, arguments: {out: '${plan:train.output}', batch: '${plan:train.batch.total}'}}\n"
        "train: {batch_size: 8}\nhardware: {gpu: a100-80gb, nodes: 2}\n"
    )
    (tmp_path / "t.py").write_text("")
    files = compiled(tmp_path, text).files
    assert words.NODE not in files["run.sh"] + files["train/run.sh"] + files["PLAN.md"]
    write(tmp_path / "build", files)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(words.NODE, raising=False)
    assert "E008" not in {one.code for one in preflight(load(Path("build")), allow_edited=False)}


def test_recipe_run_begins_on_node_0_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(tmp_path)
    monkeypatch.chdir(tmp_path)
    build = load(Path("build"))

    def found() -> list[str]:
        return [one.message for one in preflight(build, allow_edited=False) if one.code == "E008"]

    monkeypatch.delenv(words.NODE, raising=False)
    assert found() == ["this plan is started on each of 2 nodes, and NODE_RANK is not set"]
    monkeypatch.setenv(words.NODE, "1")
    assert found() == ["this is node 1: the record of the run is kept on node 0"]
    with pytest.raises(RecipeError):
        run(Path("build"), Path("runs"))
    assert nodes.order() == []
    monkeypatch.setenv(words.NODE, "0")
    assert found() == []


def test_names_of_the_environment_are_spelt_once() -> None:
    """But for what doctor reads in scripts of others."""
    spelt = {
        path.name
        for layer in ("schema", "compiler", "launchers")
        for path in (ROOT / layer).rglob("*.py")
        if "doctor" not in path.relative_to(ROOT).parts
        and re.search(rf"{words.NODE}|{words.FIRST}", path.read_text(encoding="utf-8"))
    }
    assert spelt == {"words.py"}


def test_two_runs_make_an_environment_once(tmp_path: Path) -> None:
    from test_run_script import place

    place(tmp_path)
    both = [
        subprocess.Popen(
            ["bash", "build/run.sh"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=LIMIT)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("making the environment tiny") == 1
    assert "".join(said).count("has 2.1.0") == 2


def test_a_maker_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    from test_run_script import place, run

    place(tmp_path)
    began = subprocess.Popen(["bash", "build/run.sh"], cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: (tmp_path / "runs/environments/tiny/pyvenv.cfg").exists())
    os.killpg(began.pid, 9)
    began.wait()
    code, said = run(tmp_path)
    assert (code, "has 2.1.0" in said) == (0, True), said


@pytest.mark.parametrize("source", ["path: a.jsonl", "hub: a/b"])
def test_prepared_data_that_a_kill_cut_short_is_dropped(tmp_path: Path, source: str) -> None:
    """Of six folders, one is whole: in the others a kill has left out, or cut short, what is written last."""
    recipe = (
        f"recipe: 1\nname: t\nmodel: {{base: a/b}}\nadapter: {{rank: 8}}\ndata: {{train: [{{{source}, format: text}}]}}\n"
        "train: {epochs: 1, learning_rate: 1e-4, method: pretrain}\nhardware: {gpu: a100-80gb}\n"
    )
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "a.jsonl").write_text("{}")
    compiled = compile_file(str(tmp_path / "recipe.yaml"))
    script = tmp_path / "train/run.sh"
    script.parent.mkdir()
    script.write_text(compiled.files["train/run.sh"])
    [environment] = json.loads(compiled.files["plan.json"])["environments"]
    tool = tmp_path / "environments" / environment / "bin"
    tool.mkdir(parents=True)
    (tool / "python").symlink_to(sys.executable)
    (tool / "axolotl").write_text("#!/bin/sh\nmkdir -p runs/t/prepared\nls runs/t/prepared > found\n")
    (tool / "axolotl").chmod(0o755)
    subprocess.run(["bash", str(script)], cwd=tmp_path, env=ENVIRONMENT, check=True)  # now it knows the rows
    last = {
        "whole": ("{}", "{}"), "torn": (None, None), "no info": ("{}", None), "no state": (None, "{}"),
        "cut": ('{"a": 1', "{}"), "empty": ("{}", ""),
    }  # fmt: skip
    for name, texts in last.items():
        (folder := tmp_path / "runs/t/prepared" / name).mkdir(parents=True)
        (folder / "data-00000-of-00001.arrow").touch()
        for file, text in zip(("state.json", "dataset_info.json"), texts, strict=True):
            if text is not None:
                (folder / file).write_text(text)
    (tmp_path / "runs/t/prepared/process_counter.txt").touch()
    done = subprocess.run(["bash", str(script)], cwd=tmp_path, env=ENVIRONMENT, check=True, stderr=subprocess.PIPE)
    assert (tmp_path / "found").read_text().split() == ["process_counter.txt", "whole"]
    assert done.stderr.decode().count("was not written to its end") == len(last) - 1
