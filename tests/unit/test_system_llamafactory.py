"""What LLaMA-Factory's files say of a recipe, what it refuses with the reason, and which values act."""

import json
from pathlib import Path
from typing import Any

import pytest
from effects import misjudged, training
from reading_back import contradictions, read

from recipec.diagnostics import errors
from recipec.kinds.train.records import Train
from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.plan import Stage
from recipec.source import Source
from recipec.systems import llamafactory
from recipec.yaml_reader import read_text

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*llamafactory*.yaml"))
CHAT = "{path: data/a.jsonl, format: chat}"
PAIRS = "{path: data/p.jsonl, format: preference}"
PROMPTED = "{path: data/p.jsonl, format: preference, columns: {prompt: q}}"
TEXTS = "{path: data/t.jsonl, format: text}"
ROWS = "{path: data/i.jsonl, format: instruction}"
JUDGED = "{path: data/j.jsonl, format: unpaired-preference}"


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
    lines = found.files["train/llamafactory.yaml"].splitlines()
    pairs = [line.partition("  #")[0].partition(": ") for line in lines if ": " in line and line[0] not in "# "]
    return {key: value for key, _, value in pairs}, json.loads(found.files["train/dataset_info.json"])


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
        ("{method: dpo, loss: hinge, learning_rate: 1e-6}", "it trains sigmoid instead"),
        ("{method: dpo, loss: robust, learning_rate: 1e-6}", "cannot train robust"),
        ("{method: cpo, learning_rate: 1e-6}", "llamafactory cannot do cpo"),
    ],
)
def test_losses_that_it_cannot_train(words: str, message: str) -> None:
    assert any(message in told for told in refusals(train=words, data=f"{{train: [{PAIRS}]}}"))


NF4, FSDP2 = "{base: m/m, load_in: nf4, chat_template: chatml}", "{strategy: fsdp2}"
TWO = "{gpu: a100-80gb, per_node: 2}"


def of(method: str, source: str, more: str = "") -> dict[str, str]:
    """Return the sections of a method with a set of rows."""
    model = {} if method != "pretrain" else {"model": "{base: m/m}"}
    return {"train": f"{{method: {method}, learning_rate: 1e-6{more}}}", "data": f"{{train: [{source}]}}", **model}


@pytest.mark.parametrize(
    ("sections", "message", "mended"),
    [
        ({"model": "{base: m/m, chat_template: mistral_v1}"}, "no template like mistral_v1", {"model": "{base: m/m}"}),
        (
            {"model": "{base: m/m, attention: flex_attention}"},
            "flex_attention is not supported",
            {"model": "{base: m/m, attention: eager}"},
        ),
        (
            {"model": "{base: m/m, tokenizer: other/t}"},
            "from the model's own folder",
            {"model": "{base: m/m, tokenizer: m/m}"},
        ),
        (
            {"model": "{base: m/m, resize_embeddings: true}"},
            "multiple of 32",
            {"model": "{base: m/m, resize_embeddings: false}"},
        ),
        (
            {
                "model": "{base: m/m, load_in: int8}",
                "adapter": "{rank: 4}",
                "hardware": TWO,
                "parallel": FSDP2,
            },
            "8-bit weights cannot be sharded by FSDP2",
            {"model": NF4},
        ),
        (
            {"data": "{train: [{hub: a/b, revision: v1, format: chat}]}"},
            "not at a revision",
            {"data": "{train: [{hub: a/b, format: chat}]}"},
        ),
        ({"data": f"{{train: [{CHAT}], holdout: 1}}"}, "1 for all rows", {"data": f"{{train: [{CHAT}], holdout: 2}}"}),
        (
            {"data": "{train: [{path: a.jsonl, format: text}]}"},
            "no rows of plain text",
            of("pretrain", TEXTS),
        ),
        (
            {"data": "{train: [{path: a.jsonl, format: chat, roles: {user: [human, user]}}]}"},
            "one name for a role, not human, user",
            {"data": "{train: [{path: a.jsonl, format: chat, roles: {user: [human]}}]}"},
        ),
        ({"adapter": "{alpha: 1.5}"}, "whole numbers for alpha", {"adapter": "{alpha: 2}"}),
        ({"adapter": "{init: olora}"}, "olora is not supported", {"adapter": "{init: pissa}"}),
        (
            {"adapter": "{init: pissa}", **of("dpo", PAIRS, ", reference_model: base")},
            "the reference model of dpo excludes PiSSA",
            of("orpo", PAIRS),
        ),
        (
            {"adapter": "{init: pissa_niter_16}", "hardware": TWO, "parallel": "{strategy: zero3}"},
            "cannot initialise PiSSA under ZeRO-3",
            {"parallel": "{strategy: zero2}"},
        ),
        (
            {
                **of("reward", PAIRS, ", save: {every: 10}, evaluate_every: 10, early_stopping: 2"),
                "data": f"{{train: [{PAIRS}], holdout: 5%}}",
            },
            "cannot go back to the best checkpoint of a reward model",
            {
                **of("dpo", PAIRS, ", save: {every: 10}, evaluate_every: 10, early_stopping: 2"),
                "data": f"{{train: [{PAIRS}], holdout: 5%}}",
            },
        ),
        ({"adapter": "{options: {bias: all}}"}, "no other fields of PEFT", {"adapter": "{options: {}}"}),
        ({"adapter": "{type: vera}"}, "llamafactory cannot do vera", {"adapter": "{type: oft}"}),
        ({"adapter": "{type: oft, start_from: a}"}, "cannot continue training oft", {"adapter": "{start_from: a}"}),
        (
            {"adapter": "{merge: true}", **of("reward", PAIRS)},
            "lose the value head",
            {"adapter": "{merge: false}"},
        ),
        (
            of("kto", JUDGED, ", loss: apo_zero_unpaired"),
            "no apo_zero_unpaired",
            of("kto", JUDGED, ", loss: kto"),
        ),
        (
            of("dpo", PAIRS, ", loss: hinge"),
            "cannot train hinge: with its TRL 0.24, it trains sigmoid",
            of("dpo", PAIRS, ", loss: sigmoid"),
        ),
        (
            {"train": "{learning_rate: 1e-4, scheduler: warmup_stable_decay, decay: 10%}"},
            "LLaMA-Factory takes decay in steps",
            {"train": "{learning_rate: 1e-4, scheduler: warmup_stable_decay, decay: 10%, steps: 90}"},
        ),
        (
            {
                **of("pretrain", TEXTS, ", steps: 9"),
                "data": f"{{train: [{TEXTS}], streaming: true, shuffle: false}}",
            },
            "always shuffles what it streams",
            {"data": f"{{train: [{TEXTS}], streaming: true, shuffle: true}}"},
        ),
        (
            {
                **of("pretrain", TEXTS, ", steps: 9"),
                "data": f"{{train: [{TEXTS}], streaming: true, holdout: 5%}}",
            },
            "cannot be held out by percentage",
            {"data": f"{{train: [{TEXTS}], streaming: true, holdout: 5}}"},
        ),
    ],
)
def test_what_it_cannot_say_is_refused(sections: dict[str, str], message: str, mended: dict[str, str]) -> None:
    told = refusals(**sections)
    assert any(message in one for one in told), told
    assert not any("has no effect" in one for one in told), told
    assert refusals(**{**sections, **mended}) == []


