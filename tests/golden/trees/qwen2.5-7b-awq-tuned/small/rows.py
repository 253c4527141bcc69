"""Rows of data, as the recipe describes them, into what TRL trains on. Written beside `train.py`.

Every row is brought to one shape, measured, and left out when it is longer than the recipe's `max_length`: TRL itself
would cut it off. A row that lacks a column stops the run with the name of the column, before anything is trained.
"""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

CARRIED = ("tool_calls", "tool_call_id", "name", "reasoning_content")  # of a turn, beside its role and what it says


def standard_turns(messages: list, columns: dict, roles: dict) -> list[dict]:
    """Return messages with the standard names of roles and columns. Raises ValueError for what no template can write.

    What is null is left out: files whose columns have one type fill up what a row does not have.
    """
    known = {name: standard for standard, names in roles.items() for name in names}
    found = []
    for message in messages:
        role, said = message.get(columns["role"]), message.get(columns["content"])
        turn = {"role": known.get(role, role), "content": _text(said, message)}
        turn |= {word: without_nulls(message[word]) for word in CARRIED if message.get(word)}
        if "tool_calls" in turn:
            turn["tool_calls"] = [_called(call) for call in _decoded(turn["tool_calls"])]
        found.append(turn)
    return found


def listed_tools(value) -> list | None:
    """Return a list of tools that may be JSON text, and so may their parameters; None where there are none."""
    tools = without_nulls(_decoded(value)) if value else None
    for tool in tools or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if "parameters" in function:
            function["parameters"] = _decoded(function["parameters"])
    return tools or None


def pair_of(row: dict, columns: dict, roles: dict) -> tuple:
    """Return prompt, chosen and rejected: texts as they are, or turns. Raises ValueError where they cannot be told apart.

    Of turns, the prompt is what both answers begin with, where they are whole conversations; else it is `messages`, or the
    column `prompt`, less an answer at its end.
    """
    sides = [row[columns[side]] for side in ("chosen", "rejected")]
    if "messages" not in columns:
        texts = (row[columns["prompt"]], *sides)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(
                "prompt, chosen and rejected are not all text; rows of conversations need no columns.prompt"
            )
        return texts
    told = row.get(columns["messages"]) or row.get("prompt") or []
    told = [{"role": "user", "content": told}] if isinstance(told, str) else standard_turns(told, columns, roles)
    answers = [
        [{"role": "assistant", "content": side}]
        if isinstance(side, str)
        else standard_turns([side] if isinstance(side, dict) else side or [], columns, roles)
        for side in sides
    ]
    if not all(answers):
        raise ValueError("an answer of a pair is missing")
    whole = [answer for answer in answers if answer[0]["role"] in ("system", "user")]
    if len(whole) == 2:
        asked = _shared(*whole)
        answers = [answer[asked:] for answer in answers]
        system = told[:1] if told and told[0]["role"] == "system" and whole[0][0]["role"] != "system" else []
        prompt = system + whole[0][:asked]
    elif whole:
        prompt = whole[0][:-1]
        answers = [answer[-1:] if answer is whole[0] else answer for answer in answers]
    else:
        ends = (answer for answer in answers if len(answer) < len(told) and _same(told[-len(answer) :], answer))
        answer = next(ends, [])
        prompt = told[: len(told) - len(answer)]
    if any(answer[0]["role"] != "assistant" for answer in answers):
        raise ValueError("the answers of a pair are not the assistant's, or belong to different prompts")
    if not prompt:
        raise ValueError("a pair has no prompt")
    if prompt[-1]["role"] == "assistant":
        raise ValueError("the prompt of a pair ends with a turn of the assistant, which is neither answer")
    return (prompt, *answers)


def check_tools(text: str, turns: list[dict], tools: list | None) -> None:
    """Raise ValueError where the text of turns names none of their tools, because the template does not write them."""
    calls = [call for turn in turns for call in turn.get("tool_calls", ())]
    for one in (*(tools or ()), *calls):
        name = str(one.get("function", one).get("name", ""))
        if name not in text:
            raise ValueError(f"the chat template writes nothing of the tool {name}: use one that writes tools")


