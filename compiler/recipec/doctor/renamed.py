"""Keys that tools read once: what to write at the pinned release instead. Data only.

Of the Hugging Face trainer: the releases that each tool pins (transformers 5) against the documentation of 4.40 to 4.57;
of the others: their own change logs and the code that reads the key's successor.
"""

from __future__ import annotations

# key: (what to write instead, or None; what to know)
Moves = dict[str, tuple[str | None, str]]

_TRAINER: Moves = {
    "evaluation_strategy": ("eval_strategy", "renamed in transformers 4.46"),
    "overwrite_output_dir": (None, "transformers 5 has no such option: delete it, and empty the folder yourself"),
    "warmup_ratio": ("warmup_steps", "transformers 5 takes a fraction as `warmup_steps: 0.1`"),
    "logging_dir": (None, "set the environment variable TENSORBOARD_LOGGING_DIR instead"),
    "save_safetensors": (None, "transformers 5 always writes safetensors: delete it"),
    "group_by_length": ("train_sampling_strategy", "write `train_sampling_strategy: group_by_length`"),
    "no_cuda": ("use_cpu", "renamed in transformers 4.34"),
    "use_mps_device": (None, "the device is found by itself: delete it"),
    "half_precision_backend": (None, "there is one backend: delete it"),
    "fp16_opt_level": (None, "it belonged to apex: delete it"),
    "fp16_backend": (None, "there is one backend: delete it"),
    "tokenizer": ("processing_class", "the trainer's argument of that name; a file does not set it"),
    "include_inputs_for_metrics": ("include_for_metrics", "write `include_for_metrics: [inputs]`"),
    "include_tokens_per_second": (None, "removed in transformers 5: delete it"),
    "push_to_hub_model_id": ("hub_model_id", "renamed in transformers 4"),
    "push_to_hub_token": ("hub_token", "renamed in transformers 4"),
    "per_gpu_train_batch_size": ("per_device_train_batch_size", "renamed in transformers 4"),
    "jit_mode_eval": (None, "removed in transformers 5: delete it"),
    "torchdynamo": ("torch_compile", "renamed in transformers 4"),
    "ray_scope": (None, "it concerned hyperparameter search: delete it"),
    "past_index": (None, "removed in transformers 5: delete it"),
}

