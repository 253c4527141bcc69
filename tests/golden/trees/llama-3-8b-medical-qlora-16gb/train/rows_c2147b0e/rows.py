"""How rows of data/medical.jsonl become what sft learns from."""

from axolotl.datasets import wrap_dataset_for_tokenized_prompt
from axolotl.prompt_strategies.chat_template import load as conversations
from axolotl.prompt_tokenizers import DatasetWrappingStrategy

SYSTEM = None


def turns(row):
    system, more = SYSTEM, row.get("input")
    said = [{"role": "system", "content": system}] if system else []
    asked = row["instruction"] + (f"\n{more}" if more else "")
    said += [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]
    return {"messages": said}


class Turns(DatasetWrappingStrategy):
    def __init__(self, strategy):
        self.strategy = strategy

    def wrap_dataset(self, dataset, process_count=None, keep_in_memory=False, **_):
        rows = dataset.map(turns, remove_columns=dataset.column_names, num_proc=process_count)
        return wrap_dataset_for_tokenized_prompt(
            self.strategy, rows, process_count=process_count, keep_in_memory=keep_in_memory
        )


def load(tokenizer, cfg, ds_cfg=None):
    return Turns(conversations(tokenizer, cfg, {"roles_to_train": ["assistant"], "train_on_eos": "turn"}))
