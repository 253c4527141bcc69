"""Create the data, scripts, templates, rewards, tasks and shared recipe files that the recipes name, below the working directory."""
import csv
import json
import os
import sys
import random
from pathlib import Path

R = random.Random(7)
if sys.argv[1:]:
    os.chdir(sys.argv[1])
DATA = Path("data")
DATA.mkdir(exist_ok=True)

PLACES = ["Lisbon", "Oslo", "Busan", "Quito", "Leeds", "Turin", "Nairobi", "Perth", "Lyon", "Osaka", "Bergen", "Cusco", "Hanoi", "Graz", "Tampa"]
THINGS = ["coffee grinder", "bicycle pump", "desk lamp", "rain jacket", "water filter", "power bank", "office chair", "camping stove",
          "sewing machine", "air purifier", "garden hose", "label printer", "bread maker", "dash camera", "tool cabinet", "yoga mat"]
ISSUES = ["arrived with a broken handle", "stopped working after a week", "is missing its manual", "makes a loud noise",
          "has the wrong colour", "was delivered to a neighbour", "does not fit the adapter", "was charged twice",
          "came without the spare part", "shows an error after the update", "was sent to an old address", "smells of plastic"]
ADVICE = ["Please keep the original packaging until the case is closed.", "A replacement leaves our warehouse on the next working day.",
          "You can follow the parcel with the link in the confirmation.", "If the fault returns, a technician will look at it free of charge.",
          "The refund reaches your account within five working days.", "Nothing else is needed from your side at this point.",
          "We recommend that you unplug the device before you open the cover.", "The warranty covers this for two years from the date of purchase.",
          "Take a picture of the serial number, which stands on the lower side.", "Our team in the service centre has noted the details of the order.",
          "Should you prefer a voucher, tell us so and we will send one today.", "The courier tries to deliver twice before the parcel goes to the depot.",
          "Spare parts are kept in stock for at least seven years.", "A short video in the help section shows how the part is exchanged."]
SUBJECTS = ["tide", "glacier", "compiler", "vaccine", "monsoon", "battery", "enzyme", "satellite", "harvest", "bridge", "telescope", "market",
            "reef", "printing press", "canal", "violin", "orchard", "transformer station", "lighthouse", "archive"]
VERBS = ["changes", "supports", "limits", "explains", "precedes", "measures", "replaces", "connects", "protects", "delays"]
ADJS = ["slow", "coastal", "early", "modern", "fragile", "northern", "public", "costly", "dense", "quiet", "seasonal", "reliable"]


def advice(low, high):
    return " ".join(R.sample(ADVICE, R.randint(low, high)))


def question(number):
    return (f"My {R.choice(THINGS)} from order {10000 + number} {R.choice(ISSUES)}, and I live in {R.choice(PLACES)}. "
            f"I bought it {R.randint(2, 300)} days ago. What should I do now?")


def answer(number):
    return (f"I am sorry to hear that. I have opened case {number * 7 + 311} for order {10000 + number}. {advice(3, 8)} "
            f"If you have further questions, write to us and name the case.")


def sentence():
    return (f"The {R.choice(ADJS)} {R.choice(SUBJECTS)} of {R.choice(PLACES)} {R.choice(VERBS)} the {R.choice(ADJS)} {R.choice(SUBJECTS)}, "
            f"which in {R.randint(1700, 2024)} {R.choice(VERBS)[:-1]}ed {R.randint(2, 990)} {R.choice(ADJS)} {R.choice(SUBJECTS)}s nearby.")


def document(number, low=20, high=45):
    return f"Report {number}. " + " ".join(sentence() for _ in range(R.randint(low, high)))


