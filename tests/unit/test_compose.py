"""Composition: what is laid over what, where every value keeps its place, and what reaches the files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.cli import main
from recipec.compose import compose
from recipec.diagnostics import RecipeError
from recipec.explain import explain
from recipec.manifest import Text, read
from recipec.output import digest
from recipec.pipeline import Compiled, compile_file
from recipec.source import find, plain, split_path

ROOT = Path(__file__).parents[2]
BASE = """\
recipe: 1
variables: {size: 7b, rank: 8, rate: 1e-4}
model: {base: "org/model-${var:size}", max_length: 4096}
adapter: {rank: "${var:rank}"}
data:
  train: [{path: a.jsonl, format: chat}]
  holdout: 1%
train: {epochs: 2, batch_size: 64, micro_batch_size: 2, learning_rate: "${var:rate}"}
hardware: {gpu: a100-80gb}
"""
CHILD = """\
extends: shared/base.yaml
name: child
data:
  train+: [{path: b.jsonl, format: chat}]
  holdout: null
train: {epochs: 3}
launch: {environment: {HF_TOKEN: "${env:HF_TOKEN}", TEXT: "it's ${env:USER_NAME} $(id)"}}
profiles:
  debug: {train: {epochs: null, steps: 10}, variables: {rank: 2}}
  big: {train: {learning_rate: 5e-5}, variables: {size: 70b}}
"""


@pytest.fixture
def child(tmp_path: Path) -> str:
    return write(tmp_path, {"shared/base.yaml": BASE, "child.yaml": CHILD})


def write(folder: Path, files: dict[str, str]) -> str:
    """Write files; return the path of the last."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder / list(files)[-1])


def good(compiled: Compiled) -> Compiled:
    assert [finding.message for finding in compiled.findings] == []
    return compiled


def value(path: str, at: str, **more: list[str]) -> object:
    node = find(compose(path, **more).tree, split_path(at))
    return plain(node) if node is not None else "gone"


def test_what_is_laid_over_what(child: str) -> None:
    assert plain(compose(child).tree) == {
        "recipe": 1,
        "model": {"base": "org/model-7b", "max_length": 4096},
        "adapter": {"rank": 8},
        "data": {"train": [{"path": "a.jsonl", "format": "chat"}, {"path": "b.jsonl", "format": "chat"}]},
        "train": {"epochs": 3, "batch_size": 64, "micro_batch_size": 2, "learning_rate": 1e-4},
        "hardware": {"gpu": "a100-80gb"},
        "name": "child",
        "launch": {"environment": {"HF_TOKEN": "${env:HF_TOKEN}", "TEXT": "it's ${env:USER_NAME} $(id)"}},
    }
    good(compile_file(child))


def test_file_then_profiles_in_order_then_settings(child: str) -> None:
    assert value(child, "train.learning_rate", profiles=["big"]) == 5e-5
    assert value(child, "train.steps", profiles=["big", "debug"]) == 10
    assert value(child, "train.epochs", profiles=["debug"]) == "gone"
    assert value(child, "adapter.rank", profiles=["debug"]) == 2
    assert value(child, "adapter.rank", profiles=["debug"], variables=["rank=4"]) == 4
    assert value(child, "adapter.rank", profiles=["debug"], settings=["variables.rank=3"]) == 3
    assert value(child, "train.steps", profiles=["debug"], settings=["train.steps=7"]) == 7
    assert value(child, "model.base", profiles=["big"], settings=["model.base=me/${var:size}"]) == "me/70b"


def test_a_file_that_comes_twice_is_laid_once(tmp_path: Path) -> None:
    """Two parents share a third: what the first of the two says is not undone by it."""
    files = {"base.yaml": "seed: 1\ntrain: {epochs: 1, beta1: 0.9}\n", "a.yaml": "extends: base.yaml\nseed: 2\n"}
    files |= {"b.yaml": "extends: [base.yaml]\ntrain: {epochs: 5}\n", "r.yaml": "extends: [a.yaml, b.yaml]\nname: r\n"}
    composed = compose(write(tmp_path, files))
    assert plain(composed.tree) == {"seed": 2, "train": {"epochs": 5, "beta1": 0.9}, "name": "r"}
    assert [source.label for source in composed.layers] == ["base.yaml", "a.yaml", "b.yaml", "r.yaml"]


