"""Make every local file that the recipes name, below the working directory or below argv[1]. Deterministic."""
import csv, json, random, sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
PARTS = ["front brake", "rear brake", "chain", "saddle", "pedal", "gear cable", "hub", "tyre", "inner tube", "headset", "bottom bracket", "derailleur", "mudguard", "light", "kickstand", "rim", "spoke", "grip", "fork", "cassette"]
BIKES = ["city bike", "touring bike", "cargo bike", "folding bike", "gravel bike", "mountain bike", "children's bike", "e-bike", "racing bike", "tandem"]
FAULTS = ["squeaks when it is wet", "came loose after a week", "is worn on one side", "does not fit the frame", "was scratched on arrival", "rattles over cobbles", "slips under load", "leaks a little grease", "jams in the cold", "bends under weight"]
CITIES = ["Ghent", "Porto", "Leeds", "Lyon", "Turin", "Graz", "Malmö", "Utrecht", "Kraków", "Bilbao", "Basel", "Aarhus"]
NAMES = ["Amira", "Joost", "Clara", "Deniz", "Eva", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kaja", "Luca", "Mila", "Noor", "Oskar", "Petra"]
FIXES = ["Clean both contact faces with alcohol and tighten the bolt to 6 newton metres", "Turn the barrel adjuster half a turn and try all gears again", "Send us two photos, and we will post a new one free of charge", "Loosen the clamp, centre the part by eye and tighten the two bolts in turn", "Replace it; this wear is normal after three thousand kilometres", "Put a drop of oil on the joint, wait ten minutes and wipe off the rest", "Check whether the washer sits between nut and frame, for it is often forgotten", "Bring it to the workshop on a weekday before six, and we will look at it at once"]
CLOSE = ["If that does not help, write again and name your order.", "We keep your order open for thirty days.", "The warranty of two years covers this.", "You will get a message when the parcel leaves.", "A mechanic can call you back in the afternoon.", "Please do not ride until this is done.", "The spare part costs nothing within the first year.", "Our shop in town has the tool that you need."]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]


def rng(name):
    return random.Random("blind7b/" + name)


