"""Reward functions that the examples name."""


def brevity(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    return [-len(completion) / 1000 for completion in completions]


def wants_more(completions: list[str], prompts: list[str], answers: list[str], tokens: list[int]) -> list[float]:
    return [float(len(tokens)) for _ in completions]
