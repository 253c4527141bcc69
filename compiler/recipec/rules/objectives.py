"""Rules about what a method optimises: constants of preference methods and reinforcement learning, and its rewards."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.kinds.train.records import Reward, Train
from recipec.rules.rule import Context, Fault, rule

# Answers of every kind: a pattern that all of them match tells none of them from another.
ANY_ANSWERS = (
    "42",
    "I do not know.",
    "<think>\nfirst\n</think>\nthen \\boxed{7}",
    "```python\nprint(1)\n```",
    "네, 맞습니다",
)


def _rewards(s: Train, type: str) -> Iterator[tuple[str, Reward]]:
    """Yield the rewards of a type that the person wrote, each with its plan path."""
    for index, reward in enumerate(s.rewards):
        if reward.type == type:
            yield f"rewards.{index}", reward


@rule("L172", "exchanged-clip-ranges", "error", sources="arXiv:2503.14476")
def exchanged_clip(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an upper clip range that is narrower than the lower one.

    Why is this bad:
    DAPO widens the upper range, so that unlikely words may become likely. Exchanged, it holds them down: the completions
    lose their variety.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {clip: 0.28, clip_high: 0.2}
        rewards: [{type: exact}]

    Use instead:
        rollout: {clip: 0.2, clip_high: 0.28}
    """
    if s.rollout is not None and s.rollout.clip_high < s.rollout.clip:
        message = f"clip_high {s.rollout.clip_high:g} is below clip {s.rollout.clip:g}: they look exchanged"
        yield Fault("rollout.clip_high", message, "DAPO uses clip: 0.2 and clip_high: 0.28")


@rule("L173", "reward-that-never-arrives", "error", sources="arXiv:1707.06347")
def no_discount(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a discount of 0 in PPO, whose reward comes with the last token.

    Why is this bad:
    With a discount γ, a token that stands n tokens before the end sees γⁿ of the reward: with 0, only the last token sees
    any, and below about 0.9 only the last few.

    Example:
        trainer: openrlhf
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_length: 1024, attention: flash_attention_2}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: ppo, learning_rate: 5e-7, batch_size: 64, micro_batch_size: 2}
        rollout: {discount: 0, engine: vllm, max_new_tokens: 512, completions: 1}
        rewards: [{type: exact}]
        hardware: {gpu: h100-80gb, per_node: 8}
        parallel: {strategy: zero3}

    Use instead:
        rollout: {discount: 1.0, engine: vllm, max_new_tokens: 512, completions: 1}
    """
    if s.rollout is not None and s.method == "ppo" and s.rollout.discount < 0.9:
        message = f"with discount {s.rollout.discount:g}, only the last tokens of an answer see its reward"
        yield Fault("rollout.discount", message, "1.0 is usual")


@rule("L174", "rewards-that-only-punish", "error", sources="")
def only_negative(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds rewards of which none has a positive weight, and a negative one for the right answer.

    Why is this bad:
    Each reward here is higher for better answers. With a negative weight alone, the model learns to avoid them; so it does with the
    right answer, whatever else is rewarded.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rewards: [{type: exact, weight: -1}]

    Use instead:
        rewards: [{type: exact, weight: 1}]
    """
    own = ("python", "remote", "model")  # may return what is better when it is lower
    fixed = [one for one in s.rewards if one.type not in own]
    if fixed and len(fixed) == len(s.rewards) and all(one.weight <= 0 for one in fixed):
        worst = "is 0: nothing is learnt" if not any(one.weight for one in fixed) else "is negative: wrong answers pay"
        yield Fault("rewards.0.weight", f"the weight of every reward {worst}", "give what is wanted a positive weight")
        return
    for index, one in enumerate(s.rewards):
        if one.type == "exact" and one.weight < 0:
            message = f"the right answer is rewarded with {one.weight:g}: wrong answers pay"
            yield Fault(f"rewards.{index}.weight", message, "give what is wanted a positive weight")