def differences(**sections: str) -> list[str]:
    made = compiled(**sections)
    return [finding.message for finding in (*made.findings, *made.notes) if finding.code == "T003"]


TOKENIZER = {"model": "{base: m/m}"}


@pytest.mark.parametrize(
    ("sections", "message", "others"),
    [
        ({}, "truncates rows longer than max_length", of("pretrain", TEXTS)),
        ({}, "a line break that LLaMA-Factory's template puts", {"model": "{base: m/m, chat_template: llama3}"}),
        ({}, "do not alternate", {"data": f"{{train: [{ROWS}]}}"}),
        (TOKENIZER, "rebuilds the tokenizer's template", {"model": "{base: m/m, chat_template: chatml}"}),
        (
            {"data": f"{{train: [{ROWS}]}}"},
            "a line break that LLaMA-Factory's template puts",
            {"model": "{base: m/m, chat_template: llama3}"},
        ),
        (
            {"data": "{train: [{path: a.jsonl, format: completion}]}"},
            "every row as turns of the template chatml",
            {"model": "{base: m/m, chat_template: alpaca}"},
        ),
        (
            {"data": f"{{train: [{ROWS}]}}", **TOKENIZER},
            "without a heading of its own",
            {"data": f"{{train: [{ROWS}, {{path: c.csv, format: completion}}]}}"},
        ),
        (
            {"data": f"{{train: [{ROWS}], validation: [{{path: c.csv, format: completion}}]}}", **TOKENIZER},
            "plain text has no BOS and no EOS token",
            {"data": f"{{train: [{ROWS}], validation: [{ROWS}]}}"},
        ),
        (
            {
                "model": "{base: my-lab/my-model, chat_template: chatml, load_in: bf16}",
                "hardware": TWO,
                "parallel": FSDP2,
            },
            "fp32 copies of weights that are loaded in bf16",
            {"model": "{base: my-lab/my-model, chat_template: chatml}"},
        ),
        (
            {"model": "{from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, load_in: bf16}"},
            "the format in which they were saved",
            {"model": "{base: my-lab/my-model, chat_template: chatml, load_in: bf16}"},
        ),
        (of("reward", PAIRS), "where embeddings are tied it cannot be saved", {"adapter": "{rank: 4}"}),
        (of("reward", PAIRS), "a value head, which it alone loads", of("orpo", PAIRS)),
        (
            {**of("pretrain", TEXTS), "data": f"{{train: [{TEXTS}], packing: true}}"},
            "they attend to one another",
            {"data": f"{{train: [{TEXTS}]}}"},
        ),
        (
            {**of("pretrain", TEXTS, ", steps: 9"), "data": f"{{train: [{TEXTS}], streaming: true, workers: 0}}"},
            "at least one worker",
            {"data": f"{{train: [{TEXTS}], streaming: true}}", "hardware": "{gpu: none}"},
        ),
    ],
)
def test_what_it_does_another_way_is_told(sections: dict[str, str], message: str, others: dict[str, str]) -> None:
    assert any(message in told for told in differences(**sections))
    assert not any(message in told for told in differences(**{**sections, **others}))


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        ({**of("pretrain", TEXTS), "model": "{base: m/m, chat_template: llama3}"}, "model.chat_template"),
        ({"model": "{base: m/m, chat_template_file: a.jinja}"}, "model.chat_template_file"),
        ({"adapter": "{target_pattern: 'q.*'}"}, "adapter.target_pattern"),
        (
            {"train": "{learning_rate: 1e-4, scheduler: cosine_with_restarts, cycles: 3}"},
            "train.cycles",
        ),
    ],
)
def test_what_it_does_not_hear_is_told(sections: dict[str, str], word: str) -> None:
    assert refusals(**sections) == [f"{word} has no effect on train"]


