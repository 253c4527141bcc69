"""Create every local file that the recipes name, below the working directory or argv[1]. Deterministic."""

import csv
import json
import random
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
SITES = """Aldermoor Brackenfield Calder Drummond Eastwick Farrow Glenhaven Hartwell Ilford Jarrow Kestrel Lindholm Marsden Norbury
Oakhurst Penrith Quarry Ravensworth Selkirk Thornbury Ulverston Verwood Westmarch Yarrow Zennor Ashdown Birchgrove Copperhill
Dunmore Ellesmere Foxley Granton Hollis Inverleith""".split()
PEOPLE = """Amara Benedikt Chiara Dmitri Elif Farid Greta Hiroshi Imani Jonas Katya Luis Mei Nadia Oskar Priya Quentin Rosa Soren
Tamsin Umar Vera Wanda Xenia Yusuf Zofia Anselm Bronwen Casimir Delphine""".split()
CAUSES = """a worn bearing|a loose terminal|an expired certificate|a blocked filter|a misread label|a late delivery|condensation in the cabinet|
an outdated firmware|a cracked seal|a missing signature|a wrong calibration date|a duplicated record|dust on the sensor|an overloaded feeder|
a swapped connector|a corroded clamp|an open valve|a truncated message|a stale cache entry|a bent guide rail|a low supply voltage|
an unpaid surcharge|a mistyped reference|a failed relay|a torn gasket|vibration from the next line|a frozen drain|an untested change""".replace("\n", "").split("|")
ACTIONS = """isolate the unit and hang the lock|read the last ten entries of the log|compare the serial number with the order|replace the part from store|
ask the shift lead for a second reading|photograph the damage before anything moves|restart the controller once|tighten the fixing to its marked torque|
send the form to the registry|measure the resistance to earth|raise a work order of priority two|move the load to the spare line|
note the time and the name of the caller|update the sheet that hangs at the door|flush the line for five minutes|
book a visit for the next free morning|inform the control room by telephone|weigh the pallet again|close the case only after the customer agrees|
repeat the test with a cold machine|attach the scan to the file|check the spare fuse|print a new label|reset the counter""".replace("\n", "").split("|")
RULES = """before noon|within two working days|as long as the alarm is silent|unless the supervisor objects|after both signatures|at the end of the shift|
while the line stands still|if the reading stays above the limit|once the area is clear|in the presence of a witness|by the close of the quarter|
whenever the seal is renewed|only with gloves and goggles|even when the customer waives it|before the next train|at ambient temperature""".replace("\n", "").split("|")
THINGS = {
    "rail": "points motor|track circuit|platform display|level crossing|signal head|catenary mast|axle counter|freight path|relief driver|interlocking",
    "claims": "water damage claim|windscreen claim|burglary report|liability letter|storm claim|repair estimate|medical invoice|policy schedule|deductible|loss adjuster's visit",
    "customs": "import declaration|transit document|certificate of origin|tariff line|bonded store|duty deferment|inspection notice|container seal|valuation form|export licence",
    "port": "quay crane|reefer plug|berth window|bill of lading|straddle carrier|gate appointment|lashing plan|empty depot|pilot order|mooring line",
    "grid": "transformer bay|busbar section|feeder breaker|tap changer|earthing switch|protection relay|battery room|load schedule|capacitor bank|switching order",
    "refinery": "crude heater|desalter|flare line|hydrogen compressor|reboiler|sour water stripper|tank gauge|relief valve|cooling tower|loading arm",
    "tenant": "boiler|entry phone|rent statement|parking permit|lease annex|heating meter|stairwell lamp|deposit account|move-out form|cellar key",
    "insurance": "risk survey|sprinkler report|flood zone map|fleet list|proposal form|reinsurance slip|exclusion clause|premium audit|broker's note|sum insured",
    "service": "pump skid|gearbox|conveyor belt|chiller|filling head|robot cell|palletiser|torque wrench|dosing unit|air dryer",
    "lift": "door operator|car controller|governor rope|landing button|machine room|emergency phone|counterweight|buffer|brake coil|levelling sensor",
    "billing": "final invoice|direct debit|meter reading|refund|dunning letter|tariff change|credit note|instalment plan|postal address|tax line",
    "outage": "cable fault|planned shutdown|street cabinet|mobile generator|restoration time|fault ticket|substation trip|customer list|repair crew|status page",
    "fleet": "tachograph|tyre pressure sensor|fuel card|reversing camera|service interval|delivery round|refrigerated trailer|driver licence check|charging plan|fault code",
    "forms": "boundary plan|deed|search request|title number|mortgage entry|easement|power of attorney|fee note|extract|correction notice",
    "telecom": "optical terminal|base station|number port|splice closure|backhaul link|voice trunk|roaming profile|line card|power shelf|incident bridge",
    "house": "password|printer queue|badge reader|meeting room screen|laptop dock|shared drive|expense report|mailbox rule|phone extension|licence seat",
    "pump": "impeller|mechanical seal|suction strainer|motor coupling|pressure switch|base plate|check valve|bearing housing|flow meter|soft starter",
    "shop": "lathe|milling head|coolant tank|tool rack|press brake|welding set|bench grinder|vice|drill jig|compressor",
    "farm": "drip line|seed drill|soil probe|cover crop|lime spreader|weather mast|potato store|grain dryer|slurry tank|hedge row",
    "turbine": "blade root|nacelle|pitch bearing|yaw drive|lube oil cooler|journal bearing|steam chest|governor valve|condenser|exhaust casing",
    "audit": "ledger account|stock count|bank confirmation|access right|journal entry|lease file|goodwill test|sampling plan|cut-off check|management letter",
    "legal": "supply agreement|liability cap|notice period|escrow account|warranty|change order|acceptance test|penalty clause|data annex|governing law",
}
THINGS = {key: value.split("|") for key, value in THINGS.items()}
ASK = (
    "The {thing} at {site} shows {cause}, reference {n}. What should {person} do first?",
    "{person} from {site} asks how to deal with {cause} on the {thing} (ticket {n}).",
    "Who decides about the {thing} of {site} when {cause} was found, and by when? Case {n}.",
    "Please explain the steps for {thing} number {n} at {site}; I suspect {cause}.",
    "Can we keep the {thing} {n} in use at {site} although there is {cause}?",
    "How do I record that {person} found {cause} near the {thing} {n} in {site}?",
    "We got note {n} from {site}: {cause}, {thing} affected. Which order of work is right?",
    "Write a short hand-over for {person}: {thing}, {site}, {cause}, number {n}.",
)
SAY = (
    "First {action}, and then {action2}.",
    "At {site} the rule is to {action} {rule}.",
    "The most likely reason is {cause}, which {person} has seen {k} times this year.",
    "For the {thing} you should {action}; {person} can sign for it.",
    "If the {thing} still fails after {k} minutes, {action2}.",
    "Write down reading {n} beside the {thing}, because the next shift compares it {rule}.",
    "Do not {action} {rule} without a word from {person}.",
    "A note from {site} says that {cause} comes back when nobody remembers to {action}.",
    "Keep {k} spare parts for the {thing} in {site}, and {action2} {rule}.",
    "{person} should {action} {rule}, since {cause} is hard to see on the {thing}.",
    "The limit for the {thing} is {k} units; anything above it means that you {action}.",
    "Once that is done, {action2}, and close number {n}.",
    "In case of {cause}, {site} expects the {thing} to be checked {rule}.",
    "Where {cause} can be ruled out, {action} and leave the {thing} as it is.",
)
STEMS = (
    "Section {k}. The {thing} is inspected {rule}; the inspector of {site} will {action}.",
    "When {cause} is found, the crew has to {action} and, {rule}, to {action2}.",
    "Table {n} lists the permitted values of the {thing} for {site}.",
    "Experience at {site} shows {k} cases of {cause} in a year, most of them on the {thing}.",
    "{person} reported on line {n} that the {thing} ran without faults after the crew began to {action}.",
    "Both parties agree that the {thing} described under {n} is handed over {rule}.",
    "The {thing} may be used {rule}, provided that {person} or a deputy can {action}.",
    "A reading of {k} on the {thing} is normal in winter; in summer it points to {cause}.",
    "No one may {action} while others {action2}, except {rule}.",
    "The office of {site} keeps record {n} of the {thing} for {k} years.",
)


