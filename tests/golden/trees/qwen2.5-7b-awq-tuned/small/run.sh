#!/usr/bin/env bash
# Quantises the model. Written by recipec from qwen2.5-7b-awq-tuned.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=llmcompressor-0.14.0.1
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false

export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# One process: of several GPUs, it would spread each batch over all that it sees.
gpu="${CUDA_VISIBLE_DEVICES-0}"
export CUDA_VISIBLE_DEVICES="${gpu%%,*}"
exec python "$here/quantize_model.py" llmcompressor "$here/llmcompressor.yaml" "$here/quantize.json"
