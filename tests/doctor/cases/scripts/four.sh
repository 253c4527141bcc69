#!/bin/bash
export PORT=1
COUNT=8
srun bash -c "accelerate launch --nope train.py"
srun -N 1 bash -lc '
  cd /work  # a place
  torchrun --nproc_per_node $COUNT --master_port $PORT \
    --nnods 2 train.py
'
docker run --gpus all -v $PWD:/opt/deepspeed image /bin/sh -c "pip install deepspeed --no-cache-dir && deepspeed --num_gpuz \"$COUNT\" train.py"
env OMP_NUM_THREADS=4 torchrun --nnnodes 2 train.py
nohup time CUDA_VISIBLE_DEVICES=0,1 torchrun --nproc_per_nodes 2 train.py &
uv run accelerate launch --config_fiel a.yaml --config_file b.yaml train.py
ARGS="torchrun --rdzv_backnd c10d"
srun bash -eo pipefail -c "$ARGS train.py"
srun bash -c "sh -c 'torchrun --stand_alone train.py'"
