def brevity(completions, prompts, answers):
    return [-len(completion) / 1000 for completion in completions]


def counted(completions, prompts, answers, tokens):
    return [float(len(tokens)) for _ in completions]
