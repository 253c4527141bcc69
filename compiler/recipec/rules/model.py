"""Rules about the model, its tokenizer and its template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recipec.facts.models import embeddings_of, formats, original_of, read_json
from recipec.facts.presets import presets
from recipec.facts.repositories import instead_of
from recipec.facts.spelling import close_model
from recipec.facts.tokens import ends, read_template, template
from recipec.kinds.evaluate import Evaluate, compares
from recipec.kinds.train.records import Train
from recipec.rules.contradictions.machine import could
from recipec.rules.rule import Context, Fault, rule
from recipec.systems.registry import system

# Ends of turns and paddings of well-known families.
OTHERS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "<|end|>", "</s>")
TALKS = ("chat", "preference")
ROWS = "trainable_token_indices"  # PEFT's option that trains single rows of the embeddings
ADDED = "chatml"  # the template that is usually laid over models which do not have its tokens


def _embeddings(see: Context, s: Train) -> tuple[str, str]:
    """Return what a model's embeddings are called, those of the input and of the output."""
    return embeddings_of(see.model(s.model.path))[0], "lm_head"


def _lacks(see: Context, s: Train) -> list[str]:
    """Return which of the embeddings stay frozen."""
    if s.adapter is None or ROWS in s.adapter.options:
        return []
    names = (*s.adapter.also_train, *s.adapter.targets)
    return [name for name in _embeddings(see, s) if name not in names]


def renders(s: Train) -> bool:
    """Return whether the chat template renders some of the rows."""
    return any(source.turns for source in (*s.data.train, *s.data.validation))


def _markers(s: Train) -> tuple[str, ...]:
    """Return what the chat template that is laid over the model writes as single tokens, where it renders rows."""
    used = template(s.model.chat_template) if s.model.chat_template_file is None and renders(s) else None
    return used.markers if used is not None else ()


def _foreign(s: Train) -> bool:
    """Return whether the template is that of another family: L050."""
    return bool(s.model.new_tokens) and s.model.chat_template != ADDED


@rule("L005", "untrained-turn-markers", "warning", sources="LLaMA-Factory#5593, #3813, #5145")
def untrained_turn_markers(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter on a base model whose chat template uses tokens that the base model never learnt.

    Why is this bad:
    A base model has tokens for turns in its vocabulary, but their embeddings are as they were initialised. LoRA beside
    frozen embeddings cannot teach them: the model rambles on, or never ends its turn.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B, chat_template: llama3}
        adapter: {rank: 16}

    Use instead:
        adapter: {rank: 16, also_train: [embed_tokens, lm_head]}
    """
    known = see.tokenizer(s.model.tokenizer)
    if known is None or known.template != "none" or s.adapter is None or s.adapter.start_from is not None:
        return
    new = [token for token in _markers(s) if token in known.tokens and token != known.eos]
    lacks = _lacks(see, s)
    if new and lacks and not s.model.new_tokens:
        message = f"{known.name} is a base model: it never learnt {new[0]}, and {' and '.join(lacks)} stay frozen"
        advice = f"add adapter.also_train: [{', '.join(_embeddings(see, s))}], or start from the instruct model"
        yield Fault("model.chat_template model.path", message, advice)


@rule("L031", "new-tokens-with-frozen-embeddings", "error", sources="Axolotl#1570, PR#1659")
def new_tokens(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a token that is new to the tokenizer, with an adapter that leaves the embeddings frozen.

    It is a special token of the recipe, or one with which the chat template marks turns.

    Why is this bad:
    The embedding of a new token is random, or a mean. If it is frozen, it stays so: the model can neither read the token nor
    say it. It never ends an answer, and Axolotl does not even start.

    Example:
        model: {base: mistralai/Mistral-7B-v0.3, special_tokens: {eos: "<|im_end|>"}, chat_template: chatml}
        adapter: {rank: 16}

    Use instead:
        adapter: {rank: 16, also_train: [embed_tokens, lm_head]}
    """
    known = see.tokenizer(s.model.tokenizer)
    if known is None or not known.tokens or s.adapter is None or s.adapter.start_from is not None or not _lacks(see, s):
        return
    if system(s.trainer).trains_new_embeddings:
        return
    frozen = f"and {' and '.join(_lacks(see, s))} stay frozen"
    add = f"add adapter.also_train: [{', '.join(_embeddings(see, s))}]"
    if s.model.new_tokens and not _foreign(s):
        message = f"{' and '.join(s.model.new_tokens)} are new to {known.name}, {frozen}"
        yield Fault("model.chat_template model.new_tokens", message, f"{add}, or use a model that has them")
    for name, token in s.model.special_tokens.items():
        if token in (*known.tokens, *s.model.new_tokens):
            continue
        if name != "pad":  # a pad token is never read nor said
            message = f"{token} is new to {known.name}, {frozen}"
            yield Fault("model.special_tokens model.path", message, f"{add}, or choose a token that it has")
        elif token in OTHERS:
            message = f"{token} is a token of other families: it would be new to {known.name}"
            yield Fault("model.special_tokens", message, f"choose one that it has: {', '.join(known.tokens[:6])}")