MOVED: dict[str, Moves] = {
    "trl": _TRAINER
    | {
        "max_seq_length": ("max_length", "renamed in TRL 0.20"),
        "max_prompt_length": (None, "TRL cuts the prompt with the whole row, at `max_length`: delete it"),
        "max_completion_length": ("max_length", "only GRPO and RLOO have `max_completion_length`"),
        "max_target_length": (None, "TRL cuts whole rows, at `max_length`: delete it"),
        "torch_dtype": ("dtype", "renamed in transformers 4.56"),
        "use_flash_attention_2": ("attn_implementation", "write `attn_implementation: flash_attention_2`"),
        "dataset_mixture": ("datasets", "a list of `path`, `name`, `split` and `columns`; `id` and `config` are other projects' words"),
        "dataset_mixer": ("datasets", "a list of `path`, `name`, `split` and `columns`"),
        "dataset_splits": ("datasets", "each entry of `datasets` has its own `split`"),
        "preprocessing_num_workers": ("dataset_num_proc", "TRL's name of it"),
        "dataset_batch_size": (None, "removed: delete it"),
        "chat_template": ("chat_template_path", "a file or model; a template in the text itself belongs to other projects"),
        "num_of_sequences": (None, "removed with the old packing: delete it"),
        "eval_packing_strategy": ("eval_packing", "TRL has one strategy for both"),
        "rpo_alpha": ("loss_type", "write `loss_type: [sigmoid, sft]` with `loss_weights`"),
        "hub_model_revision": ("hub_revision", "TRL's name of it"),
        "is_encoder_decoder": (None, "removed: delete it"),
        "generate_during_eval": (None, "removed: delete it"),
        "model_adapter_name": (None, "removed: delete it"),
        "ref_adapter_name": (None, "removed: delete it"),
    },
    "llamafactory": {key: row for key, row in _TRAINER.items() if key not in ("warmup_ratio", "overwrite_output_dir", "logging_dir")}
    | {
        "dpo_beta": ("pref_beta", "renamed in LLaMA-Factory 0.8"),
        "dpo_loss": ("pref_loss", "renamed in LLaMA-Factory 0.8"),
        "dpo_ftx": ("pref_ftx", "renamed in LLaMA-Factory 0.8"),
        "orpo_beta": ("pref_beta", "write `stage: dpo` with `pref_loss: orpo`"),
        "num_layer_trainable": ("freeze_trainable_layers", "renamed in LLaMA-Factory 0.8"),
        "name_module_trainable": ("freeze_trainable_modules", "renamed in LLaMA-Factory 0.8"),
        "max_source_length": ("cutoff_len", "one length since LLaMA-Factory 0.6"),
        "max_target_length": ("cutoff_len", "one length since LLaMA-Factory 0.6"),
        "max_seq_length": ("cutoff_len", "LLaMA-Factory's name of it"),
        "model_max_length": ("cutoff_len", "LLaMA-Factory's name of it"),
        "sft_packing": ("packing", "renamed in LLaMA-Factory 0.7"),
        "lora_r": ("lora_rank", "LLaMA-Factory's name of it"),
        "lora_target_modules": ("lora_target", "LLaMA-Factory's name of it"),
        "use_flash_attention_2": ("flash_attn", "write `flash_attn: fa2`"),
        "visual_inputs": (None, "LLaMA-Factory sees it from the data: delete it"),
        "checkpoint_dir": ("adapter_name_or_path", "renamed in LLaMA-Factory 0.5"),
        "fsdp_transformer_layer_cls_to_wrap": ("fsdp_config", "write it below `fsdp_config:`"),
    },
    "axolotl": {
        "sharding_strategy": ("reshard_after_forward", "Axolotl's FSDP takes `reshard_after_forward: true` for FULL_SHARD, false for SHARD_GRAD_OP"),
        "fsdp_sharding_strategy": ("reshard_after_forward", "Axolotl's FSDP takes `reshard_after_forward: true` for FULL_SHARD, false for SHARD_GRAD_OP"),
        "limit_all_gathers": (None, "Axolotl's FSDP has no such option: delete it"),
        "fsdp_limit_all_gathers": (None, "Axolotl's FSDP has no such option: delete it"),
        "backward_prefetch": (None, "Axolotl's FSDP has no such option: delete it"),
        "fsdp_backward_prefetch": (None, "Axolotl's FSDP has no such option: delete it"),
        "forward_prefetch": (None, "Axolotl's FSDP has no such option: delete it"),
        "fsdp_forward_prefetch": (None, "Axolotl's FSDP has no such option: delete it"),
        "eta_min": ("cosine_min_lr_ratio", "a ratio of the learning rate, not a rate"),
        "full_finetune": (None, "a training without `adapter` is a full one: delete it"),
        "message_property_mappings": (None, "only a dataset of `type: chat_template` without `rl` has it"),
        "max_seq_length": ("sequence_len", "Axolotl's name of it"),
        "cutoff_len": ("sequence_len", "Axolotl's name of it"),
        "model_name_or_path": ("base_model", "Axolotl's name of it"),
        "per_device_train_batch_size": ("micro_batch_size", "Axolotl's name of it"),
        "per_device_eval_batch_size": ("eval_batch_size", "Axolotl's name of it"),
        "num_train_epochs": ("num_epochs", "Axolotl's name of it"),
        "lr_scheduler_type": ("lr_scheduler", "Axolotl's name of it"),
        "optim": ("optimizer", "Axolotl's name of it"),
        "lora_rank": ("lora_r", "Axolotl's name of it"),
        "load_in_4bit_use_double_quant": (None, "removed: Axolotl always quantises twice"),
    },
    "deepspeed": {
        "cpu_offload": ("offload_optimizer", "write `offload_optimizer: {device: cpu}` in `zero_optimization`"),
        "zero_stage": ("zero_optimization", "write `zero_optimization: {stage: …}`"),
        "micro_batch_per_gpu": ("train_micro_batch_size_per_gpu", "DeepSpeed's name of it"),
        "activation_checkpoint": ("activation_checkpointing", "DeepSpeed's name of it"),
        "stage3_gather_fp16_weights_on_model_save": ("stage3_gather_16bit_weights_on_model_save", "renamed in DeepSpeed 0.5"),
    },
    "accelerate": {
        "fsdp_limit_all_gathers": (None, "accelerate reads no such key: delete it"),
        "amax_history_length": ("amax_history_len", "accelerate's own questionnaire writes it so, and then its default is used"),
        "amax_compute_algorithm": ("amax_compute_algo", "accelerate's own questionnaire writes it so, and then its default is used"),
        "optimization_level": ("opt_level", "accelerate's own questionnaire writes it so, and then its default is used"),
        "deepspeed_fields_from_accelerate_config": (None, "accelerate reads no such key: delete it"),
    },
    "lm_eval": {
        "model_name_or_path": ("model_args", "write `model_args: {pretrained: …}`"),
        "fewshot": ("num_fewshot", "lm-eval's name of it"),
        "output_dir": ("output_path", "lm-eval's name of it"),
    },
}  # fmt: skip

# What a tool does with a key that it does not know: at the top of the file, and deeper in it.
FATE = {
    "axolotl": ("Axolotl ignores it without a message", "Axolotl ignores it without a message"),
    "llamafactory": ("llamafactory-cli refuses the whole file", "llamafactory-cli hands it on as it is"),
    "trl": ("`trl` takes it for an option of accelerate and stops; other launchers ignore it", "TRL stops at it"),
    "experimental": ("the script that reads this file stops at it, or ignores it", "TRL stops at it"),
    "deepspeed": (
        "DeepSpeed ignores it without a message",
        "DeepSpeed stops at it, or ignores it without a message",
    ),
    "accelerate": ("accelerate refuses the whole file", "accelerate ignores it without a message"),
    "lm_eval": ("lm-eval refuses the whole file", "lm-eval hands it on to the model, which stops at it"),
}
