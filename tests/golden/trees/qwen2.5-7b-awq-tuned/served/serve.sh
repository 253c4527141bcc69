#!/usr/bin/env bash
# Serves the model until it is stopped. Run it from the folder that the recipe's paths start at, after the run.
# What stands behind its name is told to the server last: bash serve.sh --port 9000
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/vllm-0.33.0/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH DO_NOT_TRACK=1
exec vllm serve --config "$here/vllm.yaml" "$@"
