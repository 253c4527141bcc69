# trl 1.16.0. Written by recipec from qwen2.5-7b-shop-course.yaml: change the recipe, not this file.
"""SFT by TRL with what the recipe decided; rows.py brings the rows that settings.json describes."""

import os
from pathlib import Path

from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

import rows

settings = rows.read_settings(Path(__file__).parent / "settings.json")
config = SFTConfig(
    output_dir="runs/qwen2.5-7b-shop-course/sft",
    run_name="qwen2.5-7b-shop-course-sft",
    per_device_train_batch_size=4,
    per_device_eval_batch_size=4,
    gradient_accumulation_steps=2,  # 64 sequences per step ÷ (4 micro batch × 8 processes)
    num_train_epochs=3.0,
    optim="adamw_torch_fused",
    learning_rate=0.0002,
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
    save_strategy="steps",
    save_steps=100,
    save_total_limit=2,
    eval_strategy="epoch",
    logging_steps=1,
    report_to=["tensorboard"],
    seed=42,
    max_length=2048,
    packing=False,
    model_init_kwargs={"dtype": "bfloat16", "attn_implementation": "sdpa"},
)
adapter = LoraConfig(
    task_type="CAUSAL_LM",
    target_modules="all-linear",
    r=32,
    lora_alpha=64,
    lora_dropout=0.0,
)
tokenizer = rows.load_tokenizer(settings)
with config.main_process_first():  # one process prepares the rows, the others read them
    train, validation = rows.load_rows(settings, tokenizer)
model = AutoModelForCausalLM.from_pretrained(settings["model"], **config.model_init_kwargs)
config.model_init_kwargs = None  # they belong to a model that TRL itself would load
rows.fit_embeddings(model, tokenizer)
trainer = SFTTrainer(
    model=model,
    args=config,
    processing_class=tokenizer,
    train_dataset=train,
    eval_dataset=validation,
    peft_config=adapter,
)
trainer.train(resume_from_checkpoint=os.environ.get("RECIPE_RESUME_FROM") or None)
trainer.save_model(config.output_dir)
