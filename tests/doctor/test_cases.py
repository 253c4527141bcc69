"""Files of other tools beside the exact text that is shown for them: each folder of `cases` is one call of `recipe doctor`."""

import contextlib
import io
from pathlib import Path
from random import Random

import pytest
from properties.mutate import mutant

from recipec.cli import main
from recipec.doctor import examine, reading
from recipec.doctor.recognise import recognise
from recipec.doctor.shell import parse
from recipec.source import Source, plain

HERE = Path(__file__).parent
CASES = sorted(path for path in (HERE / "cases").iterdir() if path.is_dir())
CORPUS = HERE.parents[1].parent / "shared" / "corpus"


def shown(files: list[str]) -> tuple[int, str]:
    """Return the exit code and everything that is printed, what doctor took the files for first."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["doctor", *files])
    return code, out.getvalue() + err.getvalue()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_exact_output(case: Path, update: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    code, text = shown(sorted(path.name for path in case.iterdir() if path.name != "expected.out"))
    expected = case / "expected.out"
    if update:
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
    assert code == ("error[" in text)
    assert case.name.startswith("good") == ("no findings" in text)


RECOGNISED = {
    "base_model: m\nmicro_batch_size: 1\n": "axolotl",
    "base_modle: m\nmicro_batch_size: 1\nsequence_len: 5\n": "axolotl",
    "model_name_or_path: m\nstage: sft\ntemplate: llama3\n": "llamafactory",
    "model_name_or_path: m\nexport_dir: out\n": "llamafactory",
    "model_name_or_path: m\ndataset_name: d\nuse_peft: true\n": "trl",
    "model_name_or_path: m\nbeta: 0.1\nprecompute_ref_log_probs: true\n": "trl",
    '{"zero_optimization": {"stage": 2}}': "deepspeed",
    "compute_environment: LOCAL_MACHINE\nnum_processes: 2\n": "accelerate",
    "model: hf\ntasks: [gsm8k]\nnum_fewshot: 5\n": "lm_eval",
    '{"mine": {"file_name": "rows.json"}}': "llamafactory",
    "model: {_component_: torchtune.models.gemma}\n": None,
    "model: {model_name: m}\ntraining: {}\n": None,
    "a: 1\nb: 2\n": None,
}


@pytest.mark.parametrize(("text", "tool"), RECOGNISED.items())
def test_recognised_by_its_keys(text: str, tool: str | None, tmp_path: Path) -> None:
    file = tmp_path / ("file.json" if text.startswith("{") else "file.yaml")
    file.write_text(text, encoding="utf-8")
    found = examine([str(file)])
    assert [guess.tool for _, guess in found.recognised] == ([tool] if tool else [])
    assert tool or [finding.code for finding in found.findings] == ["D100"]


def test_said_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("base_model: m\nlearning_rate: 1.0e-4\ndatasets: [{path: p, type: alpaca}]\n", encoding="utf-8")
    assert examine([str(file)], ["axolotl-0.17.0"]).recognised[0][1].release == "0.17.0"
    assert examine([str(file)], [f"{file}=trl"]).recognised[0][1].tool == "trl"
    for wrong in ("axolotl-9", "nothing", f"{file}x=trl"):
        with pytest.raises(ValueError, match=r"^no |not among"):
            examine([str(file)], [wrong])
    assert main(["doctor", str(file), "--as", "nothing"]) == 2
    assert main(["doctor", str(file), "--as", "axolotl-0.17.0", "--json"]) == 0


def test_releases_beside_a_trainer(tmp_path: Path) -> None:
    """DeepSpeed's release is the one pinned beside the trainer that it is given with."""
    (tmp_path / "axolotl.yaml").write_text("base_model: m\nmicro_batch_size: 1\n", encoding="utf-8")
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 2}}', encoding="utf-8")
    alone = examine([str(tmp_path / "ds.json")]).recognised
    files = [str(tmp_path / "ds.json"), str(tmp_path / "axolotl.yaml")]
    together = examine(files, [f"{files[1]}=axolotl-0.19.0"]).recognised
    assert (alone[0][1].release, together[0][1].release) == ("0.19.8", "0.18.9")