def without_nulls(value):
    """Return a value without the keys, at any depth, that hold null."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def _text(said, message: dict) -> str:
    if said is None and message.get("tool_calls"):
        return ""
    if isinstance(said, list):
        parts = [part if isinstance(part, str) else part.get("text") for part in said]
        said = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(said, str):
        raise ValueError(f"a turn says nothing that is text: {message}")
    return said


def _decoded(value):
    """Return a value that may be JSON text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"what a tool is, or is called with, is no JSON: {value[:60]}") from None


def _called(call: dict) -> dict:
    """Return a tool call whose arguments, which may be JSON text, are a mapping: templates write them as JSON."""
    function = call.get("function")
    if isinstance(function, dict):
        call = {**call, "function": {**function, "arguments": _decoded(function.get("arguments") or "{}")}}
    elif "arguments" in call:
        call = {**call, "arguments": _decoded(call["arguments"] or "{}")}
    return call


def _same(some: list[dict], others: list[dict]) -> bool:
    """Return whether turns are the same but for blanks around what they say."""
    return len(some) == len(others) and all(
        {**one, "content": one["content"].strip()} == {**other, "content": other["content"].strip()}
        for one, other in zip(some, others, strict=True)
    )


def _shared(chosen: list[dict], rejected: list[dict]) -> int:
    """Return how many turns two conversations begin with both, less an answer for each."""
    most = min(len(chosen), len(rejected)) - 1
    same = (at for at in range(most) if not _same(chosen[at : at + 1], rejected[at : at + 1]))
    return next(same, most)


BY_TEXT = ("orpo", "cpo", "simpo")  # methods whose trainers write no tools into a conversation
KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
ALPACA = (
    "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# a system turn stands in the first user's turn, or in the last one if nobody has answered it, as Mistral has it
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\\n\\n' %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ BEFORE + (system if loop.WHICH else '') + message['content'] + AFTER }}"
    "{% else %}{{ GAP + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
INSTRUCTIONS = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '### Response:\\n' + message['content'] + eos_token }}"
    "{% elif loop.first %}{{ message['content'] }}{% endif %}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n### Response:\\n' }}{% endif %}"
)
OF_TRL = {"llama3": "llama3.jinja", "gemma": "gemma.jinja", "phi_3": "phi3.jinja", "qwen3": "qwen3.jinja"}
OWN = {
    "chatml": CHATML,
    "mistral_v1": MISTRAL.replace("BEFORE", "' [INST] '")
    .replace("AFTER", "' [/INST]'")
    .replace("GAP", "' '")
    .replace("WHICH", "first"),
    "mistral_v3_tekken": MISTRAL.replace("BEFORE", "'[INST]'")
    .replace("AFTER", "'[/INST]'")
    .replace("GAP", "''")
    .replace("WHICH", "last"),
    "alpaca": INSTRUCTIONS,
}


def read_settings(path: Path) -> dict:
    """Return the settings beside the script."""
    return json.loads(path.read_text(encoding="utf-8"))


