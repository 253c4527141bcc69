"""What LLaMA-Factory's target says of a recipe, and what it refuses with the reason."""

import json
from typing import Any

import pytest

from recipec.diagnostics import errors
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

CHAT = "{path: data/a.jsonl, format: chat}"
PAIRS = "{path: data/p.jsonl, format: preference}"


def compiled(**sections: str) -> Compiled:
    """Compile a small recipe; keywords replace its sections."""
    parts = {
        "model": "{base: m/m, chat_template: chatml}",
        "data": f"{{train: [{CHAT}]}}",
        "train": "{learning_rate: 1e-4}",
        "hardware": "{gpu: a100-80gb}",
        **sections,
    }
    text = "recipe: 1\nname: x\ntrainer: llamafactory\n" + "".join(f"{key}: {value}\n" for key, value in parts.items())
    return compile_tree(read_text(Source("x.yaml", text)))


def emitted(**sections: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the YAML's lines by key, without remarks, and the list of data."""
    found = compiled(**sections)
    assert errors(found.findings) == []
    lines = found.files["10-train/llamafactory.yaml"].splitlines()
    pairs = [line.partition("  #")[0].partition(": ") for line in lines if ": " in line and line[0] not in "# "]
    return {key: value for key, _, value in pairs}, json.loads(found.files["10-train/dataset_info.json"])


def refusals(**sections: str) -> list[str]:
    return [finding.message for finding in errors(compiled(**sections).findings)]


@pytest.mark.parametrize(
    ("train", "keys"),
    [
        (
            "{method: dpo, learning_rate: 1e-6, sft_weight: 0.1}",
            {"stage": "dpo", "pref_loss": "sigmoid", "pref_ftx": "0.1"},
        ),
        ("{method: orpo, learning_rate: 1e-6, beta: 0.2}", {"stage": "dpo", "pref_loss": "orpo", "pref_beta": "0.2"}),
        ("{method: simpo, learning_rate: 1e-6}", {"pref_loss": "simpo", "pref_beta": "2.0", "simpo_gamma": "1.0"}),
        ("{method: reward, learning_rate: 1e-6}", {"stage": "rm"}),
    ],
)
def test_methods_by_their_names(train: str, keys: dict[str, str]) -> None:
    found, listed = emitted(train=train, data=f"{{train: [{PAIRS}]}}")
    assert {key: found[key] for key in keys} == keys
    assert listed["train-1"]["ranking"] is True
    assert listed["train-1"]["columns"] == {"messages": "messages", "chosen": "chosen", "rejected": "rejected"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{method: ipo, learning_rate: 1e-6}", "llamafactory cannot do ipo"),
        ("{method: dpo, loss: hinge, learning_rate: 1e-6}", "it trains sigmoid in its place"),
        ("{method: dpo, loss: robust, learning_rate: 1e-6}", "cannot train robust"),
        ("{method: cpo, learning_rate: 1e-6}", "llamafactory cannot do cpo"),
    ],
)
def test_losses_that_it_cannot_train(words: str, message: str) -> None:
    assert any(message in told for told in refusals(train=words, data=f"{{train: [{PAIRS}]}}"))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": "{base: m/m, chat_template: mistral_v1}"}, "no template like mistral_v1"),
        ({"model": "{base: m/m, attention: flex_attention}"}, "flex_attention is not among"),
        ({"model": "{base: m/m, tokenizer: other/t}"}, "from the model's own folder"),
        ({"model": "{base: m/m, resize_embeddings: true}"}, "multiple of 32"),
        ({"data": "{train: [{hub: a/b, revision: v1, format: chat}]}"}, "not at a revision"),
        ({"data": f"{{train: [{CHAT}], holdout: 1}}"}, "1 for all rows"),
        ({"data": "{train: [{path: a.jsonl, format: text}]}"}, "no rows of plain text"),
        ({"data": "{train: [{path: a.jsonl, format: chat, roles: {user: [human, user]}}]}"}, "one name of a role"),
        ({"adapter": "{alpha: 1.5}"}, "whole numbers for alpha"),
        ({"adapter": "{init: olora}"}, "no init olora"),
        ({"adapter": "{init: pissa}", "model": "{base: m/m, load_in: nf4}"}, "PiSSA from quantised weights"),
        ({"adapter": "{options: {bias: all}}"}, "no other fields of PEFT"),
        ({"adapter": "{type: vera}"}, "llamafactory cannot do vera"),
        ({"adapter": "{type: oft, start_from: a}"}, "cannot go on training oft"),
    ],
)
def test_what_it_cannot_say_is_refused(sections: dict[str, str], message: str) -> None:
    told = refusals(**sections)
    assert any(message in one for one in told), told


