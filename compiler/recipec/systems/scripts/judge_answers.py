"""Let one or several models judge answers: `python judge_answers.py judge.json [--estimate]`, by inspect-ai.

Says what that costs at most before the first call; `--estimate` says only that. Nothing is sent to an address that is neither listed nor of this
machine, and no redirection is followed. What a judge has answered is kept in `asked/` (inspect-ai's cache), so that whoever starts this again asks only for the
rest. Leaves judgments in FastChat's formats, scores and samples in lm-eval's layout, and inspect-ai's logs, which `inspect view` shows.
Copied as it is into the output of a recipe that has a judge.
"""

import importlib.metadata
import json
import math
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import judging
from ask_questions import at_home, finished
from judging import Wrong

PROMPTS = "judge_prompts.jsonl"


class Ask:
    """One verdict that is asked for: on a question's turn, on one answer or on two, which may stand the other way round."""

    def __init__(self, question, turn, swapped, prompt, messages):
        self.question, self.turn, self.swapped = question, turn, swapped
        self.prompt, self.messages = prompt, messages

    @property
    def item(self):
        """What it is about, whatever the order."""
        return f"{self.question.key} turn {self.turn}"


def check_addresses(settings):
    """Raise Wrong where a judge may not be asked, or its key is not there."""
    allowed = {one.rstrip("/") for one in settings["allow"]}
    for judge in settings["judges"]:
        if urlsplit(judge["url"]).hostname not in judging.LOOPBACK and judge["url"].rstrip("/") not in allowed:
            raise Wrong(f"{judge['url']} is not in allow: nothing is sent to it")
        if judge.get("key_variable") and not os.environ.get(judge.get("key_variable")):
            raise Wrong(f"{judge['key_variable']} is not set, or empty, which has the key of {judge['name']}")


def prompts_of(settings):
    """Return the file of the prompts: the user's own, or the one beside this program."""
    return Path(settings.get("prompts") or Path(__file__).resolve().parent / PROMPTS)


def asks_of(settings, questions, answers):
    """Return everything that each judge is asked. `answers` are those of the judged model, and of the one it is compared with. Raises Wrong."""
    benchmark, kind = settings["benchmark"], settings["kind"]
    evaluator = judging.load_checkout(settings["questions"], judging.EVALUATOR) if benchmark == "logickor" else None
    prompts = judging.read_prompts(prompts_of(settings)) if evaluator is None else []
    found = []
    for question in questions:
        rubric = question.rubric or settings.get("rubric")
        if benchmark == "rubric" and not rubric:
            raise Wrong(f"{settings['questions']}:{question.line}: no rubric, neither here nor for all")
        for turn in range(1, len(question.turns) + 1):
            given = [one[question.key] for one in answers]
            if evaluator is not None:
                messages = judging.checkout_messages(evaluator, question, turn, given[0])
                found.append(
                    Ask(question, turn, False, f"logickor-{'multi' if turn == 2 else 'single'}-turn", messages)
                )
                continue
            beside = judging.has_reference(question, benchmark)
            prompt = judging.chosen_prompt(prompts, kind, turn, reference=beside, rubric=benchmark == "rubric")
            for swapped in (False, True) if kind == "pairwise" else (False,):
                order = given[::-1] if swapped else given
                messages = judging.written(prompt, question, turn, order, rubric)
                found.append(Ask(question, turn, swapped, prompt["name"], messages))
    return found


def attempts_of(settings, judge):
    """Return how often a judge is asked at most for one verdict: at temperature 0 it would say the same again."""
    return settings["attempts"] if judge["temperature"] != 0 else 1


def estimate(settings, asks):
    """Return what asking costs at most, for each judge: calls, tokens, and dollars where there is a price."""
    tokens = sum(judging.tokens_of(message["content"]) for one in asks for message in one.messages)
    found = []
    for judge in settings["judges"]:
        times = attempts_of(settings, judge)
        told, most = tokens * times, len(asks) * times * judge["max_tokens"]
        found.append(
            {
                "judge": judge["name"],
                "verdicts": len(asks),
                "calls": len(asks) * times,
                "input_tokens": told,
                "output_tokens": most,
                "cost": judging.price_of(judge.get("price"), told, most),
            }
        )
    return found


