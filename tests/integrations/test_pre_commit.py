"""The real pre-commit installs the hook from this checkout, in a repository of someone else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

ROOT = Path(__file__).parents[2]
PARTS = ("schema", "compiler", "launchers", "pyproject.toml", "README.md", ".pre-commit-hooks.yaml")
GOOD = (ROOT / "recipes" / "llama-2-13b-zero3.yaml").read_text(encoding="utf-8")


def ran(*words: str | Path, cwd: Path, code: int = 0, **more: str) -> str:
    git = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | git | more
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def repository(folder: Path) -> Path:
    ran("git", "init", "--quiet", cwd=folder)
    ran("git", "add", ".", cwd=folder)
    ran("git", "commit", "--quiet", "-m", "all", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as it is now, as a repository that a hook can be had from."""
    folder = tmp_path_factory.mktemp("recipec")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return repository(folder)


def test_the_hook_stops_a_bad_recipe(ours: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "recipes").mkdir(parents=True)
    (theirs / "recipes" / "good.yaml").write_text(GOOD, encoding="utf-8")
    (theirs / "recipes" / "bad.yaml").write_text(GOOD.replace("warmup", "wramup"), encoding="utf-8")
    (theirs / "other.yaml").write_text("no: recipe\n", encoding="utf-8")
    revision = ran("git", "rev-parse", "HEAD", cwd=ours).strip()
    config = f"repos: [{{repo: '{ours}', rev: {revision}, hooks: [{{id: recipec-check}}]}}]\n"
    (theirs / ".pre-commit-config.yaml").write_text(config, encoding="utf-8")
    repository(theirs)
    home = {"PRE_COMMIT_HOME": str(tmp_path / "home")}
    hook = [sys.executable, "-m", "pre_commit"]
    ran(*hook, "validate-manifest", ours / ".pre-commit-hooks.yaml", cwd=theirs, **home)
    said = ran(*hook, "run", "--files", "recipes/good.yaml", "other.yaml", cwd=theirs, **home)
    assert "Passed" in said
    said = ran(*hook, "run", "--all-files", cwd=theirs, code=1, **home)
    assert "recipes/bad.yaml:" in said
    assert 'did you mean "warmup"' in said
    assert "other.yaml" not in said
    assert "Skipped" in ran(*hook, "run", "--files", "other.yaml", cwd=theirs, **home)
    ran(*hook, "install", cwd=theirs, **home)  # and so it stands in the way of a commit
    (theirs / "recipes" / "bad.yaml").write_text(GOOD.replace("warmup", "warmpu"), encoding="utf-8")
    ran("git", "add", ".", cwd=theirs)
    assert "warmpu" in ran("git", "commit", "-m", "bad", cwd=theirs, code=1, **home)
