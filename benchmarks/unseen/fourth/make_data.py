"""Small, varied rows and scripts for the recipes that name local files."""
import csv, json, os, random, shutil, sys
from pathlib import Path
R = random.Random(7)
THINGS = "kettle,headphones,desk lamp,rain jacket,backpack,office chair,blender,running shoes,phone case,tent,bicycle helmet,keyboard,coffee grinder,suitcase,monitor,yoga mat,toaster,water filter,air fryer,sleeping bag,smart watch,router,drill,garden hose,baby carrier".split(",")
PROB = ["arrived with a crack", "does not switch on", "is the wrong colour", "came two weeks late", "smells of plastic", "lost a screw on the first day", "is louder than I expected", "does not match the picture", "stopped working after {n} days", "is missing its manual", "has a torn seam", "does not fit"]
OPEN = ["Hello, my {t} {p}. What can I do?", "The {t} I bought {n} days ago {p}. Do I get my money back?", "Order {o}: the {t} {p}.", "I am not happy, the {t} {p}. Please help.", "Can you exchange a {t} that {p}?", "My mother's {t} {p}; she has no receipt any more."]
ANS = ["I am sorry about your {t}. Please send a photo to order {o}, and a new one leaves our store within {n} days.", "Thank you for telling us. You can return the {t} free of charge for {m} days; the label is in your account.", "That should not happen. I have opened case {o} for the {t}, and a colleague will call you in {n} hours.", "We will replace the {t}. Keep the old one until the new one has come, then give it to the courier.", "Without a receipt we can find the {t} by your e-mail address. Tell me which one you used, and I will refund it within {n} days.", "I can offer you a repair of the {t} in {n} days or {m} euros back. Which do you prefer?"]
POOR = ["That is not our problem.", "Buy another {t} then.", "Read the manual of the {t}.", "No idea, maybe it will work again in {n} days.", "We never sold a {t}.", "Please stop writing about the {t}."]
def v(s): return s.format(**K)
K = {}
def new():
    K.update(t=R.choice(THINGS), n=R.randint(2, 29), m=R.randint(30, 90), o=R.randint(10000, 99999))
    K["p"] = R.choice(PROB).format(**K)
def u(): new(); return v(R.choice(OPEN))
def chat(system=False):
    m = [{"role": "user", "content": u()}, {"role": "assistant", "content": v(R.choice(ANS))}]
    if R.random() < .3: m += [{"role": "user", "content": v("And how long does it take until I have the {t}?")}, {"role": "assistant", "content": v("Usually {n} days; you get a message when it leaves.")}]
    if system: m.insert(0, {"role": "system", "content": "You are the polite helper of a shop for household goods."})
    return {"messages": m}
def pair():
    q = u(); return {"messages": [{"role": "user", "content": q}], "chosen": [{"role": "assistant", "content": v(R.choice(ANS))}], "rejected": [{"role": "assistant", "content": v(R.choice(POOR))}]}
def maths():
    a, b, c = R.randint(3, 60), R.randint(2, 40), R.randint(1, 30); n = R.choice("Mina Tom Ada Jun Lea Omar Sofia Ivan".split()); t = R.choice("stamps,apples,cards,coins,shells,marbles".split(","))
    return R.choice([({"prompt": f"{n} has {a} {t} and buys {b} packs of {c}. How many {t} does {n} have now?"}, a + b * c), ({"prompt": f"A shelf holds {a} boxes with {b} {t} each; {c} {t} are broken. How many are whole?"}, a * b - c), ({"prompt": f"{n} walks {a} km on Monday, {b} km on Tuesday and {c} km on Friday. How many kilometres is that?"}, a + b + c), ({"prompt": f"{a * b} {t} are shared by {b} children, then each finds {c} more. How many does each child have?"}, a + c)])
def rows(n, f):
    seen, out = set(), []
    while len(out) < n:
        r = f(); k = json.dumps(r)
        if k not in seen: seen.add(k); out.append(r)
    return out
