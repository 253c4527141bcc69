# unsloth 2026.10.9. Written by recipec from llama-3-8b-medical-unsloth.yaml: change the recipe, not this file.
"""SFT by Unsloth and TRL with what the recipe decided; rows.py brings the rows that settings.json describes."""

import os
from pathlib import Path

import torch
from unsloth import FastLanguageModel  # before TRL, which it patches

from trl import SFTConfig, SFTTrainer

import rows

settings = rows.read_settings(Path(__file__).parent / "settings.json")
model, _tokenizer = FastLanguageModel.from_pretrained(
    model_name="meta-llama/Meta-Llama-3-8B-Instruct",
    use_exact_model_name=True,  # otherwise Unsloth replaces some models by its own copies
    max_seq_length=2048,
    dtype=torch.bfloat16,
    load_in_4bit=True,
    use_gradient_checkpointing="unsloth",
    random_state=42,
)
if not getattr(model, "is_loaded_in_4bit", False):
    raise SystemExit("train.py: Unsloth has loaded 16-bit weights, for bitsandbytes cannot hold 4-bit weights here")
tokenizer = rows.load_tokenizer(settings)
model = FastLanguageModel.get_peft_model(
    model,
    r=16,
    lora_alpha=32,
    lora_dropout=0.0,
    target_modules="all-linear",
    use_gradient_checkpointing="unsloth",
    random_state=42,
)
config = SFTConfig(
    output_dir="runs/llama-3-8b-medical-unsloth/train",
    run_name="llama-3-8b-medical-unsloth-train",
    per_device_train_batch_size=2,
    per_device_eval_batch_size=2,
    gradient_accumulation_steps=8,  # 16 sequences per step ÷ (2 micro batch × 1 process)
    num_train_epochs=3.0,
    optim="adamw_bnb_8bit",
    learning_rate=0.0002,
    lr_scheduler_type="linear",
    warmup_steps=0.05,  # below 1: fraction of all steps
    weight_decay=0.01,
    adam_beta1=0.9,
    adam_beta2=0.999,
    adam_epsilon=1e-08,
    max_grad_norm=1.0,
    bf16=True,
    fp16=False,
    tf32=True,
    gradient_checkpointing=True,
    dataloader_num_workers=4,
    save_strategy="steps",
    save_steps=50,
    save_total_limit=2,
    eval_strategy="steps",
    eval_steps=50,
    logging_steps=1,
    report_to="none",
    seed=42,
    max_length=2048,
    packing=False,
)
train, validation = rows.load_rows(settings, tokenizer)
trainer = SFTTrainer(
    model=model,
    args=config,
    processing_class=tokenizer,
    train_dataset=train,
    eval_dataset=validation,
)
trainer.train(resume_from_checkpoint=os.environ.get("RECIPE_RESUME_FROM") or None)
trainer.save_model(config.output_dir)
