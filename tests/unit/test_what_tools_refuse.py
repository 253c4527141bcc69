"""Combinations that a tool refuses when it starts are refused here; what it takes is emitted as it takes it."""

from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from recipec.diagnostics import Finding, errors
from recipec.doctor import examine
from recipec.edit import flow
from recipec.facts import has_pins, pins, releases
from recipec.language.model import OtherTemplate
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

CHAT = {"path": "data/chat.jsonl", "format": "chat"}
PAIRS = {"path": "data/pairs.jsonl", "format": "preference"}
PROMPTS = {"path": "data/prompts.jsonl", "format": "prompt", "columns": {"answer": "answer"}}
BASE: dict[str, Any] = {
    "recipe": 1,
    "name": "one",
    "model": {"base": "meta-llama/Llama-3.1-8B-Instruct", "max_length": 1024},
    "data": {"train": [CHAT]},
    "train": {"learning_rate": 1e-5, "micro_batch_size": 2},
    "hardware": {"gpu": "h100-80gb", "per_node": 4},
}


def compiled(**more: Any) -> Compiled:
    """Compile the base with sections laid over it, key by key."""
    recipe = {
        **BASE,
        **{key: {**BASE.get(key, {}), **value} if isinstance(value, dict) else value for key, value in more.items()},
    }
    return compile_tree(
        read_text(Source("one.yaml", "".join(f"{key}: {flow(value)}\n" for key, value in recipe.items())))
    )


def wrong(**more: Any) -> list[Finding]:
    return errors(compiled(**more).findings)


def emitted(file: str, **more: Any) -> Any:
    """Return a file of the training as values."""
    found = compiled(**more)
    assert errors(found.findings) == []
    return YAML(typ="safe").load(found.files[f"train/{file}"])


FSDP2 = {"strategy": "fsdp2"}
LORA = {"rank": 16}


@pytest.mark.parametrize(("load_in", "frugal"), [("nf4", False), ("fp4", False), ("bf16", True)])
def test_each_process_quantises_the_weights_that_it_reads(load_in: str, frugal: bool) -> None:
    recipe = {"model": {"load_in": load_in}, "adapter": LORA, "parallel": FSDP2}
    assert emitted("axolotl.yaml", **recipe)["fsdp_config"]["cpu_ram_efficient_loading"] is frugal
    for file in ("accelerate.yaml",):
        assert emitted(file, **recipe)["fsdp_config"]["fsdp_cpu_ram_efficient_loading"] is frugal
        assert emitted(file, trainer="trl", **recipe)["fsdp_config"]["fsdp_cpu_ram_efficient_loading"] is frugal


@pytest.mark.parametrize("method", ["dpo", "ipo", "orpo", "kto"])
def test_axolotl_shards_no_quantised_base_of_a_preference_method(method: str) -> None:
    rows = {**PAIRS, "format": "unpaired-preference"} if method == "kto" else PAIRS
    recipe = {"train": {"method": method}, "data": {"train": [rows]}, "adapter": LORA, "model": {"load_in": "nf4"}}
    (one,) = wrong(**recipe, parallel=FSDP2)
    assert (one.code, one.message) == ("T001", f"Axolotl does not shard a base in nf4 with FSDP2 for {method}")
    assert wrong(**recipe, parallel={"strategy": "zero2"}) == []
    assert wrong(**{**recipe, "model": {}}, parallel=FSDP2) == []


@pytest.mark.parametrize(
    "mended",
    [
        {"parallel": {"strategy": "zero2"}},
        {"train": {"method": "dpo", "gradient_checkpointing": False}},
        {"model": {"load_in": "bf16"}},
        {"train": {"method": "sft"}, "data": {"train": [CHAT]}},
        {"trainer": "trl"},
    ],
    ids=str,
)
def test_axolotl_reenters_no_4_bit_base_of_a_preference_method(mended: dict[str, Any]) -> None:
    recipe: dict[str, Any] = {
        "train": {"method": "dpo"},
        "data": {"train": [PAIRS]},
        "adapter": LORA,
        "model": {"load_in": "nf4"},
        "parallel": {"strategy": "zero3"},
    }
    (one,) = wrong(**recipe)
    assert (one.code, "re-entrant checkpointing" in one.message) == ("T001", True)
    assert wrong(**{**recipe, **mended}) == []


@pytest.mark.parametrize(("strategy", "codes"), [("zero2", ["T001"]), ("zero3", ["T001"]), ("fsdp2", []), ("ddp", [])])
def test_muon_and_deepspeed_on_axolotl(strategy: str, codes: list[str]) -> None:
    found = wrong(train={"optimizer": "muon"}, parallel={"strategy": strategy})
    assert [one.code for one in found] == codes