def write(name, rows):
    with open(DATA / name, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def turn(role, content):
    return {"role": role, "content": content}


def conversation(number, system=None):
    turns = [turn("system", system)] if system else []
    turns += [turn("user", question(number)), turn("assistant", answer(number))]
    if number % 3 == 0:
        turns += [turn("user", f"Thank you. How long does it take to {R.choice(PLACES)}?"),
                  turn("assistant", f"About {R.randint(2, 9)} working days. {advice(1, 3)}")]
    return turns


write("chat.jsonl", [{"messages": conversation(n)} for n in range(2400)])
write("chat_heldout.jsonl", [{"messages": conversation(n)} for n in range(5000, 5160)])
write("chat_sys.jsonl", [{"messages": conversation(n, "You are the help desk of a shop. Be brief and friendly.")} for n in range(6000, 8400)])
write("tickets.jsonl", [{"messages": conversation(n)} for n in range(9000, 10200)])
write("sharegpt.jsonl", [{"conversations": [{"from": "human" if t["role"] == "user" else "gpt", "value": t["content"]} for t in conversation(n)]}
                         for n in range(11000, 12600)])
write("dialogue.jsonl", [{"turns": [{"who": "caller" if t["role"] == "user" else "agent", "said": t["content"]} for t in conversation(n)]}
                         for n in range(13000, 14200)])


def instruction(n):
    kind = n % 4
    if kind == 0:
        return {"instruction": f"Summarise report {n} in one sentence.", "input": document(n, 2, 4), "output": sentence()}
    if kind == 1:
        return {"instruction": f"Write a reply to the customer of order {n}.", "input": question(n), "output": answer(n)}
    if kind == 2:
        return {"instruction": f"Convert {n} kilometres to metres.", "input": "", "output": f"{n} kilometres are {n * 1000} metres, because a kilometre has 1000 metres."}
    return {"instruction": f"Name a reason why a {R.choice(THINGS)} of the year {1900 + n % 120} with number {n} might fail.", "input": "", "output": sentence()}


write("instructions.jsonl", [instruction(n) for n in range(2400)])
write("instructions_sys.jsonl", [{**instruction(n), "persona": f"You are clerk number {n % 17} of a careful archive."} for n in range(3000, 4200)])
write("instructions_heldout.jsonl", [instruction(n) for n in range(5000, 5200)])
(DATA / "faq.json").write_text(json.dumps([{"instruction": f"FAQ {n}: {question(n)}", "input": "", "output": answer(n)} for n in range(15000, 16000)], indent=1))
write("completion.jsonl", [{"prompt": f"Question: {question(n)}\nAnswer:", "completion": " " + answer(n)} for n in range(17000, 18600)])
write("fields.jsonl", [{"source": f"Order note {n}: {question(n)}\nCategory:", "target": f" {R.choice(THINGS)} / {R.choice(ISSUES)}"} for n in range(19000, 20200)])
with open(DATA / "qa.csv", "w", newline="", encoding="utf-8") as out:
    sheet = csv.writer(out)
    sheet.writerow(["prompt", "completion"])
    for n in range(21000, 22500):
        sheet.writerow([f"Question: {question(n)}\nAnswer:", " " + answer(n)])


def good_bad(n):
    return answer(n), R.choice(["That is not our problem.", "Please look at the website.", "Wait and see.", "I cannot say."]) + f" Order {10000 + n}."


def pairs(numbers):
    for n in numbers:
        yield n, question(n), *good_bad(n)


write("prefs.jsonl", [{"messages": [turn("user", q)], "chosen": [turn("assistant", g)], "rejected": [turn("assistant", b)]} for n, q, g, b in pairs(range(23000, 24600))])
write("prefs_heldout.jsonl", [{"messages": [turn("user", q)], "chosen": [turn("assistant", g)], "rejected": [turn("assistant", b)]} for n, q, g, b in pairs(range(25000, 25128))])
write("prefs_one.jsonl", [{"messages": [turn("user", q)], "chosen": turn("assistant", g), "rejected": turn("assistant", b)} for n, q, g, b in pairs(range(26000, 27600))])
write("prefs_text.jsonl", [{"prompt": f"Question: {q}\nAnswer:", "chosen": " " + g, "rejected": " " + b} for n, q, g, b in pairs(range(28000, 29600))])
write("prefs_named.jsonl", [{"dialogue": [turn("user", q)], "better": [turn("assistant", g)], "worse": [turn("assistant", b)]} for n, q, g, b in pairs(range(30000, 31600))])
write("kto.jsonl", [{"prompt": f"Question: {q}\nAnswer:", "completion": " " + (g if n % 2 else b), "label": bool(n % 2)} for n, q, g, b in pairs(range(32000, 33600))])


def sum_of(n):
    a, b, c = 3 + n % 61, 2 + n % 37, 5 + n
    return f"A depot in {R.choice(PLACES)} holds {a} crates with {b} parts each, and {c} loose parts. How many parts are there in total?", str(a * b + c)


THINK = "Reason step by step between <think> and </think>, then give the final answer as \\boxed{...}."
write("maths.jsonl", [dict(zip(("prompt", "answer"), sum_of(n))) for n in range(1920)])
write("maths_chat.jsonl", [{"prompt": [turn("system", THINK), turn("user", q)], "answer": a} for q, a in map(sum_of, range(2000, 3920))])
write("maths_named.jsonl", [dict(zip(("problem", "solution"), sum_of(n))) for n in range(4000, 5920)])
write("prompts.jsonl", [{"prompt": question(n)} for n in range(35000, 37048)])
KO = ["주문", "환불", "배송", "교환", "보증", "결제", "쿠폰", "회원", "포장", "설치"]
write("prompts_ko.jsonl", [{"prompt": f"{n}번 주문의 {R.choice(KO)} 상태와 {R.choice(KO)} 절차를 자세히 설명해 주세요."} for n in range(1024)])
write("ko_chat.jsonl", [{"messages": [turn("user", f"{n}번 주문의 {R.choice(KO)}에 대해 알려 주세요."),
                                      turn("assistant", f"{n}번 주문의 {R.choice(KO)} 절차는 영업일 기준 {R.randint(1, 9)}일이 걸립니다. 그 뒤 {R.choice(KO)} 내역을 다시 확인해 드리겠습니다. 추가로 궁금한 점이 있으면 {R.choice(KO)} 창구로 연락해 주세요.")]} for n in range(1600)])
write("corpus.jsonl", [{"text": document(n)} for n in range(1600)])
write("corpus_law.jsonl", [{"body": document(n)} for n in range(40000, 41200)])
write("corpus_heldout.jsonl", [{"text": document(n)} for n in range(50000, 50100)])
write("long_chat.jsonl", [{"messages": [turn("user", "Read these reports, then say what they have in common. " + " ".join(document(100000 + n * 40 + k, 35, 45) for k in range(14))),
                                        turn("assistant", "They describe " + advice(6, 12))]} for n in range(240)])
TOOLS = [{"type": "function", "function": {"name": "order_state", "description": "State of an order.",
          "parameters": {"type": "object", "properties": {"number": {"type": "integer", "description": "Number of the order."}}, "required": ["number"]}}}]
write("tools.jsonl", [{"messages": [turn("user", f"Where is order {n}?"),
                                    {"role": "assistant", "tool_calls": [{"id": f"call{n:05d}", "type": "function", "function": {"name": "order_state", "arguments": {"number": n}}}]},
                                    {"role": "tool", "tool_call_id": f"call{n:05d}", "name": "order_state", "content": json.dumps({"state": R.choice(["packed", "on its way", "delivered"]), "depot": R.choice(PLACES)})},
                                    turn("assistant", f"Order {n} was last seen in {R.choice(PLACES)}. {advice(1, 3)}")], "tools": TOOLS} for n in range(60000, 60800)])
# for some of the mistakes
write("kto_onesided.jsonl", [{"prompt": f"Question: {q}\nAnswer:", "completion": " " + g, "label": True} for n, q, g, b in pairs(range(70000, 71600))])
write("prefs_equal.jsonl", [{"messages": [turn("user", q)], "chosen": [turn("assistant", g)], "rejected": [turn("assistant", g)]} for n, q, g, b in pairs(range(72000, 73600))])

Path("scripts").mkdir(exist_ok=True)
Path("scripts/loop.py").write_text('''"""A training loop with Accelerate: a small network learns a sine."""
import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    accelerator = Accelerator(gradient_accumulation_steps=args.accumulation)
    points = torch.linspace(-3, 3, 4096).unsqueeze(1)
    loader = DataLoader(TensorDataset(points, points.sin()), args.batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for epoch in range(args.epochs):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.mse_loss(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        accelerator.print(f"epoch {epoch}: {loss.item():.4f}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    accelerator.save(accelerator.get_state_dict(model), args.output_dir / "model.pt")


if __name__ == "__main__":
    main()
''')
Path("scripts/ddp.py").write_text('''"""A training loop for torchrun with DistributedDataParallel."""
import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    dist.init_process_group("nccl")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    points = torch.linspace(-3, 3, 8192).unsqueeze(1)
    rows = TensorDataset(points, points.cos())
    sampler = DistributedSampler(rows, shuffle=True)
    loader = DataLoader(rows, args.micro_batch, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 1)).to(device), device_ids=[device.index])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if dist.get_rank() == 0:
        args.out.mkdir(parents=True, exist_ok=True)
        torch.save(model.module.state_dict(), args.out / "model.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
''')
Path("scripts/ds.py").write_text('''"""A training loop for DeepSpeed's launcher; batch sizes, optimiser and sharding come from ds_config.json."""
import argparse
from pathlib import Path

import deepspeed
import torch
from torch import nn
from torch.utils.data import TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", type=int, default=0)
    parser.add_argument("--ds-config", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    args = parser.parse_args()
    points = torch.linspace(-3, 3, 8192).unsqueeze(1)
    model = nn.Sequential(nn.Linear(1, 256), nn.SiLU(), nn.Linear(256, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    engine, _, loader, _ = deepspeed.initialize(model=model, optimizer=optimizer, config=args.ds_config,
                                                training_data=TensorDataset(points, points.sin()))
    for _ in range(args.epochs):
        for x, y in loader:
            x, y = x.to(engine.device), y.to(engine.device)
            loss = nn.functional.mse_loss(engine(x.bfloat16()), y.bfloat16())
            engine.backward(loss)
            engine.step()
    engine.save_checkpoint(str(args.out))


if __name__ == "__main__":
    main()
''')
Path("scripts/ray_loop.py").write_text('''"""A Ray Train script: each worker trains its share of the rows."""
import argparse
from pathlib import Path

import ray.train.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    points = torch.linspace(-3, 3, 8192).unsqueeze(1)
    loader = ray.train.torch.prepare_data_loader(DataLoader(TensorDataset(points, points.sin()), args.micro_batch, shuffle=True))
    model = ray.train.torch.prepare_model(nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    done = 0
    while done < args.steps:
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == args.steps:
                break
    if ray.train.get_context().get_world_rank() == 0:
        args.out.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
''')
Path("rewards").mkdir(exist_ok=True)
Path("rewards/style.py").write_text('''"""Rewards of our own; no library is needed."""


def no_repetition(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return the share of different lines in each completion."""
    found = []
    for text in completions:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        found.append(len(set(lines)) / len(lines) if lines else 0.0)
    return found


def polite(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 where the completion thanks or apologises."""
    return [1.0 if any(word in text.lower() for word in ("thank", "sorry", "please")) else 0.0 for text in completions]
''')
Path("templates").mkdir(exist_ok=True)
Path("templates/helpdesk.jinja").write_text(
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
Path("tasks").mkdir(exist_ok=True)
write("shop_test.jsonl", [{"question": f"Which of these is sold under number {n}?", "choices": R.sample(THINGS, 4), "answer": n % 4} for n in range(80000, 80200)])
Path("tasks/shop_items.yaml").write_text('''task: shop_items
dataset_path: json
dataset_kwargs: {data_files: {test: data/shop_test.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
''')
Path("shared").mkdir(exist_ok=True)
Path("shared/team.yaml").write_text('''# What all trainings of the team have in common.
variables: {size: 7B, rate: 1e-4}
model: {base: "Qwen/Qwen2.5-${var:size}-Instruct", max_length: 4096}
adapter: {rank: 32}
data:
  train: [{path: data/chat.jsonl, format: chat}]
  holdout: 2%
train:
  epochs: 2
  batch_size: 32
  micro_batch_size: 2
  learning_rate: ${var:rate}
  warmup: 5%
hardware: {gpu: a100-80gb}
launch:
  environment: {HF_TOKEN: "${env:HF_TOKEN}"}
''')
Path("shared/tracking.yaml").write_text('''# Where the team's metrics go.
track:
  wandb: {project: helpdesk, entity: support-team}
''')
