"""Composition: what is laid over what, where every value keeps its place, and what reaches the files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.cli import main
from recipec.compose import compose, read_setting
from recipec.diagnostics import Finding, RecipeError
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
        made, expected = (
            {name: re.sub(r"\.yaml:\d+:\d+", ".yaml", text) for name, text in one.files.items() if name != "plan.json"}
            for one in (flat, whole)
        )
        assert made == expected


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
    assert {name for name, text in files.items() if "HF_TOKEN" in text} == {"train/run.sh", "run.sh", "plan.json"}
    lines = [line for line in files["train/run.sh"].splitlines() if line.startswith(("export HF_TOKEN", "export TEXT"))]
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


def refused(path: str, **more: list[str]) -> list[Finding]:
    with pytest.raises(RecipeError) as caught:
        compose(path, **more)
    return caught.value.findings


def marked(finding: Finding) -> str:
    """Return the text that a finding points at."""
    assert finding.span is not None
    begin, end = finding.span.offsets()
    return finding.span.source.text[begin:end]


def told(path: str, **more: list[str]) -> list[tuple[str, str]]:
    """Return the message of each finding and the text that it points at."""
    return [(finding.message, marked(finding)) for finding in refused(path, **more)]


def test_all_files_together_have_to_be_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"base.yaml": "a: 1\nb: 2\n", "r.yaml": "extends: base.yaml\nc: [1, 2]\n"})
    monkeypatch.setattr("recipec.compose.MAX_VALUES", 8)
    compose(path)
    monkeypatch.setattr("recipec.compose.MAX_VALUES", 7)
    assert told(path) == [("more than 7 values with all the files it extends", "base.yaml")]


def test_a_recipe_may_have_as_many_files_as_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.yaml": "a: 1\n", "b.yaml": "extends: a.yaml\n", "c.yaml": "extends: a.yaml\n"}
    path = write(tmp_path, {**files, "r.yaml": "extends: [b.yaml, c.yaml]\n"})
    monkeypatch.setattr("recipec.compose.MAX_FILES", 4)
    assert len(compose(path).layers) == 4
    monkeypatch.setattr("recipec.compose.MAX_FILES", 3)
    assert told(path) == [("more than 3 files in one recipe", "c.yaml")]


def test_a_text_may_be_as_long_as_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is the text as it is written and all that comes into it."""
    path = write(tmp_path, {"r.yaml": "variables: {a: xyz}\nname: ${var:a}${var:a}\n"})
    monkeypatch.setattr("recipec.compose.MAX_TEXT", 22)
    assert value(path, "name") == "xyzxyz"
    monkeypatch.setattr("recipec.compose.MAX_TEXT", 21)
    assert told(path) == [("variables make this text longer than 21 characters", "${var:a}${var:a}")]
    assert refused(path)[0].code == "S047"


@pytest.mark.parametrize(
    ("code", "setting", "message", "marks", "advice"),
    [
        ("S030", "train.epochs", "expected a path and a value", "train.epochs", "write --set train.epochs=3"),
        ("S030", "a..b=1", "expected a path and a value", "a..b=1", "write --set train.epochs=3"),
        ("S031", "extends=x.yaml", "extends cannot be set from outside", "extends=x.yaml", "write it in the file; --profile NAME chooses a profile"),
        ("S031", "profiles.a.b=1", "profiles cannot be set from outside", "profiles.a.b=1", "write it in the file; --profile NAME chooses a profile"),
        ("S044", "train.beta1=null", "train.beta1 is deleted here, but no earlier file sets it", "train.beta1", "null deletes an earlier value; remove this key"),
        ("S031", "train.epochs.x=1", "the recipe has no place for train.epochs.x", "train.epochs.x=1", "there is nothing at the step x"),
        ("S031", "data.train[9].path=x", "the recipe has no place for data.train[9].path", "data.train[9].path=x", "there is nothing at the step 9"),
        ("S045", "data.train+=x", "data.train+ adds to a list, so it takes a list", "data.train+", "write train+: […]"),
        ("S045", "train.epochs+=[1]", "train.epochs+ adds to nothing: train.epochs is not a list", "train.epochs+", "write `epochs:` to set it here"),
        ("S045", "new.words+=[1]", "new.words+ adds to nothing: new.words is not set by an earlier file", "new.words+", "write `words:` to set it here"),
    ],
)  # fmt: skip
def test_a_setting_that_has_no_place_is_told_where_it_is_wrong(child: str, code: str, setting: str, message: str, marks: str, advice: str) -> None:  # fmt: skip
    (finding,) = refused(child, settings=[setting])
    assert (finding.code, finding.message, marked(finding), finding.help) == (code, message, marks, advice)
    assert finding.span is not None
    assert finding.span.source.label == "--set"


