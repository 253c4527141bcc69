"""How many weights AdamW really changes where it steps them in bf16: `python benchmarks/rounded_updates.py`, with torch.

A weight of bf16 has 8 bits of precision: one of 0.02 cannot change by less than 6e-5. An update that is smaller than half
of that is rounded away, in each step anew. The weights are drawn as a trained model's are (standard deviation 0.02), the
gradients at random; what matters is the size of a step, which Adam makes about the learning rate. Rule L137 states these
figures, `tests/unit/test_rounded_updates.py` holds them together.
"""

import json

RATES = (1e-7, 1e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3)
STEPS, WEIGHTS, DEVIATION, SEED = 100, 100_000, 0.02, 0


def moved(rate: float, fmt: str) -> float:
    """Return the share of weights, kept in a format of torch, that differ after STEPS steps of AdamW at a learning rate."""
    import torch

    draw = torch.Generator().manual_seed(SEED)
    start = (torch.randn(WEIGHTS, generator=draw) * DEVIATION).to(getattr(torch, fmt))
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    for _ in range(STEPS):
        weights.grad = torch.randn(WEIGHTS, generator=draw).to(weights.dtype)
        optimizer.step()
    return float((weights.detach() != start).float().mean())


if __name__ == "__main__":
    for rate in RATES:
        print(json.dumps({"rate": rate, "bf16": moved(rate, "bfloat16"), "fp32": moved(rate, "float32")}))
