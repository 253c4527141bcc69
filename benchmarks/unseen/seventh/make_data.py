#!/usr/bin/env python3
"""Create every local file that the recipes of set 7a name, below argv[1] or the working directory.

Deterministic; standard library.
"""

import csv
import json
import random
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

PLACES = """Aarhus Bergen Cadiz Dresden Esbjerg Fukuoka Ghent Hobart Izmir Jena Kaunas Lille Malmo Nantes Odense Porto Quito
Rotterdam Split Tampere Uppsala Valencia Wismar Xanten York Zadar Antwerp Bilbao Cork Dover Eindhoven Faro Graz Haifa Inverness
Jaipur Kobe Leipzig Matera Nagoya""".split()
NAMES = """Amara Bruno Chiara Dmitri Elin Farid Greta Hugo Ines Jonas Katya Liam Mina Noor Oskar Priya Quinn Rosa Sami Tove Ulrich
Vera Wanda Xenia Yusuf Zoe Anders Bianca Cyril Delphine Emeka Fiona Goran Hanna Ivan Jule Kofi Lena Milan Nadia""".split()
ADJ = """careful early steady small quiet second northern temporary written usual narrow older bright heavy regular modest
annual shared printed local damp gradual central faint separate""".split()

DOMAINS = {
    "helpdesk": {
        "thing": "laptop,docking station,badge reader,VPN client,print queue,mail archive,headset,meeting screen,phone line,shared drive,password vault,time sheet form,build server,wiki page,calendar sync".split(","),
        "q": [
            "My {thing} in the {place} office stopped working after {n} minutes. What should I try first?",
            "{name} asked me to reset the {thing} with asset number {id}. How do I do that safely?",
            "The {thing} shows error {id} since this morning. Is that known?",
            "How do I move my {thing} settings from {place} to {place2}?",
            "Can {name} and I share one {thing}? Our team has {n} people.",
            "Ticket {id} about the {thing} was closed, but the fault is back.",
        ],
        "a": [
            "Please restart the {thing} and wait {n} seconds before you sign in again.",
            "The team in {place} changed the {thing} settings last night, so a fresh sign-in is needed.",
            "If the message still mentions {id}, send us a screenshot and the exact time.",
            "{name} can approve the request in the service portal under number {id}.",
            "A spare {thing} is kept at the {adj} desk on floor {d}.",
            "The old settings are saved for {n} days, so nothing is lost if you switch back.",
            "Check the cable and the {adj} light next to the {thing} first.",
            "I have opened case {id2} and set it to the {adj} queue.",
        ],
    },
    "harbour": {
        "thing": "container crane,pilot boat,mooring line,customs form,reefer plug,tide gauge,berth plan,fuel barge,gangway,cargo manifest,weighbridge,tug contract".split(","),
        "q": [
            "When may the vessel {name} with call number {id} use the {thing} in {place}?",
            "Who is responsible for the {thing} at berth {d} in {place}?",
            "Our {thing} was delayed by {n} minutes. Does notice {id} still hold?",
            "Which papers does {name} need for the {thing} when sailing from {place} to {place2}?",
            "Is the {thing} included in port dues for call {id}?",
        ],
        "a": [
            "The {thing} is free from {h}:00, provided that the agent confirms call {id}.",
            "In {place}, the harbour master decides, and the {adj} plan is published every evening.",
            "Bring the original form and one {adj} copy to the office at berth {d}.",
            "A delay of more than {n} minutes must be reported on channel {d}.",
            "{name} can sign on behalf of the line if the letter of authority is on file.",
            "The fee covers {n} tonnes; everything above is billed under number {id2}.",
            "Wind above {d} knots stops the {thing} without further notice.",
        ],
    },
    "energy": {
        "thing": "heat pump,smart meter,solar inverter,wall box,gas contract,night tariff,battery store,district heating share,meter reading,budget plan".split(","),
        "q": [
            "Why did the {thing} in my house in {place} use {n} kWh more this month?",
            "I am moving from {place} to {place2}. What happens to the {thing} with number {id}?",
            "{name} from your team promised a visit for the {thing}. Case {id}. When?",
            "Is a {thing} worth it for a household that uses {id} kWh a year?",
            "How do I read the {thing} correctly if it shows {id}?",
        ],
        "a": [
            "The {thing} reports every {d} hours, so the {adj} figure can lag behind.",
            "We have moved the contract to the new address and kept number {id}.",
            "A technician visits {place} on working days between {h}:00 and {h2}:00.",
            "At {n} cents per unit, the {thing} pays for itself in about {d} years.",
            "Please send a photo of the display, with the {adj} line visible.",
            "{name} has noted the reading and corrected bill {id2}.",
            "Lowering the flow temperature by {d} degrees saves the most.",
        ],
    },
    "kitchen": {
        "thing": "rye sourdough,lentil stew,plum cake,fish curry,potato gratin,miso broth,barley risotto,onion tart,bean salad,walnut bread,pumpkin soup,apple crumble".split(","),
        "q": [
            "How do I scale a {thing} for {n} guests, as they make it in {place}?",
            "My {thing} number {id} in the notebook turned out too dry. Why?",
            "{name} cannot eat gluten. What can replace the flour in {thing} for {n} people?",
            "Can I prepare a {thing} {d} hours ahead and carry it to {place}?",
            "What goes well with {thing}, if I have only {n} minutes and oven program {id}?",
        ],
        "a": [
            "Use {n} grams of the main ingredient for each guest and taste before the {adj} stage.",
            "Let it rest for {d} hours in a cool place, covered with a cloth.",
            "In {place}, cooks add a {adj} splash of vinegar at the end.",
            "Bake at {t} degrees until a {adj} crust forms, about {n} minutes.",
            "Rice flour works, but add an egg so that the {thing} holds together.",
            "{name}'s version keeps well for {d} days and tastes better on the second.",
            "Serve it with a {adj} salad and plain yoghurt.",
        ],
    },
}

