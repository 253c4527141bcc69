"""The lines that make a Ray cluster of a job's nodes, submit its program to it, and end it; or submit to one that is there.

Every node runs the same script, from the same folder of a shared file system. Ray runs in the foreground of a child
of the script (`--block`), so that only what it started ends with it: `ray stop` would end every cluster of the user.
A job's command is joined by `ray job submit` without the shell's quoting; so it is `bash FILE`, and no option.
"""

from __future__ import annotations

from recipec.job import RAY_PORT, Job
from recipec.launch.words import ADDRESS, CHECKPOINT, RANK, line

PORT, SERVER = f"${{{RAY_PORT.variable}:-{RAY_PORT.number}}}", "${RAY_DASHBOARD_PORT:-8265}"
ALIVE = (
    'import ray, sys; ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False); '
    'print(sum(node["Alive"] for node in ray.nodes()))'
)
# `ray job submit` comes back here as the job; without a cluster, Ray starts one of this machine alone.
SUBMITTED = [
    'if [ -n "${RAY_ADDRESS:-}" ] && [ -z "${RAY_JOB_CONFIG_JSON_ENV_VAR:-}" ]; then  # not yet the job itself',
    "  # every node sees this folder, and has the environment at the same place",
    '  exec ray job submit --address "$RAY_ADDRESS" -- env -C "$PWD" "RECIPE_ENVIRONMENTS=${RECIPE_ENVIRONMENTS:-}" \\',
    f'    "{CHECKPOINT}=${{{CHECKPOINT}:-}}" bash "$here/run.sh"',
    "fi",
]


def cluster(job: Job) -> list[str]:
    """Return the lines that run the program on the head of a cluster when all its nodes are there."""
    alone = job.nodes == 1
    head = "127.0.0.1" if alone else ADDRESS
    start = f"ray start --num-gpus {job.processes} --disable-usage-stats --block"
    lines = [
        f'head="{head}"',
        *([] if alone else [f'address="$head:{PORT}"']),
        f'server="http://127.0.0.1:{SERVER}"',
        "deadline=$((SECONDS + ${RAY_WAIT_SECONDS:-1800}))",
        "wait_for() {  # what, command that tells whether it is there",
        '  until "${@:2}" > /dev/null 2>&1; do',
        '    [ "$SECONDS" -lt "$deadline" ] || { echo "no $1 in time (RAY_WAIT_SECONDS)" >&2; exit 3; }',
        '    [ -z "${ray:-}" ] || kill -0 "$ray" 2> /dev/null || { echo "Ray did not start" >&2; exit 3; }',
        "    sleep 2",
        "  done",
        "}",
    ]
    if not alone:
        lines += _worker(start)
    lines += [
        f'{start} --head --node-ip-address "$head" --port "{PORT}" \\',
        f'  --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port "{SERVER}" &',
        "ray=$!",
        """trap 'kill "$ray" 2> /dev/null || true; wait "$ray" || true' EXIT""",
        'wait_for "job server" ray job submit --address "$server" -- true  # it answers before it accepts jobs',
    ]
    if not alone:
        lines += [
            f'all_there() {{ [ "$(python3 -c \'{ALIVE}\' "$address")" -ge {job.nodes} ]; }}',
            f'wait_for "{job.nodes} nodes" all_there',
        ]
    lines.append(f'ray job submit --address "$server" -- {line(job.program)}')
    return lines


def _worker(start: str) -> list[str]:
    """The other nodes' part: it ends well when the head is gone, and badly when only this node is."""
    return [
        f'if [ "{RANK}" -gt 0 ]; then',
        '  wait_for "head node" ray health-check --address "$address"',
        f'  {start} --address "$address" || true',
        '  if ray health-check --address "$address" > /dev/null 2>&1; then',
        '    echo "this node left the run before its end" >&2',
        "    exit 1",
        "  fi",
        "  exit 0",
        "fi",
    ]
