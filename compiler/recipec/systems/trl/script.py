"""`train.py`: the script that trains what TRL's commands cannot say, put together from the parts that a stage needs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from recipec.kinds.train.records import Train
from recipec.render.python_writer import literal
from recipec.source import is_mapping
from recipec.systems import rewards
from recipec.systems.check import Check, refuses
from recipec.systems.document import Sheet
from recipec.systems.huggingface import ALIKE, FOUR_BIT, base, without_steps
from recipec.systems.programs import reading_turns
from recipec.systems.system import OF_TURNS
from recipec.systems.table import Row, constant, made, same
from recipec.systems.trl import adapters, settings

FILE, SETTINGS, LIBRARY = "train.py", "settings.json", "rows.py"
# method: the package, and the stem of its trainer's and its configuration's name
TRAINERS = {
    "pretrain": ("trl", "SFT"),
    "sft": ("trl", "SFT"),
    "dpo": ("trl", "DPO"),
    "ipo": ("trl", "DPO"),
    "kto": ("trl", "KTO"),
    "reward": ("trl", "Reward"),
    "grpo": ("trl", "GRPO"),
    "rloo": ("trl", "RLOO"),
    "orpo": ("trl.experimental.orpo", "ORPO"),
    "cpo": ("trl.experimental.cpo", "CPO"),
    "simpo": ("trl.experimental.cpo", "CPO"),
}


# what it reads of rows beside their columns, where they hold turns
READS = {
    "chat": OF_TURNS | {"tools"}, "preference": OF_TURNS | {"tools"}, "unpaired-preference": OF_TURNS, "prompt": OF_TURNS
}  # fmt: skip
# the standard words of a source, as `rows.py` reads them
WORDS = ("path", "hub", "subset", "split", "revision", "format", "columns", "roles", "system", "turns", "weight")
# the templates that `rows.py` knows; of any other it would keep the tokenizer's own
TEMPLATES = ("tokenizer", "llama3", "gemma", "phi_3", "qwen3", "chatml", "mistral_v1", "mistral_v3_tekken", "alpaca")


def source_rows(key: str, at: str, count: int, words: tuple[str, ...] = WORDS) -> Row:
    """The key holds the sources at a plan path, `count` of them, each a mapping of its `words`; without a weight it is 1."""
    width = len(words)

    def say(*values: Any) -> list[dict[str, Any]]:
        parts = [dict(zip(words, values[at : at + width], strict=True)) for at in range(0, len(values), width)]
        return [part | {"weight": part.get("weight", 1)} for part in parts]

    def back(sources: Any) -> dict[str, Any]:
        return {
            f"{at}.{index}.{word}": _roles(source[word]) if word == "roles" else source[word]
            for index, source in enumerate(sources)
            for word in words
            if word in source
        }

    paths = tuple(f"{at}.{index}.{word}" for index in range(count) for word in words)
    return Row((key,), paths, say, back)


def _roles(roles: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {role: tuple(names) for role, names in roles.items()}


def masked(s: Train) -> bool:
    """Return whether some rows have a part that may carry no loss; of plain text all of it does."""
    return s.method == "sft" and any(source.format != "text" for source in (*s.data.train, *s.data.validation))


def setting_rows(s: Train) -> tuple[Row, ...]:
    """Return the table of `settings.json`, from which `rows.py` prepares the rows of a stage."""
    own = s.model.tokenizer == s.model.path  # else the tokenizer comes from a place with revisions of its own
    revision = made(
        "revision",
        lambda given: given or "main",
        "model.revision",
        back=lambda given: {} if given == "main" else {"model.revision": given},
    )
    return (
        same("method", "method"),
        same("model", "model.path"),
        same("adapter", "adapter.start_from"),
        *([made("reference", asdict, "reference")] if s.reference is not None else []),
        same("tokenizer", "model.tokenizer"),
        revision if own else constant("revision", "main"),
        same("trust_remote_code", "model.trust_remote_code"),
        same("chat_template", "model.chat_template"),
        same("chat_template_file", "model.chat_template_file"),
        same("special_tokens", "model.special_tokens"),
        same("new_tokens", "model.new_tokens"),
        source_rows("train", "data.train", len(s.data.train)),
        source_rows("validation", "data.validation", len(s.data.validation), WORDS[:-1]),  # none of them is repeated
        same("holdout", "data.holdout"),
        same("shuffle", "data.shuffle"),
        same("streaming", "data.streaming"),
        same("train_on", "data.train_on") if masked(s) else constant("train_on", "all"),
        same("max_length", "model.max_length"),
        same("max_new_tokens", "rollout.max_new_tokens") if s.rollout else constant("max_new_tokens", 0),
        same("seed", "seed"),
    )


CHECKS: tuple[Check, ...] = (
    refuses(
        "data.holdout",
        "data.streaming",
        when=lambda holdout, streaming: holdout and streaming,
        message="streamed rows cannot be split",
        advice="give data.validation instead",
    ),
    refuses(
        "model.chat_template",
        when=lambda name: name not in TEMPLATES,
        message=lambda name: f"TRL has no chat template {name}",
        advice=f"use {', '.join(TEMPLATES)}",
    ),
)


def _loading(package: str) -> Row:
    """The words with which TRL loads the model."""
    apart = (
        {} if package == "trl" else {"device_map": None}
    )  # else the model would be spread over all GPUs of a process

    def say(revision: str | None, attention: str, *of_dtype: Any) -> dict[str, Any]:
        words = {"dtype": settings.dtype(*of_dtype), "attn_implementation": attention}
        return words | ({} if revision is None else {"revision": revision}) | apart

    def back(words: Any) -> dict[str, Any]:
        names = {"attn_implementation": "model.attention", "revision": "model.revision"}
        return {path: words[name] for name, path in names.items() if name in words} if is_mapping(words) else {}

    return Row(("model_init_kwargs",), ("model.revision", "model.attention", *settings.DTYPE), say, back)


def grows(s: Train) -> bool:
    """Return whether the tokenizer may get tokens for which the model has no embedding."""
    return bool(s.model.new_tokens or s.model.special_tokens)


def quantised(s: Train) -> bool:
    """Return whether the base weights are held by bitsandbytes."""
    return s.model.load_in in settings.QUANTISED


QUANTISATION: tuple[Row, ...] = (
    *base("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant"),
    made("bnb_4bit_compute_dtype", settings.dtype, *settings.DTYPE).when("model.load_in", *FOUR_BIT),
)


def sheets(s: Train, release: str, datasets: str) -> list[Sheet]:
    """Return the script and what it reads, for a release of TRL and of datasets."""
    package, stem = TRAINERS[s.method]
    name = f"{stem}Config"
    own = [row.grouped(name) for row in (*settings.rows(s), _loading(package))]
    own += adapters.rows(s)
    if quantised(s):
        own += [row.grouped("BitsAndBytesConfig") for row in QUANTISATION]
    script = Sheet(FILE, tuple(own), "trl", release, name, "python", _text(s), alike=ALIKE)
    return [script, Sheet(SETTINGS, setting_rows(s), "datasets", datasets, "", "json")]


def files() -> dict[str, str]:
    """Return what the script imports from beside it."""
    return {LIBRARY: reading_turns("trl_rows.py")}


def stopping(s: Train) -> str:
    """Return the callback that ends a training without gain; an empty text where none is asked for."""
    patience = s.watch.early_stopping if s.method not in settings.ONLINE else None
    return f"EarlyStoppingCallback(early_stopping_patience={patience})" if patience is not None else ""


def decays_by_share(s: Train) -> bool:
    """Return whether the learning rate decays over a share of steps whose number only the trainer knows."""
    return s.optimizer.scheduler == "warmup_stable_decay" and without_steps(s.optimizer.decay, s.length.unit)


def decaying(s: Train, trainer: str) -> str:
    """Return the class of the trainer, of which `trainer` is the base, that counts the steps of such a decay."""
    return _DECAYING.format(base=trainer, share=s.optimizer.decay, percent=s.optimizer.decay * 100)


def _text(s: Train) -> str:
    """Return the script's template."""
    package, stem = TRAINERS[s.method]
    adapter = s.adapter
    residual = adapter is not None and adapter.init in adapters.RESIDUAL
    eva = adapter is not None and adapter.init == "eva"
    given = adapter is not None and adapter.start_from is not None
    loaded = given or grows(s) or s.model.resize_embeddings or (quantised(s) and package != "trl")
    compared = s.reference is not None
    judge = s.method == "reward"
    auto = "AutoModelForSequenceClassification" if judge else "AutoModelForCausalLM"
    peft = [adapters.KINDS[adapter.type].config] if adapter is not None else []
    plus = adapter is not None and adapter.lora_plus_ratio is not None
    peft += ["initialize_lora_eva_weights"] * eva
    words = [auto] * (loaded or compared) + ["BitsAndBytesConfig"] * quantised(s)
    allocates, stops = adapter is not None and adapter.type == "adalora", stopping(s)
    words += ["TrainerCallback"] * allocates + ["EarlyStoppingCallback"] * bool(stops)
    online = s.method in settings.ONLINE
    parts = [
        f'"""{stem} by TRL with what the recipe decided; {LIBRARY} brings the rows that {SETTINGS} describes."""',
        "",
        *["import math"] * decays_by_share(s),
        "import os",
        "from pathlib import Path",
        "",
        *([f"from peft import {', '.join(sorted(peft))}"] if peft else []),
        *["from peft.optimizers import create_loraplus_optimizer"] * plus,
        *([f"from transformers import {', '.join(sorted(words))}"] if words else []),
        f"from {package} import {stem}Config, {stem}Trainer",
        "",
        *(["import rewards"] if online and rewards.functions(s) else []),
        "import rows",
        "",
        f'settings = rows.read_settings(Path(__file__).parent / "{SETTINGS}")',
        f"config = {stem}Config(\n    {{{{{stem}Config}}}}\n)",
    ]
    if quantised(s):
        parts.append("quantization = BitsAndBytesConfig(\n    {{BitsAndBytesConfig}}\n)")
    if adapter is not None:
        kind = adapters.KINDS[adapter.type].config
        parts.append(f"adapter = {kind}(\n    {{{{{kind}}}}}\n)")
    parts += [
        "tokenizer = rows.load_tokenizer(settings)",
        "with config.main_process_first():  # one process prepares the rows, the others read them",
        "    train, validation = rows.load_rows(settings, tokenizer)",
    ]
    if compared:
        more = ", quantization_config=quantization" * quantised(s)
        parts.append('reference = settings["reference"]')
        parts.append('words = config.model_init_kwargs | {"revision": reference["revision"]}')
        parts.append(f'compared = {auto}.from_pretrained(reference["path"], **words{more})')
        parts.append('compared = rows.frozen(compared, reference["adapter"])')
    call = {"model": 'settings["model"]', "args": "config", "processing_class": "tokenizer"}
    if loaded:
        more = ", num_labels=1" * judge + ", quantization_config=quantization" * quantised(s)
        parts.append(f'model = {auto}.from_pretrained(settings["model"], **config.model_init_kwargs{more})')
        parts.append("config.model_init_kwargs = None  # they belong to a model that TRL itself would load")
        if s.model.resize_embeddings:
            parts.append("model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=32)")
        elif grows(s):
            parts.append("rows.fit_embeddings(model, tokenizer)")
        if given:
            parts.append('model = rows.continued_adapter(model, settings["adapter"], adapter)')
        call["model"] = "model"
    elif quantised(s):
        call["quantization_config"] = "quantization"
    if online:
        chosen = ", ".join(
            name if reward.type != "model" else literal(name)
            for name, reward in zip(rewards.names(s.rewards), s.rewards, strict=True)
        )
        call["reward_funcs"] = f"[{chosen}]"
    call |= {"train_dataset": "train", "eval_dataset": "validation"}
    if compared:
        call["ref_model"] = "compared"
    if adapter is not None and not given:
        call["peft_config"] = "adapter"
    trainer = f"{stem}Trainer"
    if adapter is not None and plus:
        parts.append(_LORA_PLUS.format(base=trainer, ratio=adapter.lora_plus_ratio))
        trainer = "LoraPlusTrainer"
    if decays_by_share(s):
        parts.append(decaying(s, trainer))
        trainer = DECAYING
    if allocates:
        parts.append(_ADALORA)
    if allocates or stops:
        call["callbacks"] = f"[{', '.join(['AllocateRanks()'] * allocates + [stops] * bool(stops))}]"
    parts.append(f"trainer = {trainer}(\n" + "".join(f"    {k}={v},\n" for k, v in call.items()) + ")")
    if eva:
        parts.append("initialize_lora_eva_weights(trainer.model, trainer.get_train_dataloader())")
    if residual:
        parts.append('initial = rows.keep_initial_adapter(trainer, Path(config.output_dir) / "initial_adapter")')
    parts.append('trainer.train(resume_from_checkpoint=os.environ.get("RECIPE_RESUME_FROM") or None)')
    parts.append("trainer.save_model(config.output_dir)")
    if residual:
        parts.append("rows.save_plain_adapter(trainer, initial, config.output_dir)")
    return "\n".join(parts) + "\n"


DECAYING = "DecayingTrainer"
_DECAYING = '''

class DecayingTrainer({base}):
    """The learning rate decays over the last {percent:g}% of all steps, which are counted here."""

    def create_scheduler(self, num_training_steps, *arguments, **more):
        words = {{"num_decay_steps": math.ceil({share!r} * num_training_steps)}}
        self.args.lr_scheduler_kwargs = words | (self.args.lr_scheduler_kwargs or {{}})
        return super().create_scheduler(num_training_steps, *arguments, **more)

'''
_LORA_PLUS = '''

class LoraPlusTrainer({base}):
    """LoRA+: the second matrix of each adapter learns faster than the first."""

    def create_optimizer(self, *_args, **_more):
        if self.optimizer is None:
            kind, words = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = create_loraplus_optimizer(self.model, kind, loraplus_lr_ratio={ratio!r}, **words)
        return self.optimizer

'''
_ADALORA = '''

class AllocateRanks(TrainerCallback):
    """AdaLoRA: after each step, ranks go to the modules that need them most."""

    def on_optimizer_step(self, _args, state, _control, model=None, **_more):
        model.base_model.update_and_allocate(state.global_step + 1)

'''