@rule("L032", "length-beyond-context", "error", sources="")
def length_beyond_context(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a `max_length` above the number of positions that the model was made for.

    Why is this bad:
    Positions beyond the context were never learnt: the loss is high there, and what it teaches is noise. Trainers accept
    it without a message.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_length: 16384}

    Use instead:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_length: 8192}
    """
    known = see.model(s.model.path)
    if s.rollout is not None:  # its lengths are those of prompts and completions: L043
        return
    if system(s.trainer).own_program and not see.said.wrote("model.max_length"):
        return
    if known is not None and known.context is not None and s.model.max_length > known.context:
        message = f"max_length {s.model.max_length} is beyond the context of {known.id}, {known.context} tokens"
        yield Fault("model.max_length model.path", message, "lower it, or use a model made for it", str(known.context))


@rule("L035", "conversations-without-template", "error", sources="")
def no_template(see: Context, s: Train) -> Iterator[Fault]:
    """Finds conversations that need the tokenizer's own template to be rendered, but it has none.

    Why is this bad:
    The run ends while the data is prepared, or a trainer takes a template of its own choice.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B}
        data: {train: [{path: data/chat.jsonl, format: chat}]}

    Use instead:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
    """
    known = see.tokenizer(s.model.tokenizer)
    if known is None or known.template != "none" or system(s.trainer).own_program:
        return
    own = s.model.chat_template == "tokenizer" and s.model.chat_template_file is None
    close = close_model(s.model.path) or instead_of(s.model.path)
    misspelt = see.model(s.model.path) is None and bool(close)  # L152 and L330 tell it
    if own and renders(s) and not misspelt:
        advice = "name one, such as model.chat_template: chatml, or start from the instruct model"
        yield Fault("model.path", f"{known.name} has no chat template to render conversations with", advice)


@rule("L036", "evaluation-without-template", "error", "evaluate", sources="lm-eval#1841")
def evaluation_template(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a model without a chat template that is to be evaluated with one.

    Why is this bad:
    lm-eval asks the tokenizer to render each prompt; without a template it ends with an error, after the training.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B, chat_template: llama3}
        adapter: {rank: 16, also_train: [embed_tokens, lm_head]}
        evaluate: {tasks: [ifeval], chat_template: true}

    Use instead:
        evaluate: {tasks: [ifeval]}
    """
    model = s.model
    if model.chat_template and model.template == "none":
        message = f"{model.name} is evaluated with the chat template of {model.tokenizer}, which has none"
        advice = f"leave {model.name} out of evaluate.models, or drop evaluate.chat_template"
        yield Fault("model.chat_template", message, advice)