GEO = [
    "The {adj} outcrop north of {place} exposes {n} metres of {rock} above a {adj2} layer of {rock2}.",
    "Samples taken at station {id} contain {d} per cent quartz and traces of {mineral}.",
    "{name} mapped the fault in the {adj} season and traced it for {n} kilometres towards {place2}.",
    "Where the {rock} meets the {rock2}, springs appear after {adj} rain, and the soil keeps a {adj2} moisture.",
    "Drill core {id} from {place} shows {d} cycles of deposition, each ended by a {adj} surface.",
    "The age of the {rock}, near {t} million years, follows from zircon grains in bed {d}.",
    "Grains of {mineral} are rounded, which speaks for {adj} transport by water rather than by wind.",
    "Glaciers later cut a {adj} valley, {n} metres deep, and left {adj2} moraines near {place2}.",
    "Quarry {id2} delivered {rock} for bridges in {place} until the {adj} seam was exhausted.",
    "A {adj} band of {mineral} marks the boundary that {name} described in report {id}.",
    "Seismic line {d} crosses the basin and images reflectors at {t} milliseconds.",
]
LAW = [
    "The court in {place} held that notice {id} was served within {n} days and was therefore valid.",
    "According to section {d}, the {party} bears the cost of {adj} repairs unless the contract says otherwise.",
    "Counsel {name} argued that the {adj} clause contradicted the letter of {place2}.",
    "The appeal in case {id} was dismissed because the {party} had not shown a {adj} interest.",
    "A period of {n} weeks begins when the {party} receives the {adj} decision.",
    "The judgment follows case {id2}, in which the {party} had relied on a {adj2} agreement.",
    "Witness {name} confirmed that the goods left {place} on day {d} in {adj} condition.",
    "Interest of {d} per cent is owed from the date on which the {adj} payment became due.",
    "The {party} may withdraw if delivery is delayed by more than {n} days.",
]
PATENT = [
    "The device according to claim {d} comprises a {adj} housing ({n}) and a sensor arranged at its {adj2} end.",
    "In embodiment {id}, the valve opens at {t} kPa and closes with a delay of {n} milliseconds.",
    "A controller compares the {adj} signal with threshold {id2} and actuates the pump.",
    "Figure {d} shows a {adj} section through the coupling, with the spring ({n}) under tension.",
    "Prior solutions from {place} require a {adj} seal that wears after {t} cycles.",
    "The method avoids this by heating the {adj} layer to {t} degrees for {d} seconds.",
    "Preferably, the gap is smaller than {d} millimetres, so that the {adj2} flow stays laminar.",
    "Inventor {name} reports that unit {id} ran for {n} days without a {adj} fault.",
]
STORY = [
    "{name} found a {adj} key under the bench in {place} and put it in a pocket.",
    "The old cat watched {name2} and did not move for {n} minutes.",
    "\"We need {d} more stones for the bridge,\" said {name2}, and they began to look.",
    "It rained in {place}, so the {adj} boat stayed at home.",
    "Grandmother gave {name} a {adj} coat and {d} apples for the way.",
    "They counted {n} birds on the roof, and one of them was blue.",
    "At night the {adj} lamp went out, and {name2} told a story about {place2}.",
    "In the morning everybody laughed, because the {adj} hat was on the dog.",
    "{name} wrote the number {id} on the door so that nobody would forget it.",
]
BANK = {
    "rock": "limestone,basalt,sandstone,gneiss,shale,dolomite,granite,marl,tuff,slate".split(","),
    "mineral": "garnet,mica,pyrite,hornblende,feldspar,calcite,magnetite,epidote".split(","),
    "party": "tenant,seller,carrier,insurer,buyer,landlord,contractor,heir".split(","),
}


