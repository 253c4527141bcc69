"""What is told of a recipe whose shape is wrong, where, and how far one can go on with it."""

import pytest

from recipec.bind import Bound, bind
from recipec.diagnostics import Finding
from recipec.source import Source
from recipec.yaml_reader import read_text

HEAD = "recipe: 1\nname: x\nhardware: {gpu: a100-80gb}\n"
# In the words of Axolotl, LLaMA-Factory, TRL, DeepSpeed and lm-eval; the comments are ours.
FOREIGN = """\
model:
  base_model: org/m  # base
  model_name_or_path: org/m  # base
  max_seq_length: 2048  # max_length
  max_seq_len: 2048  # max_length
  sequence_len: 2048  # max_length
  cutoff_len: 2048  # max_length
  attn_implementation: sdpa  # attention
  load_in_4bit: true  # load_in
adapter:
  lora_r: 16  # rank
  r: 16  # rank
  lora_alpha: 32  # alpha
  lora_dropout: 0.1  # dropout
  lora_target_modules: [q_proj]  # targets
  target_modules: [q_proj]  # targets
  modules_to_save: [lm_head]  # also_train
data:
  val_set_size: 0.02  # holdout
  sample_packing: true  # packing
train:
  batch: 64  # batch_size
  global_batch_size: 64  # batch_size
  train_batch_size: 64  # batch_size
  per_device_train_batch_size: 4  # micro_batch_size
  micro_batch: 4  # micro_batch_size
  gradient_accumulation_steps: 2  # gradient_accumulation
  grad_accum: 2  # gradient_accumulation
  lr: 2e-4  # learning_rate
  lr_scheduler: cosine  # scheduler
  lr_scheduler_type: cosine  # scheduler
  optim: adamw  # optimizer
  num_epochs: 3  # epochs
  num_train_epochs: 3  # epochs
  max_steps: 100  # steps
  warmup_ratio: 0.03  # warmup
  warmup_steps: 10  # warmup
  adam_beta1: 0.9  # beta1
  adam_beta2: 0.999  # beta2
  adam_epsilon: 1e-8  # epsilon
  save_steps: 100  # save
  eval_steps: 100  # evaluate_every
  logging_steps: 10  # log_every
  bf16: true  # precision
hardware:
  gpus: 8  # per_node
  num_gpus: 8  # per_node
evaluate:
  num_fewshot: 5  # few_shot
"""


def bound(text: str) -> Bound:
    return bind(read_text(Source("r.yaml", text)))


def findings(text: str) -> list[Finding]:
    """Return what is told beside HEAD."""
    return bound(HEAD + text).findings


def told(text: str) -> tuple[str, str, str]:
    """Return the code, message and help of the only finding."""
    (finding,) = findings(text)
    return finding.code, finding.message, finding.help or ""


def marked(finding: Finding) -> str:
    """Return the text that a finding points at."""
    assert finding.span is not None
    line = finding.span.source.line(finding.span.line)
    return line[finding.span.column - 1 : finding.span.end_column - 1]


def test_the_words_of_other_tools_are_known() -> None:
    wanted = {n: line.partition("# ")[2] for n, line in enumerate(FOREIGN.splitlines(), 1) if "#" in line}
    found = {f.span.line: f.suggestion for f in bound(FOREIGN).findings if f.code == "R001" and f.span is not None}
    assert found == wanted


def test_the_words_of_other_tools_are_told_their_section() -> None:
    section = ""
    for line in FOREIGN.splitlines():
        if "#" not in line:
            section = line.rstrip(":")
            continue
        (finding,) = findings(f"launch: {{{line.strip().partition(':')[0]}: 1}}")
        assert finding.help == f"`{line.partition('# ')[2]}` belongs under `{section}`"


