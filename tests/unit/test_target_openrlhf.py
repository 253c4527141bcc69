"""OpenRLHF's command lines, and the script that makes a Ray cluster for them.

`ray` and `python3` are fakes here, which say so: they record how they are called. The real Ray is in `tests/real`.
"""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import recipe
from fake_build import LIMIT, wait_for

from recipec.environments.install import Pins, install_steps
from recipec.environments.pip_settings import PipSettings
from recipec.environments.pythons import running
from recipec.facts import pins
from recipec.kinds.train.records import Batch
from recipec.pipeline import Compiled, compile_file
from recipec.render.arguments_writer import Expanded, script
from recipec.render.python_writer import Argument
from recipec.systems.openrlhf.reinforcement import nodes_and_gpus

ROOT = Path(__file__).parents[2]
PPO = str(ROOT / "recipes" / "llama-3-70b-ppo-openrlhf.yaml")
GRPO = str(ROOT / "recipes" / "qwen2.5-7b-grpo-openrlhf.yaml")
STAGE = "train"


def options(compiled: Compiled) -> dict[str, str]:
    """Return the emitted options with their values as they are written."""
    lines = compiled.files[f"{STAGE}/openrlhf.sh"].splitlines()
    words = [line[4:].partition("  #")[0].partition(" ") for line in lines if line.startswith("  --")]
    return {name: value for name, _, value in words}