def two(r, bank):
    """Return two different entries of a bank."""
    size = len(bank)
    first = int(r.random() * size)
    return bank[first], bank[(first + 1 + int(r.random() * (size - 1))) % size]


def slots(r):
    """Return values for every slot of a template."""
    place, place2 = two(r, PLACES)
    name, name2 = two(r, NAMES)
    adj, adj2 = two(r, ADJ)
    rock, rock2 = two(r, BANK["rock"])
    mineral, _ = two(r, BANK["mineral"])
    party, _ = two(r, BANK["party"])
    x = r.random
    h = 7 + int(x() * 9)
    return {
        "place": place, "place2": place2, "name": name, "name2": name2, "adj": adj, "adj2": adj2, "rock": rock,
        "rock2": rock2, "mineral": mineral, "party": party, "n": 11 + int(x() * 88), "d": 2 + int(x() * 8),
        "t": 120 + int(x() * 870), "id": 10000 + int(x() * 90000), "id2": 10000 + int(x() * 90000), "h": h, "h2": h + 1 + int(x() * 4),
    }


def text(r, pool, sentences):
    """Return a text of so many sentences, in paragraphs of five."""
    out = [r.choice(pool).format(**slots(r)) for _ in range(sentences)]
    return "\n\n".join(" ".join(out[i : i + 5]) for i in range(0, len(out), 5))


def turn(r, domain, sentences):
    """Return a question and its answer, which share their slots."""
    d = DOMAINS[domain]
    s = slots(r) | {"thing": r.choice(d["thing"])}
    answer = []
    for template in r.sample(d["a"], sentences):
        answer.append(template.format(**s))
        s |= {"adj": r.choice(ADJ)}
    return r.choice(d["q"]).format(**s), " ".join(answer)


def unique(make, rows):
    """Return so many rows, none twice."""
    seen, out = set(), []
    while len(out) < rows:
        row = make(len(out))
        key = json.dumps(row, sort_keys=True)
        if key not in seen:
            seen.add(key)
            out.append(row)
    return out


