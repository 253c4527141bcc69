"""A checkout of LogicKor by its layout; the words are our own."""

PROMPT_STRATEGY = {
    "default": [],
    "1-shot": [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "안녕하세요."}],
    "cot-1-shot": [{"role": "system", "content": "차근차근 생각하세요."}],
}
JUDGE_TEMPLATE = {"single_turn": "한 번의 답을 평가하세요.", "multi_turn": "두 번째 답을 평가하세요."}