def test_a_setting_that_nearly_has_a_place_is_told_the_next(child: str) -> None:
    assert [refused(child, settings=[text])[0].suggestion for text in ("train.epoch=null", "data.trian+=[1]", "zzz=null")] == ["epochs", "train+", None]  # fmt: skip


def test_a_setting_of_another_command_is_told_as_such() -> None:
    for option, advice in (("--unset", "write --unset train.epochs=3"), ("recipe set", "write train.epochs=3")):
        with pytest.raises(RecipeError) as caught:
            read_setting("x", option)
        (finding,) = caught.value.findings
        assert finding.span is not None
        assert (finding.code, finding.help, finding.span.source.label) == ("S030", advice, option)
    path, node = read_setting('a["b.c"][0]= [1]')
    assert (path, plain(node), node.span.column) == (("a", "b.c", 0), [1], 14)


def test_settings_reach_into_lists_and_delete_there(child: str) -> None:
    more = ["data.train+=[{path: c.jsonl, format: chat}]", "data.train[0]=null", "data.train[0].format=null"]
    assert value(child, "data.train", settings=more) == [{"path": "b.jsonl"}, {"path": "c.jsonl", "format": "chat"}]
    assert value(child, "launch.environment", settings=["launch.environment.TEXT=null"]) == {
        "HF_TOKEN": "${env:HF_TOKEN}"
    }
    assert value(child, "launch", settings=["launch=null"]) == "gone"
    assert value(child, "a.b.c", settings=["a.b.c=1", "a.b.d=2"]) == 1


@pytest.mark.parametrize(
    ("variable", "message", "marks"),
    [
        ("rank", "expected a name and a value", "rank"),
        ("rnk=3", 'the recipe has no variable "rnk"', "rnk"),
        ("rank=[1]", "the variable rank is not a single value", "rank=[1]"),
        ("rank=null", "the variable rank is not a single value", "rank=null"),
        ("rank=${var:size}", "the variable rank is not a single value", "rank=${var:size}"),
    ],
)
def test_a_variable_that_cannot_be_set_is_told_where(child: str, variable: str, message: str, marks: str) -> None:
    (finding,) = refused(child, variables=[variable])
    assert (finding.message, marked(finding)) == (message, marks)
    assert finding.suggestion == ("rank" if variable == "rnk=3" else None)
    if finding.suggestion:
        assert finding.help == "variables of this recipe: size, rank, rate"


def test_profiles_that_are_not_there_are_told_once(child: str) -> None:
    found = refused(child, profiles=["debgu", "big", "debgu", "x"])
    assert [(finding.message, marked(finding), finding.suggestion) for finding in found] == [
        ('the recipe has no profile "debgu"', "debgu", "debug"),
        ('the recipe has no profile "x"', "x", None),
    ]
    assert {finding.help for finding in found} == {"profiles of this recipe: debug, big"}
    (finding,) = refused(str(Path(child).parent / "shared/base.yaml"), profiles=["debug"])
    assert finding.help == "profiles of this recipe: none"


