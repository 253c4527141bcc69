"""Files given together, in folders, on standard input and named by others; and findings that are left out or told as one."""

import contextlib
import io
import json
from pathlib import Path

import pytest

from recipec.cli import main
from recipec.doctor import examine

AXOLOTL = """\
base_model: NousResearch/Llama-3.2-1B
datasets: [{path: rows.jsonl, ds_type: json, type: alpaca}]
micro_batch_size: 1
gradient_accumulation_steps: 2
learning_rate: 0.0001
output_dir: out
"""
DS = '{"zero_optimization": {"stage": 2},\n "train_micro_batch_size_per_gpu": 4,\n "optimizer": {"type": "AdamW", "params": {"lr": 0.1}}}'
ACCELERATE = "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_machines: 1\nnum_processes: 4\n"
TREES = Path(__file__).parents[1] / "golden" / "trees"
FILES = {
    "a.yaml": AXOLOTL + "deepspeed: ds.json\noptimizer: adamw_torch\nlora_alhpa: 1\n",
    "b.yaml": AXOLOTL + "lora_alhpa: 1\n",
    "ds.json": DS,
    "other.json": DS,
    "accelerate.yaml": ACCELERATE,
    "run.sh": "accelerate launch --config_file accelerate.yaml --num_processes 8 -m axolotl.cli.train b.yaml\n",
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(**files: str) -> None:
    for name, text in files.items():
        Path(name.replace("_", ".", 1)).write_text(text, encoding="utf-8")


def told(*files: str, allowed: tuple[str, ...] = ()) -> set[tuple[str, str, int]]:
    """Return codes, files and lines of all that is found."""
    found = examine(files, (), allowed).findings
    return {(f.code, f.span.source.name if f.span else f.file or "", f.span.line if f.span else 0) for f in found}


def run(*words: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["doctor", *words])
    return code, out.getvalue() + err.getvalue()


@pytest.mark.parametrize("more", [name for name in FILES if name not in ("a.yaml", "ds.json")])
def test_a_further_file_takes_nothing_away(more: str) -> None:
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    few = told("a.yaml", "ds.json")
    assert {("D201", "ds.json", 2), ("D203", "a.yaml", 8), ("D171", "ds.json", 3), ("T020", "a.yaml", 9)} <= few
    assert few <= told("a.yaml", "ds.json", more)
    for name in FILES:
        assert told(name) <= told(name, more)


def test_a_file_that_is_named_is_read() -> None:
    Path("sub").mkdir()
    Path("sub/a.yaml").write_text(FILES["a.yaml"], encoding="utf-8")
    Path("sub/ds.json").write_text(DS, encoding="utf-8")
    found = examine(["sub/a.yaml"])
    assert [(name, guess.tool, guess.release) for name, guess in found.recognised] == [
        ("sub/a.yaml", "axolotl", "0.21.0"),
        ("sub/ds.json", "deepspeed", "0.19.8"),
    ]
    assert found.recognised[1][1].because.startswith("named at sub/a.yaml:7:12; ")
    assert ("D201", "sub/ds.json", 2) in told("sub/a.yaml")
    Path("sub/ds.json").rename("ds.json")  # where one stands
    assert ("D201", "ds.json", 2) in told("sub/a.yaml")
    Path("ds.json").unlink()  # it may be on another machine
    assert told("sub/a.yaml") == {("T020", "sub/a.yaml", 9)}


def test_what_a_script_names_is_read() -> None:
    put(b_yaml=FILES["b.yaml"], accelerate_yaml=ACCELERATE, run_sh=FILES["run.sh"])
    Path("outer.sh").write_text("#SBATCH --nodes=1\nsrun bash run.sh\n", encoding="utf-8")
    found = told("outer.sh")
    assert {("D206", "accelerate.yaml", 4), ("T020", "b.yaml", 7)} <= found
    assert ("D229", "outer.sh", 2) in found  # nothing of the launcher was held against the job's own lines


def test_what_a_file_leaves_to_the_command_line_is_looked_for_there() -> None:
    text = ACCELERATE.replace("num_machines: 1", "num_machines: 2")
    put(b_yaml=AXOLOTL, accelerate_yaml=text)
    launch = 'accelerate launch --config_file "$here/accelerate.yaml" {} -m axolotl.cli.train "$here/b.yaml"\n'
    here = 'here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
    for said, codes in (
        ("--main_process_ip $HEAD --machine_rank $RANK", set[str]()),
        ("--machine_rank $RANK", {"D183"}),
    ):
        Path("run.sh").write_text(here + launch.format(said), encoding="utf-8")
        assert {code for code, _, _ in told("run.sh")} & {"D183"} == codes


def test_scripts_of_a_folder_need_not_launch() -> None:
    Path("jobs").mkdir()
    Path("jobs/clean.sh").write_text("rm -rf out\n", encoding="utf-8")
    assert told("jobs") == set()
    assert told("jobs/clean.sh") == {("D229", "jobs/clean.sh", 1)}


@pytest.mark.parametrize("tree", sorted(path.name for path in TREES.iterdir()))
def test_nothing_is_wrong_with_what_we_emit(tree: str) -> None:
    found = examine([str(TREES / tree)])
    assert [(f.code, f.message, f.span and f.span.where()) for f in found.findings] == []
    assert len(found.recognised) > 1


def test_folders() -> None:
    Path("jobs/deep").mkdir(parents=True)
    Path("jobs/.git").mkdir()
    for name in ("jobs/a.yaml", "jobs/deep/b.yaml", "jobs/.git/c.yaml"):
        Path(name).write_text(FILES["b.yaml"], encoding="utf-8")
    Path("jobs/rows.json").write_text("[1, 2]", encoding="utf-8")
    Path("jobs/ci.yaml").write_text("steps: []\n", encoding="utf-8")
    Path("jobs/ds.json").write_text(DS, encoding="utf-8")
    assert told("jobs") == {("T020", "jobs/a.yaml", 7), ("T020", "jobs/deep/b.yaml", 7), ("D171", "jobs/ds.json", 3)}
    Path("empty").mkdir()
    assert run("empty") == (0, "there is no file of a tool that doctor knows\n")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(FILES["b.yaml"]))
    assert told("-") == {("T020", "<stdin>", 7)}
    monkeypatch.setattr("sys.stdin", io.StringIO("#!/bin/bash\ntorchrun --nope x\n"))
    assert told("-") == {("D228", "<stdin>", 2)}


