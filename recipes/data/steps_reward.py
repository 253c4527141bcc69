"""Your own reward: reasoning that shows its steps. No library is needed."""


def shows_steps(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 for four or more lines of reasoning, and less for fewer."""
    found = []
    for completion in completions:
        reasoning = completion.partition("</think>")[0]
        lines = [line for line in reasoning.splitlines() if line.strip()]
        found.append(min(len(lines), 4) / 4)
    return found
