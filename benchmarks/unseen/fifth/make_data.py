"""Tiny, varied rows for the recipes: python3 gen/data.py FOLDER"""
import json, random, sys, csv
from pathlib import Path
out = Path(sys.argv[1]); (out/'data').mkdir(parents=True, exist_ok=True)
R = random.Random(7)
def dump(name, rows):
    with open(out/'data'/name, 'w', encoding='utf-8') as f:
        for r in rows: f.write(json.dumps(r, ensure_ascii=False)+'\n')
THINGS = "bicycle|kettle|router|printer|jacket|headset|tent|lamp|drill|camera|mattress|blender|keyboard|suitcase|monitor|thermostat|vacuum|scooter|desk|speaker|tablet|freezer|backpack|heater|projector".split('|')
PROB = ["arrived with a scratch on one side","stopped working after two days","is too loud in the evening","does not fit where I wanted to put it","came without its manual","smells of plastic","has a part missing","shows a red light","was delivered to my neighbour","gets hot when I use it"]
CITY = "Oslo Porto Leeds Ghent Turin Brno Malaga Cork Graz Lyon Basel Turku".split()
FIX = ["send us a photo and we will replace it within three working days","hold the power button for ten seconds and try once more","ask for a return label in the app, it costs nothing","check the fuse at the back before anything else","write down the serial number, which the warranty needs","let it rest for an hour in a dry room, then start it again","look in the help centre under the name of the product","bring it to the shop, where a colleague looks at it at once"]
OPEN = ["I am sorry about that.","Thank you for telling us.","That should not happen.","I understand.","Good that you ask."]
def q(i): 
    return f"Hello, I live in {CITY[i%12]} and my {THINGS[(i//12)%25]} {PROB[(i//300)%10]}. What should I do about it?"
def a(i):
    return f"{OPEN[i%5]} For the {THINGS[(i//12)%25]}, {FIX[(i*7+i//12)%8]}. If that does not help, our team in {CITY[i%12]} calls you back, and your case number is {10000+i*37}."
ids = list(range(3000)); R.shuffle(ids)
def turns(i, two=False, sys_=None):
    m=[]
    if sys_: m.append(('system', sys_))
    m += [('user', q(i)), ('assistant', a(i))]
    if two: m += [('user', f"And what does that cost for a {THINGS[(i//12)%25]} that I bought {i%23+2} weeks ago?"), ('assistant', f"Nothing: within {104} weeks of the purchase the repair is free, and you are in week {i%23+2}.")]
    return m