@pytest.mark.parametrize(
    ("text", "message", "expected"),
    [
        ("seed: 1.5", "seed cannot be 1.5", "a whole number"),
        ("seed: [1]", "seed cannot be a list", "a whole number"),
        ("seed:", "seed cannot be empty", "a whole number; left out, the default is 42"),
        ("train: {learning_rate: fast}", 'train.learning_rate cannot be the text "fast"', "a number"),
        ("name: 7", "name cannot be 7", "text; put it in quotes"),
        ("data: 1", "data cannot be 1", "a mapping of keys and values"),
        ("launch: {environment: [A]}", "launch.environment cannot be a list", "a mapping of keys and values"),
        ("data: {train: {}}", "data.train cannot be a mapping", "a list"),
        ("model: {trust_remote_code: 1}", "model.trust_remote_code cannot be 1", "true or false"),
        ("adapter: {dropout: 2}", "adapter.dropout cannot be 2", "a number at most 1; 2% is written 0.02"),
        ("adapter: {dropout: -0.5}", "adapter.dropout cannot be -0.5", "a number at least 0"),
        ("adapter: {lora_plus_ratio: 0}", "adapter.lora_plus_ratio cannot be 0", "a number above 0"),
        ("train: {learning_rate: 10}", "train.learning_rate cannot be 10", "a number below 10; 1e-6 to 1e-3 is usual; most often the exponent is lost"),
        ("train: {label_smoothing: 0.5}", "train.label_smoothing cannot be 0.5", "a number below 0.5"),
        ("train: {steps: 1000000000001}", "train.steps cannot be 1000000000001", "a number at most 1000000000000"),
        ("evaluate: {tasks: []}", "evaluate.tasks cannot be a list", "something that is not empty"),
        ("model: {base: ''}", 'model.base cannot be the text ""', "something that is not empty"),
        ("recipe: 2", "recipe cannot be 2", "1"),
        ("parallel: {strategy: zero4}", 'parallel.strategy cannot be the text "zero4"', "one of single, ddp, fsdp2, zero1, zero2, zero3"),
        ("train: {warmup: fast}", 'train.warmup cannot be the text "fast"', "a percentage such as 2%"),
        ("train: {decay: 0}", "train.decay cannot be 0", "a number at least 1"),
        ("train: {decay: 1.5}", "train.decay cannot be 1.5", "a percentage such as 2% or a whole number"),
        ("stages: [{name: a.b}]", 'stages[0].name cannot be the text "a.b"', "lower-case letters, digits, `_` and `-`, beginning with a letter or digit"),
        ("rewards: [{type: remote, url: 'ftp://x'}]", 'rewards[0].url cannot be the text "ftp://x"', "text that matches ^https?://"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_what_belongs_there(text: str, message: str, expected: str) -> None:
    key = text.partition(":")[0]
    head = "".join(line for line in HEAD.splitlines(keepends=True) if not line.startswith(key))
    (finding,) = bound(head + text).findings
    assert (finding.message, finding.help) == (message, f"expected {expected}")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("'12'", "write 12 without quotes"),
        ("1_000", "write 1000 without separators"),
        ("'1,000'", "write 1000 without separators"),
        ("' 12 '", "write 12 without quotes"),
        ("many", ""),
        ("'true'", ""),
    ],
)
def test_a_number_that_is_text_is_told_how_to_write_it(value: str, hint: str) -> None:
    (finding,) = findings(f"train: {{steps: {value}}}")
    assert finding.help == "expected a whole number" + (f"; {hint}" if hint else "")


@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF"])
def test_words_that_other_yaml_takes_for_true_and_false(word: str) -> None:
    assert told(f"model: {{resize_embeddings: {word}}}")[2] == f"expected true or false; YAML 1.2 reads {word} as text"
    assert "YAML" not in told(f"model: {{max_length: {word}}}")[2]


def test_long_values_are_cut_where_they_are_shown() -> None:
    for length in (60, 61):
        (text,), (number,) = findings(f"seed: {'x' * length}"), findings(f"seed: -{'1' * (length - 1)}")
        shown = ("x" * 60, "-" + "1" * 59) if length == 60 else ("x" * 57 + "…", "-" + "1" * 56 + "…")
        assert text.message == f'seed cannot be the text "{shown[0]}"'
        assert number.message == f"seed cannot be {shown[1]}"


def test_an_unknown_key_is_told_what_is_meant_or_where_it_belongs() -> None:
    assert told("model: {lora_r: 8}") == ("R001", 'unknown key "lora_r" in model', "`rank` belongs under `adapter`")
    assert told("gpu: none")[1:] == ('unknown key "gpu"', "`gpu` belongs under `hardware`")
    assert told("parallel: {offload: {zzz: 1}}") == (
        "R001",
        'unknown key "zzz" in parallel.offload',
        "allowed here: nvme_path, optimizer, parameters",
    )
    (finding,) = findings("sead: 1")
    assert (finding.suggestion, marked(finding)) == ("seed", "sead")
    (finding,) = findings("stages: [{name: a, train: {epochz: 1}}]")
    assert (finding.suggestion, finding.message) == ("epochs", 'unknown key "epochz" in stages[0].train')
    (finding,) = bound(HEAD.replace("{", "{per_nod: 1, gqu: none, ")).findings[:1]
    assert finding.suggestion == "per_node"


@pytest.mark.parametrize(("word", "meant"), [("gqu", "gpu"), ("xpu", "gpu"), ("gqx", None), ("nods", "nodes"), ("nose", None)])  # fmt: skip
def test_a_short_word_has_to_be_closer(word: str, meant: str | None) -> None:
    """A word of three letters may be wrong in one, where a longer one may in about a third."""
    (finding,) = bound(HEAD.replace("{", f"{{{word}: none, ")).findings
    assert finding.suggestion == meant


def test_a_wrong_key_is_told_at_the_key() -> None:
    for text, message, expected in (
        ("launch: {environment: {A-B: x}}", '"A-B" cannot be a key of launch.environment', "the name of an environment variable: letters, digits and `_`"),
        ("versions: {deepspeed: 1.0.0}", '"deepspeed" cannot be a key of versions', "'axolotl', 'trl', 'llamafactory', 'unsloth', 'openrlhf' or 'script'"),
    ):  # fmt: skip
        (finding,) = findings(text)
        assert (finding.code, finding.message, finding.help) == ("R007", message, f"expected {expected}")
        assert marked(finding) == message.split('"')[1]


def test_choices_are_suggested_out_of_every_kind_of_value_that_fits() -> None:
    (finding,) = findings("evaluate: {tasks: [a], batch_size: atuo}")
    assert (finding.code, finding.suggestion, finding.help) == ("R004", "auto", "expected a whole number or auto")
    (finding,) = findings("train: {save: {every: 0}}")
    assert (finding.code, finding.suggestion, finding.help) == ("R005", None, "expected a number at least 1")
    (finding,) = findings("train: {method: [sft]}")
    assert (finding.code, finding.suggestion) == ("R003", None)


@pytest.mark.parametrize("text", ["seed: ", "seed: null", "seed: ~", "seed: 1.5"])
def test_a_wrong_value_is_told_at_the_value_and_an_empty_one_at_its_key(text: str) -> None:
    (finding,) = findings(text)
    assert marked(finding) == (text.partition(": ")[2] or "seed")


def test_what_no_file_can_hold_is_told_once_wherever_it_stands() -> None:
    found = findings('model: {base: "a\\0b", optoins: .inf}\ndescription: "\\0"\noverrides: {trl: {"k\\0": 1, n: [.nan, -.inf, 2.0]}}\ntrain: {learning_rate: .nan}\n')  # fmt: skip
    assert [(f.code, f.message) for f in found] == [
        ("R001", 'unknown key "optoins" in model'),
        ("R005", "train.learning_rate cannot be .nan"),
        ("R006", "model.base holds the character U+0000"),
        ("R006", "model.optoins cannot be .inf"),
        ("R006", "description holds the character U+0000"),
        ("R006", "overrides.trl.k\0 holds the character U+0000"),
        ("R006", "overrides.trl.n[0] cannot be .nan"),
        ("R006", "overrides.trl.n[1] cannot be -.inf"),
    ]
    assert {finding.help for finding in found[2:]} == {"delete it", "expected a finite number"}


def test_what_is_wrong_is_left_out_and_the_rest_is_read() -> None:
    text = "seed: many\nmodel: {base: m, load_in: nf5, odd: 1}\nevaluate: {tasks: [a], models: [tuned, 1]}\n"
    known = bound(HEAD + text)
    assert known.recipe is not None
    assert known.recipe.evaluate is not None
    assert (known.recipe.seed, known.recipe.model.base, known.recipe.model.load_in) == (42, "m", None)
    assert (known.recipe.evaluate.tasks, known.recipe.evaluate.models) == (["a"], None)
    assert set(known.wrong) == {("seed",), ("model", "load_in"), ("evaluate", "models")}
    assert len(known.findings) == 4


def test_without_a_key_that_is_needed_there_is_no_recipe() -> None:
    known = bound("recipe: 1\nname: x\nseed: many\n")
    assert known.recipe is None
    assert sorted(finding.code for finding in known.findings) == ["R002", "R004"]
    known = bound(HEAD + "data: {train: [{path: a, format: chatt}]}")  # all of the list goes, and it is needed
    assert (known.recipe, [finding.code for finding in known.findings]) == (None, ["R003"])


def test_a_key_may_lack_where_that_is_allowed() -> None:
    tree = read_text(Source("r.yaml", "recipe: 1\nhardware: {}\n"))
    told = [finding.message for finding in bind(tree, lambda path: path == ("hardware", "gpu")).findings]
    assert told == ["the recipe needs the key `name`"]


def test_a_missing_key_is_told_with_its_meaning() -> None:
    (finding,) = bound("recipe: 1\nhardware: {gpu: none}\n").findings
    assert (finding.code, finding.message) == ("R002", "the recipe needs the key `name`")
    assert str(finding.help).startswith("name: Name of the recipe")
    (finding,) = findings("rewards: [{weight: 2}]")
    assert finding.message == "rewards[0] needs the key `type`"
    assert str(finding.help).startswith("type: exact: final answer equals")