def write(path, rows):
    """Write rows in the format that the name of the file says."""
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        # The end of the file that pyarrow writes of these rows, where what a check reads of it stands.
        path.write_bytes((Path(__file__).parent / "parquet" / path.name).read_bytes())


def put(path, content):
    """Write a text file."""
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def chat(seed, domain, rows, system=None, exchanges=(1, 3), sentences=(2, 5), keys=("role", "content"), roles=None, column="messages"):
    """Return conversations."""
    r = random.Random("7a:" + seed)
    role, content = keys
    name = {"system": "system", "user": "user", "assistant": "assistant"} | (roles or {})

    def make(_):
        messages = [{role: name["system"], content: system}] if system else []
        for _ in range(r.randint(*exchanges)):
            q, a = turn(r, domain, r.randint(*sentences))
            messages += [{role: name["user"], content: q}, {role: name["assistant"], content: a}]
        return {column: messages}

    return unique(make, rows)


def texts(seed, pool, rows, sentences, column="text"):
    """Return plain texts."""
    r = random.Random("7a:" + seed)
    return unique(lambda _: {column: text(r, pool, r.randint(*sentences))}, rows)


SHORT = [
    "Not my problem, try {place} instead.", "Look it up under {id2}.", "I do not know, maybe tomorrow at {h}.",
    "Just buy a new one in {place}.", "Everything about {id2} is fine, stop asking.", "Ask {name}, not me.",
    "It is what it is, number {id2}.", "You probably broke it {n} times already.",
]


def pair(r, domain):
    """Return a question, a good answer and a poor one."""
    q, a = turn(r, domain, r.randint(2, 4))
    return q, a, r.choice(SHORT).format(**slots(r))


def preferences(seed, domain, rows, shape):
    """Return preference pairs in one of the documented shapes."""
    r = random.Random("7a:" + seed)

    def make(_):
        q, good, bad = pair(r, domain)
        user, up, down = ({"role": "user", "content": q}, {"role": "assistant", "content": good}, {"role": "assistant", "content": bad})
        if shape == "lists":
            return {"messages": [user], "chosen": [up], "rejected": [down]}
        if shape == "single":
            return {"messages": [user], "chosen": up, "rejected": down}
        return {"prompt": q, "chosen": good, "rejected": bad}

    return unique(make, rows)


GERMAN = {
    "thing": "Fahrkarte,Monatskarte,Reservierung,Fundsache,Sammelkarte,Rechnung,Platzkarte,Gutschrift".split(","),
    "q": [
        "Wie bekomme ich die {thing} mit der Nummer {id} für die Strecke von {place} nach {place2} zurück?",
        "{name} hat die {thing} {id} in {place} verloren. Was nun?",
        "Gilt meine {thing} auch um {h} Uhr ab {place}, Auftrag {id}?",
        "Kann ich die {thing} {id} auf {name} umschreiben lassen?",
    ],
    "a": [
        "Bitte melden Sie sich mit der Nummer {id} am Schalter in {place}, er ist ab {h} Uhr geöffnet.",
        "Die {thing} bleibt noch {n} Tage gültig und kann kostenlos umgetauscht werden.",
        "{name} braucht dafür nur einen Ausweis und die Bestätigung {id2}.",
        "Die Bearbeitung dauert etwa {d} Werktage, danach erhalten Sie eine Nachricht.",
        "Für Fahrten nach {place2} fällt ein Zuschlag von {d} Euro an.",
        "Eine Kopie genügt, solange die {n} Zeichen des Codes gut lesbar sind.",
    ],
}
DOMAINS["bahn"] = GERMAN

