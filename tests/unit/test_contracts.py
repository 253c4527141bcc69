"""The checker of the tools' contracts, against the real data."""

import json
import time
from typing import Any

import pytest

from recipec import contracts
from recipec.contracts import Problem, load
from recipec.facts import pinned, pins
from recipec.facts import releases as pinned_releases
from recipec.systems.registry import doing

EVERY = sorted(path.stem.rpartition("-")[::2] for path in contracts.DATA.glob("*.json"))
PLAIN = {"base_model": "m", "datasets": [{"path": "a.jsonl", "type": "chat_template"}], "learning_rate": 2e-4}


def axolotl(**more: Any) -> list[Problem]:
    return load("axolotl", "0.19.0").check("config", {**PLAIN, **more})


@pytest.mark.parametrize("trainer", doing("train"))
def test_there_is_a_contract_for_each_release_that_is_pinned(trainer: str) -> None:
    for release in pinned_releases(trainer):
        assert (trainer, release) in EVERY
        if "\nlm-eval==" in pins(f"{trainer}-{release}"):
            held = pinned(f"{trainer}-{release}", "lm-eval")
            assert ("lm_eval", held) in EVERY
            assert "gsm8k" in contracts.tasks(held)


@pytest.mark.parametrize(("tool", "release"), EVERY)
def test_every_contract_loads_and_is_well_formed(tool: str, release: str) -> None:
    contract = load(tool, release)
    assert (contract.tool, contract.release) == (tool, release)
    data = json.loads((contracts.DATA / f"{tool}-{release}.json").read_text(encoding="utf-8"))["documents"]
    types = {"str", "int", "float", "bool", "null", "list", "map", "any"}

    def walk(node: dict[str, Any]) -> None:
        assert ("ref" in node) or node["type"], node
        assert set(node.get("type", [])) <= types
        assert set(node.get("choices", [])) or "choices" not in node
        for case in (node, *node.get("when", [])):
            assert "ref" not in case or case["ref"] in data
        for child in (*node.get("keys", {}).values(), *(node[k] for k in ("items", "values") if k in node)):
            walk(child)

    for name in contract.documents:
        walk(data[name])
        assert isinstance(contract.check(name, {}), list)


def test_a_good_document_has_no_problems() -> None:
    assert axolotl() == []


def test_the_key_that_axolotl_drops_in_silence_is_named() -> None:
    assert axolotl(context_parapllel_size=2) == [
        Problem(("context_parapllel_size",), "key", 'unknown key "context_parapllel_size"', "context_parallel_size")
    ]


@pytest.mark.parametrize(
    ("document", "path", "suggestion"),
    [
        ({"fsdp_config": {"offload_parms": True}}, ("fsdp_config", "offload_parms"), "offload_params"),
        ({"trl": {"num_generation": 4}}, ("trl", "num_generation"), "num_generations"),
        ({"datasets": [{"path": "a", "field_mesages": "m"}]}, ("datasets", 0, "field_mesages"), "field_messages"),
        (
            {"datasets": [{"path": "a", "type": {"field_instructon": "q"}}]},
            ("datasets", 0, "type", "field_instructon"),
            "field_instruction",
        ),
    ],
)
def test_unknown_keys_are_found_at_every_depth(
    document: dict[str, Any], path: tuple[str | int, ...], suggestion: str
) -> None:
    (found,) = axolotl(**document)
    assert (found.path, found.on, found.suggestion) == (path, "key", suggestion)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sequence_len", "long", 'expected an integer, found "long"'),
        ("lora_r", True, "expected an integer or null, found true"),
        ("sample_packing", 1, "expected true, false or null, found 1"),
        ("datasets", {"path": "a"}, "expected a list or null, found a mapping"),
        ("trl", [], "expected a mapping or null, found a list"),
        ("bf16", "ful", 'expected "auto", true, false or null, found "ful"'),
    ],
)
def test_wrong_types(key: str, value: object, message: str) -> None:
    (found,) = axolotl(**{key: value})
    assert (found.path, found.on, found.message) == ((key,), "value", message)


def test_an_integer_is_a_number_but_true_is_not() -> None:
    assert axolotl(weight_decay=0) == []
    assert [problem.path for problem in axolotl(weight_decay=True)] == [("weight_decay",)]


