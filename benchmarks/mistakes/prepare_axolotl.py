"""Prepare rows as `axolotl preprocess` does, for configurations whose models are not here; under an Axolotl environment's Python.

Argument: a file that holds a JSON list of configuration files. Standard output: for each, {"error": text or null,
"warnings": texts}. In place of a model there is a tiny tokenizer with its name's kind of template: chat models have one,
bases have none. What asks for a GPU is left out; it is not what rows are prepared by.
"""

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
ON_CPU = {"bf16": False, "fp16": False, "tf32": False, "load_in_4bit": False, "dataset_num_proc": 1}
KERNELS = dict.fromkeys(("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"), False)


class Heard(logging.Handler):
    """Keeps the warnings of Axolotl."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


def make_model(folder: Path, template: str | None) -> None:
    """Write a tokenizer over bytes, and the configuration of a small model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    words = {char: number for number, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=words, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)


def on_cpu(given: dict[str, Any], models: dict[bool, Path], place: Path) -> dict[str, Any]:
    """Return a configuration whose rows a machine without GPUs and models can prepare."""
    adapter = {"adapter": "lora"} if given.get("adapter") == "qlora" else {}
    kept = {key: value for key, value in given.items() if key not in ("deepspeed", "bnb_config_kwargs", "tokens")}
    model = models["Instruct" in str(given["base_model"])]
    kernels = KERNELS if given.get("adapter") else {}
    places = {"base_model": str(model), "dataset_prepared_path": str(place / "prepared"), "output_dir": str(place)}
    return {**kept, **ON_CPU, **kernels, **adapter, **places}


def main() -> None:
    """Prepare each by what `axolotl preprocess` calls, in a fork of this process."""
    files = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv[1:] = ["--no_download"]  # Axolotl reads these, too
    out = os.dup(1)
    os.dup2(2, 1)  # what Axolotl prints is not the answer
    import yaml
    from axolotl.cli.preprocess import do_cli

    answers = []
    with tempfile.TemporaryDirectory() as folder:
        models = {chat: Path(folder) / ("chat" if chat else "base") for chat in (True, False)}
        for chat, place in models.items():
            make_model(place, TEMPLATE if chat else None)
        for file in files:
            place = Path(file).parent
            config, said = place / "on-cpu.yaml", place / "answer.json"
            given = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
            config.write_text(yaml.safe_dump(on_cpu(given, models, place)), encoding="utf-8")
            child = os.fork()
            if not child:
                heard, error = Heard(), None
                for name in ["", *(name for name in logging.root.manager.loggerDict if name.startswith("axolotl"))]:
                    logging.getLogger(name).addHandler(heard)
                try:
                    do_cli(config=str(config))
                except BaseException as refusal:  # whatever ends it is the answer
                    error = f"{type(refusal).__name__}: {refusal}"
                said.write_text(json.dumps({"error": error, "warnings": sorted(set(heard.texts))}), encoding="utf-8")
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            ended = {"error": f"exit code {code}", "warnings": []}
            answers.append(json.loads(said.read_text(encoding="utf-8")) if said.exists() else ended)
            print(file, answers[-1], file=sys.stderr, flush=True)
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(answers, stream)


if __name__ == "__main__":
    main()