def tell_estimate(settings, found):
    """Print what asking costs at most. Raises Wrong where that is more than is allowed."""
    for one in found:
        cost = f", ${one['cost']:.2f}" if one["cost"] is not None else "; it has no price"
        print(
            f"{one['judge']}: {one['verdicts']} verdicts by at most {one['calls']} calls, about {one['input_tokens']:,} tokens"
            f" in and {one['output_tokens']:,} out{cost}",
            flush=True,
        )
    most = settings.get("max_cost")
    if most is None:
        return
    unknown = [one["judge"] for one in found if one["cost"] is None]
    if unknown:
        raise Wrong(f"max_cost is said, and {unknown[0]} has no price")
    total = sum(one["cost"] for one in found)
    if total > most:
        raise Wrong(f"it may cost ${total:.2f}, more than max_cost, ${most:.2f}; nothing was sent")


def judge_model(settings, judge):
    """Return a judge as inspect-ai asks it. It follows no redirection."""
    from inspect_ai.model import GenerateConfig, get_model
    from openai import DefaultAsyncHttpxClient

    config = GenerateConfig(
        max_connections=settings["connections"],
        max_retries=settings["retries"],
        attempt_timeout=settings["seconds"],
        max_tokens=judge["max_tokens"],
        temperature=None if judge["temperature"] == "model" else judge["temperature"],
    )
    return get_model(
        f"openai-api/judge/{judge['name']}",
        config=config,
        base_url=judge["url"],
        api_key=os.environ.get(judge.get("key_variable") or "") or "none",
        http_client=DefaultAsyncHttpxClient(follow_redirects=False, timeout=settings["seconds"]),
    )


def read_verdict(settings, text, swapped):
    """Return a score, or who wins; None where the text has no verdict."""
    if settings["kind"] == "pairwise":
        return judging.winner(judging.choice_in(text), swapped=swapped)
    return judging.score_in(text, settings["benchmark"])


def asked(settings, asks):
    """Return each judge's verdicts by what was asked, as inspect-ai logged them. Raises Wrong where some could not be asked."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import CachePolicy, ChatMessageSystem, ChatMessageUser
    from inspect_ai.scorer import Score, mean, scorer, stderr
    from inspect_ai.solver import solver

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
    items = {}
    for one in asks:
        items.setdefault(one.item, []).append(one)
    models = [judge_model(settings, judge) for judge in settings["judges"]]

    async def verdict(model, judge, one):
        attempts = attempts_of(settings, judge)
        used, found, text, version, number = [0, 0], None, "", "", 0
        messages = [kinds[message["role"]](content=message["content"]) for message in one.messages]
        while number < attempts and found is None:
            number += 1
            output = await model.generate(
                messages, cache=CachePolicy(expiry=None, per_epoch=False, scopes={"attempt": str(number)})
            )
            if output.usage:
                used = [used[0] + output.usage.input_tokens, used[1] + output.usage.output_tokens]
            text, version = output.completion, output.model
            found = read_verdict(settings, text, one.swapped)
        return {
            "judge": judge["name"], "item": one.item, "swapped": one.swapped, "prompt": one.prompt, "verdict": found, "reply": text,
            "version": version, "attempts": number, "used": used, "time": time.time(),
        }  # fmt: skip

    @solver
    def ask_judges():
        async def solve(state, _generate):
            found = []
            for model, judge in zip(models, settings["judges"], strict=True):
                for one in items[str(state.sample_id)]:
                    found.append(await verdict(model, judge, one))
            state.store.set("verdicts", found)
            return state

        return solve

    @scorer(metrics=[mean(), stderr()])
    def verdicts():
        async def score(state, _target):
            each = [
                scored
                for judge in settings["judges"]
                if (scored := value_of(settings, state.store.get("verdicts"), judge["name"])) is not None
            ]
            told = "\n\n".join(f"{one['judge']}: {one['reply']}" for one in state.store.get("verdicts"))
            return Score(value=sum(each) / len(each) if each else math.nan, explanation=told)

        return score

    samples = [
        Sample(input=each[0].messages[-1]["content"], id=item, metadata={"category": each[0].question.category})
        for item, each in items.items()
    ]
    logs = eval(
        Task(
            MemoryDataset(samples, name=settings["task"]), solver=ask_judges(), scorer=verdicts(), name=settings["task"]
        ),
        model=None,
        model_roles={f"judge_{number}": model for number, model in enumerate(models, 1)},
        log_dir=str(Path(settings["output"]) / "logs"),
        log_buffer=1,
        log_realtime=False,
        display="plain",
        fail_on_error=False,
        ctl_server=False,
        max_samples=settings["connections"],
    )
    return [one for sample in finished(logs[0], len(samples)).values() for one in sample.store["verdicts"]]


def value_of(settings, verdicts, judge):
    """Return what a judge's verdicts on one item come to: a score, or 1, 0.5 or 0; None where one is missing."""
    own = {one["swapped"]: one["verdict"] for one in verdicts if one["judge"] == judge}
    if settings["kind"] == "pairwise":
        return judging.outcome(own.get(False), own.get(True))
    return own.get(False)


