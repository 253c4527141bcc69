"""Judge tokens of an Axolotl file with the code by which Axolotl loads a model's configuration and its tokenizer.

A job: {"file": a folder to write to, "values": keys of the file}. The model is a Llama that knows bytes and `<|eot_id|>`.
Axolotl's validation, which does not look at the model, is judged by `axolotl.py`.
"""

from importlib import import_module
from typing import Any

from judging import Job, run


def judge(job: Job) -> list[str]:
    """Return the tokens that are added in silence. Raises whatever Axolotl raises."""
    tokenizers, transformers = import_module("tokenizers"), import_module("transformers")
    words = {char: at for at, char in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}
    bytewise = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=[]))
    bytewise.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<|eot_id|>")
    tokenizer.save_pretrained(job["file"])
    transformers.LlamaConfig(vocab_size=len(tokenizer)).save_pretrained(job["file"])
    values: dict[str, Any] = {"base_model": job["file"], "tokenizer_config": job["file"], **job["values"]}
    cfg = import_module("axolotl.utils.dict").DictDefault(values)
    loaded = import_module("axolotl.loaders").load_tokenizer(cfg)
    return sorted(loaded.get_added_vocab().keys() - {"<|eot_id|>"})


if __name__ == "__main__":
    run(judge)