def test_what_the_other_profiles_would_make_is_known(child: str) -> None:
    assert compose(child, profiles=["big", "debug", "big"]).profiles == ("big", "debug")
    composed = compose(child, profiles=["debug"])
    assert list(composed.others) == ["big"]
    assert plain(composed.others["big"].entries["model"]) == {"base": "org/model-70b", "max_length": 4096}
    assert find(composed.others["big"], ("train", "steps")) is None
    assert [source.label for source in composed.layers] == ["shared/base.yaml", "child.yaml"]
    assert {name: node.value for name, node in composed.variables.items()} == {"size": "7b", "rank": 2, "rate": 1e-4}


def test_profiles_of_several_files_are_laid_in_their_order(tmp_path: Path) -> None:
    files = {"base.yaml": "seed: 1\nprofiles: {p: {seed: 2, a: 1}, q: {a: 7}}\n"}
    files |= {"r.yaml": "extends: base.yaml\nname: x\nprofiles: {p: {seed: 3, name: null}}\n"}
    path = write(tmp_path, files)
    assert plain(compose(path, profiles=["p"]).tree) == {"seed": 3, "a": 1}
    assert plain(compose(path, profiles=["q", "p"]).tree) == {"seed": 3, "a": 1}
    assert plain(compose(write(tmp_path, {"n.yaml": "seed: 1\nprofiles:\n"})).tree) == {"seed": 1}


def test_null_says_nothing_in_the_first_file_and_deletes_in_the_next(tmp_path: Path) -> None:
    files = {"base.yaml": "a: null\nb: {c: null, d: 1}\n", "r.yaml": "extends: base.yaml\nb: {c: null}\n"}
    assert plain(compose(write(tmp_path, files)).tree) == {"a": None, "b": {"d": 1}}
    files["r.yaml"] = "extends: base.yaml\nb: {e: null}\nd: {f: null}\n"
    path = write(tmp_path, files)
    assert told(path) == [(f"{at} is deleted here, but no earlier file sets it", at[-1]) for at in ("b.e", "d.f")]


def test_lists_grow_and_everything_else_replaces(tmp_path: Path) -> None:
    files = {"base.yaml": "l: [1]\nm: {a: 1}\ns: 1\nt: {a: 1}\n+: 1\n"}
    files |= {"r.yaml": "extends: base.yaml\nl+: [2]\nm: [3]\ns: {a: {b: 2}}\nt: {b: 2}\n+: 2\n"}
    composed = compose(write(tmp_path, files))
    assert plain(composed.tree) == {"l": [1, 2], "m": [3], "s": {"a": {"b": 2}}, "t": {"a": 1, "b": 2}, "+": 2}
    assert composed.tree.keys["l"].label() == "r.yaml:2:1"
    assert composed.tree.keys["t"].label() == "r.yaml:5:1"
    assert composed.tree.entries["l"].nodes[0].span.label() == "base.yaml:1:5"  # type: ignore[union-attr]
    path = write(tmp_path, {"both.yaml": "l: [1]\nl+: [2]\n"})
    assert told(path) == [("both l and l+ are written here", "l+")]


def test_a_file_that_is_extended_is_told_the_way_to(tmp_path: Path) -> None:
    path = write(tmp_path, {"sub/base.yaml": "profiles: 3\n", "r.yaml": "seed: 1\nextends: sub/base.yaml\n"})
    (finding,) = refused(path)
    assert finding.message == "profiles maps names to words of the recipe"
    assert finding.help == "write `profiles: {debug: {train: {steps: 10}}}`; extended by " + path + ":2"
    composed = compose(write(tmp_path, {"sub/base.yaml": "seed: 2\n", "r.yaml": "extends: sub/base.yaml\n"}))
    finding = Finding("X001", "m", composed.tree.keys["seed"])
    assert composed.told([finding])[0].help == f"extended by {path}:1"
    own = Finding("X001", "m", None)
    assert composed.told([own]) == [own]


def test_files_that_extend_one_another_are_told_the_circle(tmp_path: Path) -> None:
    files = {"a.yaml": "extends: b.yaml\n", "b.yaml": "extends: a.yaml\n", "r.yaml": "extends: a.yaml\n"}
    path = write(tmp_path, files)
    (finding,) = refused(path)
    a, b = (str(tmp_path / name) for name in ("a.yaml", "b.yaml"))
    assert finding.message == f"the files extend one another: {a} → {b} → {a}"
    assert finding.span is not None
    assert finding.span.where() == f"{b}:1:10"
    assert finding.help == f"take one of these lines out; extended by {a}:1"