def test_validation_of_streamed_rows_on_axolotl() -> None:
    text = {"path": "data/text.jsonl", "format": "text"}
    recipe: dict[str, Any] = {"train": {"method": "pretrain", "steps": 100}}
    streamed = {"train": [text], "streaming": True}
    (one,) = wrong(**recipe, data={**streamed, "holdout": "5%"})
    assert one.code == "T001"
    assert wrong(**recipe, data={**streamed, "validation": [{**text, "path": "data/held.jsonl"}]}) == []


@pytest.mark.parametrize(("batch", "codes"), [(32, []), (16, ["T001"])])
def test_a_group_on_each_process_of_axolotl(batch: int, codes: list[str]) -> None:
    """Axolotl counts the completions of all processes where it is told their number, else those of one."""
    recipe: dict[str, Any] = {"data": {"train": [PROMPTS]}, "rewards": [{"type": "exact"}], "adapter": LORA}
    recipe["model"] = {"max_length": 2048}
    train = {"method": "grpo", "batch_size": batch}
    assert [one.code for one in wrong(**recipe, train=train)] == codes
    if not codes:
        assert emitted("axolotl.yaml", **recipe, train=train)["trl"]["generation_batch_size"] == batch


@pytest.mark.parametrize("trainer", ["axolotl", "trl", "llamafactory"])
def test_lion_has_both_betas(trainer: str) -> None:
    model = {**BASE["model"], "chat_template": "llama3"}
    train = {"optimizer": "lion", "beta1": 0.95, "beta2": 0.98}
    found = compiled(trainer=trainer, model=model, train=train)
    assert errors(found.findings) == []
    text = "".join(found.files.values())
    assert "0.95" in text
    assert "0.98" in text


@pytest.mark.parametrize(
    ("word", "name"), [("adamw_4bit", "adamw_torch_4bit"), ("adamw_8bit_torchao", "adamw_torch_8bit")]
)
def test_the_optimisers_of_torchao_are_sharded(word: str, name: str) -> None:
    assert emitted("axolotl.yaml", train={"optimizer": word}, parallel=FSDP2)["optimizer"] == name


EVERY = [
    ("epoch/4", {"epochs": 2.0}, ("steps", 0.125)),
    ("epoch/2", {}, ("steps", 0.5)),
    ("12.5%", {"steps": 100}, ("steps", 0.125)),
    ("never", {}, ("no", None)),
    ("epoch", {}, ("epoch", None)),
    (50, {}, ("steps", 50)),
]


@pytest.mark.parametrize(("every", "length", "expected"), EVERY)
@pytest.mark.parametrize(("trainer", "file"), [("axolotl", "axolotl.yaml"), ("llamafactory", "llamafactory.yaml")])
def test_how_often_is_validated(every: Any, length: Any, expected: Any, trainer: str, file: str) -> None:
    model = {**BASE["model"], "chat_template": "llama3"}
    train = {"evaluate_every": every, **length}
    found = emitted(file, trainer=trainer, model=model, train=train, data={"holdout": "5%"})
    assert (found["eval_strategy"], found.get("eval_steps")) == expected


@pytest.mark.parametrize("every", ["0%", "100%", "epoch/1", "epoch/0", "epoch/-2", "epoch/1000", "0.0%", "sometimes"])
def test_what_is_no_interval(every: str) -> None:
    assert {one.code[0] for one in wrong(train={"evaluate_every": every}, data={"holdout": "5%"})} == {"R"}


RAW = {
    "same": ({"remove_unused_columns": False}, []),
    "other": ({"remove_unused_columns": True}, ["T010"]),
    "number": ({"remove_unused_columns": 0}, ["T010"]),
    "written otherwise": ({"micro_batch_size": 2, "learning_rate": 0.00001}, []),
    "inside": ({"special_tokens": {"pad_token": "<pad>"}}, []),
    "inside, other": ({"special_tokens": {"pad_token": "<end>"}}, ["T010"]),
}


@pytest.mark.parametrize(("raw", "codes"), RAW.values(), ids=list(RAW))
def test_a_raw_key_may_say_what_the_recipe_says(raw: Any, codes: list[str]) -> None:
    rows = {"path": "data/labelled.jsonl", "format": "unpaired-preference"}
    recipe = {"train": {"method": "kto"}, "data": {"train": [rows]}, "model": {"special_tokens": {"pad": "<pad>"}}}
    assert sorted({one.code for one in wrong(**recipe, overrides={"axolotl": raw})}) == codes