@pytest.mark.parametrize(
    ("key", "value", "suggestion"),
    [
        ("optimizer", "adamw_trch_fused", "adamw_torch_fused"),
        ("lr_scheduler", "cosin", "cosine"),
        ("rl", "dop", None),
        ("adapter", "loar", "lora"),
        ("chat_template", "chatlm", "chatml"),
        ("attn_implementation", "flash_atention_2", "flash_attention_2"),
        ("eval_strategy", "step", "steps"),
    ],
)
def test_names_that_only_the_code_knows_are_choices(key: str, value: str, suggestion: str | None) -> None:
    (found,) = axolotl(**{key: value})
    assert (found.path, found.on, found.suggestion) == ((key,), "value", suggestion)
    assert len(found.message) < 300


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer", "paged_adamw_8bit"),
        ("lr_scheduler", "rex"),
        ("chat_template", "tokenizer_default_fallback_chatml"),
        ("attn_implementation", "kernels-community/flash-attn3"),
        ("learning_rate", 1),
        ("bf16", "auto"),
        ("bf16", False),
    ],
)
def test_right_values_pass(key: str, value: object) -> None:
    assert axolotl(**{key: value}) == []


@pytest.mark.parametrize("kind", ["chat_template", "alpaca", "completion", "alpaca:chat", "my_package.strategy", None])
def test_dataset_types(kind: str | None) -> None:
    assert axolotl(datasets=[{"path": "a", "type": kind}]) == []


def test_a_misspelt_dataset_type() -> None:
    (found,) = axolotl(datasets=[{"path": "a", "type": "chat_templte"}])
    assert (found.path, found.suggestion) == (("datasets", 0, "type"), "chat_template")


def test_the_method_decides_what_a_dataset_entry_may_hold() -> None:
    entry = {"path": "json", "ds_type": "json", "type": "chatml.intel"}
    (found,) = axolotl(rl="dpo", datasets=[entry])
    assert (found.path, found.on) == (("datasets", 0, "ds_type"), "key")
    (found,) = axolotl(datasets=[{"path": "a", "type": "chatml.intle"}], rl="dpo")
    assert found.suggestion == "chatml.intel"
    assert axolotl(rl="orpo", datasets=[{**entry, "type": "chat_template.argilla"}]) == []


def test_a_plugins_key_needs_the_plugin() -> None:
    (found,) = axolotl(liger_rope=True)
    assert found.on == "key"
    assert found.message == '"liger_rope" is dropped unless `plugins` names axolotl.integrations.liger.LigerPlugin'
    assert axolotl(liger_rope=True, plugins=["axolotl.integrations.liger.LigerPlugin"]) == []


def test_a_plugin_of_ones_own_may_bring_keys() -> None:
    assert axolotl(my_key=1, plugins=["mine.Plugin"]) == []
    assert [p.path for p in axolotl(plugins=["axolotl.integrations.liger.LigrPlugin"])] == [("plugins", 0)]


def test_removed_and_deprecated_keys() -> None:
    (found,) = axolotl(dpo_norm_loss=True)
    assert "no longer" in found.message
    contract = load("axolotl", "0.19.0")
    assert axolotl(flash_attention=True) == []
    (old,) = contract.deprecated("config", {**PLAIN, "flash_attention": True})
    assert old.path == ("flash_attention",)
    assert "attn_implementation" in old.message
    assert old.suggestion == "attn_implementation"
    (found,) = axolotl(fsdp_final_state_dict_type="FULL_STATE_DICT")
    assert found.message.startswith('"fsdp_final_state_dict_type" is no longer read')