@pytest.mark.parametrize("names", ["3", "''", "[a: 1]", "[[base.yaml]]", "{a: b}", "[null]", '"a\\0b"', "true"])
def test_what_names_no_file_is_told(tmp_path: Path, names: str) -> None:
    path = write(tmp_path, {"base.yaml": "seed: 1\n", "r.yaml": f"extends: {names}\nname: x\n"})
    (finding,) = refused(path)
    assert (finding.code, finding.message) == ("S040", "extends names files")
    assert str(finding.help).startswith("write `extends: base.yaml`, or a list of files")


def test_a_text_may_stand_for_the_file(child: str) -> None:
    composed = compose(child, text="extends: shared/base.yaml\nname: other\n")
    assert plain(composed.tree.entries["name"]) == "other"
    assert plain(composed.tree.entries["data"].entries["holdout"]) == "1%"  # type: ignore[union-attr]


def test_variables_are_replaced_in_every_value_and_in_no_key(tmp_path: Path) -> None:
    text = "variables: {n: 3, t: text, f: 0.10}\na: ${var:n}\nb: 'x${var:n}${var:f}'\nc: [1, {d: '${var:t}'}]\ne: ${env:n}\n"
    composed = compose(write(tmp_path, {"r.yaml": text}))
    assert plain(composed.tree) == {"a": 3, "b": "x30.10", "c": [1, {"d": "text"}], "e": "${env:n}"}
    notes = {span.label(): note for span, note in composed.notes.items()}
    assert notes == {"r.yaml:2:4": "n by r.yaml:1:16", "r.yaml:3:4": "n by r.yaml:1:16, f by r.yaml:1:31", "r.yaml:4:12": "t by r.yaml:1:22"}  # fmt: skip
    path = write(tmp_path, {"k.yaml": "variables: {n: 3}\na: {'${var:n}': '${var:n}'}\nb: ${var:m}${var:m}${var:k}\n"})
    assert sorted(told(path)) == [
        ("a key cannot hold a variable", "'${var:n}'"),
        ('the recipe has no variable "k"', "${var:m}${var:m}${var:k}"),
        ('the recipe has no variable "m"', "${var:m}${var:m}${var:k}"),
    ]


def test_what_is_no_variable_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, {"r.yaml": "variables: {a: [1], b: {c: 1}, d: null, e: '${var:f}', f: 1}\nname: ${var:f}\n"})
    assert told(path)[:4] == [
        ("the variable a is not a single value", "a"),
        ("the variable b is not a single value", "b"),
        ("the variable d is not a single value", "null"),
        ("a variable cannot name another", "'${var:f}'"),
    ]
    for text, wrong in (("[a]", True), ("3", True), ("", False), ("null", False)):
        path = write(tmp_path, {"r.yaml": f"variables: {text}\nname: x\n"})
        if wrong:
            assert told(path) == [("variables maps names to values", "variables")]
        else:
            assert plain(compose(path).tree) == {"name": "x"}


def test_a_variable_that_nothing_uses_is_told_wherever_nothing_does(tmp_path: Path) -> None:
    files = {"base.yaml": "variables: {a: 1, b: 2, c: 3, d: 4}\nx: ${var:a}\n"}
    files |= {"r.yaml": "extends: base.yaml\nx: 3\nprofiles: {p: {y: '${var:b}'}}\n"}
    path = write(tmp_path, files)
    assert told(path) == [(f'nothing uses the variable "{name}"', at) for name, at in (("c", "3"), ("d", "4"))]
    assert told(path, settings=["z=${var:c}"]) == [('nothing uses the variable "d"', "4")]
    assert str(refused(path)[0].help).startswith("use it as ${var:c}, or drop it; extended by")