LISTS = {"site": SITES, "cause": CAUSES, "action": ACTIONS, "action2": ACTIONS, "person": PEOPLE, "rule": RULES}


class Slots(dict):
    """What a template asks for, drawn when it asks."""

    def __init__(self, rnd, thing: str, site: str, number: int) -> None:
        super().__init__(thing=thing, n=number)
        self.rnd = rnd
        if site:
            self["site"] = site

    def __missing__(self, key: str):
        if key == "k":
            return 2 + int(self.rnd() * 88)
        items = LISTS[key]
        return items[int(self.rnd() * len(items))]


class Writer:
    """Sentences of one domain; no two questions are the same."""

    def __init__(self, name: str, domain: str) -> None:
        self.r = random.Random(name)
        self.things = THINGS[domain]
        self.number = 1000

    def fill(self, templates: tuple[str, ...], thing: str = "", site: str = "") -> str:
        rnd = self.r.random
        template = templates[int(rnd() * len(templates))]
        self.number += 1 + int(rnd() * 7)
        text = template.format_map(Slots(rnd, thing or self.things[int(rnd() * len(self.things))], site, self.number))
        return text[0].upper() + text[1:]

    def question(self) -> str:
        return self.fill(ASK)

    def answer(self, low: int = 3, high: int = 8) -> str:
        thing, site = self.r.choice(self.things), self.r.choice(SITES)
        return " ".join(self.fill(SAY, thing, site) for _ in range(self.r.randint(low, high)))

    def text(self, low: int, high: int) -> str:
        return " ".join(self.fill(STEMS if self.r.random() < 0.7 else SAY) for _ in range(self.r.randint(low, high)))

    def turns(self, most: int = 2, low: int = 3, high: int = 8) -> list[dict]:
        found = []
        for _ in range(self.r.randint(1, most)):
            found += [{"role": "user", "content": self.question()}, {"role": "assistant", "content": self.answer(low, high)}]
        return found