@pytest.mark.parametrize(
    ("tool", "release", "document", "key", "successor"),
    [
        ("axolotl", "0.19.0", "config", "evaluation_strategy", "eval_strategy"),
        ("axolotl", "0.19.0", "config", "eval_table_size", None),  # two keys take its place
        ("llamafactory", "0.9.5", "config", "warmup_ratio", "warmup_steps"),
        ("trl", "1.16.0", "sft", "gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
        ("trl", "1.16.0", "sft", "use_liger_kernel", None),  # a part of another key's value takes its place
        ("trl", "1.9.0", "grpo", "vllm_importance_sampling_cap", "vllm_importance_sampling_clip_max"),
        ("deepspeed", "0.19.8", "ds_config", "zero_optimization.cpu_offload", "offload_optimizer"),
    ],
)
def test_successor_of_a_deprecated_key(tool: str, release: str, document: str, key: str, successor: str | None) -> None:
    value: object = None
    for step in reversed(key.split(".")):
        value = {step: value}
    (old,) = load(tool, release).deprecated(document, value)
    assert old.suggestion == successor


def test_not_deprecated() -> None:
    assert load("llamafactory", "0.9.5").deprecated("config", {"local_rank": 0}) == []
    assert load("trl", "1.16.0").deprecated("sft", {"truncation_mode": "keep_start"}) == []  # one of its values is
    assert load("trl", "1.16.0").deprecated("reward", {"use_liger_kernel": True}) == []


@pytest.mark.parametrize("release", ["1.9.0", "1.16.0"])
@pytest.mark.parametrize("document", ["dpo", "DPOConfig"])
def test_one_loss_or_several(release: str, document: str) -> None:
    contract = load("trl", release)
    for value in ("sigmoid", ["sigmoid"], ["sigmoid", "sft"]):
        assert contract.check(document, {"loss_type": value}) == []
    for wrong, path in (("sigmoyd", ("loss_type",)), (["sigmoyd"], ("loss_type", 0)), ("sigmoid,sft", ("loss_type",))):
        assert [p.path for p in contract.check(document, {"loss_type": wrong})] == [path]


def test_problems_are_sorted_by_place() -> None:
    entries = [{"path": "a"}] * 10 + [{"b": 1, "a": 1}]
    found = axolotl(zzz=1, datasets=[{"x": 1}, *entries], aaa=1)
    assert [p.path for p in found] == [
        ("aaa",),
        ("datasets", 0, "x"),
        ("datasets", 11, "a"),
        ("datasets", 11, "b"),
        ("zzz",),
    ]


@pytest.mark.parametrize("release", ["0.18.9", "0.19.8"])
def test_deepspeed(release: str) -> None:
    contract = load("deepspeed", release)
    good = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": "auto",
        "bf16": {"enabled": True},
        "zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/x"}, "overlap_comm": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "betas": [0.9, 0.95]}},
        "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 10}},
    }
    assert contract.check("ds_config", good) == []
    bad = {
        "zero_optimisation": {},
        "zero_optimization": {"stage": 4, "offload_parm": {}, "reduce_bucket_size": -1},
        "optimizer": {"type": "AdmaW", "params": {}},
        "scheduler": {"type": "WarmupLR", "params": {"warmup_step": 1}},
        "gradient_clipping": "high",
    }
    assert [(p.path, p.on, p.suggestion) for p in contract.check("ds_config", bad)] == [
        (("gradient_clipping",), "value", None),
        (("optimizer", "type"), "value", "AdamW"),
        (("scheduler", "params", "warmup_step"), "key", "warmup_type"),
        (("zero_optimisation",), "key", "zero_optimization"),
        (("zero_optimization", "offload_parm"), "key", "offload_param"),
        (("zero_optimization", "reduce_bucket_size"), "value", None),
        (("zero_optimization", "stage"), "value", None),
    ]


def test_whole_floats_are_integers_where_the_tool_says_so() -> None:
    deepspeed = load("deepspeed", "0.19.8")
    assert deepspeed.check("ds_config", {"zero_optimization": {"reduce_bucket_size": 5e8}}) == []
    assert len(deepspeed.check("ds_config", {"zero_optimization": {"reduce_bucket_size": 0.5}})) == 1
    for odd in (float("inf"), float("nan")):
        assert len(deepspeed.check("ds_config", {"zero_optimization": {"reduce_bucket_size": odd}})) == 1
    found = load("accelerate", "1.15.0").check("config", {"num_processes": 4.0})
    assert [problem.path for problem in found] == [("num_processes",)]


def test_deepspeed_removed_blocks() -> None:
    assert load("deepspeed", "0.18.9").check("ds_config", {"amp": {"enabled": True}}) == []
    (found,) = load("deepspeed", "0.19.8").check("ds_config", {"amp": {"enabled": True}})
    assert found.message.startswith('"amp" is no longer read')


@pytest.mark.parametrize("release", ["1.13.0", "1.15.0"])
def test_accelerate(release: str) -> None:
    contract = load("accelerate", release)
    good = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP",
        "num_processes": 4,
        "mixed_precision": "bf16",
        "downcast_bf16": "no",
        "fsdp_config": {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": True,
            "fsdp_state_dict_type": "FULL_STATE_DICT",
        },
        "deepspeed_config": {"deepspeed_config_file": "x.json", "zero3_init_flag": True},
    }
    assert contract.check("config", good) == []
    bad = {
        "distributed_type": "FSPD",
        "num_proceses": 2,
        "deepspeed_config": {"zero_stage": 7, "deepspeed_multinode_launcher": "ssh"},
        "fsdp_config": {"fsdp_offload_parms": True},
    }
    assert [(p.path, p.on, p.suggestion) for p in contract.check("config", bad)] == [
        (("deepspeed_config", "deepspeed_multinode_launcher"), "value", "nossh"),
        (("deepspeed_config", "zero_stage"), "value", None),
        (("distributed_type",), "value", "FSDP"),
        (("fsdp_config", "fsdp_offload_parms"), "key", "fsdp_offload_params"),
        (("num_proceses",), "key", "num_processes"),
    ]


