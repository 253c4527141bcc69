"""Ask the script that prepares rows with a trainer's own code many questions in one process: `python ask.py SCRIPT QUESTIONS`.

QUESTIONS is a JSON list of requests; the answers, or the last lines of errors, go beside it, to `answers.json`.
"""

import importlib
import json
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Answer every question."""
    script, questions = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, str(script.parent))
    module = importlib.import_module(script.stem)
    if "llamafactory" in script.stem:
        importlib.import_module("llamafactory.data.template")
    answers = []
    for request in json.loads(questions.read_text(encoding="utf-8")):
        scratch = Path(request["scratch"])
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        sys.argv[1:] = [str(scratch / "request.json"), str(scratch / "answer.json")]
        sys.path.insert(0, request["folder"])
        before = template_settings()
        try:
            module.main()
            answers.append(json.loads((scratch / "answer.json").read_text(encoding="utf-8")))
        except (Exception, SystemExit) as error:  # the next question is asked all the same
            traceback.print_exc()
            answers.append({"error": f"{type(error).__name__}: {error}".strip().splitlines()[-1]})
        finally:
            sys.path.remove(request["folder"])
            sys.modules.pop("rows", None)
            restore(before)
    questions.with_name("answers.json").write_text(json.dumps(answers), encoding="utf-8")


def template_settings() -> dict:
    """Return the system prompts of LLaMA-Factory's templates, which its arguments change for the whole process."""
    held = sys.modules.get("llamafactory.data.template")
    return {} if held is None else {name: one.default_system for name, one in held.TEMPLATES.items()}


def restore(settings: dict) -> None:
    """Give the templates their own system prompts again."""
    held = sys.modules.get("llamafactory.data.template")
    for name, said in settings.items():
        held.TEMPLATES[name].default_system = said


if __name__ == "__main__":
    main()