def put(name: str, text: str) -> None:
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def jsonl(name: str, rows) -> None:
    put(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def table(name: str, columns: list[str], rows) -> None:
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def parquet(name: str, rows: list[dict]) -> None:
    """Write the end of the file that pyarrow writes of these rows, where what a check reads of it stands."""
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((Path(__file__).parent / "parquet" / path.name).read_bytes())


CHATS = {
    "rail_dispatch": ("rail", 2400, 3), "claims_dialogues": ("claims", 4000, 2), "customs_chat": ("customs", 2400, 2),
    "port_chat": ("port", 1600, 2), "refinery_chat": ("refinery", 1600, 2), "tenant_chat": ("tenant", 960, 1),
    "underwriting": ("insurance", 960, 2), "field_service": ("service", 2000, 2), "lift_dialogues": ("lift", 3200, 2),
    "billing_chat": ("billing", 1200, 2), "outage_chat": ("outage", 1200, 2), "fleet_chat": ("fleet", 2400, 2),
    "telematics_faults": ("fleet", 1200, 2), "forms_chat": ("forms", 1600, 1), "house_chat": ("house", 3200, 3),
    "grid_control_chat": ("grid", 1600, 3), "pump_chat": ("pump", 800, 1), "workshop_chat": ("shop", 960, 2),
}
for name, (domain, rows, most) in CHATS.items():
    w = Writer(name, domain)
    jsonl(f"data/{name}.jsonl", ({"messages": w.turns(most)} for _ in range(rows)))

w = Writer("ci", "house")
jsonl("data/ci_chat.jsonl", ({"messages": w.turns(1, 1, 3)} for _ in range(320)))
w = Writer("telecom", "telecom")
jsonl("data/telecom_q1_q3.jsonl", [{"messages": w.turns(2)} for _ in range(3200)])
jsonl("data/telecom_q4.jsonl", [{"messages": w.turns(2)} for _ in range(480)])
w = Writer("substation", "grid")
put("data/substation_orders.json", json.dumps([{"messages": w.turns(2)} for _ in range(1280)], indent=1))

w = Writer("forum", "service")
NAMES = {"user": "human", "assistant": "gpt"}
rows = []
for number in range(1200):
    turns = [{"from": NAMES[t["role"]], "value": t["content"]} for t in w.turns(3)]
    if number % 3 == 0:
        turns.insert(0, {"from": "system", "value": f"You answer in the forum of the {w.r.choice(SITES)} service team."})
    rows.append({"conversations": turns})
jsonl("data/field_forum.jsonl", rows)

w = Writer("sql", "billing")
rows = []
for number in range(2000):
    year, rate = w.r.randint(2012, 2025), w.r.choice((5, 7, 10, 16, 19, 20, 21, 25))
    region, least, top = w.r.choice(SITES), w.r.randint(100, 99000), w.r.randint(5, 60)
    query = (f"SELECT payer_id, SUM(net * {rate} / 100.0) AS tax\nFROM invoices\nWHERE region = '{region}'\n  AND issued >= DATE '{year}-01-01' "
             f"AND issued < DATE '{year + 1}-01-01'\nGROUP BY payer_id\nHAVING SUM(net) > {least}\nORDER BY tax DESC\nLIMIT {top};")
    ask = (f"Write SQL for the {top} payers in {region} with the highest tax at {rate} percent in {year}, only where the net sum is above "
           f"{least}. Remark {number}: {w.fill(SAY)}")
    rows.append({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": f"```sql\n{query}\n```\n{w.answer(1, 3)}"}]})
parquet("data/tax_sql.parquet", rows)

w = Writer("tools", "service")
TOOL = [{"type": "function", "function": {"name": "read_metric", "description": "Read a metric of a unit of the plant.", "parameters": {
    "type": "object", "properties": {"unit": {"type": "string"}, "metric": {"type": "string"}, "minutes": {"type": "integer"}},
    "required": ["unit", "metric", "minutes"]}}}]
rows = []
for number in range(1200):
    unit, metric = f"{w.r.choice('ABCDEFGH')}-{100 + number}", w.r.choice(("temperature", "pressure", "flow", "vibration", "current"))
    minutes, value = w.r.choice((5, 10, 15, 30, 60)), round(w.r.uniform(2, 180), 1)
    rows.append({"tools": TOOL, "messages": [
        {"role": "user", "content": f"What was the {metric} of the {w.r.choice(w.things)} {unit} over the last {minutes} minutes?"},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "read_metric", "arguments": {
            "unit": unit, "metric": metric, "minutes": minutes}}}]},
        {"role": "tool", "name": "read_metric", "content": json.dumps({"unit": unit, "mean": value})},
        {"role": "assistant", "content": f"The mean {metric} of {unit} over the last {minutes} minutes was {value}. {w.answer(1, 2)}"}]})