def load_tokenizer(settings: dict):
    """Return the tokenizer, with the recipe's chat template and tokens, and something to pad with."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        settings["tokenizer"], revision=settings["revision"], trust_remote_code=settings["trust_remote_code"]
    )
    name = settings["chat_template"]
    if name in OF_TRL:
        folder = resources.files("trl").joinpath("chat_templates")
        tokenizer.chat_template = folder.joinpath(OF_TRL[name]).read_text(encoding="utf-8")
    elif name in OWN:
        tokenizer.chat_template = OWN[name]
    if settings.get("chat_template_file"):
        tokenizer.chat_template = Path(settings["chat_template_file"]).read_text(encoding="utf-8")
    special = {f"{word}_token": token for word, token in settings.get("special_tokens", {}).items()}
    if special:
        tokenizer.add_special_tokens(special)
    if settings.get("new_tokens"):
        tokenizer.add_tokens(settings["new_tokens"], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def fit_embeddings(model, tokenizer) -> None:
    """Give the model an embedding for every token of the tokenizer."""
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))


def load_rows(settings: dict, tokenizer):
    """Return the training and the validation rows (None where there are none), shuffled by the seed."""
    from datasets import concatenate_datasets

    train = concatenate_datasets(
        [part for s in settings["train"] for part in [_load(s, settings, tokenizer)] * s["weight"]]
    )
    validation = [_load(s, settings, tokenizer) for s in settings["validation"]]
    held = concatenate_datasets(validation) if validation else None
    if settings["holdout"]:
        parts = train.train_test_split(test_size=settings["holdout"], seed=settings["seed"])
        train, held = parts["train"], parts["test"]
    if settings["shuffle"]:
        train = train.shuffle(seed=settings["seed"])
    if not settings["streaming"] and len(train) == 0:
        raise SystemExit("rows.py: no row is left to train on: all are longer than max_length")
    return train, held


def read(source: dict, *, streaming: bool):
    """Return the rows of a source, and the source with what is in them. Raises SystemExit where a column is missing."""
    from datasets import load_dataset

    if source["path"] is not None:
        place, files = KINDS[Path(source["path"]).suffix], source["path"]
    else:
        place, files = source["hub"], None
    words = {"data_files": files, "split": source["split"], "revision": source["revision"]}
    rows = load_dataset(place, source["subset"], streaming=streaming, **words)
    names = rows.column_names or list(next(iter(rows)))
    source = {**source, "tools": "tools" in names and "messages" in source["columns"]}
    missing = [name for name in _columns(source) if name not in names]
    if missing:
        raise SystemExit(f"rows.py: {files or place} has no column {', '.join(missing)}; it has {', '.join(names)}")
    return rows, source


def _load(source: dict, settings: dict, tokenizer):
    rows, source = read(source, streaming=settings["streaming"])
    names = rows.column_names or list(next(iter(rows)))

    def several(batch: dict) -> dict:
        found = [
            record
            for index in range(len(batch[names[0]]))
            for record in records({name: batch[name][index] for name in names}, source, settings, tokenizer)
        ]
        return {key: [record.get(key) for record in found] for key in _keys(source)}

    return rows.map(several, batched=True, remove_columns=names, **_features(source, settings))


def _features(source: dict, settings: dict) -> dict:
    """Return how the turns of pairs are kept: as they are, though the first of them lack what others call."""
    if source["format"] != "preference" or "messages" not in source["columns"]:
        return {}
    from datasets import Features, Json, List, Value

    texts = settings["method"] in BY_TEXT
    kept = {key: Value("string") if texts or key == "tools" else List(Json()) for key in _keys(source)}
    return {"features": Features(kept)}


def _columns(source: dict) -> list[str]:
    """Return the columns that every row must have; the answers of a pair may hold its prompt."""
    less = ["role", "content", "input", "system", *["messages"] * (source["format"] == "preference")]
    return [column for name, column in source["columns"].items() if name not in less]


def _keys(source: dict) -> list[str]:
    """Return the columns of the records of a source."""
    return {
        "preference": ["prompt", "chosen", "rejected", *["tools"] * source.get("tools", False)],
        "unpaired-preference": ["prompt", "completion", "label"],
        "prompt": ["prompt", *(["answer"] if "answer" in source["columns"] else [])],
    }.get(source["format"], ["input_ids", "labels"])


def records(row: dict, source: dict, settings: dict, tokenizer) -> Iterator[dict]:
    """Yield what TRL trains on of one row: nothing when it is too long, several parts of a long text. Raises SystemExit."""
    at, limit = source["columns"], settings["max_length"]
    kind = source["format"]
    if kind == "text":
        ids = _encode(row[at["text"]] + tokenizer.eos_token, tokenizer)["input_ids"]
        whole = settings["method"] != "pretrain"
        for start in range(0, len(ids), limit):
            if not (whole and len(ids) > limit):
                yield {"input_ids": ids[start : start + limit], "labels": ids[start : start + limit]}
    elif kind in ("chat", "instruction", "completion"):
        ids, labels = _labelled(row, source, settings, tokenizer)
        if len(ids) <= limit and any(label != -100 for label in labels):
            yield {"input_ids": ids, "labels": labels}
    elif kind == "preference":
        prompt, chosen, rejected = _checked(pair_of, row, at, source["roles"])
        tools = _checked(listed_tools, row.get("tools")) if isinstance(prompt, list) else None
        record = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        if all(_length(prompt, record[side], tokenizer, tools) <= limit for side in ("chosen", "rejected")):
            by_text = settings["method"] in BY_TEXT
            yield _with_tools(record, tools, settings, tokenizer) if by_text or source.get("tools") else record
    elif kind == "unpaired-preference":
        prompt, completion = row[at["prompt"]], row[at["completion"]]
        if _length(prompt, completion, tokenizer) <= limit:
            yield {"prompt": prompt, "completion": completion, "label": bool(row[at["label"]])}
    else:
        prompt = _prompt(row[at["prompt"]], source)
        if _length(prompt, None, tokenizer) + settings["max_new_tokens"] <= limit:
            yield {"prompt": prompt, **({"answer": row[at["answer"]]} if "answer" in at else {})}


def _prompt(value, source: dict):
    """Return a prompt as the model is asked: turns where it talks through a template, else text as it is."""
    if isinstance(value, str):
        if not source["turns"]:
            return value
        value = [{"role": "user", "content": value}]
    if source["system"] and value[0]["role"] != "system":
        value = [{"role": "system", "content": source["system"]}, *value]
    return value


def _checked(function, *values):
    """Return what a function returns; what it has against a row stops the run."""
    try:
        return function(*values)
    except ValueError as error:
        raise SystemExit(f"rows.py: {error}") from None


def _with_tools(record: dict, tools: list | None, settings: dict, tokenizer) -> dict:
    """Return a pair with its tools, if any; as texts for the trainers that render a pair without them."""
    if settings["method"] not in BY_TEXT or isinstance(record["prompt"], str):
        return {**record, "tools": json.dumps(tools) if tools else None}
    from trl.data_utils import apply_chat_template

    return apply_chat_template(record, tokenizer, tools=tools)


def _length(prompt, answer, tokenizer, tools: list | None = None) -> int:
    """Return the tokens of a prompt and its answer; text ends with the token that ends a text."""
    if isinstance(prompt, str):
        end = "" if answer is None else answer + tokenizer.eos_token
        return len(_encode(prompt + end, tokenizer)["input_ids"])
    text = _rendered(prompt + (answer or []), tools, tokenizer, answer is None)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _encode(text: str, tokenizer, *, special: bool = True, offsets: bool = False):
    return tokenizer(text, add_special_tokens=special, return_offsets_mapping=offsets)


def _labelled(row: dict, source: dict, settings: dict, tokenizer) -> tuple[list[int], list[int]]:
    """Return the tokens of a row, and its labels: −100 where a token carries no loss."""
    at = source["columns"]
    if source["format"] == "chat":
        turns = _checked(standard_turns, row[at["messages"]], at, source["roles"])
        return _conversation(turns, settings, tokenizer, _checked(listed_tools, row.get("tools")))
    if source["format"] == "completion":
        return _completed(row[at["prompt"]], row[at["completion"]], settings, tokenizer)
    more = row.get(at.get("input", "")) or ""
    system = row.get(at.get("system", "")) or source["system"] or ""
    if source["turns"]:
        turns = [{"role": "system", "content": system}] if system else []
        asked = f"{row[at['instruction']]}\n{more}" if more else row[at["instruction"]]
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": row[at["output"]]}]
        return _conversation(turns, settings, tokenizer)
    head = (
        f"{system}\n\n"
        if system
        else ALPACA.format(", paired with an input that provides further context" * bool(more))
    )
    given = f"### Input:\n{more}\n\n" if more else ""
    prompt = f"{head}### Instruction:\n{row[at['instruction']]}\n\n{given}### Response:\n"
    return _completed(prompt, row[at["output"]], settings, tokenizer)


def _completed(prompt: str, completion: str, settings: dict, tokenizer) -> tuple[list[int], list[int]]:
    text = prompt + completion + tokenizer.eos_token
    return _masked(text, [(len(prompt), len(text))], settings, tokenizer, special=True)


def _rendered(turns: list[dict], tools: list | None, tokenizer, begins: bool = False) -> str:
    """Return turns as text, with `tools`, and where it `begins` with what stands before an answer. Raises SystemExit."""
    more = {"tools": tools} if tools else {}
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=begins, **more)
    _checked(check_tools, text, turns, tools)
    return text


def _conversation(
    turns: list[dict], settings: dict, tokenizer, tools: list | None = None
) -> tuple[list[int], list[int]]:
    """Label the assistant's turns: from where the model would begin to speak to the token that ends the turn."""
    whole = _rendered(turns, tools, tokenizer)
    spans, end = [], 0
    if settings["train_on"] == "all":
        return _masked(whole, spans, settings, tokenizer, special=False)
    for index, turn in enumerate(turns):
        said, content, answers = turn["content"].strip(), turn["content"], turn["role"] == "assistant"
        if turn["role"] == "system":
            continue  # a template may leave it out, or put it into a later turn
        before = _rendered(turns[:index], tools, tokenizer, True) if answers else ""
        begin = len(before) if before and whole.startswith(before) else None
        place = whole.find(said, end if begin is None else begin)
        if place < 0 and not answers:
            continue  # some templates write what tools answer as JSON
        if place < 0:
            raise SystemExit("rows.py: the chat template changes what a turn says, so its place cannot be found")
        end = place + len(said)
        after = content[len(content.rstrip()) :]
        if whole.startswith(after, end):  # the template keeps the space after an answer, so the turn ends after it
            end += len(after)
        if turn.get("tool_calls"):  # they stand behind what is said
            end = _end_of_calls(whole, turns, index, tools, tokenizer)
        if answers:  # a space before an answer that is not its own belongs to its prompt
            before = len(content) - len(content.lstrip())
            place -= before if whole.startswith(content, max(begin or 0, place - before)) else 0
            spans.append((begin if begin is not None and whole[begin:place].strip() else place, end))
    return _masked(whole, spans, settings, tokenizer, special=False)


