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
        is_chat = source["format"] == "chat" and tokenizer.chat_template
        rows = [rendered(parts, tokenizer) if is_chat else dict(parts) for parts in source["parts"]]
        sources.append({"rows": [{"texts": texts} for texts in rows]})
    common.answer(versions=common.versions(), template=common.template_digest(tokenizer), sources=sources)


def rendered(parts: list, tokenizer) -> dict:
    """Return a conversation, given as (role, text) pairs, as one text."""
    turns = [{"role": role, "content": text} for role, text in parts]
    return {"rendered": tokenizer.apply_chat_template(turns, tokenize=False)}


if __name__ == "__main__":
    main()