def values_by_question(settings, questions, by_item):
    """Return the metrics of each question: the mean of its turns, each turn, each judge. What could not be judged is missing."""
    first = "win_rate" if settings["kind"] == "pairwise" else "score"
    names = [judge["name"] for judge in settings["judges"]]
    several = any(len(one.turns) > 1 for one in questions)
    found = {}
    for question in questions:
        row, turns = {}, []
        own = {name: [] for name in names}
        for turn in range(1, len(question.turns) + 1):
            verdicts = by_item[f"{question.key} turn {turn}"]
            each = {name: value_of(settings, verdicts, name) for name in names}
            known = [one for one in each.values() if one is not None]
            for name in names:
                own[name].append(each[name])
            if known:
                turns.append(sum(known) / len(known))
                if several:
                    row[f"turn_{turn}"] = turns[-1]
        if turns:
            row = {first: sum(turns) / len(turns), **row}
        for name in names if len(names) > 1 else ():
            given = [one for one in own[name] if one is not None]
            if given:
                row[f"{first}_by_{judging.slug(name)}"] = sum(given) / len(given)
        found[question.key] = row
    metrics = [first, *(["turn_1", "turn_2"] if several else [])]
    metrics += [f"{first}_by_{judging.slug(name)}" for name in names] if len(names) > 1 else []
    return metrics, found


def pair_facts(settings, by_item, lengths):
    """Return what pairs show of the judges: how often a verdict turns with the order, and whether the longer answer wins.

    `position_bias` is the share of pairs with two verdicts of which the second names another model; `first` the share in which both
    name the answer that stands first. `longer` is the share of decided verdicts for the answer with more characters.
    """
    both = turned = first = decided = longer = 0
    outcomes = []
    for judge in settings["judges"]:
        for item, all_of_it in by_item.items():
            own = {one["swapped"]: one["verdict"] for one in all_of_it if one["judge"] == judge["name"]}
            if own.get(False) is None or own.get(True) is None:
                continue
            both += 1
            turned += own[False] != own[True]
            first += own[False] == "model_1" and own[True] == "model_2"
            outcomes.append(judging.outcome(own[False], own[True]))
            one, other = lengths[item]
            for verdict in own.values():
                if verdict != "tie" and one != other:
                    decided += 1
                    longer += (verdict == "model_1") == (one > other)
    number = len(outcomes)
    return {
        "pairs": both,
        "position_bias": turned / both if both else None,
        "first": first / both if both else None,
        "longer": longer / decided if decided else None,
        "wins": outcomes.count(1.0) / number if number else None,
        "ties": outcomes.count(0.5) / number if number else None,
        "losses": outcomes.count(0.0) / number if number else None,
    }