def test_paths_start_at_the_file_that_says_them(tmp_path: Path) -> None:
    files = {"top.yaml": "seed: 1\n", "sub/base.yaml": "extends: ../top.yaml\n", "r.yaml": "extends: sub/base.yaml\n"}
    composed = compose(write(tmp_path, files))
    assert [source.label for source in composed.layers] == ["top.yaml", "sub/base.yaml", "r.yaml"]
    assert str(tmp_path) not in json.dumps([source.label for source in composed.layers])


@pytest.mark.parametrize(
    ("setting", "at", "expected"),
    [
        ("data.train[0].path=x.jsonl", "data.train[0].path", "x.jsonl"),
        ("data.train+=[{path: c.jsonl, format: chat}]", "data.train[2].path", "c.jsonl"),
        ("data.train[1]=null", "data.train[1]", "gone"),
        ("launch.environment={A: b}", "launch.environment", {"A": "b"}),
        ("train.batch_size=0x10", "train.batch_size", 16),
        ("train.save.every=5", "train.save", {"every": 5}),
        ("model.base='7'", "model.base", "7"),
        ("train.epochs=null", "train.epochs", "gone"),
        ("model.trust_remote_code=true", "model.trust_remote_code", True),
        ("data.train.0.path=no", "data.train[0].path", "no"),
    ],
)
def test_settings_have_types_and_may_delete(child: str, setting: str, at: str, expected: object) -> None:
    assert value(child, at, settings=[setting]) == expected


@pytest.mark.parametrize("setting", ["train.beta1=null", "data.none+=[1]", "extends=x.yaml", "data.train[7].path=x", "profiles.debug.train=1"])  # fmt: skip
def test_settings_without_a_place_are_errors(child: str, setting: str) -> None:
    (finding,) = compile_file(child, [setting]).findings
    assert finding.span is not None
    assert finding.span.source.name == "--set"


def test_places_reach_through_files_profiles_and_variables(child: str) -> None:
    compiled = good(compile_file(child, ["train.max_grad_norm=2"], ["debug"], ["size=13b"]))
    manifest = read(compiled.files["plan.json"])
    assert manifest.recipe.file == "child.yaml"
    assert manifest.recipe.extends == (Text("shared/base.yaml", digest(BASE)),)
    assert manifest.recipe.profiles == ("debug",)
    assert "Compiled from `child.yaml`, with the profile `debug`, for" in compiled.files["PLAN.md"]

    def because(path: str) -> str:
        return explain(manifest, path)[0].because

    assert because("model.max_length") == "recipe: shared/base.yaml:3:52"
    assert because("model.base") == "recipe: shared/base.yaml:3:15 (size by --var size=13b)"
    assert because("adapter.rank") == "recipe: shared/base.yaml:4:17 (rank by child.yaml:9:63)"
    assert because("train.steps") == "recipe: child.yaml:9:40"
    assert because("train.optimizer.max_grad_norm") == "command line: --set:1:21"
    assert str(Path(child).parent) not in json.dumps(compiled.files)


