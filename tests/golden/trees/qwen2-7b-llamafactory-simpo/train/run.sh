#!/usr/bin/env bash
# Trains. Written by recipec from qwen2-7b-llamafactory-simpo.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=llamafactory-0.9.5-deepspeed
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false

mkdir -p runs/qwen2-7b-llamafactory-simpo/prepared
cp "$here/dataset_info.json" runs/qwen2-7b-llamafactory-simpo/prepared/
ln -sfn "$PWD" runs/qwen2-7b-llamafactory-simpo/prepared/start
exec accelerate launch --config_file "$here/accelerate.yaml" --deepspeed_config_file "$here/ds_config.json" \
  -m llamafactory.launcher "$here/llamafactory.yaml" "deepspeed=$here/ds_config.json" ${RECIPE_RESUME_FROM:+"resume_from_checkpoint=$RECIPE_RESUME_FROM"}