MEANINGS = [
    ("1e-4", "1e-4", 1e-4), ("1.0e-4", 1e-4, 1e-4), ("1.0e4", "1.0e4", 1e4), ("yes", True, True), ("Off", False, False), ("y", "y", "y"),
    ("010", 8, 8), ("0x1F", 31, 31), ("0b11", 3, 3), ("1_000", 1000, 1000), ("1:30", 90, 90), ("1:30.5", 90.5, 90.5), ("~", None, None),
    (".inf", float("inf"), float("inf")), ("+1", 1, 1), ("0o17", "0o17", "0o17"), ("1.", 1.0, 1.0), (".5", 0.5, 0.5), ("-", "-", "-"), ("1e", "1e", "1e"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "pyyaml", "omega"), MEANINGS)
def test_scalars_as_the_tools_read_them(text: str, pyyaml: object, omega: object) -> None:
    assert reading.scalar_11(text) == pyyaml
    assert reading.scalar_omega(text) == omega
    assert type(reading.scalar_11(text)) is type(pyyaml)


def test_json_stands_where_it_stands() -> None:
    source = Source("x.json", '{\n "a": [1, "\\ud83d\\ude00", {"b": -1.5e3}],\r\n\t"c": null, "a": NaN}')
    found = reading.read(source)
    assert found.tree.keys["c"][1:] == (3, 2, 3, 5)
    assert [(twice.name, twice.first, twice.agree) for twice in found.twice] == [("a", 2, False)]
    assert list(plain(found.tree)) == ["a", "c"]  # type: ignore[arg-type]  # it is a mapping


def mutants() -> list[tuple[str, bytes]]:
    """Return the files of the cases, each with mistakes from the fuzzer of recipes."""
    r, found = Random(7), []
    for file in sorted(path for case in CASES for path in case.iterdir() if path.name != "expected.out"):
        found += [(file.name, mutant(r, file.read_bytes())) for _ in range(8)]
    return found


def test_no_mutant_breaks_it(tmp_path: Path) -> None:
    for name, data in mutants():
        file = tmp_path / name
        file.write_bytes(data)
        for finding in examine([str(file)]).findings:
            assert finding.span or finding.file
            assert finding.message
        code, text = shown([str(file)])
        assert code in (0, 1)
        assert text


def test_the_corpus_is_recognised_and_breaks_nothing() -> None:
    if not CORPUS.is_dir():
        pytest.skip("no corpus beside the project")
    for file in CORPUS.rglob("*"):
        if file.suffix in (".yaml", ".yml", ".json"):
            found = examine([str(file)])
            project = file.relative_to(CORPUS).parts[0]
            known = [guess.tool for _, guess in found.recognised]
            assert known or {finding.code for finding in found.findings} == {"D100"}
            if project in ("oumi", "torchtune"):
                assert known == []


def test_recognition_explains_itself() -> None:
    guess = recognise("x", {"base_model": "m", "micro_batch_size": 1, "sequence_len": 2})
    assert guess is not None
    assert guess.title == "Axolotl 0.21.0"
    assert guess.because == "Axolotl reads `base_model`, `micro_batch_size` and `sequence_len`"