jsonl("data/plant_tools.jsonl", rows)

w = Writer("reasoning", "turbine")
jsonl("data/fault_reasoning.jsonl", ({"messages": [
    {"role": "user", "content": w.question()},
    {"role": "assistant", "reasoning_content": w.answer(6, 14), "content": w.answer(2, 5)}]} for _ in range(800)))

w = Writer("contracts", "legal")
pool = [w.fill(STEMS) for _ in range(20000)]
rows = []
for number in range(304):
    document = "\n".join(w.r.choices(pool, k=w.r.randint(450, 1250)))
    rows.append({"messages": [
        {"role": "user", "content": f"Contract file {number}, {w.r.choice(SITES)}:\n{document}\n\n{w.question()}"},
        {"role": "assistant", "content": w.answer(6, 14)}]})
jsonl("data/contracts_long.jsonl", rows)

w = Writer("manuals", "turbine")
parquet("data/turbine_manuals.parquet", [{"text": w.text(18, 34)} for _ in range(4000)])
w = Writer("grid-reports", "grid")
jsonl("data/grid_reports.jsonl", ({"body": w.text(14, 28)} for _ in range(3000)))
w = Writer("lift-manuals", "lift")
jsonl("data/lift_manuals.jsonl", ({"text": w.text(16, 32)} for _ in range(3200)))
w = Writer("incidents", "outage")
table("data/incident_reports.csv", ["report"], ([w.text(10, 22)] for _ in range(3000)))