def _end_of_calls(whole: str, turns: list[dict], index: int, tools: list | None, tokenizer) -> int:
    """Return where the calls of a turn end in the text of all: what follows is the same when it calls nothing."""
    silent = [*turns[:index], {"role": "assistant", "content": "zz"}, *turns[index + 1 :]]
    text = _rendered(silent, tools, tokenizer)
    same = 0
    while same < min(len(whole), len(text)) and whole[-1 - same] == text[-1 - same]:
        same += 1
    return len(whole) - same


def _masked(text: str, spans: list, settings: dict, tokenizer, *, special: bool) -> tuple[list[int], list[int]]:
    """Return tokens and labels; a special token right after a span, which ends the turn, belongs to it."""
    coded = _encode(text, tokenizer, special=special, offsets=True)
    ids, labels = list(coded["input_ids"]), []
    ends = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    if settings["train_on"] == "all":
        return ids, list(ids)
    inside = False
    for token, (start, stop) in zip(ids, coded["offset_mapping"], strict=True):
        within = any(first <= start < last for first, last in spans) and stop > start
        labels.append(token if within or (inside and token in ends) else -100)
        inside = within
    return ids, labels


def continued_adapter(model, folder: str, wanted):
    """Return the model with an adapter that goes on being trained. Raises SystemExit when it is not the recipe's."""
    from peft import PeftConfig, PeftModel

    held = PeftConfig.from_pretrained(folder)
    for word in ("peft_type", "r", "lora_alpha", "alpha", "num_virtual_tokens"):
        there, here = getattr(held, word, None), getattr(wanted, word, None)
        if there != here:
            raise SystemExit(f"rows.py: the adapter in {folder} has {word} {there}, but the recipe says {here}")
    return PeftModel.from_pretrained(model, folder, is_trainable=True)


def frozen(model, adapter: str | None):
    """Return the model as one to compare with, under an adapter where there is one: nothing of it is trained."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, adapter) if adapter is not None else model
    return model.requires_grad_(False).eval()


def keep_initial_adapter(trainer, folder: Path) -> Path:
    """Save the adapter as it starts: its initial weights were taken out of the base, and are given back in the end."""
    held = trainer.model.peft_config["default"]
    init, held.init_lora_weights = held.init_lora_weights, True
    if trainer.args.should_save:
        trainer.model.save_pretrained(folder)
    held.init_lora_weights = init
    return folder


def save_plain_adapter(trainer, initial: Path, folder: str) -> None:
    """Save what was learnt as a LoRA of twice the rank that fits the unchanged base."""
    if trainer.args.should_save:
        trainer.model.save_pretrained(folder, path_initial_model_for_weight_conversion=str(initial))