def test_the_flat_recipe_compiles_to_the_same_files(
    child: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--profile", "big", "--set", "train.log_every=7"]
    assert main(["show", child, "--resolved", *options]) == 0
    text = capsys.readouterr().out
    assert "  max_length: 4096  # shared/base.yaml:3\n" in text
    assert "  base: org/model-70b  # shared/base.yaml:3; size by child.yaml:10:57\n" in text
    assert "  learning_rate: 5e-5  # child.yaml:10 in the profile big\n" in text
    assert "log_every: 7  # --set train.log_every=7\n" in text
    (tmp_path / "flat").mkdir()
    alone = good(compile_file(write(tmp_path, {"flat/child.yaml": text})))
    composed = good(compile_file(child, ["train.log_every=7"], ["big"]))
    files = [dict(compiled.files) for compiled in (alone, composed)]
    plans = [read(emitted.pop("plan.json")).plan for emitted in files]
    files[1]["PLAN.md"] = files[1]["PLAN.md"].replace(", with the profile `big`,", "")
    assert files[0] == files[1]
    assert [stage.body for stage in plans[0].stages] == [stage.body for stage in plans[1].stages]


def test_every_recipe_is_its_own_flat_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in sorted((ROOT / "recipes").glob("*.yaml"))[::4]:
        assert main(["show", str(file), "--resolved"]) == 0
        flat = compile_file(write(tmp_path, {file.name: capsys.readouterr().out}))
        whole = compile_file(str(file))
        assert {k: v for k, v in flat.files.items() if k != "plan.json"} == {
            k: v for k, v in whole.files.items() if k != "plan.json"
        }


def test_what_a_recipe_is_made_of(child: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", child, "--profile", "debug", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["profiles"] == {"debug": True, "big": False}
    assert about["variables"]["rank"]["value"] == 2
    assert [Path(name).name for name in about["files"]] == ["base.yaml", "child.yaml"]
    assert main(["show", child]) == 0
    assert "  rate = 0.0001  " in capsys.readouterr().out


def test_secrets_are_expanded_by_the_shell_and_nowhere_else(child: str, tmp_path: Path) -> None:
    files = good(compile_file(child)).files
    assert {name for name, text in files.items() if "HF_TOKEN" in text} == {"10-train/run.sh", "run.sh", "plan.json"}
    lines = [
        line for line in files["10-train/run.sh"].splitlines() if line.startswith(("export HF_TOKEN", "export TEXT"))
    ]
    script = "\n".join(["set -euo pipefail", *lines, 'printf "%s|%s" "$HF_TOKEN" "$TEXT"'])
    told = subprocess.run(["bash", "-c", script], env={"HF_TOKEN": "a 'b\" $c", "USER_NAME": "$(me)"}, capture_output=True, text=True, check=False)  # fmt: skip
    assert told.stdout == "a 'b\" $c|it's $(me) $(id)"
    told = subprocess.run(["bash", "-c", script], env={"HF_TOKEN": ""}, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "HF_TOKEN: set it in the environment of the run" in told.stderr
    write(tmp_path, {f"out/{name}": text for name, text in files.items() if name.endswith(".sh")})
    scripts = [str(path) for path in (tmp_path / "out").rglob("*.sh")]
    # SC2016: text that looks like a command is text here
    checked = subprocess.run([str(Path(sys.executable).with_name("shellcheck")), "--exclude=SC2016", *scripts], capture_output=True, text=True, check=False)  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_bounds(tmp_path: Path) -> None:
    chain = {f"{n}.yaml": f"extends: {n - 1}.yaml\n" if n else "seed: 1\n" for n in range(70)}
    with pytest.raises(RecipeError, match="more than 64 files"):
        compose(write(tmp_path, chain))
    long = "variables: {a: " + "x" * 1000 + "}\ndescription: " + "${var:a}" * 2000 + "\n"
    with pytest.raises(RecipeError, match="longer than"):
        compose(write(tmp_path, {"long.yaml": long}))
    bomb = "extends: base.yaml\ntracks: [*a]\n"
    with pytest.raises(RecipeError, match="alias"):
        compose(write(tmp_path, {"base.yaml": "seed: &a 1\n", "r.yaml": bomb}))  # anchors end with their file


def test_set_changes_the_file_where_the_result_is_no_worse(child: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", child, "train.epochs=4", "train.warmup=3%", "--unset", "data.holdout"]) == 0
    expected = CHILD.replace("{epochs: 3}", '{epochs: 4, warmup: "3%"}').replace("  holdout: null\n", "")
    assert Path(child).read_text() == expected
    assert main(["set", child, "train.epochs=many"]) == 1
    assert "train.epochs cannot be" in capsys.readouterr().err
    assert main(["set", child, "train.beta1"]) == 1
    assert main(["set", child]) == 1
    assert main(["set", child, "train.epochs.x=1"]) == 1
    assert main(["set", child, "--unset", "a..b"]) == 1
    assert main(["set", child, "--unset", "train.batch_size"]) == 1
    assert "a.b=null" in capsys.readouterr().err
    assert Path(child).read_text() == expected
    Path(child).write_text(expected.replace("epochs: 4", "epochs: 4, epoch: 1"))
    assert main(["set", child, "train.epochs=5"]) == 0  # it had that mistake before
    assert "epochs: 5, epoch: 1" in Path(child).read_text()


def test_what_is_no_recipe_is_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, {"list.yaml": "[1, 2]\n"})
    for command in (["show", path, "--resolved"], ["show", path], ["fmt", path], ["check", path]):
        assert main(command) == 1
        assert "error[S019]" in capsys.readouterr().err
    assert main(["set", path, "a=1"]) == 1
    assert "error[S031]" in capsys.readouterr().err