def test_bash_reads_the_words_as_they_are_meant(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "text": "$(touch owned) 'x\" #",
        "rate": 1e-06,
        "range": [-10, 0.5],
        "on": True,
        "off": False,
        "place": Expanded("$here/rewards.py"),
    }
    text, where = script("Head.", ("printf", "%s\\0"), {name: Argument(value, "why") for name, value in values.items()})
    (tmp_path / "x.sh").write_text(text, encoding="utf-8")
    done = subprocess.run(["bash", "x.sh"], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = ["--text", values["text"], "--rate", "1e-06", "--range", "-10", "0.5", "--on"]
    assert done.stdout.split("\0")[:-1] == [*expected, "--place", f"{tmp_path}/rewards.py"]
    assert not (tmp_path / "owned").exists()
    lines = text.splitlines()
    assert {name: lines[line - 1].split()[0] for name, line in where.items()} == {
        name: f"--{name}" for name in values if name != "off"
    }


@pytest.mark.parametrize(
    ("gpus", "per_node", "expected"),
    [(64, 8, (8, 8)), (6, 8, (1, 6)), (28, 8, (4, 7)), (12, 8, (2, 6)), (7, 4, (7, 1)), (1, 8, (1, 1))],
)
def test_groups_are_spread_evenly_on_few_nodes(gpus: int, per_node: int, expected: tuple[int, int]) -> None:
    assert nodes_and_gpus(gpus, per_node) == expected


def test_engines_apart_leave_half_of_the_rest_to_the_critic() -> None:
    settings = ["rollout.engines=2", "train.batch_size=96", "train.micro_batch_size=1"]
    compiled = compile_file(PPO, settings)
    assert compiled.findings == []
    assert compiled.resolved is not None
    [stage] = compiled.resolved.plan.stages
    assert stage.body.batch == Batch(1, 4, 24, 96)
    found = options(compiled)
    assert {found[f"{name}.num_nodes"] for name in ("actor", "ref", "critic", "reward")} == {"3"}
    assert {"train.colocate_actor_ref", "train.colocate_critic_reward"} <= set(found)
    assert not {"train.colocate_all", "vllm.enable_sleep", "ds.enable_sleep"} & set(found)
    assert (found["vllm.num_engines"], found["vllm.tensor_parallel_size"]) == ("2", "8")


def test_a_step_is_the_completions_of_whole_prompts() -> None:
    found = options(compile_file(GRPO))
    prompts, group = int(found["rollout.batch_size"]), int(found["rollout.n_samples_per_prompt"])
    assert prompts * group == int(found["train.batch_size"]) == 96


def test_an_option_is_explained() -> None:
    for what, expected in (
        ("rollout.n_samples_per_prompt", "qwen2.5-7b-grpo-openrlhf.yaml:10:"),
        ("actor.num_gpus_per_node", "8 GPUs − 2 that generate"),
    ):
        done = recipe("explain", GRPO, f"{STAGE}/openrlhf.sh:{what}")
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_rewards_are_called_as_openrlhf_calls_them() -> None:
    """`utils/agent.py` hands over one query, decoded with its special tokens, and reads `rewards` of what returns."""
    names: dict[str, Any] = {}
    exec(compile_file(GRPO).files[f"{STAGE}/rewards.py"], names)
    prompt = "<|im_start|>user\nWhat is 6 × 7?<|im_end|>\n<|im_start|>assistant\n"
    call = names["reward_func"]
    good = call([f"{prompt}<think>well</think> The answer is 42.<|im_end|>\n"], [prompt], ["42"])
    assert good == {"rewards": pytest.approx(1.1), "scores": pytest.approx(1.1)}
    assert call([f"{prompt}It is 41.<|im_end|>"], [prompt], ["42"])["rewards"] == 0
    cut = prompt[20:]  # a prompt that is too long loses its beginning
    assert call([f"{cut}42<|im_end|>"], [prompt], ["42"])["rewards"] == 1


def test_the_wheel_alone_is_installed_without_what_it_asks_for() -> None:
    bare = Pins.read((ROOT / "tests" / "conformance" / "openrlhf-cli.txt").read_text(encoding="utf-8"))
    assert bare.lines == ("openrlhf==0.11.2",)
    for uv in ("uv", None):
        made, _files = install_steps(Path("there"), bare, PipSettings(), {}, uv, running())
        assert "--no-deps" in made[-1].command
    whole = Pins.read(pins("openrlhf-0.11.2"))
    assert set(whole.unisolated) == {
        "deepspeed",
        "flash-attn",
        "openrlhf",
    }  # it asks for the others, which need torch first
    assert not whole.no_dependencies


RAY = """#!/usr/bin/env bash
# A fake of Ray's command, which records how it is called: there is no cluster behind it.
echo "ray $*" >> "$LOG"
tries() { echo x >> "$STATE/$1"; [ "$(wc -l < "$STATE/$1")" -ge "$2" ]; }
case "$*" in
  "start "*--head*) trap 'echo "ray ended" >> "$LOG"; exit 1' TERM; touch "$STATE/open"; while :; do sleep 0.1; done;;
  "start "*) exit 1;;
  health-check*) if [ -e "$STATE/left" ] || ! grep -q "^ray start" "$LOG"; then tries health 2; else exit 1; fi;;
  *"-- true") until [ -e "$STATE/open" ]; do sleep 0.1; done; tries agent 2;;
  "job submit "*) [ -z "${SLOW:-}" ] || sleep "$SLOW"; shift 5; "$@" || exit 1;;
esac
"""
PYTHON = """#!/usr/bin/env bash
# A fake of Python, which records how it is called: nothing is trained.
if [ "$1" = -c ]; then echo x >> "$STATE/nodes"; wc -l < "$STATE/nodes"; exit; fi
printf '%s\\n' "$@" > "$STATE/argv"
echo "trains" >> "$LOG"
exit "${CODE:-0}"
"""
SLEEP = f"""#!/usr/bin/env bash
# The emitted script asks every two seconds whether Ray is there; here it asks oftener.
[ "$1" != 2 ] || set -- 0.05
exec {shutil.which("sleep")} "$@"
"""


class Cluster:
    """One node on which the emitted script runs, with fakes for what it calls."""

    def __init__(self, folder: Path, recipe: str, *settings: str) -> None:
        self.folder = folder
        files = compile_file(recipe, settings).files
        for name in ("run.sh", "openrlhf.sh"):
            (folder / name).write_text(files[f"{STAGE}/{name}"], encoding="utf-8")
        bin = folder / "environments" / "openrlhf-0.11.2" / "bin"
        bin.mkdir(parents=True)
        for name, text in (("ray", RAY), ("python3", PYTHON), ("python", PYTHON), ("sleep", SLEEP)):
            (bin / name).write_text(text, encoding="utf-8")
            (bin / name).chmod(0o755)
        self.log = folder / "log"

    def start(self, **variables: str) -> subprocess.Popen[str]:
        own = {"LOG": str(self.log), "STATE": str(self.folder), "RECIPE_ENVIRONMENTS": f"{self.folder}/environments"}
        return subprocess.Popen(
            ["bash", "run.sh"],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], **own, **variables},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run_worker(self) -> tuple[int, str]:
        """Run another node's part, with node 0 there once this one waits for it."""
        process = self.start(**WORKER)
        wait_for(lambda: any(self.folder.glob("runs/*/nodes/*.1")))
        waiting = next(self.folder.glob("runs/*/nodes/*.1"))
        waiting.with_suffix("").write_text("\n")
        said = process.communicate(timeout=LIMIT)[1]
        return process.returncode, said.partition("to begin train\n")[2]

    def run(self, **variables: str) -> tuple[int, str]:
        process = self.start(**variables)
        _, said = process.communicate(timeout=LIMIT)
        return process.returncode, said

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


