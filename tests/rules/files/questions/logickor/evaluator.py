"""The judge's part of a checkout of LogicKor by its layout; the words are our own."""

import re

import pandas as pd  # noqa: F401
from openai import OpenAI  # noqa: F401
from templates import JUDGE_TEMPLATE


def create_answers(client, model_output, judge_model, is_multi_turn=False, i=0):
    """Ask the judge, and try again where that fails."""
    parts = [model_output["questions"][0], model_output["outputs"][0]]
    references = model_output["references"]
    if references and references[0]:
        parts.insert(1, f"정답: {references[0]}")
    if is_multi_turn:
        parts += [model_output["questions"][1], model_output["outputs"][1]]
    try:
        system = JUDGE_TEMPLATE["multi_turn" if is_multi_turn else "single_turn"]
        response = client.chat.completions.create(
            model=judge_model,
            temperature=0.0,
            n=1,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": "\n".join(parts)}],
        )
        return float(re.search(r"점수:\s*(\d+)", response.choices[0].message.content)[1])
    except Exception:
        if i > 3:
            return 0.0
        return create_answers(client, model_output, judge_model, is_multi_turn, i + 1)