@pytest.mark.parametrize(
    ("template", "source", "expected"),
    [
        ("llama3", CHAT, "llama3"),
        ("mistral_v3_tekken", CHAT, "ministral"),
        ("phi_3", CHAT, "phi"),
        ("tokenizer", CHAT, None),
        ("tokenizer", "{path: a.jsonl, format: instruction}", "alpaca"),
        ("tokenizer", "{path: a.jsonl, format: completion}", "empty"),
        ("chatml", "{path: a.jsonl, format: instruction}", "chatml"),
    ],
)
def test_templates(template: str, source: str, expected: str | None) -> None:
    found, _ = emitted(model=f"{{base: m/m, chat_template: {template}}}", data=f"{{train: [{source}]}}")
    assert found.get("template") == expected


def test_data_of_every_kind() -> None:
    named = "{path: data/b.jsonl, format: chat, columns: {messages: c, role: from, content: value}, roles: {user: [human], tool: [obs]}}"
    found, listed = emitted(
        data=f"{{train: [{named}, {{hub: a/b, subset: s, format: chat, weight: 2}}], validation: [{CHAT}]}}"
    )
    assert found["dataset"] == '"train-1,train-2,train-2-copy-2"'
    assert found["eval_dataset"] == "validation-1"
    assert listed["train-1"] == {
        "file_name": "start/data/b.jsonl",
        "split": "train",
        "formatting": "sharegpt",
        "columns": {"messages": "c"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "system_tag": "system",
            "user_tag": "human",
            "assistant_tag": "assistant",
            "observation_tag": "obs",
        },
    }
    assert listed["train-2"] == listed["train-2-copy-2"]
    assert listed["train-2"]["hf_hub_url"] == "a/b"
    assert listed["train-2"]["subset"] == "s"
    kto, listed = emitted(
        train="{method: kto, learning_rate: 1e-6, undesirable_weight: 2}",
        data="{train: [{path: /a.jsonl, format: unpaired-preference, columns: {label: good}}], holdout: 9}",
    )
    assert (kto["stage"], kto["kto_rejected_weight"], kto["val_size"]) == ("kto", "2.0", "9")
    assert listed["train-1"]["file_name"] == "/a.jsonl"
    assert listed["train-1"]["columns"] == {"prompt": "prompt", "response": "completion", "kto_tag": "good"}


def test_adapters_and_numerics() -> None:
    lora, _ = emitted(
        adapter="{rank: 8, dora: true, init: pissa_niter_4, targets: [q_proj, v_proj], also_train: [lm_head]}",
        train="{learning_rate: 1e-4, optimizer: muon, warmup: 3, steps: 9, gradient_checkpointing: false}",
    )
    assert (lora["lora_target"], lora["additional_target"], lora["pissa_iter"]) == ('"q_proj,v_proj"', "lm_head", "4")
    assert "optim" not in lora
    assert (lora["use_muon"], lora["warmup_steps"], lora["max_steps"], lora["lora_alpha"]) == ("true", "3", "9", "16")
    assert (lora["disable_gradient_checkpointing"], lora["bf16"], lora["tf32"]) == ("true", "true", "true")
    oft, _ = emitted(adapter="{type: oft, rank: 8}", model="{base: m/m, load_in: int8, chat_template: chatml}")
    assert (oft["finetuning_type"], oft["oft_rank"], oft["oft_block_size"], oft["quantization_bit"]) == (
        "oft",
        "8",
        "0",
        "8",
    )


def test_overrides_are_for_the_settings_not_for_the_list_of_data() -> None:
    found, listed = emitted(overrides="{llamafactory: {neftune_noise_alpha: 5}}")
    assert found["neftune_noise_alpha"] == "5"
    assert list(listed) == ["train-1"]
    assert any(
        'unknown key "neftune_nois_alpha"' in told
        for told in refusals(overrides="{llamafactory: {neftune_nois_alpha: 5}}")
    )


def test_one_gpu_is_one_process() -> None:
    script = compiled().files["10-train/run.sh"]
    assert 'export CUDA_VISIBLE_DEVICES="${gpu%%,*}"' in script
    several = compiled(hardware="{gpu: a100-80gb, per_node: 4, nodes: 2}", parallel="{strategy: zero2}").files[
        "10-train/run.sh"
    ]
    assert '"deepspeed=$here/ds_config.json"' in several
    assert "--machine_rank" in several
