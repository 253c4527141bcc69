#!/usr/bin/env bash
# it's a script that doesn't fix everything
set -e
GPUS_PER_NODE=8
NNODES=${NNODES:-2}
MASTER_ADDR=${MASTER_ADDR:-localhost}
if [ -n "$SMALL" ]; then
  GPUS_PER_NODE=2
fi
DISTRIBUTED_ARGS="
    --nproc_per_node $GPUS_PER_NODE \
    --nnodes 2 \
    --master_addr $MASTER_ADDR
"
pip install deepspeed accelerate
torchrun $DISTRIBUTED_ARGS train.py \
  --learning_rate 1e-4  # torchrun --nope
echo "torchrun --nope"