@pytest.mark.parametrize(
    ("trainer", "method"), [("openrlhf", "pretrain"), ("llamafactory", "grpo"), ("unsloth", "ppo")]
)
def test_a_tracker_beside_what_the_trainer_cannot_do(trainer: str, method: str) -> None:
    track = {"mlflow": {"tracking_uri": "http://m:5000"}}
    assert {one.code for one in wrong(trainer=trainer, train={"method": method}, track=track)} & {"T001", "P048"}


TRACKED = [
    ("axolotl", f"axolotl-{releases('axolotl')[0]}-mlflow"),
    ("trl", "trl-1.16.0"),
    ("llamafactory", "llamafactory-0.9.5"),
]


@pytest.mark.parametrize(("trainer", "environment"), TRACKED)
def test_mlflow_is_added_where_the_pins_have_none(trainer: str, environment: str) -> None:
    for uri, folder in (("http://m:5000", False), ("databricks", False), ("mlruns", True), ("file:/runs", True)):
        found = compiled(trainer=trainer, adapter=LORA, track={"mlflow": {"tracking_uri": uri}})
        assert found.resolved is not None
        stage = next(iter(found.resolved.plan.of_kind("train")))
        assert stage.environment == environment
        assert errors(found.findings) == []
        assert "\nmlflow-skinny==" in pins(environment)
        assert ("MLFLOW_ALLOW_FILE_STORE" in found.files["train/run.sh"]) is folder


def test_trackio_is_added_or_refused() -> None:
    for trainer in ("trl", "unsloth", "llamafactory"):
        found = compiled(trainer=trainer, adapter=LORA, track={"trackio": {"project": "p"}}, hardware={"per_node": 1})
        if trainer == "llamafactory":
            assert [one.message for one in errors(found.findings)] == [
                "LLaMA-Factory's Gradio excludes every Trackio that its Transformers can log to"
            ]
            continue
        assert errors(found.findings) == []
        assert found.resolved is not None
        environment = next(iter(found.resolved.plan.of_kind("train"))).environment
        assert environment.endswith("-trackio")
        assert "\ntrackio==" in pins(environment)


@pytest.mark.parametrize(("tool", "added"), [("axolotl", "mlflow"), ("trl", "trackio"), ("unsloth", "trackio")])
def test_added_pins_are_of_what_an_environment_lacks(tool: str, added: str) -> None:
    bases = [f"{tool}-{release}{more}" for release in releases(tool) for more in ("", "-deepspeed")]
    for base in filter(has_pins, bases):
        names = [line.partition("==")[0] for line in pins(f"{base}-{added}").splitlines() if not line.startswith("#")]
        assert len(names) == len(set(names))


def test_liger_and_checkpoints_of_the_model_alone_on_trl() -> None:
    train = {"liger_kernel": True, "save": {"every": 100, "only_model": True}}
    for rows in (CHAT, {**CHAT, "format": "completion"}):
        found = compiled(trainer="trl", adapter=LORA, train=train, data={"train": [rows]})
        assert errors(found.findings) == []
        text = "".join(found.files.values())
        assert "use_liger_kernel" in text
        assert "save_only_model" in text
        assert found.resolved is not None
        environment = next(iter(found.resolved.plan.of_kind("train"))).environment
        assert environment == "trl-1.16.0-liger"
        assert "\nliger-kernel==" in pins(environment)
    plain = pins("trl-1.16.0-deepspeed")
    assert pins("trl-1.16.0-deepspeed-flash-attn-liger").startswith(plain)
    assert "liger-kernel" not in plain
    own = compiled(train={"liger_kernel": True}).resolved
    assert own is not None
    assert next(iter(own.plan.of_kind("train"))).environment == "axolotl-0.21.0"  # which holds Liger anyway


def test_every_template_of_llamafactory_has_a_name() -> None:
    names = (*get_args(OtherTemplate), "qwen_25", "phi_35", "llama4")
    for name in names:
        rows = {"path": "data/rows.json", "format": "instruction"}
        found = emitted(
            "llamafactory.yaml", trainer="llamafactory", model={"chat_template": name}, data={"train": [rows]}
        )
        assert found["template"] == {"qwen_25": "qwen", "phi_35": "phi"}.get(name, name)
    (one,) = wrong(trainer="trl", model={"chat_template": "glm4"})
    assert one.code == "T001"


def test_doctor_agrees_with_every_file_of_ours(tmp_path: Any) -> None:
    """Of the combinations that a tool is particular about; `tests/conformance` asks the tool of many more."""
    found = compiled(model={"load_in": "nf4"}, adapter=LORA, parallel=FSDP2)
    for name, text in found.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = [str(tmp_path / "train" / name) for name in ("axolotl.yaml", "accelerate.yaml")]
    assert errors(examine(files).findings) == []
