"""Make models that know bytes and the special tokens of real families: `python make_models.py models.json`.

Run by an environment's Python, in the folder that the models go to. Each has a tokenizer of bytes, a tiny configuration
and, where its family has one, the family's own chat template; its folder has the family's name on the hub, so that a
recipe names it like the real one.
"""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, PreTrainedTokenizerFast


def make(name: str, row: dict, templates: list[Path]) -> None:
    """Make one model."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = Tokenizer(models.BPE(vocab={char: at for at, char in enumerate(alphabet)}, merges=[]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in row["tokens"]])
    bos = row["bos"]
    if bos is not None:  # as the tokenizers of these families do
        whole.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, whole.token_to_id(bos))]
        )
    special = {"bos_token": bos, "eos_token": row["eos"]}
    special = {word: token for word, token in special.items() if token is not None}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, model_max_length=4096, **special)
    if row["template"] is not None:
        places = (folder / f"{row['template']}.jinja" for folder in templates)
        tokenizer.chat_template = next(place for place in places if place.exists()).read_text(encoding="utf-8")
    tokenizer.save_pretrained(name)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id, **sizes
    )
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(name)


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, row in asked["models"].items():
        make(name, row, [Path(folder) for folder in asked["templates"]])