WORDS = [
    ("torchrun a", [("torchrun", (1, 1))]),
    ("srun bash -c \"x;torchrun \\\"a b\\\" c\"", [("torchrun", (1, 17))]),
    ("bash -c '\n torchrun \\\n  --nnodes 2 a\n'", [("torchrun", (2, 2))]),
    ("bash -lc 'export A=1; A=2 torchrun a'", [("torchrun", (1, 27))]),
    ("sh -c \"bash -c 'torchrun a'\"", [("torchrun", (1, 17))]),
    ("if bash -e -c 'deepspeed a'; then", [("deepspeed", (1, 16))]),
    ("bash -c torchrun", [("torchrun", (1, 9))]),
    ("bash x.sh -c 'torchrun a'", []),
    ("echo bash -c 'torchrun a'", []),
    ("pip install deepspeed accelerate", []),
    ("docker run -v /a:/b/deepspeed image ls", []),
    ("cp -r /a/deepspeed /b", []),
    ("nice conda run -n a torchrun b", [("torchrun", (1, 21))]),
    ("bash -c 'torchrun a", [("torchrun", (1, 10))]),  # never closed
    ("python -u -W ignore -m torch.distributed.run a", [("torchrun", (1, 1))]),
    ("python -m deepspeed.launcher.runner a", [("deepspeed", (1, 1))]),
    ("python x.py --launcher torchrun a", []),
    ("srun python x.py --backend deepspeed --zero 3", []),
    ("srun ./x.sh torchrun a", []),
    ("accelerate-launch a", [("accelerate", (1, 1))]),
    ("docker run --entrypoint /bin/bash image -c 'torchrun a'", [("torchrun", (1, 45))]),
    ("docker run --name deepspeed image ls", []),
    ("ssh -p 1 host 'cd /x && torchrun a'", [("torchrun", (1, 25))]),
    ("CALL='torchrun a'\neval \"$CALL b\"", [("torchrun", (2, 7))]),
    ("bash -c 'srun bash -c \"torchrun a\"'", [("torchrun", (1, 24))]),
    ("if ! command -v torchrun; then ls; fi", []),
    ("for name in torchrun deepspeed a; do ls; done", []),
    ("[ -x /bin/torchrun ] && ls", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "launchers"), WORDS)
def test_launchers_in_scripts(text: str, launchers: list[tuple[str, tuple[int, int]]]) -> None:
    found = parse(Source("run.sh", text)).launches
    assert [(launch.launcher, launch.word.span[1:3]) for launch in found] == launchers


SEEN = [
    ("A=1\ntorchrun --nnodes $A x", "1"),
    ("A=1 torchrun --nnodes 2 x\ntorchrun --nnodes $A x", "$A"),  # it is for the one command
    ("A=1\nbash -c 'torchrun --nnodes $A x'", "$A"),  # it is not exported
    ("A=1\nbash -c \"torchrun --nnodes $A x\"", "1"),  # filled in before
    ("A=1\neval 'torchrun --nnodes $A x'", "1"),
    ("export A=1\nbash -c 'torchrun --nnodes $A x'", "1"),
    ("A=1\nexport A\nbash -c 'bash -c \"torchrun --nnodes $A x\"'", "1"),
    ("export A=1\ndocker run image bash -c 'torchrun --nnodes $A x'", "$A"),
    ("A=1 bash -c 'torchrun --nnodes $A x'", "1"),
    ("env A=1 bash -c 'torchrun --nnodes $A x'", "1"),
    ("bash -c 'A=1; torchrun --nnodes $A x'", "1"),
    ("bash -c \"A=1; torchrun --nnodes \\$A x\"", "1"),
    ("bash -c 'A=1'\ntorchrun --nnodes $A x", "$A"),
    ("bash -c 'if x; then A=1; fi; torchrun --nnodes $A x'", "$A"),
    ("A0=1\n" + "".join(f"A{n + 1}=$A{n}$A{n}\n" for n in range(14)) + "torchrun --nnodes $A14 x", "$A14"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "nodes"), SEEN)
def test_variables_as_a_shell_sees_them(text: str, nodes: str) -> None:
    assert parse(Source("x.sh", text)).launches[-1].options["nnodes"].text == nodes


def test_a_place_to_meet_is_for_one_command(tmp_path: Path) -> None:
    for text, told in (
        ("MASTER_ADDR=localhost torchrun --nnodes 2 x\n", ["D226"]),
        ("env MASTER_ADDR=localhost torchrun --nnodes 2 x\n", ["D226"]),
        ("MASTER_ADDR=localhost torchrun x\ntorchrun --nnodes 2 --rdzv_endpoint $HOST x\n", []),
        ("ssh a 'export MASTER_ADDR=localhost; torchrun --nnodes 2 x'\n", ["D226"]),
    ):
        file = tmp_path / "x.sh"
        file.write_text(text, encoding="utf-8")
        assert [finding.code for finding in examine([str(file)]).findings] == told
