"""The lines of `run.sh` that make a Ray cluster of the declared nodes, submit the driver to it, and end it.

Every node runs the same script, from the same folder of a shared file system. Ray runs in the foreground of a child
of the script (`--block`), so that only what it started ends with it: `ray stop` would end every cluster of the user.
A job's command is joined by `ray job submit` without the shell's quoting; so it is `bash FILE`, and no option.
"""

from __future__ import annotations

PORT, SERVER = "${RAY_PORT:-6379}", "${RAY_DASHBOARD_PORT:-8265}"
ALIVE = (
    'import ray, sys; ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False); '
    'print(sum(node["Alive"] for node in ray.nodes()))'
)


def commands(nodes: int, per_node: int, file: str) -> list[str]:
    """Return the lines, which run `file` on the head when all the nodes are there."""
    alone = nodes == 1
    head = "127.0.0.1" if alone else "${MASTER_ADDR:?address of node 0}"
    start = f"ray start --num-gpus {per_node} --disable-usage-stats --block"
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
            f'all_there() {{ [ "$(python3 -c \'{ALIVE}\' "$address")" -ge {nodes} ]; }}',
            f'wait_for "{nodes} nodes" all_there',
        ]
    lines.append(f'ray job submit --address "$server" -- bash "$here/{file}"')
    return lines


def _worker(start: str) -> list[str]:
    """The other nodes' part: it ends well when the head is gone, and badly when only this node is."""
    return [
        'if [ "${NODE_RANK:?rank of this node, from 0}" -gt 0 ]; then',
        '  wait_for "head node" ray health-check --address "$address"',
        f'  {start} --address "$address" || true',
        '  if ray health-check --address "$address" > /dev/null 2>&1; then',
        '    echo "this node left the run before its end" >&2',
        "    exit 1",
        "  fi",
        "  exit 0",
        "fi",
    ]