w = Writer("agronomy", "farm")
jsonl("data/agronomy.jsonl", ({"instruction": w.question(), "input": w.fill(SAY) if number % 2 else "", "output": w.answer()} for number in range(1600)))
w = Writer("lift-service", "lift")
jsonl("data/lift_service.jsonl", ({"instruction": w.question(), "input": "", "output": w.answer(2, 5)} for _ in range(900)))

r = random.Random("stadtwerke")
WAS = "der Abschlag|der Zählerstand|die Rechnung|der Hausanschluss|die Wallbox|der Umzug|die Wasserhärte|der Fernwärmetarif|die Gutschrift|der Baustrom".split("|")
FRAGE = ("Wie ändere ich für Vertrag {n} {was} in {site}?", "{was} zu Kundennummer {n} stimmt nicht, was muss ich in {site} tun?",
         "Bis wann muss {was} unter der Nummer {n} in {site} gemeldet sein?", "Wer ist in {site} zuständig, wenn {was} (Nr. {n}) fehlt?")
DANN = ("Bitte melden Sie sich innerhalb von {k} Tagen beim Kundendienst in {site}.", "Im Portal finden Sie unter Vorgang {n} das passende Formular.",
        "Die Änderung gilt ab dem {d}. des nächsten Monats.", "Halten Sie dafür die Zählernummer {n} bereit.",
        "Bei Rückfragen hilft Ihnen {person} unter der Durchwahl {k}.", "Ein Betrag von {k} Euro wird mit der nächsten Rechnung verrechnet.")
rows = []
for number in range(700):
    f = {"site": r.choice(SITES), "was": r.choice(WAS)}
    ask = r.choice(FRAGE).format(n=40000 + 13 * number, **f)
    rows.append([ask[0].upper() + ask[1:], " ".join(
        t.format(k=r.randint(3, 90), n=r.randint(10000, 99999), d=r.randint(1, 28), person=r.choice(PEOPLE), **f) for t in r.sample(DANN, r.randint(2, 4)))])
table("data/stadtwerke.csv", ["frage", "antwort"], rows)

for name, domain, count in (("technician_choices", "service", 1280), ("audit_pairs", "audit", 1280), ("editor_pairs", "house", 1600),
                            ("workshop_pairs", "shop", 800), ("lift_pairs", "lift", 1280)):
    w = Writer(name, domain)
    jsonl(f"data/{name}.jsonl", ({
        "messages": [{"role": "user", "content": w.question()}],
        "chosen": [{"role": "assistant", "content": w.answer(3, 6)}],
        "rejected": [{"role": "assistant", "content": w.answer(2, 5)}]} for _ in range(count)))

r = random.Random("translation")
DING = [("das Ventil", "the valve"), ("die Leiter", "the ladder"), ("der Kessel", "the boiler"), ("die Schutzbrille", "the goggles case"),
        ("der Notausgang", "the emergency exit"), ("das Förderband", "the conveyor belt"), ("die Druckluft", "the compressed air"), ("der Kran", "the crane"),
        ("der Schaltschrank", "the switch cabinet"), ("die Presse", "the press"), ("der Stapler", "the forklift"), ("die Schleuse", "the airlock")]
TUN = [("muss vor der Schicht geprüft werden", "must be checked before the shift", "should check shift"), ("darf nur mit Genehmigung benutzt werden", "may only be used with a permit", "is used only permission"),
       ("wird jeden Freitag gereinigt", "is cleaned every Friday", "cleans Fridays"), ("ist wegen Wartung gesperrt", "is closed for maintenance", "is locked because wait"),
       ("bleibt bis auf Weiteres außer Betrieb", "remains out of service until further notice", "stays until more outside work"), ("wurde gestern ausgetauscht", "was replaced yesterday", "became yesterday exchange")]