def unique(n, f, key):
    seen, out = set(), []
    while len(out) < n:
        r = f(); k = json.dumps(key(r))
        if k not in seen: seen.add(k); out.append(r)
    return out
def weather():
    p = R.choice("harbour,hill,airport,valley,old town,lighthouse,forest,lake".split(","))
    return {"text": f"At {R.randint(0,23)}:{R.choice(['00','15','30','45'])} the station at the {p} measured {R.randint(-9,34)} degrees and {R.randint(20,99)} percent humidity. {R.choice(['Wind','A breeze','Gusts'])} from the {R.choice(['north','south','east','west','north-west'])} reached {R.randint(2,95)} km/h, and {R.choice(['no rain fell','light rain fell','it snowed for an hour','fog covered the road','the sky stayed clear'])}. {R.choice(['The pressure rose','The pressure fell','The pressure stayed'])} near {R.randint(985,1035)} hPa."}
def dump(p, rs):
    with open(p, "w") as f:
        for r in rs: f.write(json.dumps(r, ensure_ascii=False) + "\n")
def mark():
    q = u(); g = R.random() < .5
    return {"prompt": q, "completion": v(R.choice(ANS if g else POOR)), "label": g}
def main(root):
    d = root + "/data"; os.makedirs(d, exist_ok=True)
    first = lambda r: r["messages"][0]["content"]
    dump(d + "/chat.jsonl", unique(640, chat, first)); dump(d + "/preferences.jsonl", unique(480, pair, first))
    dump(d + "/prompts.jsonl", [q | {"answer": str(a)} for q, a in unique(640, maths, lambda r: r[0])])
    dump(d + "/weather.jsonl", rows(1500, weather)); dump(d + "/marked.jsonl", unique(480, mark, lambda r: r["prompt"]))
    ts = []
    kinds = {"damage": PROB[:1] + PROB[5:6] + PROB[10:11], "delivery": PROB[3:4], "mismatch": [PROB[2], PROB[7], PROB[11]], "defect": [PROB[1], PROB[6]]}
    def tick():
        new(); k = R.choice(list(kinds)); K["p"] = R.choice(kinds[k]); return ("Ticket: " + v(R.choice(OPEN[:5])) + "\nLabel:", " " + k)
    ts = unique(480, tick, lambda r: r[0])
    with open(d + "/tickets.csv", "w", newline="") as f:
        w = csv.writer(f); w.writerow(["prompt", "completion"]); w.writerows(ts)
    return d
def mistaken(root):
    d = main(root)
    c = unique(320, chat, lambda r: r["messages"][0]["content"])
    bad = json.loads(json.dumps(c)); bad[16]["messages"] = bad[16]["messages"][:1]; bad[103]["messages"] = bad[103]["messages"][:1]; dump(d + "/unanswered.jsonl", bad)
    dump(d + "/system_chat.jsonl", unique(320, lambda: chat(True), lambda r: r["messages"][1]["content"]))
    with open(d + "/cut.jsonl", "w") as f:
        for i, r in enumerate(c): s = json.dumps(r); f.write((s[:len(s) // 2] if i == 211 else s) + "\n")
    same = unique(320, pair, lambda r: r["messages"][0]["content"])
    for r in same: r["rejected"] = r["chosen"]
    dump(d + "/equal_pairs.jsonl", same)
    k = unique(320, mark, lambda r: r["prompt"])
    for r in k: r["label"] = True; r["completion"] = r["completion"] if len(r["completion"]) > 60 else "We are glad to help you with that; please send us a photo and your order number."
    dump(d + "/all_good.jsonl", k)
    with open(d + "/tickets.csv") as f, open(d + "/tickets_named.csv", "w", newline="") as g:
        w = csv.writer(g)
        for i, r in enumerate(csv.reader(f)): w.writerow(["ticket", "category"] if i == 0 else r)
if __name__ == "__main__":
    mistaken(sys.argv[1])
    shutil.copytree(Path(__file__).parent / "scripts", Path(sys.argv[1]) / "scripts")
