"""The emitted scripts that make and merge models: what they ask of the libraries, which are stand-ins here, and when."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from recipec.systems.scripts import init_model, merge_adapter, stack_adapters


class Asked:
    """Stand-ins for the libraries; `calls` is what was asked of them, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.tokens = self.rows = 10
        self.peft_config: dict[str, Any] = defaultdict(SimpleNamespace)
        self.monkeypatch = monkeypatch
        transformers = SimpleNamespace(
            AutoModelForCausalLM=self.auto("causal"), AutoModelForSequenceClassification=self.auto("score"),
            AutoTokenizer=self.auto("tokenizer"), set_seed=lambda seed: self.said("seed", seed),
            AutoConfig=SimpleNamespace(for_model=lambda **words: self.said("config", words)),
            PreTrainedTokenizerFast=self.tokenizer,
        )  # fmt: skip
        self.put("transformers", transformers)
        self.put("torch", SimpleNamespace(bfloat16="bf16!", float16="fp16!", float32="fp32!"))
        self.put("peft", SimpleNamespace(PeftModel=self.auto("adapted")))
        self.put("tokenizers", SimpleNamespace(ByteLevelBPETokenizer=lambda: self))

    def put(self, name: str, stand_in: Any) -> None:
        self.monkeypatch.setitem(sys.modules, name, stand_in)

    def said(self, what: str, about: Any) -> Any:
        self.calls.append((what, about))
        return self

    def auto(self, kind: str) -> Any:
        def from_pretrained(place: Any, *more: Any, **words: Any) -> Any:
            return self.said(kind, (place, *more, words))

        return SimpleNamespace(from_pretrained=from_pretrained, from_config=lambda config: self.said(kind, "new"))

    def tokenizer(self, **words: Any) -> Any:
        self.said("tokenizer", {name: value for name, value in words.items() if name != "tokenizer_object"})
        for word in ("bos", "eos", "pad"):
            setattr(self, f"{word}_token_id", f"id of {words[f'{word}_token']}")
        return self

    _tokenizer = eos_token_id = None

    def __len__(self) -> int:
        return self.tokens

    def get_input_embeddings(self) -> Any:
        return SimpleNamespace(num_embeddings=self.rows)

    def named_modules(self) -> list[tuple[str, Any]]:
        layers = {"q": ["part_0", "part_1"], "v": ["part_1"]}
        return [(name, SimpleNamespace(lora_A=adapters)) for name, adapters in layers.items()]

    def num_parameters(self) -> int:
        return 12345

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_text("new")

    def __getattr__(self, name: str) -> Any:
        def call(*words: Any, **more: Any) -> Any:
            first = list(words[0]) if name == "train_from_iterator" else None
            return self.said(name, (first or words, more) if more else first or words)

        return call

    def of(self, what: str) -> list[Any]:
        return [about for name, about in self.calls if name == what]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    monkeypatch.chdir(tmp_path)
    return Asked(monkeypatch)


def adapter(name: str, kind: str | None = None) -> str:
    Path(name).mkdir()
    Path(name, "adapter_config.json").write_text(json.dumps({"task_type": kind} if kind else {}))
    Path(name, "adapter_model.safetensors").write_text("1")
    return name


def merging(**more: Any) -> dict[str, Any]:
    about = {"base": "org/base", "tokenizer": "org/t", "precision": "bf16", "output": "out", "trust_remote_code": False}
    return {**about, "adapter": "a", **more}


