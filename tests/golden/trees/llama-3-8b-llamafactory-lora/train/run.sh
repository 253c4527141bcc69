#!/usr/bin/env bash
# Trains. Written by recipec from llama-3-8b-llamafactory-lora.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=llamafactory-0.9.5
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false
export WANDB_PROJECT=support-chat
export WANDB_RUN_GROUP=llama-3-8b-llamafactory-lora

mkdir -p runs/llama-3-8b-llamafactory-lora/prepared
cp "$here/dataset_info.json" runs/llama-3-8b-llamafactory-lora/prepared/
ln -sfn "$PWD" runs/llama-3-8b-llamafactory-lora/prepared/start
# One process: of several GPUs, it would spread each batch over all that it sees.
gpu="${CUDA_VISIBLE_DEVICES-0}"
export CUDA_VISIBLE_DEVICES="${gpu%%,*}"
exec llamafactory-cli train "$here/llamafactory.yaml" ${RECIPE_RESUME_FROM:+"resume_from_checkpoint=$RECIPE_RESUME_FROM"}