def judgments(settings, asks, verdicts):
    """Return what a judge said, by judge, in FastChat's format: -1 and `error` stand for what could not be read."""
    texts = {(one.item, one.swapped): one for one in asks}
    found = {judge["name"]: [] for judge in settings["judges"]}
    told = {(one["judge"], one["item"], one["swapped"]): one for one in verdicts}
    for (judge, item, swapped), one in told.items():
        if swapped:
            continue
        ask = texts[item, False]
        row = {"question_id": ask.question.id}
        said = {"judge": [judge, one["prompt"]]}
        if settings["kind"] == "pairwise":
            other = told[judge, item, True]
            row |= {"model_1": settings["model"]["name"], "model_2": settings["against"]}
            row |= {"g1_winner": one["verdict"] or "error", "g2_winner": other["verdict"] or "error", **said}
            row |= {"g1_user_prompt": ask.messages[-1]["content"], "g1_judgment": one["reply"]}
            row |= {"g2_user_prompt": texts[item, True].messages[-1]["content"], "g2_judgment": other["reply"]}
        else:
            row |= {"model": settings["model"]["name"], **said, "user_prompt": ask.messages[-1]["content"]}
            row |= {"judgment": one["reply"], "score": -1 if one["verdict"] is None else one["verdict"]}
        found[judge].append(row | {"turn": ask.turn, "tstamp": one["time"]})
    return found


def facts(settings, asks, verdicts, by_item, lengths, estimates):
    """Return what a reader of the scores must know of how they came about."""
    rows = []
    for judge, most in zip(settings["judges"], estimates, strict=True):
        own = [one for one in verdicts if one["judge"] == judge["name"]]
        used = [sum(one["used"][index] for one in own) for index in (0, 1)]
        rows.append(
            {
                "judge": judge["name"],
                "url": judge["url"],
                "versions": sorted({one["version"] for one in own}),
                "temperature": judge["temperature"],
                "verdicts": len(own),
                "unparsed": sum(one["verdict"] is None for one in own),
                "asked_again": sum(one["attempts"] - 1 for one in own),
                "input_tokens": used[0],
                "output_tokens": used[1],
                "cost": judging.price_of(judge.get("price"), *used),
                "estimated": most,
            }
        )
    texts = sorted(
        {
            json.dumps(message["content"], ensure_ascii=False)
            for one in asks
            for message in one.messages
            if message["role"] == "system"
        }
    )
    pairwise = settings["kind"] == "pairwise"
    marks = {
        judge["name"]: {item: value_of(settings, each, judge["name"]) for item, each in by_item.items()}
        for judge in settings["judges"]
    }
    prompt_file = None if settings["benchmark"] == "logickor" else prompts_of(settings)
    return {
        "benchmark": settings["benchmark"],
        "kind": settings["kind"],
        "model": settings["model"]["name"],
        "against": settings["against"] if pairwise else None,
        "judges": rows,
        "prompts": sorted({one.prompt for one in asks}),
        "prompts_sha256": judging.digest(prompt_file.read_text(encoding="utf-8") if prompt_file else "\n".join(texts)),
        "asked_sha256": judging.digest(json.dumps([one.messages for one in asks], ensure_ascii=False)),
        "agreement": judging.agreement(marks, squared=not pairwise),
        "pairs": pair_facts(settings, by_item, lengths) if pairwise else None,
        "asked_by": f"inspect-ai {importlib.metadata.version('inspect-ai')}",
    }