WO = [("in Halle {n}", "in hall {n}"), ("am Tor {n}", "at gate {n}"), ("auf Ebene {n}", "on level {n}"), ("neben Pfeiler {n}", "next to pillar {n}"), ("an Linie {n}", "on line {n}")]
rows = []
for number in range(1200):
    a, b, c = r.choice(DING), r.choice(TUN), r.choice(WO)
    where = [x.format(n=number + 3) for x in c]
    verb, rest = b[0].split(" ", 1)
    german = f"{a[0][0].upper() + a[0][1:]} {where[0]} {verb} {rest}."
    rows.append({"source": f"Translate this from German to English:\nGerman: {german}\nEnglish:",
                 "good": f" {a[1][0].upper() + a[1][1:]} {where[1]} {b[1]}.", "poor": f" {a[1][4:].capitalize()} {where[1]} {b[2]}."})
jsonl("data/translation_pairs.jsonl", rows)

w = Writer("thumbs", "tenant")
jsonl("data/thumbs_up.jsonl", ({"prompt": w.question(), "completion": " " + w.answer(2, 5), "label": True} for _ in range(900)))


def sums(name: str, count: int):
    r = random.Random(name)
    seen = set()
    while len(seen) < count:
        a, b, c, site, who, thing = r.randint(3, 98), r.randint(2, 40), r.randint(2, 30), r.choice(SITES), r.choice(PEOPLE), r.choice(THINGS["shop"] + THINGS["service"])
        text, value = r.choice((
            (f"In {site}, {who} finishes {a} parts on the {thing} in each of {b} shifts, and {c} of all parts are scrapped. How many good parts are left?", a * b - c),
            (f"A {thing} in {site} needs {a} minutes of set-up and {b} minutes for each of {c} pieces. How many minutes does {who} need in all?", a + b * c),
            (f"{who} orders {a} boxes with {b} screws each for the {thing} at {site} and has {c} screws already. How many screws are there?", a * b + c),
            (f"{site} shares {a * b} litres of oil for the {thing} equally among {b} machines; {who} then adds {c} litres to each. How many litres has each machine?", a + c),
        ))
        if text not in seen:
            seen.add(text)
            yield text, str(value)


jsonl("data/shopfloor_maths.jsonl", ({"question": q, "answer": a} for q, a in sums("shopfloor", 640)))
jsonl("data/planning_maths.jsonl", ({"prompt": f"{q}\nReason step by step, then give the final answer as \\boxed{{...}}.", "answer": a} for q, a in sums("planning", 2048)))
w = Writer("helpdesk", "house")
jsonl("data/helpdesk_prompts.jsonl", ({"prompt": w.question()} for _ in range(1600)))
w = Writer("technician", "service")
jsonl("data/technician_prompts.jsonl", ({"prompt": w.question()} for _ in range(1280)))
r = random.Random("ko")
KO_THING = "지게차 팔레트 냉동창고 출고장 바코드 적재대 컨베이어 재고표 포장기 하역장 송장 컨테이너".split()
KO_SITE = "평택 이천 김포 부산 인천 대전 광주 울산 군산 여수 창원 구미".split()
KO_ASK = ("{site} 창고의 {thing} {n}번에서 문제가 생기면 어떻게 해야 하나요?", "{thing} 관리 번호 {n}의 점검 순서를 {site} 직원에게 설명해 주세요.",
          "{site}에서 {thing} {n}건이 늦어졌습니다. 고객에게 보낼 안내문을 써 주세요.", "신입 직원이 {site} 물류센터에서 {thing} {n}번을 안전하게 다루는 방법은 무엇인가요?")
jsonl("data/warehouse_ko_prompts.jsonl", ({"prompt": r.choice(KO_ASK).format(site=r.choice(KO_SITE), thing=r.choice(KO_THING), n=100 + number)
                                          + " 마지막은 '감사합니다.'로 끝내 주세요."} for number in range(640)))