HEAD = {"NODE_RANK": "0", "MASTER_ADDR": "10.0.0.1"}
WORKER = {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1"}
TWO_NODES = ("hardware.nodes=2", "train.batch_size=128")


def test_the_head_waits_for_all_nodes_submits_and_ends_its_ray(tmp_path: Path) -> None:
    node = Cluster(tmp_path, PPO, *TWO_NODES)
    assert node.run(**HEAD) == (0, "")
    submit = "ray job submit --address http://127.0.0.1:8265 --"
    start = (
        "ray start --num-gpus 8 --disable-usage-stats --block --head --node-ip-address 10.0.0.1 --port 6379"
        " --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port 8265"
    )
    lines = node.lines()
    lines.remove(start)  # in the background: when it says so is open
    assert lines == [
        f"{submit} true",
        f"{submit} true",
        f"{submit} bash {tmp_path}/openrlhf.sh",
        "trains",
        "ray ended",
    ]
    argv = (tmp_path / "argv").read_text(encoding="utf-8").splitlines()
    assert argv[:2] == ["-m", "openrlhf.cli.train_ppo_ray"]
    assert argv[argv.index("--actor.num_nodes") + 1] == "2"


def test_a_failed_training_fails_the_script_and_ends_ray(tmp_path: Path) -> None:
    node = Cluster(tmp_path, PPO, *TWO_NODES)
    code, _said = node.run(**HEAD, CODE="7")
    assert code == 1  # what `ray job submit` makes of every failure
    assert node.lines()[-2:] == ["trains", "ray ended"]


def test_nodes_that_do_not_come_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    node = Cluster(tmp_path, PPO, "hardware.nodes=100", "train.batch_size=1600")
    (tmp_path / "agent").write_text("x\n", encoding="utf-8")  # the job server answers at once
    code, said = node.run(**HEAD, RAY_WAIT_SECONDS="0")
    assert (code, said) == (3, "no 100 nodes in time (RAY_WAIT_SECONDS)\n")
    assert node.lines()[-1] == "ray ended"
    assert "trains" not in node.lines()


def test_a_termination_ends_ray(tmp_path: Path) -> None:
    node = Cluster(tmp_path, GRPO)
    process = node.start(SLOW="60")
    wait_for(lambda: any("openrlhf.sh" in line for line in node.lines()))
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert "ray ended" in node.lines()
    assert "trains" not in node.lines()


def test_a_worker_joins_and_ends_well_with_the_head(tmp_path: Path) -> None:
    node = Cluster(tmp_path, PPO, *TWO_NODES)
    assert node.run_worker() == (0, "")
    health = "ray health-check --address 10.0.0.1:6379"
    start = "ray start --num-gpus 8 --disable-usage-stats --block --address 10.0.0.1:6379"
    assert node.lines() == [health, health, start, health]


def test_a_worker_that_falls_out_says_so(tmp_path: Path) -> None:
    node = Cluster(tmp_path, PPO, *TWO_NODES)
    (tmp_path / "left").touch()
    assert node.run_worker() == (1, "this node left the run before its end\n")


def test_several_nodes_need_a_rank_and_an_address(tmp_path: Path) -> None:
    code, said = Cluster(tmp_path, PPO).run()
    assert code == 1
    assert "NODE_RANK: rank of this node, from 0" in said
    (tmp_path / "another").mkdir()
    code, said = Cluster(tmp_path / "another", PPO).run(NODE_RANK="1")
    assert code == 1
    assert "MASTER_ADDR: address of node 0" in said


def test_pairs_on_several_nodes_start_by_torchrun(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        json.dumps(
            {
                "recipe": 1,
                "name": "pairs",
                "trainer": "openrlhf",
                "model": {"base": "a/b"},
                "data": {"train": [{"path": "a.jsonl", "format": "preference"}]},
                "train": {"method": "dpo", "learning_rate": 1e-6, "batch_size": 32},
                "hardware": {"gpu": "h100-80gb", "per_node": 8, "nodes": 2},
                "parallel": {"strategy": "zero3"},
            }
        )
    )
    last = compile_file(str(tmp_path / "r.yaml")).files[f"{STAGE}/openrlhf.sh"].splitlines()[-1]
    assert last.startswith("exec torchrun --nnodes 2 --nproc_per_node 8 --node_rank ")
    assert last.endswith('-m openrlhf.cli.train_dpo "${arguments[@]}"')
