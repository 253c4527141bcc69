# trl 1.16.0. Written by recipec from qwen2.5-1.5b-grpo-math.yaml: change the recipe, not this file.
"""GRPO by TRL with what the recipe decided; rows.py brings the rows that settings.json describes."""

import os
from pathlib import Path

from trl import GRPOConfig, GRPOTrainer

import rewards
import rows

settings = rows.read_settings(Path(__file__).parent / "settings.json")
config = GRPOConfig(
    output_dir="runs/qwen2.5-1.5b-grpo-math/train",
    run_name="qwen2.5-1.5b-grpo-math-train",
    per_device_train_batch_size=8,
    per_device_eval_batch_size=8,
    gradient_accumulation_steps=2,  # 64 sequences per step ÷ (8 micro batch × 4 processes)
    num_train_epochs=4.0,
    optim="adamw_torch_fused",
    learning_rate=1e-06,
    lr_scheduler_type="cosine",
    warmup_steps=0.05,  # below 1: fraction of all steps
    weight_decay=0.0,
    adam_beta1=0.9,
    adam_beta2=0.999,
    adam_epsilon=1e-08,
    max_grad_norm=1.0,
    bf16=True,
    fp16=False,
    tf32=True,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},  # re-entrant checkpointing breaks LoRA under DDP
    dataloader_num_workers=4,
    save_strategy="epoch",
    eval_strategy="no",
    logging_steps=1,
    report_to="none",
    seed=42,
    beta=0.0,
    num_generations=8,
    max_completion_length=1024,
    temperature=1.0,
    top_p=1.0,
    num_iterations=1,
    epsilon=0.2,
    epsilon_high=0.28,
    mask_truncated_completions=True,
    shuffle_dataset=True,
    loss_type="dapo",
    scale_rewards="group",
    reward_weights=[1.0, 0.2, 0.1],
    model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
)
tokenizer = rows.load_tokenizer(settings)
with config.main_process_first():  # one process prepares the rows, the others read them
    train, validation = rows.load_rows(settings, tokenizer)
trainer = GRPOTrainer(
    model=settings["model"],
    args=config,
    processing_class=tokenizer,
    reward_funcs=[rewards.exact_answer, rewards.format_matches, rewards.shows_steps],
    train_dataset=train,
    eval_dataset=validation,
)
trainer.train(resume_from_checkpoint=os.environ.get("RECIPE_RESUME_FROM") or None)
trainer.save_model(config.output_dir)