@rule("L175", "length-that-is-always-full", "warning", sources="")
def constant_length(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward for short answers whose limit no completion can exceed.

    Why is this bad:
    A word is at least one token. Where `max_words` is no less than `max_new_tokens`, every completion has the full reward,
    and it changes nothing.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {max_new_tokens: 256}
        rewards: [{type: exact}, {type: length, max_words: 2048}]

    Use instead:
        rewards: [{type: exact}, {type: length, max_words: 100}]
    """
    for path, reward in _rewards(s, "length"):
        if s.rollout is not None and reward.max_words is not None and reward.max_words >= s.rollout.max_new_tokens:
            message = f"no completion of {s.rollout.max_new_tokens} tokens has more than {reward.max_words} words"
            yield Fault(f"{path}.max_words", message, "lower max_words, or drop this reward")


@rule("L176", "control-character-in-pattern", "error", sources="")
def control_character(_see: Context, s: Train) -> Iterator[Fault]:
    r"""Finds a control character in the pattern of a reward.

    Why is this bad:
    In double quotes, YAML turns `\b` into a backspace and `\f` into a form feed before the regular expression is read. No
    completion holds one: the reward is always 0.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rewards: [{type: regex, pattern: ".*\bAnswer: .*"}]

    Use instead:
        rewards: [{type: regex, pattern: '.*\bAnswer: .*'}]
    """
    for path, reward in _rewards(s, "regex"):
        found = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", reward.pattern or "")
        if found is not None:
            message = f"the pattern holds the control character {found[0]!r}"
            yield Fault(f"{path}.pattern", message, "write it in single quotes, in which YAML leaves a backslash alone")


@rule("L177", "pattern-that-matches-anything", "error", sources="")
def matches_anything(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a pattern of a reward that every completion matches.

    Why is this bad:
    The reward is the same for all completions: it teaches nothing. Most often an unquoted ` #` turned the rest of the
    pattern into a comment.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rewards: [{type: regex, pattern: '.*'}]

    Use instead:
        rewards: [{type: regex, pattern: '.* #### [0-9]+'}]
    """
    for path, reward in _rewards(s, "regex"):
        pattern = reward.pattern or ""
        if len(pattern) > 40:  # nothing so long matches anything; a pattern may take exponential time
            continue
        try:
            compiled = re.compile(pattern, re.DOTALL)
        except (re.error, OverflowError, RecursionError):
            continue
        if all(compiled.fullmatch(answer) is not None for answer in ANY_ANSWERS):
            advice = "quote a pattern that holds ` #`, or drop this reward"
            yield Fault(f"{path}.pattern", f"every completion matches {pattern}", advice)


@rule("L178", "writer-as-reward-model", "error", sources="")
def writer_as_judge(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a reward model that is known as a model that writes.

    Why is this bad:
    A reward model answers with a score, by a head that was trained for it. Loaded from a model that writes, that head is
    random: every reward is noise.

    Example:
        trainer: openrlhf
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_length: 1024, attention: flash_attention_2}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: ppo, learning_rate: 5e-7, batch_size: 64, micro_batch_size: 2}
        rollout: {engine: vllm, max_new_tokens: 512, completions: 1}
        rewards: [{type: model, path: meta-llama/Meta-Llama-3-8B-Instruct}]
        hardware: {gpu: h100-80gb, per_node: 8}
        parallel: {strategy: zero3}

    Use instead:
        rewards: [{type: model, path: OpenRLHF/Llama-3-8b-rm-mixture}]
    """
    for path, reward in _rewards(s, "model"):
        known = see.model(reward.path or "") if reward.path is not None and not see.made(reward.path) else None
        own = reward.path == s.model.path
        if own or (
            known is not None and known.template is not None and "/" in known.id and known.parameters is not None
        ):
            message = f"{reward.path} is a model that writes: it has no head that scores"
            yield Fault(f"{path}.path", message, "name a model that was trained with method: reward")


RULES = (
    exchanged_clip,
    no_discount,
    only_negative,
    constant_length,
    control_character,
    matches_anything,
    writer_as_judge,
)