# conversations
HELP_SYSTEM = "You are the internal IT help desk. Answer briefly and name one next step."
write("data/helpdesk.jsonl", chat("helpdesk", "helpdesk", 2400, system=HELP_SYSTEM))
write("data/helpdesk_dev.jsonl", chat("helpdesk-dev", "helpdesk", 320, system=HELP_SYSTEM))
write("data/harbour.json", chat("harbour", "harbour", 1600))
share = {"keys": ("from", "value"), "roles": {"user": "human", "assistant": "gpt"}, "column": "conversations"}
write("data/energy_sharegpt.jsonl", chat("energy", "energy", 2048, **share))
write("data/kitchen.parquet", chat("kitchen", "kitchen", 1200))
write("data/bahn_de.jsonl", chat("bahn", "bahn", 1600, sentences=(2, 4)))
write("data/long_minutes.jsonl", chat("minutes", "harbour", 400, exchanges=(18, 22), sentences=(5, 7)))


def tool_rows():
    r = random.Random("7a:tools")

    def function(name, description, field):
        return {"type": "function", "function": {"name": name, "description": description, "parameters": {
            "type": "object", "properties": {field: {"type": "string", "description": "What to look up."}}, "required": [field]}}}

    tools = [function("find_berth", "Find the berth of a vessel call.", "query"), function("tide_at", "Tide at a port.", "query")]

    def make(i):
        s = slots(r)
        name = "find_berth" if r.random() < 0.5 else "tide_at"
        query = f"call {s['id']}" if name == "find_berth" else s["place"]
        asked = (f"At which berth does call {s['id']} of {s['name']} lie?" if name == "find_berth"
                 else f"How high is the tide in {s['place']} for vessel {s['name']}, call {s['id']}?")
        result = f"berth {s['d']}, until {s['h']}:00" if name == "find_berth" else f"{s['d']}.{s['n']} m at {s['h']}:00"
        return {"tools": tools, "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "tool_calls": [{"id": f"call_{i:05d}", "type": "function",
             "function": {"name": name, "arguments": json.dumps({"query": query})}}]},
            {"role": "tool", "tool_call_id": f"call_{i:05d}", "name": name, "content": result},
            {"role": "assistant", "content": f"The system reports: {result}."},
        ]}

    return unique(make, 640)


write("data/tool_calls.jsonl", tool_rows())

# instructions and completions
r = random.Random("7a:contracts")


def contract(_):
    clause = text(r, LAW, r.randint(3, 6))
    s = slots(r)
    task = r.choice(["Summarise the passage for {name} in one sentence.", "Which period matters to a {party} in {place}?",
                     "Rewrite the passage in plain words for file {id}.", "Name the main risk in file {id} for the {party}."]).format(**s)
    first = clause.replace("\n\n", " ").split(". ")[0].rstrip(".")
    answer = r.choice(["In short: {x}, which matters most in {place}.", "The key point is that {x}; everything else follows from it within {n} days.",
                       "Put plainly, {x}. Keep number {id} at hand."]).format(x=first[0].lower() + first[1:], **s)
    return {"instruction": task, "input": clause, "output": answer}


write("data/contracts.jsonl", unique(contract, 2000))
r2 = random.Random("7a:handbook")


def handbook(_):
    q, a = turn(r2, r2.choice(["helpdesk", "energy", "kitchen"]), r2.randint(2, 4))
    return {"instruction": q, "context": text(r2, PATENT, r2.randint(1, 3)), "response": a}


write("data/handbook.parquet", unique(handbook, 1500))
r3 = random.Random("7a:notes")


def note(_):
    s = slots(r3)
    s["id2"] = r3.randint(10000, 99999)
    return {"prompt": f"Field note {s['id']}, {s['place']}: {s['n']} m of {s['adj']} {s['rock']}, {s['mineral']} visible, dip {s['d']} degrees.\nReport:",
            "completion": " " + text(r3, GEO, r3.randint(1, 3))}


write("data/field_notes.csv", unique(note, 1500))

# plain text
write("data/geology.jsonl", texts("geology", GEO, 3200, (24, 40)))
write("data/geology_dev.jsonl", texts("geology-dev", GEO, 320, (24, 40)))
write("data/court.json", texts("court", LAW, 2000, (20, 32)))
write("data/patents.parquet", texts("patents", PATENT, 2000, (20, 32), column="body"))
write("data/stories.jsonl", texts("stories", STORY, 4000, (9, 16)))

