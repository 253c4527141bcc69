#!/usr/bin/env bash
# Trains. Written by recipec from llama-3-8b-continued-pretraining.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=axolotl-0.21.0-deepspeed
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export AXOLOTL_DO_NOT_TRACK=1
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false

exec accelerate launch --config_file "$here/accelerate.yaml" --deepspeed_config_file "$here/ds_config.json" \
  -m axolotl.cli.train "$here/axolotl.yaml" --deepspeed "$here/ds_config.json" ${RECIPE_RESUME_FROM:+"--resume-from-checkpoint=$RECIPE_RESUME_FROM"}