@pytest.mark.parametrize("release", ["0.4.11", "0.4.13"])
def test_lm_eval(release: str) -> None:
    contract = load("lm_eval", release)
    good = {
        "model": "hf",
        "model_args": {"pretrained": "m", "dtype": "bfloat16", "peft": "a"},
        "tasks": ["gsm8k"],
        "batch_size": "auto:4",
        "apply_chat_template": True,
        "wandb_args": {"project": "p"},
    }
    assert contract.check("config", good) == []
    assert contract.check("config", {**good, "model": "vllm", "model_args": {"pretrained": "m", "own": 1}}) == []
    bad = {"model": "hff", "batchsize": 1, "tasks": [3]}
    assert [(p.path, p.suggestion) for p in contract.check("config", bad)] == [
        (("batchsize",), "batch_size"),
        (("model",), "hf"),
        (("tasks", 0), None),
    ]
    (found,) = contract.check("config", {"model_args": {"pretraned": "m"}})
    assert (found.path, found.suggestion) == (("model_args", "pretraned"), "pretrained")


def test_node() -> None:
    contract = load("axolotl", "0.19.0")
    found = contract.node("config", ("datasets", 0, "train_on_eos"))
    assert found is not None
    assert found["choices"] == ["all", "turn", "last", "none"]
    assert contract.node("config", ("nothing",)) is None
    assert contract.node("config", ("model_config", "anything")) == {"type": ["any"]}


def test_unknown_releases_and_documents() -> None:
    with pytest.raises(LookupError, match=r"no contract of lm_eval 9; there is 0\.4\.11, 0\.4\.13"):
        load("lm_eval", "9")
    with pytest.raises(LookupError, match="no contract of nothing 1"):
        load("nothing", "1")
    with pytest.raises(LookupError, match="has no document 'x', only config"):
        load("accelerate", "1.13.0").check("x", {})


def test_odd_values_never_break_the_check() -> None:
    contract = load("axolotl", "0.19.0")
    odds: tuple[object, ...] = (
        None,
        [],
        "text",
        3,
        {1: 2},
        {None: 1},
        {"datasets": [None]},
        {"plugins": "x"},
        {"rl": []},
        b"x",
    )
    for odd in odds:
        assert contract.check("config", odd)


def test_loading_and_checking_is_fast() -> None:
    document = {**PLAIN, **dict.fromkeys(list(contracts.load("axolotl", "0.19.0").node("config", ())["keys"])[:60])}  # type: ignore[index]  # the root is there
    best = 1.0
    for _ in range(5):
        load.cache_clear()
        start = time.process_time()
        load("axolotl", "0.19.0").check("config", document)
        best = min(best, time.process_time() - start)
    assert best < 0.02, f"{best * 1000:.1f} ms; about 2 ms when the machine is idle"


def test_tasks_are_known_by_whole_names() -> None:
    known = contracts.tasks("0.4.13")
    assert {"mmlu", "ai2_arc", "humaneval", "humaneval_instruct"} <= set(known.names())
    assert "humaneval" in known
    assert "humaneva" not in known
    assert "humaneval\tcode" not in known.names()
    assert known.runs_code("longproc")  # a group, of which some do
    assert not known.runs_code("gsm8k")


def test_a_release_without_a_list_of_tasks_is_an_error() -> None:
    with pytest.raises(LookupError, match="no list of the tasks of lm-eval 9"):
        contracts.tasks("9")


@pytest.mark.parametrize("release", ["0.4.11", "0.4.13"])
def test_tasks_say_how_many_worked_examples_they_can_be_given(release: str) -> None:
    known = contracts.tasks(release)
    given = {
        "ifeval": 0,
        "humaneval_instruct": 0,
        "gsm8k_cot": 8,
        "mbpp_instruct": 3,
        "leaderboard": 3,
        "truthfulqa": 0,
    }
    assert {name: known.most_examples(name) for name in given} == given
    assert [known.most_examples(name) for name in ("gsm8k", "mmlu", "openllm", "no_such_task")] == [None] * 4
    assert known.runs_code("humaneval_instruct")
    assert not known.runs_code("ifeval")
    assert "ifeval" in known
    assert "ifeva" not in known