def write(settings, questions, answers, asks, verdicts, estimates):
    """Write judgments, and unless too many have no verdict, samples and scores; print them. Raises Wrong."""
    output, by_item = Path(settings["output"]), {}
    for one in verdicts:
        by_item.setdefault(one["item"], []).append(one)
    for judge, rows in judgments(settings, asks, verdicts).items():
        kind = "pair" if settings["kind"] == "pairwise" else "single"
        judging.write_lines(output / "model_judgment" / f"{judging.slug(judge)}_{kind}.jsonl", rows)
    lengths = (
        {one.item: [len(each[one.question.key][one.turn - 1]) for each in answers] for one in asks}
        if len(answers) > 1
        else {}
    )
    told = facts(settings, asks, verdicts, by_item, lengths, estimates)
    judging.write_json(output / "judging.json", told)
    for one in told["judges"]:
        paid = f", ${one['cost']:.2f}" if one["cost"] is not None else ""
        print(
            f"{one['judge']} ({', '.join(one['versions'])}): {one['verdicts']} verdicts, {one['input_tokens']:,} tokens in, {one['output_tokens']:,} out{paid}"
        )
        if one["unparsed"]:
            print(
                f"{one['judge']}: {one['unparsed']} of {one['verdicts']} replies have no verdict that can be read; they are in no mean"
            )
        if one["unparsed"] > settings["max_unparsed"] * one["verdicts"]:
            raise Wrong(
                f"more than {settings['max_unparsed']:.0%} of the replies of {one['judge']} have no verdict: see {output / 'model_judgment'}"
            )
    metrics, values = values_by_question(settings, questions, by_item)
    results, counts, groups = judging.table_of(settings["task"], metrics, questions, values)
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}"
    numbers = {one.key: number for number, one in enumerate(questions)}
    for name, members in groups.items():
        rows = []
        for one in members:
            said = [verdict for turn in range(1, len(one.turns) + 1) for verdict in by_item[f"{one.key} turn {turn}"]]
            shown = values[one.key] if name == settings["task"] else {metrics[0]: values[one.key].get(metrics[0])}
            shown = {metric: value for metric, value in shown.items() if value is not None}
            rows.append(judging.sample_row(numbers[one.key], one, answers[0][one.key], shown, said))
        judging.write_lines(output / f"samples_{name}_{stamp}.jsonl", rows)
    judging.write_json(
        output / f"results_{stamp}.json",
        {
            "results": results,
            "higher_is_better": {
                name: dict.fromkeys(metrics if name == settings["task"] else metrics[:1], True) for name in results
            },
            "n-samples": counts,
            "date": now,
            "config": {
                "model": "judged",
                "model_args": {"pretrained": settings["model"]["path"], "peft": settings["model"].get("adapter")},
            },
            "judging": told,
        },
    )
    for name, row in results.items():
        for metric in metrics:
            if f"{metric},none" in row:
                error = row[f"{metric}_stderr,none"]
                print(f"{name} {metric}: {row[f'{metric},none']:.3f}" + (f" ± {error:.3f}" if error != "N/A" else ""))


def main(settings, *, only_estimate=False):
    """Estimate, ask and write."""
    check_addresses(settings)
    questions = judging.read_questions(settings["questions"], settings["benchmark"], settings.get("limit"))
    if settings.get("references"):
        judging.lay_references(questions, settings["references"])
    if settings["benchmark"] == "mt_bench" and (lacking := judging.lacking_reference(questions)):
        raise Wrong(
            f"{len(lacking)} questions are judged beside a reference and have none, such as {lacking[0].key} ({lacking[0].category})"
        )
    answers = [
        judging.read_answers(path, questions) for path in (settings["answers"], settings.get("against_answers")) if path
    ]
    asks = asks_of(settings, questions, answers)
    estimates = estimate(settings, asks)
    tell_estimate(settings, estimates)
    if only_estimate:
        return
    at_home(Path(settings["output"]))
    verdicts = asked(settings, asks)
    write(settings, questions, answers, asks, verdicts, estimates)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), only_estimate="--estimate" in sys.argv[2:])
    except (Wrong, OSError) as error:
        sys.exit(f"judge_answers.py: {error}")
