"""Rows rendered with the tokenizer's own chat template, without masks: for trainers without a script of their own."""

import common


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    tokenizer = common.load_tokenizer(request)
    if tokenizer is None:
        return
    sources = []
    for source in request["sources"]:
        is_chat = source["format"] in ("chat", "prompt") and source["turns"] and tokenizer.chat_template
        asks = source["format"] == "prompt"
        rows = [rendered(parts, tokenizer, asks=asks) if is_chat else dict(parts) for parts in source["parts"]]
        sources.append({"rows": [{"texts": texts} for texts in rows]})
    common.answer(versions=common.versions(), template=common.template_digest(tokenizer), sources=sources)


def rendered(parts: list, tokenizer, *, asks: bool) -> dict:
    """Return a conversation, given as (role, text) pairs, as one text; of a prompt that `asks`, the answer is to come."""
    turns = [
        {"role": role.removeprefix("prompt: ") if role != "prompt" else "user", "content": text}
        for role, text in parts
        if role != "answer"
    ]
    return {"rendered": tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=asks)}


if __name__ == "__main__":
    main()
