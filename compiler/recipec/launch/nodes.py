"""`nodes`: several machines with a shared file system, on each of which a person starts the same script.

Rank and address come from the environment. A stage that takes all nodes begins on node 0, which says so by a file that
it keeps touching; the others wait for that, and so they also wait while node 0 does what is done only once.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from recipec.job import Job, Port, RayCluster
from recipec.launch import local, steps
from recipec.launch.launcher import Launcher, Started
from recipec.launch.words import ADDRESS, FIRST, NODE, RANK
from recipec.plan import Plan

WAIT, BEGAN = "RECIPE_WAIT_SECONDS", "RECIPE_BEGAN"
FAILED = "failed"  # the file that says that node 0 has given up
_ASKED = f': "{RANK}" "{ADDRESS}"'


def signs(plan: Plan) -> str:
    """Return the folder of the files by which nodes wait for one another."""
    return f"runs/{plan.name}/nodes"


def give_up(plan: Plan) -> None:
    """Tell the nodes that wait for node 0 that it has failed. Raises OSError where that cannot be written."""
    folder = Path(signs(plan))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).touch()


def _before(plan: Plan, one: Started) -> list[str]:
    own = steps.lines(one.job.steps)
    if not one.job.on_each_node:
        return own
    if isinstance(one.job.start, RayCluster):  # its nodes wait for its head
        return _first_only(own)
    folder, id = quote(signs(plan)), one.stage.id
    return [
        _ASKED,
        f"sign={folder}/{id}",
        f"mkdir -p {folder}",
        f'if [ "${NODE}" = 0 ]; then',
        *(f"  {line}" for line in own),
        "  # the other nodes wait for this sign that node 0 is here; they take none that an earlier run left",
        '  (while kill -0 $$ 2>/dev/null; do touch "$sign"; sleep 2; done) >/dev/null 2>&1 &',
        "else",
        f'  mine="$sign.${NODE}"',
        '  touch "$mine"',
        f'  began="${{{BEGAN}:-$mine}}"',
        f'  echo "node ${NODE} waits for node 0 to begin {id}" >&2',
        '  until [ "$sign" -nt "$mine" ]; do',
        f'    if [ {folder}/{FAILED} -nt "$began" ]; then echo "node 0 has failed: see its output" >&2; exit 1; fi',
        f'    if [ "$SECONDS" -ge "${{{WAIT}:-7200}}" ]; then',
        f'      echo "node 0 did not begin {id} in time ({WAIT}): see its output" >&2',
        "      exit 3",
        "    fi",
        "    sleep 1",
        "  done",
        '  rm -f "$mine"',
        "fi",
    ]


def _first_only(lines: list[str]) -> list[str]:
    if not lines:
        return []
    return [f'if [ "{RANK}" = 0 ]; then', *(f"  {line}" for line in lines), "fi"]


def _once(one: Started) -> bool:
    return not one.job.on_each_node


def _head(plan: Plan, all: tuple[Started, ...]) -> list[str]:
    if not any(one.job.on_each_node for one in all):
        return []
    folder = quote(signs(plan))
    return [
        f"# This script is started on each of the {plan.hardware.nodes} nodes.",
        _ASKED,
        f"mkdir -p {folder}",
        f'export {BEGAN}={folder}/began."${NODE}"',
        f'touch "${BEGAN}"',
        f'if [ "${NODE}" = 0 ]; then',
        f"  trap '[ $? = 0 ] || touch {folder}/{FAILED}' EXIT",
        "fi",
    ]


def _how(all: tuple[Started, ...]) -> list[str]:
    spread = [one.job for one in all if one.job.on_each_node]
    if not spread:
        return local.how(all)
    count = max(job.nodes for job in spread)
    once = [f"`{one.stage.id}`" for one in all if not one.job.on_each_node]
    lines = [
        f"Start all of it by the same command on each of the {count} nodes, in the folder that the recipe's paths start at."
        f" All nodes must see that folder at the same path. RANK is 0 on the first node and {count - 1} on the last:",
        "",
        f"    {NODE}=RANK {FIRST}=ADDRESS-OF-NODE-0 bash THIS-FOLDER/run.sh",
        "",
    ]
    ports = ", ".join(_port(port) for port in _ports(spread))
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


LAUNCHER = Launcher("nodes", _before, _once, _head, _how)
