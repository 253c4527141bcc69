#!/usr/bin/env bash
# Trains. Written by recipec from llama-3-8b-medical-unsloth.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=unsloth-2026.10.9
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false
export UNSLOTH_COMPILE_LOCATION=runs/llama-3-8b-medical-unsloth/prepared/unsloth_compiled_cache
export UNSLOTH_DISABLE_STATISTICS=1

# One process: of several GPUs, it would spread each batch over all that it sees.
gpu="${CUDA_VISIBLE_DEVICES-0}"
export CUDA_VISIBLE_DEVICES="${gpu%%,*}"
exec python "$here/train.py"
