#!/usr/bin/env bash
# Trains. Written by recipec from qwen2.5-7b-ko-logickor.yaml.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
environment=axolotl-0.21.0
bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"
[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }
PATH="$(cd "$bin" && pwd):$PATH"
export PATH
export AXOLOTL_DO_NOT_TRACK=1
export DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false

# Axolotl caches prepared data by its configuration, not by the rows: delete it if the rows have changed.
rows=$(cat -- data/ko_chat.jsonl | sha256sum)
[ "$(cat runs/qwen2.5-7b-ko-logickor/prepared/.rows 2>/dev/null)" = "$rows" ] || rm -rf -- runs/qwen2.5-7b-ko-logickor/prepared
mkdir -p -- runs/qwen2.5-7b-ko-logickor/prepared
printf '%s\n' "$rows" >runs/qwen2.5-7b-ko-logickor/prepared/.rows
# Axolotl takes prepared data that a kill has left half written: delete it.
for torn in runs/qwen2.5-7b-ko-logickor/prepared/*/; do
  if [ -d "$torn" ] && ! python3 -c 'import json, sys; [json.load(open(file)) for file in sys.argv[1:]]' \
    "$torn"state.json "$torn"dataset_info.json 2>/dev/null; then
    echo "$torn was not written to its end: it is made anew" >&2
    rm -rf -- "$torn"
  fi
done
# One process: of several GPUs, it would spread each batch over all that it sees.
gpu="${CUDA_VISIBLE_DEVICES-0}"
export CUDA_VISIBLE_DEVICES="${gpu%%,*}"
exec axolotl train "$here/axolotl.yaml" --launcher python ${RECIPE_RESUME_FROM:+"--resume-from-checkpoint=$RECIPE_RESUME_FROM"}