r = random.Random("tariff")
GOODS = "steel bolts|cotton shirts|frozen shrimp|ceramic tiles|bicycle tyres|olive oil|laptop batteries|wooden chairs|glass bottles|copper wire|green tea|wool carpets".split("|")
CHAPTERS = ["73", "62", "03", "69", "40", "15", "85", "94", "70", "74", "09", "57"]
rows = []
for number in range(360):
    k = r.randrange(12)
    others = r.sample([c for c in CHAPTERS if c != CHAPTERS[k]], 3)
    place = r.randrange(4)
    others.insert(place, CHAPTERS[k])
    rows.append({"question": f"Shipment {5000 + number}: {r.randint(20, 900)} cartons of {GOODS[k]} arrive in {r.choice(SITES)}. Which chapter of the tariff applies?",
                 "choices": others, "answer": place})
jsonl("data/tariff_heldout.jsonl", rows)
put("tasks/tariff/tariff_choice.yaml", '''task: tariff_choice
dataset_path: json
dataset_kwargs: {data_files: {test: data/tariff_heldout.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}\\nChapter:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: " "
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
''')
put("tasks/tariff/tariff_answer.yaml", '''task: tariff_answer
dataset_path: json
dataset_kwargs: {data_files: {test: data/tariff_heldout.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}} Answer with the two digits only."
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
''')

r = random.Random("sensors")
jsonl("data/sensor_windows.jsonl", ({"id": number, "values": [round(r.gauss(number % 5, 1), 3) for _ in range(32)], "fault": number % 5} for number in range(3000)))

put("rewards/units.py", '''"""Rewards of the shop floor."""

import re

UNITS = re.compile(r"\\b(parts?|minutes?|screws?|lit(?:re|er)s?)\\b", re.IGNORECASE)


def names_the_unit(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 for a completion whose last line names a unit."""
    found = []
    for completion in completions:
        lines = [line for line in completion.splitlines() if line.strip()]
        found.append(1.0 if lines and UNITS.search(lines[-1]) else 0.0)
    return found
''')
TEMPLATE = """{%- for message in messages %}
{%- if message['role'] == 'system' %}{{ '<|desk|>\\n' + message['content'] + '\\n' }}
{%- elif message['role'] == 'user' %}{{ '<|caller|>\\n' + message['content'] + '\\n' }}
{%- elif message['role'] == 'assistant' %}{{ '<|agent|>\\n' + message['content'] + eos_token + '\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|agent|>\\n' }}{%- endif %}
"""
put("templates/house.jinja", TEMPLATE)
put("templates/house_v2.jinja", TEMPLATE.replace("{%- endfor %}\n", ""))

