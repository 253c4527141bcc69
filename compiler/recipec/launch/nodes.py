"""`nodes`: several machines with a shared file system, on each of which a person starts the same script.

Rank and address come from the environment. A stage that takes all nodes begins on node 0, which says so by a file that
it keeps touching; the others wait for that, and so they also wait while node 0 does what is done only once. The file
holds the checkpoint that node 0 goes on from, so that all nodes go on from the same.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterable
from pathlib import Path

from recipec.job import Job, Port
from recipec.launch import local, steps
from recipec.launch.launcher import Launcher, Started, spread
from recipec.launch.words import ADDRESS, CHECKPOINT, FIRST, NODE, RANK, quote
from recipec.plan import Plan

WAIT, BEGAN = "RECIPE_WAIT_SECONDS", "RECIPE_BEGAN"
FAILED = "failed"  # the file that says that node 0 has given up
DONE = "done"  # the end of the name of the file that says that node 0 has nothing to do for a stage
EVERY = 2  # seconds between two touches of a sign


def signs(plan: Plan) -> str:
    """Return the folder of the files by which nodes wait for one another."""
    return f"runs/{plan.name}/nodes"


def give_up(plan: Plan) -> None:
    """Tell the nodes that wait for node 0 that it has failed. Raises OSError where that cannot be written."""
    folder = Path(signs(plan))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).touch()


@contextlib.contextmanager
def passed(plan: Plan, stages: Iterable[str]) -> Generator[None]:
    """While active, tell the nodes that wait for stages, by their ids, that node 0 has them already and skips them.

    Raises OSError where that cannot be written.
    """
    there = [Path(signs(plan)) / f"{id}.{DONE}" for id in stages]
    ended = threading.Event()

    def tell() -> None:
        for sign in there:
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()

    def keep_telling() -> None:
        while not ended.wait(EVERY):
            tell()

    if not there:
        yield
        return
    tell()
    teller = threading.Thread(target=keep_telling, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _asked(nodes: int) -> list[str]:
    """Return the lines that ask for what a person sets on each node."""
    return [
        f': "{RANK}" "{ADDRESS}"',
        f'if ! [[ "${NODE}" =~ ^(0|[1-9][0-9]*)$ && "${NODE}" -lt {nodes} ]]; then',
        f'  echo "{NODE} is ${NODE}, but the {nodes} nodes are 0 to {nodes - 1}" >&2',
        "  exit 2",
        "fi",
    ]


def _before(plan: Plan, one: Started) -> list[str]:
    own = steps.lines(one.job.steps)
    if not one.job.on_each_node:
        return own
    folder, id = quote(signs(plan)), one.stage.name
    return [
        *_asked(one.job.nodes),
        f"sign={folder}/{id}",
        f"mkdir -p {folder}",
        f'if [ "${NODE}" = 0 ]; then',
        *(f"  {line}" for line in own),
        "  # the other nodes wait for this sign that node 0 is here; they take none that an earlier run left",
        f"""  printf '%s\\n' "${{{CHECKPOINT}:-}}" >"$sign.new"  # what node 0 goes on from""",
        '  mv "$sign.new" "$sign"',
        f'  (while kill -0 $$ 2>/dev/null; do touch "$sign"; sleep {EVERY}; done) >/dev/null 2>&1 &',
        "else",
        f'  mine="$sign.${NODE}"',
        '  touch "$mine"',
        f'  began="${{{BEGAN}:-$mine}}"',
        f'  echo "node ${NODE} waits for node 0 to begin {id}" >&2',
        '  until [ "$sign" -nt "$mine" ]; do',
        f'    if [ "$sign.{DONE}" -nt "$mine" ]; then',
        f'      echo "node 0 has {id} already" >&2',
        '      rm -f "$mine"',
        "      exit 0",
        "    fi",
        f'    if [ {folder}/{FAILED} -nt "$began" ]; then echo "node 0 has failed: see its output" >&2; exit 1; fi',
        f'    if [ "$SECONDS" -ge "${{{WAIT}:-7200}}" ]; then',
        f'      echo "node 0 did not begin {id} in time ({WAIT}): see its output" >&2',
        "      exit 3",
        "    fi",
        "    sleep 1",
        "  done",
        '  rm -f "$mine"',
        f'  {CHECKPOINT}=$(<"$sign")',
        f"  export {CHECKPOINT}",
        "fi",
    ]


def _head(plan: Plan, all: tuple[Started, ...]) -> list[str]:
    if not spread(all):
        return []
    folder = quote(signs(plan))
    return [
        f"# This script is started on each of the {plan.hardware.nodes} nodes.",
        *_asked(plan.hardware.nodes),
        f"mkdir -p {folder}",
        f'export {BEGAN}={folder}/began."${NODE}"',
        f'touch "${BEGAN}"',
        f'if [ "${NODE}" = 0 ]; then',
        f"  trap 'touch {folder}/{FAILED}' EXIT  # until the last line",
        "fi",
    ]


def _tail(all: tuple[Started, ...]) -> list[str]:
    return ["trap - EXIT"] if spread(all) else []


def _how(all: tuple[Started, ...]) -> list[str]:
    jobs = [one.job for one in all if one.job.on_each_node]
    if not jobs:
        return local.how(all)
    count = max(job.nodes for job in jobs)
    once = [f"`{one.stage.name}`" for one in all if not one.job.on_each_node]
    lines = [
        f"Start all of it by the same command on each of the {count} nodes, in the folder that the recipe's paths start at."
        f" All nodes must see that folder at the same path. RANK is 0 on the first node and {count - 1} on the last:",
        "",
        f"    {NODE}=RANK {FIRST}=ADDRESS-OF-NODE-0 bash THIS-FOLDER/run.sh",
        "",
    ]
    ports = ", ".join(_port(port) for port in _ports(jobs))
    lines.append(
        f"The nodes must reach node 0 at port {ports}. The first node to come makes the environments, the others wait."
    )
    if once:
        lines.append(f"Node 0 alone does {', '.join(once)}.")
    return lines


def _ports(jobs: list[Job]) -> list[Port]:
    return list(dict.fromkeys(port for job in jobs for port in job.ports))


def _port(port: Port) -> str:
    return f"{port.number} ({port.purpose}; `{port.variable}` sets another)"


LAUNCHER = Launcher("nodes", _before, _head, _tail, _how)
