#!/usr/bin/env bash
# The same measurements by vLLM's own sweep, which repeats each three times, and chooses nothing. Run it from the folder that
# the recipe's paths start at, after the run; it goes on where it was stopped by: bash sweep.sh --resume
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/vllm-0.33.0/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH DO_NOT_TRACK=1
exec vllm bench sweep serve --serve-cmd "vllm serve --config '$here/../served/vllm.yaml' --host 127.0.0.1 --port 8000" \
    --bench-cmd "vllm bench serve --model shop --host 127.0.0.1 --port 8000" \
    --serve-params "$here/sweep_serve.json" --bench-params "$here/sweep_bench.json" \
    --server-ready-timeout 1800 --continue-on-error -o runs/qwen2.5-7b-awq-tuned/speed -e sweep "$@"
