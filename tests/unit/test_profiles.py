"""Profiles that are not chosen are judged as if they were, and never refuse what is."""

from pathlib import Path

import pytest

from recipec.pipeline import compile_file

PROFILED = """\
recipe: 1
name: one
model: {base: my-lab/my-model, chat_template: chatml}
data: {train: [{hub: my-lab/chat, format: chat}]}
train: {epochs: 3, batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5}
hardware: {gpu: h100-80gb}
profiles:
  debug:
    train: {steps: 10%s}
  wide:
    hardware: {per_node: %d}
"""


@pytest.mark.parametrize(
    ("more", "gpus", "said"),
    [
        (", epochs: null", 8, []),
        ("", 8, [("P061", 9, "with the profile debug")]),
        (", epochs: null", 3, [("P060", 11, "with the profile wide")]),
    ],
)
def test_a_profile_that_is_not_chosen_is_judged(
    more: str, gpus: int, said: list[tuple[str, int, str]], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(PROFILED % (more, gpus), encoding="utf-8")
    file = str(path)
    found = compile_file(file)
    told = [one for one in found.findings if one.code != "T003"]
    assert [(one.code, one.span and one.span.line, one.help.rpartition("; ")[2]) for one in told] == said
    assert {one.severity for one in told} <= {"warning"}
    assert found.files  # what is chosen is right
    for code, _, _ in said:
        name = "debug" if code == "P061" else "wide"
        assert [one.severity for one in compile_file(file, profiles=[name]).findings if one.code == code] == ["error"]