# preferences
write("data/prefs_lists.jsonl", preferences("prefs-lists", "energy", 1280, "lists"))
write("data/prefs_single.jsonl", preferences("prefs-single", "harbour", 1600, "single"))
r4 = random.Random("7a:translation")


def translation(_):
    s = slots(r4) | {"thing": r4.choice(GERMAN["thing"])}
    de = GERMAN["a"][1].format(**s) + " " + f"{s['name']} fährt um {s['h']} Uhr von {s['place']} nach {s['place2']}."
    en = {"Fahrkarte": "ticket", "Monatskarte": "monthly pass", "Reservierung": "reservation", "Fundsache": "lost item", "Sammelkarte": "group ticket",
          "Rechnung": "invoice", "Platzkarte": "seat ticket", "Gutschrift": "credit note"}[s["thing"]]
    good = f"The {en} remains valid for {s['n']} days and can be exchanged free of charge. {s['name']} travels from {s['place']} to {s['place2']} at {s['h']} o'clock."
    bad = f"The {en} stays still {s['n']} day valid and can costless be changed. {s['name']} drives {s['h']} from {s['place']}."
    return {"source": f"Translate this from German to English:\nGerman: {de}\nEnglish:", "better": " " + good, "worse": " " + bad}


write("data/translations.jsonl", unique(translation, 1536))
r5 = random.Random("7a:thumbs")


def thumbs(_):
    q, good, _ = pair(r5, "energy")
    return {"prompt": q, "completion": good, "label": True}


write("data/kto_thumbs.jsonl", unique(thumbs, 800))

# prompts
r6 = random.Random("7a:arith")


def problem(i):
    a, b, c, name, place = r6.randint(12, 97), r6.randint(3, 29), r6.randint(101, 999), r6.choice(NAMES), r6.choice(PLACES)
    kinds = [
        (f"{name} packs {a} crates with {b} jars each and adds {c} loose jars. How many jars go to {place}?", a * b + c),
        (f"A train to {place} carries {c} people. At each of {b} stops {a} people board. How many ride at the end?", c + a * b),
        (f"{name} has {c + a * b} stamps, sells {a} sheets of {b} stamps in {place}. How many stamps are left?", c),
        (f"A hall in {place} has {a} rows of {b} seats and a gallery with {c} seats. {name} counts all. How many?", a * b + c),
    ]
    return kinds[i % 4]


def math_text(i):
    q, x = problem(i)
    return {"prompt": q, "answer": str(x)}


write("data/arith.jsonl", unique(math_text, 3840))
THINK = "Reason step by step between <think> and </think>, then give the final answer as \\boxed{...}."


def math_messages(i):
    q, x = problem(i)
    return {"prompt": [{"role": "system", "content": THINK}, {"role": "user", "content": q}], "answer": str(x)}


write("data/word_problems.jsonl", unique(math_messages, 3840))
r7 = random.Random("7a:prompts")
write("data/open_prompts.jsonl", unique(lambda _: {"prompt": turn(r7, r7.choice(["helpdesk", "energy", "kitchen", "harbour"]), 2)[0]}, 3840))

# own tasks of lm-eval
r8 = random.Random("7a:quiz")


def quiz(_):
    s = slots(r8)
    due = s["n"] * s["d"]
    choices = [due, due + s["d"], due + 10 * s["d"], due - s["d"]]
    r8.shuffle(choices)
    return {"question": f"Call {s['id']}: which fee is due in {s['place']} for {s['n']} tonnes at {s['d']} euros per tonne?",
            "choices": [str(c) for c in choices], "answer": choices.index(due)}