def stage_of(**sections: str) -> tuple[Stage[Train], Compiled]:
    """Return the training of a small recipe, and what was compiled."""
    found = compiled(**sections)
    assert errors(found.findings) == []
    return training(found), found


OFFLOADED = "{strategy: fsdp2, offload: {optimizer: cpu, parameters: cpu}}"
STAGES = [
    {**of("pretrain", TEXTS, ", steps: 9"), "data": f"{{train: [{TEXTS}], streaming: true, holdout: 5}}"},
    {"adapter": "{rank: 4}", "model": NF4, "data": f"{{train: [{{hub: a/b, format: chat}}], validation: [{CHAT}]}}"},
    {"adapter": "{type: oft}", "hardware": "{gpu: none}", "data": f"{{train: [{ROWS}], packing: true}}", **TOKENIZER},
    {**of("dpo", PAIRS), "adapter": "{rank: 4}", "hardware": TWO, "parallel": "{strategy: zero3}"},
    {**of("dpo", PROMPTED), "track": "{wandb: {project: p, entity: e}}"},
    {**of("orpo", PROMPTED, ", beta: 0.3"), "hardware": TWO, "parallel": OFFLOADED},
    {**of("simpo", PAIRS, ", optimizer: lion, scheduler: cosine_with_min_lr, min_lr_ratio: 0.1")},
    {**of("kto", JUDGED, ", warmup: 3%"), "hardware": TWO, "parallel": "{strategy: zero2, offload: {optimizer: cpu}}"},
    {**of("reward", PAIRS, ", precision: fp16, save: {every: 5, keep: 2}"), "adapter": "{rank: 4}"},
]


@pytest.mark.parametrize("sections", STAGES, ids=lambda sections: sections.get("train", "sft").partition(",")[0])
def test_what_counts_as_used_acts(sections: dict[str, str]) -> None:
    stage, _ = stage_of(**sections)
    other_place = ("data.train.0.path",) if stage.body.data.train[0].hub else ()  # a source has one of the two
    assert misjudged(stage, other_place) == {}


@pytest.mark.parametrize("sections", STAGES, ids=lambda sections: sections.get("train", "sft").partition(",")[0])
def test_files_read_back_as_the_plan(sections: dict[str, str]) -> None:
    stage, found = stage_of(**sections)
    said = read(found.files, stage, llamafactory.SYSTEM.sheets(stage.body, stage.environment))["llamafactory.yaml"]
    assert contradictions(said, stage) == {}
    assert said["method"] == stage.body.method or stage.body.method == "sft"
    assert {"model.path", "batch.micro", "optimizer.name", "watch.save_every"} < set(said)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_files_of_our_recipes_read_back_as_the_plan(recipe: Path) -> None:
    found = compile_file(str(recipe))
    stage = training(found)
    said = read(found.files, stage, llamafactory.SYSTEM.sheets(stage.body, stage.environment))["llamafactory.yaml"]
    assert contradictions(said, stage) == {}
    assert len(said) > 25


def test_most_rows_read_back() -> None:
    stage, _ = stage_of()
    rows = llamafactory.rows(stage.body)
    assert sum(row.back is not None for row in rows) > 0.8 * len(rows)


@pytest.mark.parametrize(
    ("template", "source", "expected"),
    [
        ("llama3", CHAT, "llama3"),
        ("mistral_v3_tekken", CHAT, "ministral"),
        ("phi_3", CHAT, "phi"),
        ("tokenizer", CHAT, None),
        ("tokenizer", "{path: a.jsonl, format: instruction}", None),
        ("alpaca", "{path: a.jsonl, format: instruction}", "alpaca"),
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
    script = compiled().files["train/run.sh"]
    assert 'export CUDA_VISIBLE_DEVICES="${gpu%%,*}"' in script
    several = compiled(hardware="{gpu: a100-80gb, per_node: 4, nodes: 2}", parallel="{strategy: zero2}").files[
        "train/run.sh"
    ]
    assert '"deepspeed=$here/ds_config.json"' in several
    assert "--machine_rank" in several