HEAD = '''"""{doc}"""

import argparse
from pathlib import Path

import torch
from torch import nn
{imports}

def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser()
{options}    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser.parse_args()

'''
put("scripts/label_sensors.py", HEAD.format(
    doc="Label windows of sensors, with DistributedDataParallel under torchrun.",
    imports="import json\nimport os\nimport torch.distributed as dist\nfrom torch.nn.parallel import DistributedDataParallel\n"
            "from torch.utils.data import DataLoader, DistributedSampler, TensorDataset\n",
    options='    parser.add_argument("--data", type=Path, required=True)\n') + '''
def main() -> None:
    """Train the labeller."""
    args = arguments()
    dist.init_process_group("nccl")
    device = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(device)
    torch.manual_seed(args.seed)
    rows = [json.loads(line) for line in args.data.read_text().splitlines()]
    data = TensorDataset(torch.tensor([row["values"] for row in rows]), torch.tensor([row["fault"] for row in rows]))
    sampler = DistributedSampler(data, seed=args.seed)
    loader = DataLoader(data, args.batch_size, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(32, 256), nn.GELU(), nn.Linear(256, 5)).to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    for epoch in range(int(args.epochs)):
        sampler.set_epoch(epoch)
        for values, faults in loader:
            loss = nn.functional.cross_entropy(model(values.to(device)), faults.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if dist.get_rank() == 0:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        torch.save(model.module.state_dict(), args.output_dir / "model.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
''')
put("scripts/distil_router.py", HEAD.format(
    doc="Distil a teacher into a student with DeepSpeed.",
    imports="import deepspeed\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n",
    options='    parser.add_argument("--teacher", required=True)\n    parser.add_argument("--student", required=True)\n'
            '    parser.add_argument("--deepspeed-config", required=True)\n    parser.add_argument("--local_rank", type=int, default=-1)\n') + '''
def main() -> None:
    """Train the student on the teacher's distribution."""
    args = arguments()
    torch.manual_seed(args.seed)
    deepspeed.init_distributed()
    tokenizer = AutoTokenizer.from_pretrained(args.student)
    teacher = AutoModelForCausalLM.from_pretrained(args.teacher, torch_dtype=torch.bfloat16).cuda().eval()
    student = AutoModelForCausalLM.from_pretrained(args.student, torch_dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(student.parameters(), lr=args.learning_rate)
    engine, _, _, _ = deepspeed.initialize(model=student, optimizer=optimizer, config=args.deepspeed_config)
    texts = [f"Route request {number} to the right department." for number in range(4096)]
    for _ in range(int(args.epochs)):
        for start in range(0, len(texts), args.batch_size):
            batch = tokenizer(texts[start : start + args.batch_size], return_tensors="pt", padding=True).to(engine.device)
            with torch.no_grad():
                wanted = teacher(**batch).logits.log_softmax(-1)
            given = engine(**batch).logits.log_softmax(-1)
            engine.backward(nn.functional.kl_div(given, wanted, log_target=True, reduction="batchmean"))
            engine.step()
    engine.save_16bit_model(str(args.output_dir))


if __name__ == "__main__":
    main()
''')
put("scripts/forecast_load.py", HEAD.format(
    doc="Forecast the load of a feeder with Accelerate.",
    imports="from accelerate import Accelerator\nfrom torch.utils.data import DataLoader, TensorDataset\n",
    options='    parser.add_argument("--horizon", type=int, default=24)\n    parser.add_argument("--compile", action="store_true")\n') + '''
def main() -> None:
    """Train the forecaster."""
    args = arguments()
    accelerator = Accelerator()
    torch.manual_seed(args.seed)
    past = torch.randn(8192, 336)
    loader = DataLoader(TensorDataset(past, past[:, : args.horizon].cumsum(1)), args.batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(336, 512), nn.GELU(), nn.Linear(512, args.horizon))
    if args.compile:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for _ in range(int(args.epochs)):
        for seen, wanted in loader:
            loss = nn.functional.mse_loss(model(seen), wanted)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    accelerator.save(accelerator.get_state_dict(model), args.output_dir / "model.pt")


if __name__ == "__main__":
    main()
''')
put("scripts/wafer_yield_ray.py", HEAD.format(
    doc="Predict the yield of wafers with Ray Train.",
    imports="import ray.train\nimport ray.train.torch\nfrom ray.train import ScalingConfig\nfrom ray.train.torch import TorchTrainer\n"
            "from torch.utils.data import DataLoader, TensorDataset\n",
    options='    parser.add_argument("--workers", type=int, default=1)\n') + '''
def work(settings: dict) -> None:
    """Train on one worker."""
    torch.manual_seed(settings["seed"])
    wafers = torch.randn(16384, 40)
    loader = ray.train.torch.prepare_data_loader(DataLoader(TensorDataset(wafers, wafers.mean(1, keepdim=True)), settings["batch_size"], shuffle=True))
    model = ray.train.torch.prepare_model(nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"])
    for _ in range(int(settings["epochs"])):
        for seen, wanted in loader:
            loss = nn.functional.mse_loss(model(seen), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ray.train.report({"loss": loss.item()})
    if ray.train.get_context().get_world_rank() == 0:
        Path(settings["output_dir"]).mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), Path(settings["output_dir"]) / "model.pt")


def main() -> None:
    """Start the workers."""
    args = arguments()
    settings = {**vars(args), "output_dir": str(args.output_dir.resolve())}
    TorchTrainer(work, train_loop_config=settings, scaling_config=ScalingConfig(num_workers=args.workers, use_gpu=True)).fit()


if __name__ == "__main__":
    main()
''')