def test_an_adapter_is_merged_into_its_base_as_it_is(asked: Asked) -> None:
    adapter("a")
    assert merge_adapter.merge(merging()) == "merged a into org/base: out"
    assert asked.of("causal") == [("org/base", {"revision": "main", "dtype": "bf16!", "trust_remote_code": False})]
    assert asked.of("tokenizer") == [("org/t", {"trust_remote_code": False})]
    assert asked.of("adapted") == [(asked, "a", {})]
    assert asked.of("merge_and_unload") == [((), {"safe_merge": True})]
    assert asked.of("resize_token_embeddings") == []
    assert sorted(path.name for path in Path("out").iterdir()) == ["merged_from.sha256", "weights"]
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bf16!"), ("fp16", "fp16!"), ("fp32", "fp32!")])
def test_the_base_is_loaded_in_the_precision_of_the_result(asked: Asked, precision: str, dtype: str) -> None:
    adapter("a")
    merge_adapter.merge(merging(precision=precision, revision="r", trust_remote_code=True))
    assert asked.of("causal")[0][1] == {"revision": "r", "dtype": dtype, "trust_remote_code": True}
    assert asked.of("tokenizer")[0][1] == {"trust_remote_code": True}


def test_an_adapter_of_a_reward_model_is_merged_into_one_score(asked: Asked) -> None:
    adapter("a", "SEQ_CLS")
    merge_adapter.merge(merging())
    assert asked.of("causal") == []
    assert asked.of("score")[0][1]["num_labels"] == 1


@pytest.mark.parametrize(("tokens", "resized"), [(10, []), (11, [(11,)])])
def test_new_tokens_get_their_rows(asked: Asked, tokens: int, resized: list[Any]) -> None:
    adapter("a")
    asked.tokens = tokens
    merge_adapter.merge(merging())
    assert asked.of("resize_token_embeddings") == resized


@pytest.mark.parametrize(("ends", "then"), [(2, [7, 2]), ([2, 7], [2, 7]), ([2, 3], [7, 2, 3]), (None, [7])])
def test_generation_stops_where_the_tokenizer_does(asked: Asked, ends: Any, then: list[int]) -> None:
    adapter("a")
    asked.eos_token_id = 7
    asked.generation_config = SimpleNamespace(eos_token_id=ends)
    asked.config = SimpleNamespace(eos_token_id=2)
    merge_adapter.merge(merging())
    assert asked.generation_config.eos_token_id == then
    assert asked.config.eos_token_id == (2 if ends == [2, 7] else 7)


def test_what_is_merged_from_the_same_weights_is_not_merged_again(asked: Asked) -> None:
    adapter("a"), adapter("b")
    several = merging(adapters=[{"adapter": "a", "weight": 1.0}, {"adapter": "b", "weight": 1.0}], how="linear")
    assert merge_adapter.merge(several).startswith("merged")
    assert merge_adapter.merge(several) == "out is already merged from these weights"
    for change in (
        lambda: Path("b/adapter_model.safetensors").write_text("2"),
        lambda: several.update(precision="fp32"),
    ):
        Path("out/old").write_text("x")
        change()
        assert merge_adapter.merge(several).startswith("merged")
        assert not Path("out/old").exists()
    Path("a/README.md").write_text("no weights")
    assert "already" in merge_adapter.merge(several)


def test_several_adapters_are_combined_by_their_weights(asked: Asked) -> None:
    for name in "abc":
        adapter(name)
    parts = [{"adapter": name, "weight": weight} for name, weight in (("a", 0.5), ("b", 0.25), ("c", 0.25))]
    merge_adapter.merge(merging(adapters=parts, how="ties", density=0.3, majority="total"))
    assert asked.of("adapted") == [(asked, "a", {"adapter_name": "part_0"})]
    assert asked.of("load_adapter") == [(("b",), {"adapter_name": "part_1"}), (("c",), {"adapter_name": "part_2"})]
    words = {"combination_type": "ties", "density": 0.3, "majority_sign_method": "total"}
    assert asked.of("add_weighted_adapter") == [
        ((["part_0", "part_1", "part_2"], [0.5, 0.25, 0.25], "combined"), words)
    ]
    assert asked.of("delete_adapter") == [("part_0",), ("part_1",), ("part_2",)]
    assert [name for name, _ in asked.calls][-2:] == ["set_adapter", "merge_and_unload"]
    assert [asked.peft_config[name].target_modules for name in ("part_0", "part_1")] == [{"q"}, {"q", "v"}]
    assert asked.peft_config["part_0"].use_rslora is False
    asked.calls.clear()
    merge_adapter.merge(merging(adapters=parts, how="linear", density=None))
    assert asked.of("add_weighted_adapter")[0][1] == {"combination_type": "linear"}


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def making(**more: Any) -> dict[str, Any]:
    tokenizer = {"train_on": [{"path": "rows.jsonl"}], "vocab_size": 300, "special_tokens": SPECIAL}
    return {"config": "config.json", "output": "out/model", "seed": 7, "tokenizer": tokenizer, **more}