M = lambda t: [{'role': r, 'content': c} for r, c in t]
dump('chat.jsonl', [{'messages': M(turns(i, i%3==0))} for i in ids[:1200]])
dump('chat_heldout.jsonl', [{'messages': M(turns(i))} for i in ids[1200:1320]])
dump('chat_system.jsonl', [{'messages': M(turns(i, i%2==0, 'You answer customers of a household shop, briefly and kindly.'))} for i in ids[1320:1920]])
N = {'user':'human','assistant':'gpt','system':'system'}
dump('sharegpt.jsonl', [{'conversations': [{'from': N[r], 'value': c} for r, c in turns(i, i%4==0)]} for i in ids[1920:2720]])
VERB = [("Summarise","in one sentence"),("Rewrite","for a child"),("Translate into plain words","without jargon"),("List the facts of","as short points"),("Find a title for","of at most six words")]
INS = []
for i in range(1000):
    v,h = VERB[i%5]; t=THINGS[(i//5)%25]; p=PROB[(i//125)%10]; c=CITY[i%12]
    INS.append({'instruction': f"{v} the following note {h}.", 'input': f"Note {i+1}: the {t} that was sold in {c} {p}, and the owner paid {17+i} euro for it.", 'output': f"A {t} from {c}, sold for {17+i} euro, has a fault: it {p}."})
R.shuffle(INS); dump('instructions.jsonl', INS)
dump('classify.jsonl', [{'instruction': 'Name the product and the town in the message.', 'input': q(i), 'output': f"product: {THINGS[(i//12)%25]}; town: {CITY[i%12]}; message {i}"} for i in ids[:700]])
OPS = [('add','+'),('subtract','-'),('multiply','*'),('modulo','%')]
CODE=[]
for i in range(640):
    n,o=OPS[i%4]; k=i//4+2
    CODE.append({'prompt': f"# Return x {o} {k} for every x of a list.\ndef {n}_{k}(xs):\n", 'completion': f"    return [x {o} {k} for x in xs]\n"})
R.shuffle(CODE); dump('code.jsonl', CODE)
with open(out/'data'/'questions.csv','w',newline='',encoding='utf-8') as f:
    w=csv.writer(f); w.writerow(['question','answer'])
    for i in range(600): w.writerow([f"Question: how many wheels do {i+2} {'bicycles' if i%2 else 'cars'} have together?\nAnswer:", f" {(i+2)*(2 if i%2 else 4)}"])
def para(i):
    r=random.Random(i); s=[]
    for k in range(9):
        t=r.choice(THINGS); c=r.choice(CITY); s.append(r.choice([f"In {c}, the first {t} was made in {1850+r.randrange(150)} by a family of {r.randrange(3,9)}.", f"A {t} of that time weighed {r.randrange(2,60)} kilograms and cost {r.randrange(5,900)} crowns.", f"The workshop near {c} later added a {r.choice(THINGS)} to what it sold.", f"Its owner wrote that a good {t} should last for {r.randrange(4,40)} years.", f"Visitors from {c} came by train, {r.randrange(20,400)} of them in a week."]))
    return f"Chapter {i+1}. "+' '.join(s)
dump('corpus.jsonl', [{'text': para(i)} for i in range(1500)])
dump('corpus_heldout.jsonl', [{'text': para(i)} for i in range(5000,5080)])
dump('articles.jsonl', [{'id': i, 'content': para(i+2000)} for i in range(800)])
def bad(i): return f"A {THINGS[(i//12)%25]} is like that sometimes, number {i}. Please wait."
dump('preferences.jsonl', [{'messages':[{'role':'user','content':q(i)}],'chosen':[{'role':'assistant','content':a(i)}],'rejected':[{'role':'assistant','content':bad(i)}]} for i in ids[:900]])
dump('preferences_heldout.jsonl', [{'messages':[{'role':'user','content':q(i)}],'chosen':[{'role':'assistant','content':a(i)}],'rejected':[{'role':'assistant','content':bad(i)}]} for i in ids[900:1000]])
dump('preferences_text.jsonl', [{'prompt':f"Customer: {q(i)}\nAgent:",'chosen':' '+a(i),'rejected':' '+bad(i)} for i in ids[1000:1800]])
DE=['Der','Die','Das']
dump('translation_pairs.jsonl', [{'prompt':f"Translate this from German to English:\nGerman: Im Lager {i+1} in {CITY[i%12]} stehen {i%90+3} Kisten und {i%7+2} Fahrräder.\nEnglish:",'chosen':f" In warehouse {i+1} in {CITY[i%12]} there are {i%90+3} boxes and {i%7+2} bicycles.",'rejected':f" In the camp {i+1} of {CITY[i%12]} {i%90+3} chests stand and {i%7+2} wheels."} for i in range(640)])
dump('kto.jsonl', [{'prompt':f"Customer: {q(i)}\nAgent:",'completion':' '+(a(i) if k%2==0 else bad(i)),'label':k%2==0} for k,i in enumerate(ids[:800])])
dump('kto_uneven.jsonl', [{'prompt':f"Customer: {q(i)}\nAgent:",'completion':' '+(a(i) if k%4 else bad(i)),'label':bool(k%4)} for k,i in enumerate(ids[800:1600])])
MATH=[]
for i in range(960):
    x=i%31+3; y=(i//31)+2
    MATH.append([(f"A box holds {x} pencils and costs {y} coins. How many pencils are in {y} boxes?", x*y),(f"Mina has {x*y+5} apples and gives away {y}. How many are left?", x*y+5-y),(f"A train with {y} cars has {x} seats in each car, and {x} are taken. How many seats are free?", x*y-x)][i%3])
R.shuffle(MATH)
SYS="Reason step by step between <think> and </think>, then give the final answer as \\boxed{...}."
dump('math.jsonl', [{'prompt': p+' Give the final answer as \\boxed{...}.','answer':str(n)} for p,n in MATH])
dump('math_chat.jsonl', [{'prompt': [{'role':'system','content':SYS},{'role':'user','content':p}],'answer':str(n)} for p,n in MATH])
dump('math_questions.jsonl', [{'question': p,'final':str(n)} for p,n in MATH])
dump('prompts.jsonl', [{'prompt':[{'role':'user','content':q(i)}]} for i in ids[:1024]])
dump('prompts_text.jsonl', [{'prompt': f"Write a short and friendly reply to this message: {q(i)}"} for i in ids[1024:1664]])
KT=['자전거','주전자','프린터','카메라','책상','램프','텐트','노트북']; KC=['서울','부산','대구','인천','광주','대전','제주']
dump('ko_chat.jsonl', [{'conversations':[{'from':'human','value':f"{KC[i%7]}에서 {KT[i%8]}를 {i+3}만 원에 샀는데 고장이 났어요. 어떻게 하나요?"},{'from':'gpt','value':f"불편을 드려 죄송합니다. {KC[i%7]} 매장에 영수증을 가져오시면 {KT[i%8]}를 {i%5+2}일 안에 고쳐 드립니다. 접수 번호는 {4000+i*13}입니다."}]} for i in range(600)])
DT=['das Fahrrad','der Drucker','die Lampe','das Zelt','die Kamera','der Schreibtisch']
dump('de_chat.jsonl', [{'messages':[{'role':'user','content':f"Seit {i%20+2} Tagen ist {DT[i%6]} aus {CITY[i%12]} defekt, Rechnung {7000+i}. Was nun?"},{'role':'assistant','content':f"Das tut uns leid. Bitte schicken Sie uns ein Foto zur Rechnung {7000+i}; dann ersetzen wir es innerhalb von {i%6+3} Werktagen."}]} for i in range(640)])
JT=['自転車','照明','印刷機','机','写真機','鞄']
dump('ja_instructions.jsonl', [{'instruction':'次の文を一言でまとめてください。','input':f"{JT[i%6]}を{i+5}円で買いましたが、{i%12+1}月に壊れました。",'output':f"{i%12+1}月に{i+5}円の{JT[i%6]}が壊れた。"} for i in range(640)])
TOOL={'type':'function','function':{'name':'order_status','description':'State of an order.','parameters':{'type':'object','properties':{'order':{'type':'integer','description':'Number of the order.'}},'required':['order']}}}
dump('tools.jsonl', [{'tools':[TOOL],'messages':[{'role':'user','content':f"Where is my {THINGS[i%25]}, order {20000+i*11}?"},{'role':'assistant','tool_calls':[{'type':'function','function':{'name':'order_status','arguments':{'order':20000+i*11}}}]},{'role':'tool','name':'order_status','content':f"left {CITY[i%12]} on day {i%28+1}"},{'role':'assistant','content':f"Your {THINGS[i%25]} left {CITY[i%12]} on day {i%28+1} and is on its way."}]} for i in range(480)])
# rows with a mistake, for the mistaken recipes
dump('kto_all_true.jsonl', [{'prompt':f"Customer: {q(i)}\nAgent:",'completion':' '+a(i),'label':True} for i in ids[:640]])
dump('instructions_copy.jsonl', INS[100:220])
dump('reports.jsonl', [{'messages':[{'role':'user','content':'Write a report about these notes. '+para(i)+' '+para(i+9000)},{'role':'assistant','content':para(i+12000)+' '+para(i+15000)}]} for i in range(480)])
dump('guests.jsonl', [{'messages':[{'speaker':'guest','words':q(i)},{'speaker':'clerk','words':a(i)}]} for i in ids[300:800]])
# own evaluation task
(out/'tasks').mkdir(exist_ok=True)
dump('heldout_products.jsonl', [{'question': f"Which product is meant? {q(i)}", 'choices':[THINGS[(i//12)%25],THINGS[(i//12+5)%25],THINGS[(i//12+11)%25],THINGS[(i//12+17)%25]], 'answer':0} for i in ids[2720:2820]])
(out/'tasks'/'product.yaml').write_text('''# Which product does the message speak of?
task: product
dataset_path: json
dataset_kwargs: {data_files: {test: data/heldout_products.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
''')
(out/'templates').mkdir(exist_ok=True)
(out/'templates'/'simple.jinja').write_text('''{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}''')
(out/'scripts').mkdir(exist_ok=True)
(out/'scripts'/'brief_reward.py').write_text('''"""Reward short, boxed answers."""


def brief(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 for a boxed answer in at most 200 words, less beyond."""
    found = []
    for completion in completions:
        words = len(completion.split())
        found.append((1.0 if words <= 200 else 200 / words) if "\\\\boxed{" in completion else 0.0)
    return found
''')
(out/'scripts'/'train_accelerate.py').write_text((Path(__file__).parents[3]/'recipes/own-script/train.py').read_text())
(out/'scripts'/'train_torchrun.py').write_text('''"""A causal model on lines of text, with DistributedDataParallel, started by torchrun."""

import argparse
import json
import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dist.init_process_group("nccl")
    local = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(local)
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    with open(args.data, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    sampler = DistributedSampler(texts, seed=args.seed)
    loader = DataLoader(texts, args.batch_size, sampler=sampler)
    model = AutoModelForCausalLM.from_pretrained(args.model).cuda(local)
    model = DistributedDataParallel(model, device_ids=[local])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    steps = args.epochs * len(loader)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for rows in loader:
            batch = tokenizer(rows, return_tensors="pt", padding=True, truncation=True, max_length=512).to(local)
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            with torch.autocast("cuda", torch.bfloat16):
                loss = model(**batch, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if dist.get_rank() == 0:
        model.module.save_pretrained(args.output_dir)
        tokenizer.save_pretrained(args.output_dir)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
''')
(out/'scripts'/'train_deepspeed.py').write_text('''"""A causal model on lines of text with DeepSpeed's engine, started by its launcher."""

import argparse
import json

import deepspeed
import torch
from torch.utils.data import DataLoader, DistributedSampler
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--micro-batch", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--deepspeed-config", required=True)
    parser.add_argument("--local_rank", type=int, default=-1)
    args = parser.parse_args()
    deepspeed.init_distributed()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(args.model, torch_dtype=torch.bfloat16)
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=args.deepspeed_config)
    with open(args.data, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    sampler = DistributedSampler(texts)
    loader = DataLoader(texts, args.micro_batch, sampler=sampler)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for rows in loader:
            batch = tokenizer(rows, return_tensors="pt", padding=True, truncation=True, max_length=512).to(engine.device)
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            engine.backward(engine(**batch, labels=labels).loss)
            engine.step()
    engine.save_16bit_model(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)


if __name__ == "__main__":
    main()
''')