@rule("L025", "chat-model-judged-as-text", "warning", "evaluate", sources="lm-eval#1841, #2676")
def judged_as_text(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds an evaluation without a chat template of a model that is trained on conversations.

    Why is this bad:
    The prompts look like nothing that the model was trained on: its scores say little about what users will see. Tasks that only compare
    given answers are left alone where the recipe says so: their published scores are made like that.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        evaluate: {tasks: [gsm8k], chat_template: false}

    Use instead:
        evaluate: {tasks: [gsm8k], chat_template: true}
    """
    model = s.model
    maker = see.plan.maker(model.adapter or model.path)
    if maker is None or maker.kind != "train" or model.chat_template:
        return
    if s.preset is not None and presets()[s.preset].template == "never":
        return
    if see.said.wrote("evaluate.chat_template") and all(compares(one) for text in s.tasks for one in text.split(",")):
        return
    sources = maker.body.data.train
    if sources and all(source.format in TALKS for source in sources):
        message = f"{model.name} is trained on conversations, and evaluated without its chat template"
        yield Fault("model.chat_template", message, "set evaluate.chat_template: true, or drop it", "true")


@rule("L008", "quantised-weights-in-shards", "error", sources="LLaMA-Factory#6898, #5595, Axolotl#1240")
def quantised_base(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a quantised checkpoint that is trained in full, or one in AWQ or GPTQ under ZeRO-3 or FSDP.

    Why is this bad:
    Packed weights have no gradients: Transformers refuses to train them without an adapter. Neither ZeRO-3 nor FSDP can
    split those in AWQ or GPTQ. The run ends when the model is loaded, on every GPU that was paid for.

    Example:
        model: {base: TheBloke/Llama-2-13B-chat-AWQ}
        adapter: {rank: 16}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero3}

    Use instead:
        parallel: {strategy: ddp}
    """
    known = see.model(s.model.path)
    if known is None or known.quantised is None:
        return
    kind = formats()[known.quantised].says
    if s.parallel.strategy in ("zero3", "fsdp2") and known.quantised in ("awq", "gptq"):
        advice = "use ddp or zero2, or the model in bf16 with load_in: nf4"
        yield Fault("parallel.strategy model.path", f"{s.parallel.strategy} cannot split weights in {kind}", advice)
    if s.adapter is None and formats()[known.quantised].bits and not _unpacked(see, s, known.quantised):
        advice = "add an adapter, or use the model in bf16"
        yield Fault("model.path", f"weights in {kind} cannot be trained", advice, original_of(s.model.path))


def _unpacked(see: Context, s: Train, format: str) -> bool:
    """Return whether the trainer, by itself or by a raw key, turns quantised weights into bf16 when it loads them."""
    raw = see.overrides.get(s.trainer, {})
    return format in system(s.trainer).dequantises or "dequantize" in str(raw)


@rule("L081", "quantised-load-under-zero3", "warning", sources="LLaMA-Factory#6898, Axolotl#1240")
def quantised_load(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds weights that bitsandbytes quantises on loading, under ZeRO-3.

    Why is this bad:
    Each process loads and quantises the whole model before ZeRO-3 could split it, and the gathered pieces are not
    quantised: it saves less memory than it seems, or fails.

    Example:
        model: {base: meta-llama/Meta-Llama-3-70B-Instruct, load_in: nf4}
        adapter: {rank: 16}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero3}

    Use instead:
        parallel: {strategy: fsdp2}
    """
    if s.parallel.strategy == "zero3" and s.model.load_in in ("nf4", "fp4", "int8"):
        message = f"ZeRO-3 does not split weights that are held in {s.model.load_in}"
        able = [could(s, "fsdp2"), could(s, "zero2") and "zero2 where the model fits each GPU"]
        advice = f"use {', or '.join(filter(None, able))}"
        yield Fault("parallel.strategy model.load_in", message, advice, able[0] or None)


@rule("L021", "adapter-of-another-base", "error", sources="Axolotl#2277, LLaMA-Factory#3125, PEFT#2264")
def foreign_adapter(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter to start from that was trained on another model than the recipe's.

    Why is this bad:
    If the shapes differ, loading fails; if they agree, training continues from weights that mean nothing for this model.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        adapter: {rank: 16, start_from: adapters/of-mistral}

    Use instead:
        model: {base: mistralai/Mistral-7B-Instruct-v0.3}
    """
    if not see.folders or s.adapter is None or s.adapter.start_from is None or see.made(s.adapter.start_from):
        return
    config = read_json(Path(s.adapter.start_from) / "adapter_config.json")
    base = config.get("base_model_name_or_path") if config is not None else None
    if not isinstance(base, str) or base == s.model.path or Path(base).exists() or Path(s.model.path).exists():
        return
    if see.model(base) is not None and see.model(s.model.path) is not None:  # other names may be copies of one model
        message = f"{s.adapter.start_from} is an adapter of {base}, not of {s.model.path}"
        yield Fault("adapter.start_from", message, f"set model.base: {base}, or start from another adapter")


@rule("L050", "template-of-another-family", "warning", sources="Axolotl#1806")
def foreign_template(see: Context, s: Train) -> Iterator[Fault]:
    """Finds the chat template of a family whose turn markers the model's tokenizer does not have.

    Why is this bad:
    The markers are single tokens in that family, and new here: the model has to learn them from nothing. One that has
    learnt a format of its own unlearns it. ChatML, which is made to be added to other models, is not told.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct, chat_template: llama3}
        adapter: {rank: 16}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
    """
    known = see.tokenizer(s.model.tokenizer)
    if known is None or not known.tokens:
        return
    used = template(s.model.chat_template) if s.model.chat_template_file is None and renders(s) else None
    if used is not None and known.instruct and known.ids in used.unlike:
        message = (
            f"{used.name} is made for another tokenizer of the family than {known.name} has: spaces around turns differ"
        )
        yield Fault(
            "model.chat_template",
            message,
            "drop chat_template: the tokenizer has its own"
            if known.template not in (None, "none")
            else "use the version of its own tokenizer",
        )
    if not _foreign(s):
        return
    message = (
        f"{known.name} has no token {s.model.new_tokens[0]}: {s.model.chat_template} is the template of another family"
    )
    advice = "drop chat_template: the tokenizer has its own"
    if known.template in (None, "none"):
        advice = "use the template of its own family, or chatml"
    yield Fault("model.chat_template", message, advice)


@rule("L100", "turn-end-of-a-template-file", "warning", sources='Axolotl 0.19: "the turn terminator won\'t be trained"')
def template_file(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a template of your own that does not end an answer with the tokenizer's EOS token.

    Why is this bad:
    What ends an answer is then trained by some trainers and not by others, and generation does not stop at it: the model
    goes on to talk to itself.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B, chat_template_file: chatml.jinja}
        data: {train: [{path: data/chat.jsonl, format: chat}]}

    Use instead:
        model: {base: meta-llama/Meta-Llama-3-8B, chat_template_file: chatml.jinja, special_tokens: {eos: "<|im_end|>"}}
    """
    known, file = see.tokenizer(s.model.tokenizer), s.model.chat_template_file
    if not see.folders or file is None or not renders(s):
        return
    eos = s.model.special_tokens.get("eos", known.eos if known is not None else None)
    text = read_template(Path(file))
    if eos is None or text is None or eos in text or "eos_token" in text:
        return
    found = next((end for end in ends() if end in text), None)
    ends_with = f"ends an answer with {found}" if found else f"never says {eos}"
    advice = f'set model.special_tokens: {{eos: "{found or "…"}"}}' + (
        "" if found else " to the token that ends an answer"
    )
    yield Fault("model.chat_template_file", f"{file} {ends_with}, and the EOS token is {eos}", advice)


@rule("L101", "eos-is-not-the-turn-end", "warning", sources="")
def other_eos(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an EOS token of the recipe's that is not the token with which the chat template ends an answer.

    Why is this bad:
    The model learns to end its answers with one token, and generation waits for the other.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, chat_template: llama3, special_tokens: {eos: "<|end_of_text|>"}}

    Use instead:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, chat_template: llama3}
    """
    end, eos = s.model.turn_end, s.model.special_tokens.get("eos")
    if end is not None and eos is not None and eos != end:
        message = f"the EOS token is {eos}, but the template ends an answer with {end}"
        yield Fault("model.special_tokens", message, f'use eos: "{end}", or drop it')


@rule("L102", "system-prompt-without-a-place", "error", sources="")
def no_place(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a system prompt that the chat template refuses or leaves out, or that stands before text without turns.

    Why is this bad:
    Gemma's template ends the run at the first system turn; Mistral's writes it only into a question that nobody has answered
    yet, so that nothing of it is trained on. A prompt that is plain text has no turns at all.

    Example:
        model: {base: google/gemma-2-2b-it}
        data: {train: [{path: data/rows.jsonl, format: instruction, system: Answer in Korean.}]}

    Use instead:
        data: {train: [{path: data/rows.jsonl, format: instruction}]}
    """
    used = template(s.model.template) if s.model.template is not None else None
    for group in ("train", "validation"):
        for index, source in enumerate(getattr(s.data, group)):
            at = f"data.{group}.{index}.system" if source.system is not None else f"data.{group}.{index}.columns"
            if source.system is None and "system" not in source.columns:
                continue
            if source.format == "prompt" and not source.turns:
                message = "a system prompt needs turns, and the model has no chat template to talk through"
                yield Fault(at, message, "name one by model.chat_template, or write the prompt into the data")
            elif used is not None and used.system is not None and source.turns and not system(s.trainer).own_templates:
                if used.system == "dropped" and s.rollout is not None:
                    continue  # the last question is not answered yet
                verb = "ends with an error at" if used.system == "refused" else "leaves out"
                message = f"the template {used.name} {verb} a system turn"
                yield Fault(at, message, "put it into the question, in the data, or use another template")


RULES = (
    foreign_template,
    no_place,
    template_file,
    other_eos,
    foreign_adapter,
    untrained_turn_markers,
    new_tokens,
    length_beyond_context,
    no_template,
    evaluation_template,
    judged_as_text,
    quantised_base,
    quantised_load,
)
