"""Rows as the tokenizer's own chat template renders them, for trainers whose preparation is not asked: no masks."""

import common


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    tokenizer = common.load_tokenizer(request)
    if tokenizer is None:
        return
    sources = []
    for source in request["sources"]:
        talks = source["format"] == "chat" and tokenizer.chat_template
        rows = [rendered(parts, tokenizer) if talks else dict(parts) for parts in source["parts"]]
        sources.append({"rows": [{"texts": texts} for texts in rows]})
    common.answer(versions=common.versions(), template=common.template_digest(tokenizer), sources=sources)


def rendered(parts: list, tokenizer) -> dict:
    """Return a conversation of (role, text) as one text."""
    turns = [{"role": role, "content": text} for role, text in parts]
    return {"rendered": tokenizer.apply_chat_template(turns, tokenize=False)}


if __name__ == "__main__":
    main()