def test_what_is_allowed() -> None:
    put(
        b_yaml=AXOLOTL
        + "lora_alhpa: 1  # doctor: allow T020: read by our plugin\n# doctor: allow T020: so is this\nspilt: 1\nbacth: 1\n"
    )
    assert told("b.yaml") == {("T020", "b.yaml", 10)}
    assert told("b.yaml", allowed=("b.yaml:10:T020",)) == set()
    assert told("b.yaml", allowed=("T020",)) == set()
    assert told("b.yaml", allowed=("T020", "b.yaml:D103")) == {("D195", "b.yaml", 0)}
    put(b_yaml=AXOLOTL + "# doctor: allow D103: old\nseed: 1\nspilt: 1  # doctor: allow T020\n")
    assert told("b.yaml") == {("D195", "b.yaml", 7), ("D195", "b.yaml", 9)}  # nothing of the kind; without a reason
    with pytest.raises(ValueError, match="write CODE, FILE:CODE or FILE:LINE:CODE"):
        told("b.yaml", allowed=("all",))
    assert run("b.yaml", "--allow", "all")[0] == 2


def test_an_unreadable_file_cannot_be_allowed() -> None:
    put(b_yaml="a: [\n")
    assert {code for code, _, _ in told("b.yaml", allowed=("S021",))} >= {"S021"}


TEMPLATES = [
    "base_model: {{ model }}\nlearning_rate: 0.1\n",
    "base_model: m\n{% if big %}\nmicro_batch_size: 8\n{% endif %}\n",
    "datasets:\n{%- for path in rows %}\n  - path: {{ path }}\n{%- endfor %}\n",
]


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates_are_called_so(text: str) -> None:
    put(b_yaml=text)
    assert {(code, name) for code, name, _ in told("b.yaml")} == {("D194", "b.yaml")}
    assert run("b.yaml")[0] == 0


def test_placeholders_in_quotes_are_not_judged() -> None:
    put(b_yaml=AXOLOTL.replace("micro_batch_size: 1", 'micro_batch_size: "{{ size }}"') + "lora_alhpa: 1\n")
    assert told("b.yaml") == {("D194", "b.yaml", 3), ("T020", "b.yaml", 7)}
    put(b_yaml=AXOLOTL + 'chat_template: jinja\nchat_template_jinja: "{% for m in messages %}{{ m }}{% endfor %}"\n')
    assert told("b.yaml") == set()


def test_findings_of_one_group_are_one() -> None:
    old = "fsdp_version: 2\nfsdp_config:\n  fsdp_offload_params: true\n  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP\n  fsdp_limit_all_gathers: true\n  fsdp_backward_prefetch: true\n"
    rows = "datasets: [{path: a, type: alpaca, spilt: x},\n {path: b, type: alpaca, spilt: y}]\n"
    put(b_yaml=AXOLOTL.replace("datasets: [{path: rows.jsonl, ds_type: json, type: alpaca}]\n", rows) + old)
    assert told("b.yaml") == {("D103", "b.yaml", 10), ("T020", "b.yaml", 2), ("T020", "b.yaml", 12)}
    messages = [finding.message for finding in examine(["b.yaml"]).findings]
    assert messages == [
        'Axolotl 0.21.0: datasets[0].spilt: unknown key "spilt" (also line 3)',
        'Axolotl 0.21.0: 2 keys are deprecated: "fsdp_offload_params" (line 10), "fsdp_auto_wrap_policy" (line 11)',
        'Axolotl 0.21.0: fsdp_config: unknown keys "fsdp_limit_all_gathers", "fsdp_backward_prefetch" (also line 13)',
    ]
    assert len(examine(["b.yaml"], one_by_one=True).findings) == 6


def test_formats() -> None:
    put(b_yaml=FILES["b.yaml"])
    code, text = run("b.yaml", "--format", "line")
    message = 'Axolotl 0.21.0: lora_alhpa: unknown key "lora_alhpa"'
    assert (code, text) == (
        1,
        f'b.yaml:7:1: error[T020] {message}; did you mean "lora_alpha"?; Axolotl ignores it without a message\n',
    )
    assert run("b.yaml", "--format", "github")[1].startswith("::error file=b.yaml,line=7,endLine=7,col=1,")
    result = json.loads(run("b.yaml", "--format", "sarif")[1])["runs"][0]["results"][0]
    assert (result["ruleId"], result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == (
        "T020",
        "b.yaml",
    )
    assert json.loads(run("b.yaml", "--json")[1])["files"][0]["tool"] == "Axolotl 0.21.0"
