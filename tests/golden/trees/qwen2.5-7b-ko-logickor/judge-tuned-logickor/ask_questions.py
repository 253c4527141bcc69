"""Ask a model the questions of a benchmark, turn by turn: `python ask_questions.py answers.json`, by inspect-ai.

The model answers at RECIPE_SERVER_URL, where it is called RECIPE_SERVER_MODEL; RECIPE_SERVER_KEY is its key, or empty. What it has
answered is kept in `asked/` (inspect-ai's cache), so that whoever starts this again asks only for the rest. Leaves `answers.jsonl` in
FastChat's format, and inspect-ai's logs, which `inspect view` shows. Copied as it is into the output of a recipe that has a judge.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path

from judging import LOOPBACK, TEMPERATURES, Wrong, digest, read_questions, shots, write_json, write_lines

FILE, FOUND = "answers.jsonl", "asked.json"
SERVED = "http://served/v1"  # stands for the server in the names of kept answers, whatever its port
WEIGHTS = ("*.safetensors", "*.bin", "config.json", "adapter_config.json")


def weights_of(model):
    """Return what tells the weights of a model from others that were at the same place: sizes and times of their files."""
    said = [model["path"], model["adapter"], model["name"]]
    for folder in (model["path"], model["adapter"]):
        files = sorted(file for kind in WEIGHTS for file in Path(folder).glob(kind)) if folder else []
        said += [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return digest(json.dumps(said))


def temperature_of(settings, question):
    """Return the temperature that a question is asked at: the stated one, or that of its category."""
    stated = settings["temperature"]
    return stated if stated != "category" else TEMPERATURES.get(question.category, 0.0)


def at_home(output):
    """Keep what inspect-ai writes below the folder of the results, and proxies out of this machine. To be called before it is imported."""
    output.mkdir(parents=True, exist_ok=True)
    os.environ["INSPECT_CACHE_DIR"] = str((output / "asked").resolve())
    os.environ["XDG_DATA_HOME"] = str((output / ".inspect").resolve())
    os.environ["XDG_CACHE_HOME"] = str((output / ".inspect").resolve())
    os.environ["DO_NOT_TRACK"] = "1"
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), *LOOPBACK])


def served_model(settings):
    """Return the served model as inspect-ai asks it."""
    from inspect_ai.model import GenerateConfig, get_model, modelapi
    from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI

    url = os.environ["RECIPE_SERVER_URL"]

    @modelapi(name="served")
    class Served(OpenAICompatibleAPI):
        """A server whose port changes from start to start, and whose kept answers do not."""

        def _create_client(self):
            kept, self.base_url = self.base_url, url
            try:
                return super()._create_client()
            finally:
                self.base_url = kept

        def service_model_name(self):
            return os.environ["RECIPE_SERVER_MODEL"]

    config = GenerateConfig(
        max_connections=settings["connections"],
        max_retries=settings["retries"],
        attempt_timeout=settings["seconds"],
        max_tokens=settings["max_tokens"],
        seed=settings["seed"],
    )
    key = os.environ.get("RECIPE_SERVER_KEY") or "none"
    return get_model(
        f"served/{settings['model']['name']}", config=config, base_url=SERVED, api_key=key, service="served"
    )


def asked(settings, questions):
    """Return what inspect-ai logged of all questions. Raises Wrong where some could not be asked."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import CachePolicy, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
    from inspect_ai.solver import solver

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    before = shots(settings["questions"], settings["mode"]) if settings["benchmark"] == "logickor" else []
    by_key = {one.key: one for one in questions}
    policy = CachePolicy(expiry=None, per_epoch=False, scopes={"weights": weights_of(settings["model"])})

    @solver
    def turn_by_turn():
        async def solve(state, generate):
            question = by_key[str(state.sample_id)]
            state.messages = [kinds[one["role"]](content=one["content"]) for one in before]
            found = []
            for turn in question.turns:
                state.messages.append(ChatMessageUser(content=turn))
                state = await generate(state, cache=policy, temperature=temperature_of(settings, question))
                ended = state.output.stop_reason
                text = "" if ended == "model_length" else state.output.completion
                used = state.output.usage
                found.append([text, ended, used.input_tokens if used else 0, used.output_tokens if used else 0])
                state.messages[-1] = ChatMessageAssistant(content=text)  # what it thought is not said again
            state.store.set("answers", found)
            return state

        return solve

    samples = [Sample(input=one.turns[0], id=one.key, metadata={"category": one.category}) for one in questions]
    task = Task(MemoryDataset(samples, name=settings["task"]), solver=turn_by_turn(), name=settings["task"])
    logs = eval(
        task,
        model=served_model(settings),
        log_dir=str(Path(settings["output"]) / "logs"),
        log_buffer=1,
        log_realtime=False,
        display="plain",
        fail_on_error=False,
        ctl_server=False,
        max_samples=settings["connections"],
    )
    return finished(logs[0], len(questions))


def finished(log, number):
    """Return the samples of a log by their ids. Raises Wrong unless all of them ended well."""
    samples = {str(one.id): one for one in log.samples or []}
    wrong = [one for one in samples.values() if one.error is not None]
    for one in wrong[:3]:
        print(f"{one.id}: {one.error.message}", file=sys.stderr)
    if log.status != "success" or wrong or len(samples) < number:
        told = log.error.message if log.error is not None else f"{len(wrong)} of {number} could not be asked"
        raise Wrong(f"{told}; what was answered is kept: start again to ask for the rest")
    return samples


def main(settings):
    """Ask, and write what was answered."""
    output = Path(settings["output"])
    at_home(output)
    questions = read_questions(settings["questions"], settings["benchmark"], settings.get("limit"))
    samples = asked(settings, questions)
    rows, cut, empty, long, used = [], 0, 0, 0, [0, 0]
    for one in questions:
        answers = samples[one.key].store["answers"]
        turns = [text for text, *_ in answers]
        cut += sum(ended == "max_tokens" for _, ended, *_ in answers)
        long += sum(ended == "model_length" for _, ended, *_ in answers)
        empty += sum(not text.strip() for text in turns)
        used = [used[0] + sum(each[2] for each in answers), used[1] + sum(each[3] for each in answers)]
        name = settings["model"]["name"]
        rows.append(
            {
                "question_id": one.id,
                "answer_id": uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {one.hash} {turns}").hex,
                "model_id": name,
                "choices": [{"index": 0, "turns": turns}],
                "tstamp": time.time(),
            }
        )
    number = sum(len(one.turns) for one in questions)
    if empty == number:
        raise Wrong("every answer is empty")
    found = {
        "questions": len(questions),
        "turns": number,
        "cut_at_max_tokens": cut,
        "too_long_for_the_model": long,
        "empty": empty,
        "input_tokens": used[0],
        "output_tokens": used[1],
    }
    write_json(output / FOUND, found)
    write_lines(output / FILE, rows)  # last: it says that the rest is there
    print(f"{number} answers to {len(questions)} questions, {used[1]:,} tokens")
    for count, what in (
        (cut, f"ended at {settings['max_tokens']} tokens"),
        (long, "did not fit the model's length"),
        (empty, "are empty"),
    ):
        if count:
            print(f"{count} of {number} answers {what}")


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except (Wrong, OSError) as error:
        sys.exit(f"ask_questions.py: {error}")
