#!/bin/sh
ARGS="--nnodes 2 --nproc_per_nod 8"
python -m torch.distributed.run $ARGS --rdzv_endpoint "localhost:1" train.py
deepspeed --num_gpu 8 --hostfle hosts train.py
