#!/usr/bin/env bash
# Trains. Written by recipec from qwen2.5-7b-every-checkpoint.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=trl-1.16.0
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false
export WANDB_PROJECT=support-chat
export WANDB_RUN_GROUP=qwen2.5-7b-every-checkpoint

# One process: of several GPUs, it would spread each batch over all that it sees.
gpu="${CUDA_VISIBLE_DEVICES-0}"
export CUDA_VISIBLE_DEVICES="${gpu%%,*}"
# So that scores of checkpoints go to the training's own run, which a training that is resumed goes on with.
mkdir -p -- runs/qwen2.5-7b-every-checkpoint/train/kept
[ -s runs/qwen2.5-7b-every-checkpoint/train/kept/wandb-run ] || python -c 'import secrets; print(secrets.token_hex(4))' >runs/qwen2.5-7b-every-checkpoint/train/kept/wandb-run
WANDB_RUN_ID=$(cat -- runs/qwen2.5-7b-every-checkpoint/train/kept/wandb-run)
export WANDB_RUN_ID
# Keeps checkpoints for evaluate-checkpoints before the trainer deletes them.
export WANDB_RESUME=allow
python "$here/../evaluate-checkpoints/evaluate_checkpoints.py" "$here/../evaluate-checkpoints/checkpoints.json" --keep $$ &
exec python "$here/train.py"
