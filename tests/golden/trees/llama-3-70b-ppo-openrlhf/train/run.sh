#!/usr/bin/env bash
# Trains. Written by recipec from llama-3-70b-ppo-openrlhf.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=openrlhf-0.11.2
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false
# The optimiser steps on the CPU, where launchers leave each process one thread.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(($(nproc) / 8 > 0 ? $(nproc) / 8 : 1))}"

: "${NODE_RANK:?rank of this node, from 0}" "${MASTER_ADDR:?address of node 0}"
if ! [[ "$NODE_RANK" =~ ^(0|[1-9][0-9]*)$ && "$NODE_RANK" -lt 8 ]]; then
  echo "NODE_RANK is $NODE_RANK, but the 8 nodes are 0 to 7" >&2
  exit 2
fi
sign=runs/llama-3-70b-ppo-openrlhf/nodes/train
mkdir -p runs/llama-3-70b-ppo-openrlhf/nodes
if [ "$NODE_RANK" = 0 ]; then
  # the other nodes wait for this sign that node 0 is here; they take none that an earlier run left
  printf '%s\n' "${RECIPE_RESUME_FROM:-}" >"$sign.new"  # what node 0 goes on from
  mv "$sign.new" "$sign"
  (while kill -0 $$ 2>/dev/null; do touch "$sign"; sleep 2; done) >/dev/null 2>&1 &
else
  mine="$sign.$NODE_RANK"
  touch "$mine"
  began="${RECIPE_BEGAN:-$mine}"
  echo "node $NODE_RANK waits for node 0 to begin train" >&2
  until [ "$sign" -nt "$mine" ]; do
    if [ "$sign.done" -nt "$mine" ]; then
      echo "node 0 has train already" >&2
      rm -f "$mine"
      exit 0
    fi
    if [ runs/llama-3-70b-ppo-openrlhf/nodes/failed -nt "$began" ]; then echo "node 0 has failed: see its output" >&2; exit 1; fi
    if [ "$SECONDS" -ge "${RECIPE_WAIT_SECONDS:-7200}" ]; then
      echo "node 0 did not begin train in time (RECIPE_WAIT_SECONDS): see its output" >&2
      exit 3
    fi
    sleep 1
  done
  rm -f "$mine"
  RECIPE_RESUME_FROM=$(<"$sign")
  export RECIPE_RESUME_FROM
fi
head="${MASTER_ADDR:?address of node 0}"
address="$head:${RAY_PORT:-6379}"
server="http://127.0.0.1:${RAY_DASHBOARD_PORT:-8265}"
deadline=$((SECONDS + ${RAY_WAIT_SECONDS:-1800}))
wait_for() {  # what, command that tells whether it is there
  until "${@:2}" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "no $1 in time (RAY_WAIT_SECONDS)" >&2; exit 3; }
    [ -z "${ray:-}" ] || kill -0 "$ray" 2> /dev/null || { echo "Ray did not start" >&2; exit 3; }
    sleep 2
  done
}
if [ "${NODE_RANK:?rank of this node, from 0}" -gt 0 ]; then
  wait_for "head node" ray health-check --address "$address"
  ray start --num-gpus 8 --disable-usage-stats --block --address "$address" || true
  if ray health-check --address "$address" > /dev/null 2>&1; then
    echo "this node left the run before its end" >&2
    exit 1
  fi
  exit 0
fi
ray start --num-gpus 8 --disable-usage-stats --block --head --node-ip-address "$head" --port "${RAY_PORT:-6379}" \
  --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port "${RAY_DASHBOARD_PORT:-8265}" &
ray=$!
trap 'kill "$ray" 2> /dev/null || true; wait "$ray" || true' EXIT
wait_for "job server" ray job submit --address "$server" -- true  # it answers before it accepts jobs
all_there() { [ "$(python3 -c 'import ray, sys; ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False); print(sum(node["Alive"] for node in ray.nodes()))' "$address")" -ge 8 ]; }
wait_for "8 nodes" all_there
ray job submit --address "$server" -- bash "$here/openrlhf.sh"