write("data/harbour_quiz.jsonl", unique(quiz, 320))
put("tasks/harbour_fee.yaml", """task: harbour_fee
dataset_path: json
dataset_kwargs: {data_files: {test: data/harbour_quiz.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
""")
put("tasks/harbour_fee_said.yaml", """task: harbour_fee_said
dataset_path: json
dataset_kwargs: {data_files: {test: data/harbour_quiz.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}} Answer with the number only."
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
""")

# templates
put("templates/zephyr.jinja", """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
""")

# rewards
put("rewards/structure.py", '''"""Rewards of our own."""

import re


def has_structure(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 where the reasoning and one boxed answer are both there, 0.5 for one of them."""
    scores = []
    for completion in completions:
        thought = bool(re.search(r"(?s)<think>.+</think>", completion))
        boxed = completion.count("\\\\boxed{") == 1
        scores.append(0.5 * thought + 0.5 * boxed)
    return scores
''')

# scripts
COMMON = '''
import argparse
import csv
import json
import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
'''
put("scripts/char_lm.py", '"""A small language model over bytes, by DistributedDataParallel; started by torchrun."""\n' + COMMON + '''
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Train for a number of steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--micro-batch", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    distributed.init_process_group("nccl")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    torch.manual_seed(args.seed)
    text = "".join(json.loads(line)["text"] for line in args.corpus.open(encoding="utf-8")).encode()
    tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, norm_first=True)
    body = nn.Sequential(nn.Embedding(256, 256), nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), nn.Linear(256, 256)).to(device)
    model = DistributedDataParallel(body)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    generator = torch.Generator().manual_seed(args.seed + distributed.get_rank())
    for step in range(args.steps):
        starts = torch.randint(0, len(tokens) - 257, (args.micro_batch,), generator=generator)
        batch = torch.stack([tokens[s : s + 257] for s in starts]).to(device)
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if distributed.get_rank() == 0 and step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    if distributed.get_rank() == 0:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        torch.save(body.state_dict(), args.output_dir / "model.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
''')
put("scripts/notes_deepspeed.py", '"""Fine-tune a small causal model on field notes with DeepSpeed."""\n' + COMMON + '''
import deepspeed
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Train, and save the weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--deepspeed-config", required=True)
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--micro-batch", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--local_rank", type=int, default=0)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(args.model)
    rows = [row["prompt"] + row["completion"] for row in csv.DictReader(args.data.open(encoding="utf-8"))]
    config = json.loads(Path(args.deepspeed_config).read_text(encoding="utf-8"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    config.pop("optimizer", None)
    engine, _, loader, _ = deepspeed.initialize(
        model=model, optimizer=optimizer, training_data=rows, config=config,
        collate_fn=lambda texts: tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt"),
    )
    for _ in range(round(args.epochs)):
        for batch in loader:
            batch = {key: value.to(engine.device) for key, value in batch.items()}
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            loss = engine(**batch, labels=labels).loss
            engine.backward(loss)
            engine.step()
    engine.save_16bit_model(str(args.output_dir), "pytorch_model.bin")


if __name__ == "__main__":
    main()
''')
put("scripts/length_probe.py", '"""A probe that learns the length of an answer from bytes, with Accelerate."""\n' + COMMON + '''
from accelerate import Accelerator


def main() -> None:
    """Train, and save the probe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    accelerator = Accelerator()
    torch.manual_seed(args.seed)
    pairs = []
    for row in csv.DictReader(args.rows.open(encoding="utf-8")):
        counts = torch.bincount(torch.tensor(list(row["prompt"].encode()[:512])), minlength=256).float()
        pairs.append((counts, torch.tensor(len(row["completion"]) / 100)))
    loader = DataLoader(pairs, args.batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for epoch in range(round(args.epochs)):
        for counts, target in loader:
            loss = nn.functional.mse_loss(model(counts).squeeze(-1), target)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
        if args.verbose:
            accelerator.print(f"epoch {epoch}: loss {loss.item():.3f}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    accelerator.save(accelerator.get_state_dict(model), args.output_dir / "probe.pt")


if __name__ == "__main__":
    main()
''')
