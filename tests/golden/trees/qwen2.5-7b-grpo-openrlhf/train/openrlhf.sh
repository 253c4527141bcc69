#!/usr/bin/env bash
# openrlhf 0.11.2. Written by recipec from qwen2.5-7b-grpo-openrlhf.yaml: change the recipe, not this file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
arguments=(
  --actor.model_name_or_path Qwen/Qwen2.5-7B-Instruct  # OpenRLHF always runs code that comes with a model
  --data.max_len 2048
  --ds.attn_implementation flash_attention_2
  --ds.packing_samples  # skips padding; results do not change
  --ds.param_dtype bf16
  --actor.gradient_checkpointing_enable
  --ds.zero_stage 2
  --actor.num_nodes 1
  --actor.num_gpus_per_node 6
  --ref.num_nodes 1
  --ref.num_gpus_per_node 6
  --train.colocate_actor_ref  # actor and reference share GPUs
  --vllm.num_engines 2
  --vllm.tensor_parallel_size 1
  --vllm.gpu_memory_utilization 0.85
  --data.prompt_dataset data/maths.jsonl
  --data.prompt_split train
  --data.input_key prompt  # standard names, as mapped
  --data.label_key answer  # standard names, as mapped
  --data.apply_chat_template  # a plain-text prompt becomes a user turn
  --reward.remote_url "$here/rewards.py"
  --reward.clip_range -1000000 1000000  # rewards are not clipped
  --train.batch_size 96  # completions per optimiser step
  --train.micro_batch_size 4
  --rollout.batch_size 12  # prompts; their completions are one optimiser step
  --rollout.n_samples_per_prompt 8
  --rollout.micro_batch_size 4
  --train.num_episodes 2  # passes over the prompts
  --train.max_epochs 1  # passes over each batch of completions
  --data.dataloader_num_workers 4
  --rollout.max_new_tokens 1024
  --rollout.temperature 1.0
  --rollout.top_p 1.0
  --algo.advantage.estimator group_norm
  --algo.kl.init_coef 0.001
  --algo.kl.use_loss
  --algo.kl.estimator k3
  --actor.policy_loss_type ppo
  --actor.loss_agg_mode seq-mean-token-mean
  --actor.eps_clip_low_high 0.2 0.2
  --actor.optim adam
  --actor.adam.lr 1e-06
  --actor.adam.betas 0.9 0.999
  --actor.adam.eps 1e-08
  --actor.adam.weight_decay 0.0
  --actor.lr_scheduler cosine
  --actor.lr_warmup_ratio 0.0
  --actor.max_norm 1.0
  --train.seed 42
  --ckpt.output_dir runs/qwen2.5-7b-grpo-openrlhf/train
  --ckpt.path runs/qwen2.5-7b-grpo-openrlhf/train/checkpoints
  --ckpt.save_steps 50
  --ckpt.max_num 1000000
  --ckpt.load_enable  # resumes from the last checkpoint there, if there is one
  --logger.logging_steps 1
)
exec python3 -m openrlhf.cli.train_ppo_ray "${arguments[@]}"
