"""The emitted tree on disk: whole or not at all, ours or not touched."""

import compileall
import errno
import fcntl
import json
import os
import sys
from collections.abc import ItemsView
from hashlib import sha256
from pathlib import Path

import pytest

from recipec.diagnostics import Finding, RecipeError
from recipec.output import difference, digest, existing, foreign, replace, write


def tree(**texts: str) -> dict[str, str]:
    """Return files as a compile makes them: with a manifest that has their hashes."""
    files = {name.replace("__", "/").replace("_", "."): text for name, text in texts.items()}
    listed = {name: {"sha256": sha256(text.encode()).hexdigest()} for name, text in files.items()}
    return {**files, "plan.json": json.dumps({"files": listed})}


def refused(folder: Path, files: dict[str, str]) -> list[Finding]:
    """Return why a tree is not written; the folder, and what is beside it, stay as they are."""
    before = [(p, p.is_file() and p.read_bytes()) for p in sorted(folder.parent.rglob("*"))]
    with pytest.raises(RecipeError) as caught:
        write(folder, files)
    assert [(p, p.is_file() and p.read_bytes()) for p in sorted(folder.parent.rglob("*"))] == before
    return caught.value.findings


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_holds_exactly_what_was_written_last(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet" / "x"
    first = tree(a_txt="1", b__c_txt="2", b__run_sh="echo é\n")
    second = tree(a_txt="3", d__e__f_txt="")
    assert [write(folder, first), write(folder, first), write(folder, second), write(folder, second)] == [
        True,
        False,
        True,
        False,
    ]
    assert existing(folder) == second
    assert not (folder / "b").exists()
    assert names(folder.parent) == ["x"]


def test_scripts_can_be_run_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "x", tree(b__run_sh="exit 0\n", a_txt="1"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "x").rglob("*") if path.is_file()}
    assert modes["run.sh"] == 0o755
    assert modes["a.txt"] & 0o111 == 0


def test_bytes_are_those_of_the_text_on_every_system(tmp_path: Path) -> None:
    write(tmp_path / "x", tree(a_txt="é\r\n\n"))
    assert (tmp_path / "x" / "a.txt").read_bytes() == b"\xc3\xa9\r\n\n"
    assert existing(tmp_path / "none") == {}


def test_an_empty_folder_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "x" / "empty").mkdir(parents=True)
    assert write(tmp_path / "x", tree(a_txt="1"))
    assert names(tmp_path / "x") == ["a.txt", "plan.json"]


def test_a_file_in_the_place_of_the_folder_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    (finding,) = refused(tmp_path / "x", tree())
    assert (finding.code, finding.file, finding.help) == ("O001", str(tmp_path / "x"), "move it away")


@pytest.mark.parametrize(
    "manifest",
    [None, "", "[]", "{}", '{"files": 1}', '{"files": []}', '{"files": {"a.txt": {}}}', '{"files": {"a.txt": "x"}}'],
)
def test_a_folder_without_a_manifest_of_ours_is_somebody_elses(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text("mine")
    if manifest is not None:
        (tmp_path / "x" / "plan.json").write_text(manifest)
    (finding,) = refused(tmp_path / "x", tree())
    assert (finding.code, finding.file) == ("O002", str(tmp_path / "x"))


def test_what_was_edited_and_what_came_in_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write(folder, tree(a_txt="1", b_txt="2"))
    (folder / "b.txt").write_text("mine")
    (folder / "c.txt").write_text("mine")
    (folder / "link").symlink_to("/nowhere")
    (folder / "folder").symlink_to(tmp_path)
    found = {Path(str(finding.file)).name: finding for finding in refused(folder, tree(a_txt="3"))}
    assert {finding.code for finding in found.values()} == {"O003"}
    assert sorted(found) == ["b.txt", "c.txt", "folder", "link"]
    assert found["b.txt"].message == "was edited by hand; it would be lost"
    assert "overrides" in str(found["b.txt"].help)
    for name in ("c.txt", "folder", "link"):
        assert found[name].message == "was not written by recipec; it would be lost"
        assert found[name].help == "move it away"


def test_what_python_makes_of_an_emitted_module_is_no_obstacle(tmp_path: Path) -> None:
    folder, files = tmp_path / "x", tree(a__rows_py="x = 1\n")
    write(folder, files)
    compileall.compile_dir(folder, quiet=1)
    assert list(folder.rglob("*.pyc"))
    assert write(folder, files) is False
    assert write(folder, tree(a__rows_py="x = 2\n"))
    assert not list(folder.rglob("*.pyc"))
    (folder / "a/__pycache__").mkdir()
    (folder / "a/__pycache__/other.cpython-311.pyc").write_text("of no module here")
    assert [one.code for one in refused(folder, files)] == ["O003"]


def test_a_deleted_file_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "x", tree(a_txt="1", b_txt="2"))
    (tmp_path / "x" / "a.txt").unlink()
    assert foreign(tmp_path / "x", existing(tmp_path / "x")) == []
    assert write(tmp_path / "x", tree(a_txt="1", b_txt="2"))
    assert names(tmp_path / "x") == ["a.txt", "b.txt", "plan.json"]


