#!/usr/bin/env bash
# Trains. Written by recipec from llama-3.1-8b-reward-then-ppo.yaml.
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

head="127.0.0.1"
server="http://127.0.0.1:${RAY_DASHBOARD_PORT:-8265}"
deadline=$((SECONDS + ${RAY_WAIT_SECONDS:-1800}))
wait_for() {  # what, command that tells whether it is there
  until "${@:2}" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "no $1 in time (RAY_WAIT_SECONDS)" >&2; exit 3; }
    [ -z "${ray:-}" ] || kill -0 "$ray" 2> /dev/null || { echo "Ray did not start" >&2; exit 3; }
    sleep 2
  done
}
ray start --num-gpus 8 --disable-usage-stats --block --head --node-ip-address "$head" --port "${RAY_PORT:-6379}" \
  --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port "${RAY_DASHBOARD_PORT:-8265}" &
ray=$!
trap 'kill "$ray" 2> /dev/null || true; wait "$ray" || true' EXIT
wait_for "job server" ray job submit --address "$server" -- true  # it answers before it accepts jobs
ray job submit --address "$server" -- bash "$here/openrlhf.sh"