@pytest.fixture
def config(asked: Asked) -> Path:
    Path("out").mkdir()
    Path("config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 10, "max_position_embeddings": 64}))
    Path("rows.jsonl").write_text('{"text": "a", "more": [{"said": "b"}, 3]}\n\n{"text": "c"}\n')
    return Path()


def test_a_model_is_made_with_a_tokenizer_of_all_texts(asked: Asked, config: Path) -> None:
    assert init_model.make(making(), config) == "made out/model: 12,345 parameters, 10 tokens"
    words = {"vocab_size": 300, "min_frequency": 2, "show_progress": False}
    names = ["<pad>", "<s>", "<|im_start|>", "<|im_end|>", "</s>"]
    assert asked.of("train_from_iterator") == [(["a", "b", "c"], {**words, "special_tokens": names})]
    assert asked.of("tokenizer") == [{"model_max_length": 64, **SPECIAL}]
    ids = {f"{word}_token_id": f"id of {SPECIAL[f'{word}_token']}" for word in ("bos", "eos", "pad")}
    assert asked.of("config") == [{"model_type": "llama", "vocab_size": 10, "max_position_embeddings": 64, **ids}]
    assert [name for name, _ in asked.calls][-2:] == ["seed", "causal"]
    assert asked.of("seed") == [7]
    assert asked.chat_template == init_model.CHATML
    assert [path.name for path in Path("out").iterdir()] == ["model"]


def test_a_model_of_the_same_settings_and_data_is_not_made_again(asked: Asked, config: Path) -> None:
    init_model.make(making(), config)
    assert init_model.make(making(), config) == "out/model is already made from these settings"
    for change in (
        lambda: Path("rows.jsonl").write_text('["other"]\n'),
        lambda: Path("config.json").write_text(Path("config.json").read_text().replace("64", "65")),
    ):
        Path("out/model/old").write_text("x")
        change()
        assert init_model.make(making(), config).startswith("made")
        assert not Path("out/model/old").exists()
    assert init_model.make(making(seed=8), config).startswith("made")


def test_a_tokenizer_without_text_or_larger_than_its_model_is_an_error(asked: Asked, config: Path) -> None:
    asked.tokens = 11
    with pytest.raises(ValueError, match="the tokenizer has 11 entries, the model only 10"):
        init_model.make(making(), config)
    Path("rows.jsonl").write_text("[3, {}]\n")
    with pytest.raises(ValueError, match="the training data holds no text"):
        init_model.make(making(), config)


def test_rows_of_each_kind_of_file(asked: Asked, tmp_path: Path) -> None:
    def load_dataset(kind: str, *, data_files: str, split: str) -> list[Any]:
        return [[("kind", kind), ("file", data_files), ("split", split)]]

    asked.put("datasets", SimpleNamespace(load_dataset=load_dataset))
    Path("a.json").write_text('[{"a": 1}, 2]')
    assert list(init_model.rows(Path("a.json"))) == [{"a": 1}, 2]
    assert list(init_model.rows(Path("a.csv"))) == [{"kind": "csv", "file": "a.csv", "split": "train"}]
    assert list(init_model.texts({"a": "x", "b": ["y", 1, None, {"c": "z"}]})) == ["x", "y", "z"]


@pytest.mark.parametrize("script", [init_model, merge_adapter, stack_adapters])
@pytest.mark.parametrize("text", [None, "{"])
def test_what_cannot_be_read_ends_a_script_with_its_name(script: ModuleType, text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    if text is not None:
        file.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script.__file__), str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{Path(str(script.__file__)).name}: ")