def test_a_link_is_kept_and_one_that_goes_in_circles_refused(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("real")
    assert [write(tmp_path / "x", tree(a_txt=text)) for text in "122"] == [True, True, False]
    assert (tmp_path / "x").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "2"
    (tmp_path / "loop").symlink_to("loop")
    (finding,) = refused(tmp_path / "loop", tree())
    assert (finding.code, finding.message) == ("O004", "cannot be written: the link points at itself")


def test_what_the_system_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (finding,) = refused(tmp_path / "file" / "deep" / "x", tree())
    assert (finding.code, finding.message) == ("O004", "cannot be written: Not a directory")
    assert finding.file == str(tmp_path / "file" / "deep" / "x")


def test_the_litter_of_killed_compiles_goes_and_nothing_that_is_like_it(tmp_path: Path) -> None:
    litter = [".x.new-1", ".x.old-4711"]
    others = [".x.new-", ".x.new-1a", "x.new-1", ".xy.new-1", ".y.old-1", ".x.tmp-1", "a.x.old-1"]
    for name in [*litter, *others]:
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / ".x.old-2").symlink_to(others[0])
    write(tmp_path / "x", tree(a_txt="1"))
    assert names(tmp_path) == sorted([*others, ".x.old-2", "x"])


def test_a_name_with_signs_of_patterns_sweeps_no_others_litter(tmp_path: Path) -> None:
    (tmp_path / ".axb.new-1").mkdir()
    write(tmp_path / "a.b", tree())
    assert names(tmp_path) == [".axb.new-1", "a.b"]


def test_where_folders_cannot_be_locked_it_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock, what looks like litter may be what another compile writes just now."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".x.new-1").mkdir()
    assert write(tmp_path / "x", tree(a_txt="1"))
    assert names(tmp_path) == [".x.new-1", "x"]


def test_one_compile_at_a_time_writes_beside_another(tmp_path: Path) -> None:
    held: list[bool] = []

    class Files(dict[str, str]):
        """Files that try, while they are written, whether another compile could write too."""

        def items(self) -> ItemsView[str, str]:
            other = os.open(tmp_path, os.O_RDONLY)
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
            except BlockingIOError:
                held.append(True)
            finally:
                os.close(other)
            return super().items()

    write(tmp_path / "x", Files(tree()))
    assert held == [True]
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it was given back
    os.close(handle)


def test_a_system_without_an_exchange_swaps_in_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for text in ("1", "2"):
        assert write(tmp_path / "x", tree(a_txt=text))
        assert existing(tmp_path / "x") == tree(a_txt=text)
        assert names(tmp_path) == ["x"]


def test_a_folder_that_another_compile_made_meanwhile_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, raced = Path.rename, []

    def slower(self: Path, target: Path) -> Path:
        if not raced:
            raced.append(target)
            (target / "b").mkdir(parents=True)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", slower)
    assert write(tmp_path / "x", tree(a_txt="1"))
    assert raced == [tmp_path / "x"]
    assert existing(tmp_path / "x") == tree(a_txt="1")
    assert names(tmp_path) == ["x"]


def test_a_tree_that_cannot_be_moved_into_place_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    (finding,) = refused(tmp_path / "x", tree(a_txt="1"))
    assert finding.message == "cannot be written: No space left on device"


def test_a_file_is_replaced_with_its_permissions_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("old")
    file.chmod(0o640)
    replace(file, "é\r\n")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"\xc3\xa9\r\n", 0o640)
    assert names(tmp_path) == ["r.yaml"]
    with pytest.raises(RecipeError) as caught:
        replace(tmp_path / "none.yaml", "new")
    (finding,) = caught.value.findings
    assert (finding.code, finding.file) == ("O004", str(tmp_path / "none.yaml"))
    assert finding.message == "cannot be written: No such file or directory"
    assert names(tmp_path) == ["r.yaml"]


def test_a_difference_is_a_diff_from_disk_to_what_is_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write(folder, {"same": "1\n", "new-end": "1", "gone": "1\n", "empty": ""})
    assert difference(folder, existing(folder)) == ""
    assert difference(folder, {"same": "1\n", "new-end": "1\n", "come": "2\n"}).split("\n") == [
        "--- on disk: x/come", "+++ compiled: x/come", "@@ -1 +1,2 @@", "+2", " ",
        "--- on disk: x/gone", "+++ compiled: x/gone", "@@ -1,2 +1 @@", "-1", " ",
        "--- on disk: x/new-end", "+++ compiled: x/new-end", "@@ -1 +1,2 @@", " 1", "+",
    ]  # fmt: skip
    assert difference(tmp_path / "none", {}) == ""


def test_a_tree_that_cannot_be_read_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    write(tmp_path / "x", tree())
    monkeypatch.setattr(Path, "read_text", unreadable)
    with pytest.raises(RecipeError) as caught:
        difference(tmp_path / "x", {})
    (finding,) = caught.value.findings
    assert (finding.code, finding.file) == ("O004", str(tmp_path / "x"))
    assert finding.message == "cannot be read: Permission denied"


def test_a_hash_is_that_of_the_bytes_also_where_they_are_no_text() -> None:
    assert digest(b"\xff\xc3\xa9".decode("utf-8", "surrogateescape")) == sha256(b"\xff\xc3\xa9").hexdigest()
