#!/usr/bin/env bash
# Trains. Written by recipec from llama-3-70b-fsdp2-offload.yaml.
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
# The optimiser steps on the CPU, where launchers leave each process one thread.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(($(nproc) / 8 > 0 ? $(nproc) / 8 : 1))}"

export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
: "${NODE_RANK:?rank of this node, from 0}" "${MASTER_ADDR:?address of node 0}"
if ! [[ "$NODE_RANK" =~ ^(0|[1-9][0-9]*)$ && "$NODE_RANK" -lt 8 ]]; then
  echo "NODE_RANK is $NODE_RANK, but the 8 nodes are 0 to 7" >&2
  exit 2
fi
sign=runs/llama-3-70b-fsdp2-offload/nodes/train
mkdir -p runs/llama-3-70b-fsdp2-offload/nodes
if [ "$NODE_RANK" = 0 ]; then
  # Axolotl takes prepared data that a kill has left half written: delete it.
  for torn in runs/llama-3-70b-fsdp2-offload/prepared/*/; do
    if [ -d "$torn" ] && ! python3 -c 'import json, sys; [json.load(open(file)) for file in sys.argv[1:]]' \
      "$torn"state.json "$torn"dataset_info.json 2>/dev/null; then
      echo "$torn was not written to its end: it is made anew" >&2
      rm -rf -- "$torn"
    fi
  done
  # the other nodes wait for this sign that node 0 is here; they take none that an earlier run left
  printf '%s\n' "${RECIPE_RESUME_FROM:-}" >"$sign.new"  # what node 0 goes on from
  mv "$sign.new" "$sign"
  (while kill -0 $$ 2>/dev/null; do touch "$sign"; sleep 2; done) >/dev/null 2>&1 &
else
  mine="$sign.$NODE_RANK"
  touch "$mine"
  began="${RECIPE_BEGAN:-$mine}"
  echo "node $NODE_RANK waits for node 0 to begin train" >&2
  until [ "$sign" -nt "$mine" ]; do
    if [ "$sign.done" -nt "$mine" ]; then
      echo "node 0 has train already" >&2
      rm -f "$mine"
      exit 0
    fi
    if [ runs/llama-3-70b-fsdp2-offload/nodes/failed -nt "$began" ]; then echo "node 0 has failed: see its output" >&2; exit 1; fi
    if [ "$SECONDS" -ge "${RECIPE_WAIT_SECONDS:-7200}" ]; then
      echo "node 0 did not begin train in time (RECIPE_WAIT_SECONDS): see its output" >&2
      exit 3
    fi
    sleep 1
  done
  rm -f "$mine"
  RECIPE_RESUME_FROM=$(<"$sign")
  export RECIPE_RESUME_FROM
fi
exec accelerate launch --config_file "$here/accelerate.yaml" --machine_rank "${NODE_RANK:?rank of this node, from 0}" \
  --main_process_ip "${MASTER_ADDR:?address of node 0}" --main_process_port "${MASTER_PORT:-29500}" \
  -m axolotl.cli.train "$here/axolotl.yaml" ${RECIPE_RESUME_FROM:+"--resume-from-checkpoint=$RECIPE_RESUME_FROM"}
