"""How rows of data/preferences.jsonl become what orpo learns from."""

from axolotl.prompt_strategies.dpo.chat_template import default as conversations

SOURCE = {"field_messages": "messages", "field_chosen": "chosen", "field_rejected": "rejected", "message_property_mappings": {"role": "role", "content": "content"}}


def default(cfg, **_):
    return conversations({**cfg, "datasets": [SOURCE]})