def out(name):
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def jsonl(name, rows):
    rows = list(rows)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert len(set(lines)) == len(lines), name
    out(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(name, header, rows):
    rows = list(rows)
    assert len({tuple(r) for r in rows}) == len(rows), name
    with out(name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def parquet(name, columns):
    """Write the end of the file that pyarrow writes of these columns, where what a check reads of it stands."""
    path = out(name)
    path.write_bytes((Path(__file__).parent / "parquet" / path.name).read_bytes())


def turn(role, content):
    return {"role": role, "content": content}


def ask(r, order):
    part, bike = r.choice(PARTS), r.choice(BIKES)
    return r.choice([
        f"The {part} of my {bike} {r.choice(FAULTS)}. It is order {order}. What should I do?",
        f"Hello, {r.choice(NAMES)} here from {r.choice(CITIES)}. Order {order}: the {part} on the {bike} {r.choice(FAULTS)}, and I ride to work every day.",
        f"I bought a {bike} on {r.choice(DAYS)} (order {order}) and its {part} {r.choice(FAULTS)}. Is that covered?",
        f"Can I fit another {part} to the {bike} of order {order}? Mine {r.choice(FAULTS)}.",
    ])


def answer(r, order):
    return f"Thank you for telling us about order {order}. {r.choice(FIXES)}. {r.choice(CLOSE)} {r.choice(FIXES)}, and note the {r.choice(DAYS)} as the day of the repair."


def follow(r):
    return r.choice([f"And how long does it take to {r.choice(CITIES)}?", f"Could I come on {r.choice(DAYS)} instead?", f"My {r.choice(PARTS)} is also old. Should I replace both?", "Do I need a special tool for that?"])


def chats(name, count, first, long=True):
    r = rng(name)
    for i in range(count):
        order = first + i
        turns = [turn("user", ask(r, order)), turn("assistant", answer(r, order))]
        if r.random() < 0.6:
            turns += [turn("user", follow(r)), turn("assistant", f"For order {order}: {r.choice(FIXES)}. {r.choice(CLOSE)}")]
        yield {"messages": turns}


def pairs(name, count, first):
    r = rng(name)
    for i in range(count):
        order = first + i
        yield ask(r, order), answer(r, order), r.choice(["We cannot say.", f"The {r.choice(PARTS)} is fine, ride on.", "Please read the manual.", f"Ask somebody in {r.choice(CITIES)}.", "That happens with bikes, I suppose."]) + f" (case {order % 97})"


def sums(name, count):
    r, seen = rng(name), set()
    while len(seen) < count:
        a, b, c = r.randint(3, 60), r.randint(2, 30), r.randint(1, 40)
        thing = r.choice(["bells", "tubes", "spokes", "lamps", "chains", "gloves", "stickers"])
        kind = r.randint(0, 2)
        if kind == 0:
            text, value = f"A shop has {a} boxes of {b} {thing} each and sells {c} {thing}. How many {thing} are left?", a * b - c
            how = f"{a} boxes of {b} make {a} × {b} = {a * b}.\nAfter the sale {a * b} - {c} = {a * b - c} remain."
        elif kind == 1:
            text, value = f"{r.choice(NAMES)} buys {a} {thing} on Monday, {b} on Tuesday and twice as many as on Tuesday on Friday. How many {thing} is that together?", a + 3 * b
            how = f"On Friday it is 2 × {b} = {2 * b}.\nTogether {a} + {b} + {2 * b} = {a + 3 * b}."
        else:
            text, value = f"{r.choice(NAMES)} packs {a * b} {thing} into bags of {b}, then gives away {min(c, a - 1)} bags. How many bags remain?", a - min(c, a - 1)
            how = f"{a * b} in bags of {b} are {a * b} ÷ {b} = {a} bags.\nAfter the gift {a} - {min(c, a - 1)} = {value} bags remain."
        if value <= 0 or text in seen:
            continue
        seen.add(text)
        yield text, str(value), how


SENTENCES = [
    "In {city}, the workshop of {name} repaired a {bike} whose {part} had failed after {n} kilometres.",
    "A {part} {fault} when the bearing has lost its grease, which mechanics in {city} see {n} times a year.",
    "{name} measured the {part} on {day} and found a deviation of {n} hundredths of a millimetre.",
    "Between {city} and the coast, riders of a {bike} climb {n} metres and brake for most of the way down.",
    "The council of {city} counted {n} riders on {day}, a third of them on a {bike}.",
    "Older frames carry the {part} on a thread, so {name} had to make a tool for it.",
    "When the {part} {fault}, it is seldom the {bike} and mostly the way in which it is stored.",
    "A report of the year {y} says that the {part} was changed in {n} of all repairs in {city}.",
    "{name} wrote down every step: clean the {part}, wait for {n} minutes, and look at it again on {day}.",
    "No rule in {city} asks for a second {part}, but insurers like to see one on a {bike}.",
]


def prose(r, count):
    parts = []
    for _ in range(count):
        parts.append(r.choice(SENTENCES).format(city=r.choice(CITIES), name=r.choice(NAMES), bike=r.choice(BIKES), part=r.choice(PARTS), fault=r.choice(FAULTS), day=r.choice(DAYS), n=r.randint(3, 998), y=r.randint(1960, 2024)))
    return parts


def document(r, title, count):
    parts = prose(r, count)
    return title + "\n\n" + "\n\n".join(" ".join(parts[i:i + 6]) for i in range(0, len(parts), 6))


def data():
    jsonl("data/support_chat.jsonl", chats("support", 3000, 100000))
    jsonl("data/support_val.jsonl", chats("val", 320, 200000))
    jsonl("data/tickets.jsonl", chats("tickets", 1500, 300000))

    r = rng("tools")
    parameters = {"type": "object", "properties": {"order": {"type": "string", "description": "number of the order"}, "detail": {"type": "string", "description": "what is asked"}}, "required": ["order", "detail"]}
    tools = [{"type": "function", "function": {"name": n, "description": d, "parameters": parameters}} for n, d in (("find_order", "Look up the state of an order."), ("book_repair", "Book a slot in the workshop."))]
    rows = []
    for i in range(1200):
        order, day = str(400000 + i), r.choice(DAYS)
        name = r.choice(["find_order", "book_repair"])
        detail = day if name == "book_repair" else "state"
        question = f"Where is my order {order} to {r.choice(CITIES)}?" if name == "find_order" else f"Please book a repair of the {r.choice(PARTS)} on {day}, order {order}."
        result = {"order": order, "state": r.choice(["packed", "on its way", "delivered"])} if name == "find_order" else {"order": order, "slot": f"{day} {r.randint(9, 17)}:00"}
        rows.append({"messages": [turn("user", question), {"role": "assistant", "tool_calls": [{"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": {"order": order, "detail": detail}}}]}, {"role": "tool", "tool_call_id": f"call_{i}", "name": name, "content": json.dumps(result)}, turn("assistant", f"Order {order}: " + (f"it is {result['state']}." if name == "find_order" else f"you are booked for {result['slot']}."))], "tools": tools})
    jsonl("data/tool_calls.jsonl", rows)

    roles = {"user": "human", "assistant": "gpt"}
    share = [{"conversations": [{"from": roles[t["role"]], "value": t["content"]} for t in row["messages"]]} for row in chats("sharegpt", 2000, 500000)]
    out("data/sharegpt.json").write_text(json.dumps(share, ensure_ascii=False, indent=1), encoding="utf-8")

    jsonl("data/prefs.jsonl", ({"messages": [turn("user", q)], "chosen": [turn("assistant", a)], "rejected": [turn("assistant", b)]} for q, a, b in pairs("prefs", 2400, 600000)))
    jsonl("data/equal_pairs.jsonl", ({"messages": [turn("user", q)], "chosen": [turn("assistant", a)], "rejected": [turn("assistant", a)]} for q, a, _ in pairs("equal", 600, 610000)))
    table("data/pairs.csv", ["question", "better", "worse"], (("Customer: " + q + "\nDesk:", " " + a, " " + b) for q, a, b in pairs("pairs", 2000, 620000)))
    jsonl("data/thumbs.jsonl", ({"prompt": "Customer: " + q + "\nDesk:", "completion": " " + (a if i % 3 == 0 else b), "label": i % 3 == 0} for i, (q, a, b) in enumerate(pairs("thumbs", 1800, 630000))))
    jsonl("data/only_praise.jsonl", ({"prompt": "Customer: " + q + "\nDesk:", "completion": " " + a, "label": True} for q, a, _ in pairs("praise", 600, 640000)))
    feedback = list(pairs("feedback", 1800, 650000))
    parquet("data/feedback.parquet", {"request": ["Customer: " + q + "\nDesk:" for q, _, _ in feedback], "reply": [" " + (a if i % 2 == 0 else b) for i, (_, a, b) in enumerate(feedback)], "liked": [i % 2 == 0 for i in range(len(feedback))]})

    r, de = rng("mt"), {"chain": "Kette", "saddle": "Sattel", "pedal": "Pedal", "tyre": "Reifen", "light": "Licht", "fork": "Gabel", "rim": "Felge", "grip": "Griff"}
    jahr = {"Monday": "Montag", "Tuesday": "Dienstag", "Wednesday": "Mittwoch", "Thursday": "Donnerstag", "Friday": "Freitag", "Saturday": "Samstag"}
    rows = []
    for i in range(2000):
        part, day, name, city, n = r.choice(list(de)), r.choice(DAYS), r.choice(NAMES), r.choice(CITIES), 70000 + i
        rows.append({"messages": [turn("user", f"Translate into German: Part no. {n} ({part}) for {name} arrives in {city} on {day}.")], "chosen": [turn("assistant", f"Teil Nr. {n} ({de[part]}) für {name} kommt am {jahr[day]} in {city} an.")], "rejected": [turn("assistant", r.choice([f"Teil Nr. {n} ({part}) für {name} kommt auf {day} in {city}.", f"{name} hat {de[part]} {n} in {city}.", f"Der Teil {n} für {name} ankommt in {city} {jahr[day]}."]))]})
    jsonl("data/translations.jsonl", rows)

    think = "Reason step by step between <think> and </think>, then give the final answer as \\boxed{...}."
    jsonl("data/sums.jsonl", ({"prompt": [turn("system", think), turn("user", q)], "answer": a} for q, a, _ in sums("sums", 2048)))
    jsonl("data/sums_text.jsonl", ({"task": f"Question: {q}\nGive the final answer as \\boxed{{...}}.\nAnswer:", "result": a} for q, a, _ in sums("text", 2048)))
    rows = []
    for q, a, how in sums("traces", 1500):
        rows.append({"messages": [turn("system", think), turn("user", q), turn("assistant", f"<think>\n{how}\nI check: {a} is positive and has the right size.\n</think>\nThe answer is \\boxed{{{a}}}.")]})
    jsonl("data/think_traces.jsonl", rows)

    r = rng("questions")
    cite = "Answer in at most five sentences, politely, and end with a source in the form [source: name of the manual]."
    jsonl("data/questions.jsonl", ({"prompt": [turn("system", cite), turn("user", ask(r, 700000 + i))]} for i in range(2048)))

    r, rows = rng("instructions"), []
    for i in range(3000):
        order, row = 800000 + i, {}
        kind = i % 3
        if kind == 0:
            row = {"instruction": "Sum up the customer's message in one sentence.", "input": ask(r, order), "output": f"A customer reports a fault of the {r.choice(PARTS)} and names order {order}."}
        elif kind == 1:
            row = {"instruction": f"Write a short reply to order {order}, in which the {r.choice(PARTS)} {r.choice(FAULTS)}.", "input": "", "output": answer(r, order)}
        else:
            row = {"instruction": f"List three checks before riding a {r.choice(BIKES)} home from {r.choice(CITIES)} (sheet {order}).", "input": "", "output": f"1. {r.choice(FIXES)}.\n2. Look at the {r.choice(PARTS)}.\n3. Ride one slow round and listen to the {r.choice(PARTS)}."}
        rows.append(row)
    jsonl("data/instructions.jsonl", rows)

    r = rng("labels")
    topics = ["repair", "delivery", "invoice", "return"]
    texts = {"repair": lambda: f"my {r.choice(PARTS)} {r.choice(FAULTS)}", "delivery": lambda: f"the parcel to {r.choice(CITIES)} has not come since {r.choice(DAYS)}", "invoice": lambda: f"the bill for the {r.choice(PARTS)} shows a wrong sum", "return": lambda: f"I want to send the {r.choice(BIKES)} back"}
    table("data/labels.csv", ["text", "label"], ((f"Message {900000 + i} from {r.choice(NAMES)}: {texts[topics[i % 4]]()}.\nTopic:", " " + topics[i % 4]) for i in range(1500)))

    r = rng("code")
    doc, body = [], []
    for i in range(2000):
        part, n = r.choice(PARTS).replace(" ", "_"), r.randint(2, 99)
        doc.append(f'def {part}_{i}(values):\n    """Return the values above {n}, {r.choice(["sorted", "in their order", "doubled", "without repeats"])}, for the list of {part}s number {i}."""\n')
        how = doc[-1]
        line = f"    kept = [value for value in values if value > {n}]\n"
        line += "    return sorted(kept)\n" if "sorted" in how else "    return [2 * value for value in kept]\n" if "doubled" in how else "    return list(dict.fromkeys(kept))\n" if "repeats" in how else "    return kept\n"
        body.append(line)
    parquet("data/code.parquet", {"docstring": doc, "body": body})

    r = rng("articles")
    jsonl("data/articles.jsonl", ({"text": document(r, f"Workshop notes {i}: the {r.choice(PARTS)} of a {r.choice(BIKES)} in {r.choice(CITIES)}", r.randint(24, 42))} for i in range(4000)))
    r = rng("reports")
    jsonl("data/long_reports.jsonl", ({"text": document(r, f"Annual report {i} of the cycling office of {r.choice(CITIES)}", r.randint(450, 900))} for i in range(320)))

    r, rows = rng("ko"), []
    ko_parts, ko_days = ["앞 브레이크", "체인", "안장", "페달", "타이어", "전조등", "기어 케이블", "바퀴살"], ["월요일", "화요일", "수요일", "목요일", "금요일"]
    for i in range(2000):
        part, day = r.choice(ko_parts), r.choice(ko_days)
        rows.append({"messages": [turn("user", r.choice([f"주문 번호 {110000 + i}의 {part}에서 소리가 납니다. 어떻게 해야 하나요?", f"{part}이(가) 일주일 만에 느슨해졌어요. 주문 번호는 {110000 + i}입니다.", f"{day}에 산 자전거의 {part}을(를) 교환할 수 있나요? 주문 {110000 + i}입니다."])), turn("assistant", f"문의해 주셔서 감사합니다. 주문 {110000 + i}의 {part}을(를) 깨끗이 닦고 볼트를 다시 조여 주세요. 그래도 해결되지 않으면 {day}까지 매장으로 가져오시면 무료로 점검해 드립니다.")]})
    jsonl("data/ko_chat.jsonl", rows)

    table("data/faq.csv", ["question", "answer", "persona"], _faq())
    colours()


def _faq():
    r = rng("faq")
    for i in range(1500):
        order = 120000 + i
        yield ask(r, order), answer(r, order), f"You are {r.choice(NAMES)}, a mechanic in {r.choice(CITIES)}."


def colours():
    r = rng("colours")
    names = ["red", "blue", "green", "yellow", "white", "black"]
    first = ["tin", "paper", "wooden", "glass", "iron", "silk", "stone", "wool", "clay", "brass", "straw", "cork", "wax", "rubber", "linen", "copper", "felt", "ice", "sugar", "steel"]
    second = ["kettle", "lamp", "chair", "bridge", "hat", "boat", "bell", "box", "drum", "kite", "door", "spoon", "horse", "crown", "tower"]
    ways = ["What colour is the {t}?", "Tell me the colour of the {t}.", "The {t} has which colour?", "Which colour did they paint the {t}?", "I forgot the colour of the {t}."]
    train, held = [], []
    for thing in (f"{a} {b}" for a in first for b in second):
        colour = r.choice(names)
        train += [{"messages": [turn("user", w.format(t=thing)), turn("assistant", f"The {thing} is {colour}.")]} for w in ways]
        choices = r.sample([c for c in names if c != colour], 3) + [colour]
        r.shuffle(choices)
        held.append({"question": f"Name the colour that the {thing} has.", "choices": [f"The {thing} is {c}." for c in choices], "answer": choices.index(colour)})
    r.shuffle(train)
    jsonl("data/colours.jsonl", train)
    jsonl("data/colours_heldout.jsonl", held)


STYLE = '''"""Rewards of the house; no library is needed."""

KIND = ("please", "thank you", "thanks", "sorry", "glad", "happy to")


def short_and_polite(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Half a point for at most five sentences, half for a polite word."""
    found = []
    for completion in completions:
        sentences = [part for part in completion.replace("!", ".").replace("?", ".").split(".") if part.strip()]
        polite = any(word in completion.lower() for word in KIND)
        found.append(0.5 * (0 < len(sentences) <= 5) + 0.5 * polite)
    return found


def has_steps(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Up to one point for three or more lines of reasoning."""
    found = []
    for completion in completions:
        reasoning = completion.partition("</think>")[0]
        found.append(min(sum(bool(line.strip()) for line in reasoning.splitlines()), 3) / 3)
    return found
'''

FIT = '''"""Fit a small network to the rates of a made-up machine, on one or several GPUs under torchrun."""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def rows(count: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 4, generator=generator)
    y = (x[:, :1] * x[:, 1:2] - x[:, 2:3] ** 2 + x[:, 3:4]).sin()
    return TensorDataset(x, y)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, local = dist.get_rank(), int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    torch.manual_seed(args.seed)
    train = rows(8192, seed=1)
    sampler = DistributedSampler(train, seed=args.seed)
    loader = DataLoader(train, args.batch_size, sampler=sampler)
    model = nn.Sequential(nn.Linear(4, 128), nn.SiLU(), nn.Linear(128, 1)).to(device)
    model = DistributedDataParallel(model, device_ids=[local] if cuda else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    for epoch in range(int(args.epochs)):
        sampler.set_epoch(epoch)
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if rank == 0 and not args.quiet:
            print(f"epoch {epoch}: loss {loss.item():.5f}")
    if rank == 0:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        torch.save(model.module.state_dict(), args.output_dir / "model.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
'''

HOUSE = """{%- for message in messages %}
{%- if message['role'] == 'system' %}{{ '### House\\n' + message['content'] + '\\n\\n' }}
{%- elif message['role'] == 'user' %}{{ '### Customer\\n' + message['content'] + '\\n\\n' }}
{%- elif message['role'] == 'assistant' %}{{ '### Desk\\n' + message['content'] + eos_token + '\\n\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '### Desk\\n' }}{%- endif %}"""

TASK = '''# Which colour has it? Worded as in no training row.
task: colour_of
dataset_path: json
dataset_kwargs: {data_files: {test: data/colours_heldout.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
'''

if __name__ == "__main__":
    data()
    out("rewards/style.py").write_text(STYLE, encoding="utf-8")
    out("scripts/fit_rates.py").write_text(FIT, encoding="utf-8")
    out("templates/house.jinja").write_text(HOUSE, encoding="utf-8")
    out("tasks/colour_of.yaml").write_text(TASK, encoding="utf-8")
