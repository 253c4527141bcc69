#!/usr/bin/env bash
# openrlhf 0.11.2. Written by recipec from llama-3.1-8b-reward-then-ppo.yaml: change the recipe, not this file.
set -euo pipefail
arguments=(
  --model.model_name_or_path meta-llama/Llama-3.1-8B-Instruct  # OpenRLHF always runs code that comes with a model
  --data.max_len 2048
  --ds.attn_implementation flash_attention_2
  --ds.packing_samples  # skips padding; results do not change
  --ds.param_dtype bf16
  --model.gradient_checkpointing_enable
  --ds.zero_stage 3
  --data.dataset data/preferences.jsonl
  --data.dataset_split train
  --data.prompt_key messages  # standard names, as mapped
  --data.chosen_key chosen  # standard names, as mapped
  --data.rejected_key rejected  # standard names, as mapped
  --data.apply_chat_template  # standard names, as mapped
  --train.batch_size 64  # 2 micro batch × 4 accumulation × 8 processes
  --train.micro_batch_size 2
  --train.max_epochs 1
  --data.dataloader_num_workers 4
  --optim adam
  --adam.lr 9e-06
  --adam.betas 0.9 0.999
  --adam.eps 1e-08
  --adam.weight_decay 0.0
  --lr_scheduler cosine
  --lr_warmup_ratio 0.0
  --max_norm 1.0
  --train.seed 42
  --ckpt.output_dir runs/llama-3.1-8b-reward-then-ppo/rm
  --ckpt.path runs/llama-3.1-8b-reward-then-ppo/rm/checkpoints
  --ckpt.max_num 1000000
  --ckpt.load_enable  # resumes from the last checkpoint there, if there is one
  --logger.logging_steps 1
)
exec deepspeed --num_gpus 8 --module openrlhf.cli.train_rm "${arguments[@]}"
