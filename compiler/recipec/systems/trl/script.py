"""`train.py`: the script that trains what TRL's commands cannot say, put together from the parts that a stage needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipec.plan import DataSource, TrainStage
from recipec.render.python_writer import literal
from recipec.systems import rewards
from recipec.systems.check import Unsupported
from recipec.systems.document import Sheet
from recipec.systems.table import OMIT, Row, computed, same
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


def _source(source: DataSource) -> dict[str, Any]:
    words = ("path", "hub", "subset", "split", "revision", "format", "columns", "roles", "weight")
    return {word: getattr(source, word) for word in words}


def _streaming(s: TrainStage) -> bool:
    if s.data.streaming and s.data.holdout:
        raise Unsupported("data.holdout", "streamed rows cannot be split", "give data.validation instead")
    return s.data.streaming


def _revision(s: TrainStage) -> str:
    return (s.model.revision if s.model.tokenizer == s.model.path else None) or "main"


SETTING_ROWS: tuple[Row, ...] = (
    same("method", "method"),
    same("model", "model.path"),
    same("adapter", "adapter.start_from"),
    same("tokenizer", "model.tokenizer"),
    computed("revision", _revision),
    same("trust_remote_code", "model.trust_remote_code"),
    same("chat_template", "model.chat_template"),
    computed("train", lambda s: [_source(source) for source in s.data.train]),
    computed("validation", lambda s: [_source(source) for source in s.data.validation]),
    same("holdout", "data.holdout"),
    same("shuffle", "data.shuffle"),
    computed("streaming", _streaming),
    computed("train_on", lambda s: s.data.train_on if s.method == "sft" else "all"),
    same("max_length", "model.max_length"),
    computed("max_new_tokens", lambda s: s.rollout.max_new_tokens if s.rollout is not None else 0),
    same("seed", "seed"),
)


def _model(s: TrainStage) -> dict[str, Any]:
    words: dict[str, Any] = {"dtype": settings.dtype(s), "attn_implementation": settings.attention(s)}
    if s.model.revision is not None:
        words["revision"] = s.model.revision
    if TRAINERS[s.method][0] != "trl":
        words["device_map"] = None  # these trainers would spread the model over every GPU of every process
    return words


def quantised(s: TrainStage) -> bool:
    """Return whether the base weights are held by bitsandbytes."""
    return s.model.load_in in (*settings.FOUR_BIT, "int8")


def _quantisation() -> tuple[Row, ...]:
    group = "BitsAndBytesConfig"
    return (
        computed(f"{group}.load_in_4bit", lambda s: True if s.model.load_in in settings.FOUR_BIT else OMIT),
        computed(f"{group}.load_in_8bit", lambda s: True if s.model.load_in == "int8" else OMIT),
        computed(f"{group}.bnb_4bit_quant_type", lambda s: s.model.load_in if s.model.load_in != "int8" else OMIT),
        computed(
            f"{group}.bnb_4bit_use_double_quant",
            lambda s: s.model.double_quant if s.model.load_in != "int8" else OMIT,
        ),
        computed(
            f"{group}.bnb_4bit_compute_dtype",
            lambda s: settings.dtype(s) if s.model.load_in != "int8" else OMIT,
        ),
    )


def _initialised(s: TrainStage) -> Any:
    """Refuse initial weights that cannot be taken here; those of a sharded base are not in one place."""
    assert s.adapter is not None
    init = s.adapter.init
    if init == "eva" and s.method not in ("sft", "pretrain"):
        raise Unsupported("adapter.init", f"eva looks at rows of sft, not of {s.method}", "choose another init")
    if init == "loftq" and s.hardware.device == "cpu":
        raise Unsupported("adapter.init", "PEFT computes LoftQ on a GPU", "choose another init, such as pissa")
    sharded = s.parallel.strategy in ("fsdp2", "zero3")
    if sharded and (init in ("eva", "loftq") or init in adapters.RESIDUAL):
        message = f"{init} needs all of the base in one place, which {s.parallel.strategy} shards"
        raise Unsupported("adapter.init", message, "use zero2, or another init")
    return OMIT


def sheets(s: TrainStage, release: str, datasets: str) -> list[Sheet]:
    """Return the script and what it reads, for a release of TRL and of datasets."""
    name = f"{TRAINERS[s.method][1]}Config"
    own = [row.grouped(name) for row in settings.rows(s.method)]
    own.append(computed(f"{name}.model_init_kwargs", _model))
    if s.adapter is not None:
        own += adapters.rows(s)
        own.append(computed(f"{name}.init", _initialised))
    if quantised(s):
        own += _quantisation()
    script = Sheet(FILE, tuple(own), "trl", release, name, "python", _text(s))
    return [script, Sheet(SETTINGS, SETTING_ROWS, "datasets", datasets, "", "json")]


def files() -> dict[str, str]:
    """Return what the script imports from beside it."""
    library = Path(__file__).parent.parent / "scripts" / "trl_rows.py"
    return {LIBRARY: library.read_text(encoding="utf-8")}


def _text(s: TrainStage) -> str:
    """Return the script's template."""
    package, stem = TRAINERS[s.method]
    adapter = s.adapter
    residual = adapter is not None and adapter.init in adapters.RESIDUAL
    eva = adapter is not None and adapter.init == "eva"
    given = adapter is not None and adapter.start_from is not None
    loaded = given or s.model.resize_embeddings or (quantised(s) and package != "trl")
    judge = s.method == "reward"
    auto = "AutoModelForSequenceClassification" if judge else "AutoModelForCausalLM"
    peft = [adapters.CLASSES[adapter.type]] if adapter is not None else []
    plus = adapter is not None and adapter.lora_plus_ratio is not None
    peft += ["initialize_lora_eva_weights"] * eva
    words = [auto] * loaded + ["BitsAndBytesConfig"] * quantised(s)
    words += ["TrainerCallback"] * (adapter is not None and adapter.type == "adalora")
    online = s.method in settings.ONLINE
    parts = [
        f'"""{stem} by TRL with what the recipe decided; {LIBRARY} brings the rows that {SETTINGS} describes."""',
        "",
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
        kind = adapters.CLASSES[adapter.type]
        parts.append(f"adapter = {kind}(\n    {{{{{kind}}}}}\n)")
    parts += [
        "tokenizer = rows.load_tokenizer(settings)",
        "with config.main_process_first():  # one process prepares the rows, the others read them",
        "    train, validation = rows.load_rows(settings, tokenizer)",
    ]
    call = {"model": 'settings["model"]', "args": "config", "processing_class": "tokenizer"}
    if loaded:
        more = ", num_labels=1" * judge + ", quantization_config=quantization" * quantised(s)
        parts.append(f'model = {auto}.from_pretrained(settings["model"], **config.model_init_kwargs{more})')
        parts.append("config.model_init_kwargs = None  # they belong to a model that TRL itself would load")
        if s.model.resize_embeddings:
            parts.append("model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=32)")
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
    if adapter is not None and not given:
        call["peft_config"] = "adapter"
    trainer = f"{stem}Trainer"
    if adapter is not None and plus:
        parts.append(_LORA_PLUS.format(base=trainer, ratio=adapter.lora_plus_ratio))
        trainer = "LoraPlusTrainer"
    if adapter is not None and adapter.type == "adalora":
        parts.append(_ADALORA)
        call["callbacks"] = "[AllocateRanks()]"
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
