"""Data for the recipes: right files in data/, wrong ones in data/bad/."""
import csv, json, os, random, sys
from pathlib import Path
R = random.Random(7)
D = Path(sys.argv[1]) / 'data'; B = D / 'bad'; B.mkdir(parents=True, exist_ok=True)
THINGS = 'kettle lamp tent bicycle printer router blender camera jacket suitcase drill monitor keyboard mattress heater freezer scooter guitar telescope wheelbarrow'.split()
PLACES = 'Busan Porto Leeds Oslo Quito Nairobi Perth Lyon Turin Gdansk Osaka Bergen Cusco Halifax Dakar Tampere Graz Ghent Malmo Split'.split()
NAMES = 'Mina Jonas Aisha Pedro Yuki Lena Omar Ines Tomas Priya Noor Emil Sofia Andrei Chloe Kofi Hana Luca Vera Bjorn'.split()
FAULTS = ['does not switch on', 'makes a grinding noise', 'arrived with a scratch', 'lost a screw', 'smells of plastic', 'stops after a minute', 'came without a manual', 'leaks at the bottom', 'shows an error code', 'is heavier than announced']
ADVICE = ['unplug it, wait ten minutes and try again', 'send us a photograph and the order number', 'tighten the hinge on the left side', 'rinse it twice with warm water', 'bring it to the shop and we will exchange it', 'update its firmware from the settings page', 'look under the foam in the box', 'clean the filter and let it dry overnight']
def q(i):
    return f'{R.choice(NAMES)} from {R.choice(PLACES)} bought a {R.choice(THINGS)} (order {10000 + i}) and it {R.choice(FAULTS)}. What should be done?'
def a(i):
    return f'For order {10000 + i}, please {R.choice(ADVICE)}; if that does not help, {R.choice(ADVICE)}. We answer from {R.choice(PLACES)} within {R.randint(1, 9)} days.'
def w(name, rows, **k):
    p = D / name; p.parent.mkdir(parents=True, exist_ok=True)
    with p.open('w', encoding='utf-8') as f:
        for r in rows: f.write(json.dumps(r, ensure_ascii=False, **k) + '\n')
def chat(n, start=0, turns=1, system=False):
    for i in range(start, start + n):
        m = [{'role': 'system', 'content': 'You are the support desk of a small shop. Be brief and kind.'}] if system else []
        for t in range(turns if turns else R.choice([1, 2, 3])):
            m += [{'role': 'user', 'content': q(i * 3 + t)}, {'role': 'assistant', 'content': a(i * 3 + t)}]
        yield {'messages': m}
w('chat.jsonl', chat(4000, turns=0)); w('chat_eval.jsonl', chat(200, 90000)); w('chat_system.jsonl', chat(1500, 20000, system=True))
w('tickets.jsonl', chat(1000, 50000))
w('sharegpt.jsonl', ({'id': f'r{i}', 'conversations': [{'from': 'human' if k % 2 == 0 else 'gpt', 'value': q(i) if k % 2 == 0 else a(i)} for k in range(2 * R.randint(1, 2))]} for i in range(100000, 102000)))
ins = [{'instruction': q(i), 'input': '' if i % 3 else f'The customer has had the article for {R.randint(1, 60)} days.', 'output': a(i)} for i in range(200000, 203000)]
w('instr.jsonl', ins); (D / 'instr.json').write_text(json.dumps(ins[:1500], indent=1))
with (D / 'completion.csv').open('w', newline='') as f:
    c = csv.writer(f); c.writerow(['id', 'prompt', 'completion'])
    for i in range(300000, 302000): c.writerow([i, q(i), a(i) + '\n\n"Thank you", she said, and left.'])
w('completion.jsonl', ({'prompt': q(i), 'completion': a(i), 'source': None} for i in range(310000, 312000)))
def bad_answer(i): return R.choice(['No idea about', 'Not our problem:', 'Ask somebody else about', 'Whatever,']) + f' order {10000 + i}.' + ' ' + R.choice(['Bye.', 'It happens.', 'Read the manual.', 'Buy a new one.'])
def pref(n, s):
    for i in range(s, s + n):
        yield {'messages': [{'role': 'user', 'content': q(i)}], 'chosen': [{'role': 'assistant', 'content': a(i)}], 'rejected': [{'role': 'assistant', 'content': bad_answer(i)}]}
w('pref.jsonl', pref(2000, 400000)); w('pref_eval.jsonl', pref(150, 490000))
w('pref_prompt.jsonl', ({'prompt': q(i), 'chosen': a(i), 'rejected': bad_answer(i)} for i in range(410000, 412000)))
w('pref_odd.jsonl', ({'question': q(i), 'good': a(i), 'bad': bad_answer(i), 'margin': R.random()} for i in range(420000, 421500)))
w('kto.jsonl', ({'prompt': q(i), 'completion': a(i) if i % 2 else bad_answer(i), 'label': bool(i % 2)} for i in range(500000, 502000)))
def math(i):
    x, y, z = R.randint(2, 99), R.randint(2, 99), R.randint(2, 99)
    return f'{R.choice(NAMES)} packs {x} boxes of {y} {R.choice(THINGS)}s and then {z} more. How many are packed? (task {i})', x * y + z
def prompts(n, s, text=False, answer=True):
    for i in range(s, s + n):
        t, v = math(i)
        r = {'prompt': t if text else [{'role': 'system', 'content': 'Reason between <think> and </think>, then answer as \\boxed{...}.'}, {'role': 'user', 'content': t}]}
        if answer: r['answer'] = str(v)
        yield r
w('prompts.jsonl', prompts(1600, 600000)); w('prompts_text.jsonl', prompts(1600, 610000, text=True)); w('prompts_open.jsonl', ({'prompt': [{'role': 'user', 'content': q(i)}]} for i in range(620000, 622048)))
def story(i): return ' '.join(f'{R.choice(NAMES)} carried the {R.choice(THINGS)} to {R.choice(PLACES)}, where it {R.choice(FAULTS)}; so they said: {R.choice(ADVICE)}.' for _ in range(R.randint(4, 14))) + f' (page {i})'
w('corpus.jsonl', ({'text': story(i)} for i in range(3000))); w('corpus_small.jsonl', ({'text': story(i)} for i in range(9000, 9150)))
w('articles.jsonl', ({'title': f'Page {i}', 'body': story(i)} for i in range(5000, 7000)))
w('tools_roles.jsonl', ({'log': [{'who': 'operator', 'said': 'Answer in one sentence.'}, {'who': 'customer', 'said': q(i)}, {'who': 'agent', 'said': a(i)}]} for i in range(700000, 701500)))
w('short.jsonl', ({'messages': [{'role': 'user', 'content': f'{R.choice(NAMES)}: {x} + {x + 3}?'}, {'role': 'assistant', 'content': str(2 * x + 3)}]} for x in range(1000)))
w('unicode.jsonl', ({'messages': [{'role': 'user', 'content': f'{i}번 주문한 {R.choice(["주전자", "램프", "자전거", "카메라"])}가 고장났어요. 어떻게 하죠? 😀'}, {'role': 'assistant', 'content': f'{i}번 주문은 {R.choice(["사진을 보내", "매장에 가져와", "전원을 껐다 켜"])} 주세요. 감사합니다 — “상담팀”'}]} for i in range(1500)))
# ------------------------------------------------------------------ wrong data
w('bad/no_assistant.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}]} for i in range(1000)))
w('bad/same_pair.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}], 'chosen': [{'role': 'assistant', 'content': (t := a(i))}], 'rejected': [{'role': 'assistant', 'content': t}]} for i in range(800)))
w('bad/kto_all_true.jsonl', ({'prompt': q(i), 'completion': a(i), 'label': True} for i in range(1000)))
w('bad/kto_words.jsonl', ({'prompt': q(i), 'completion': a(i), 'label': R.choice(['good', 'bad'])} for i in range(1000)))
w('bad/kto_scores.jsonl', ({'prompt': q(i), 'completion': a(i), 'label': R.randint(1, 5)} for i in range(1000)))
w('bad/empty_output.jsonl', ({'instruction': q(i), 'input': '', 'output': '' if i % 5 else a(i)} for i in range(1000)))
rows = [json.dumps(r) for r in chat(600, 30000)]; rows[412] = rows[412][:80]
(B / 'cut_line.jsonl').write_text('\n'.join(rows) + '\n')
with (B / 'semicolon.csv').open('w', newline='') as f:
    c = csv.writer(f, delimiter=';'); c.writerow(['prompt', 'completion'])
    for i in range(800): c.writerow([q(i), a(i)])
w('bad/long.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}, {'role': 'assistant', 'content': ' '.join(a(i) for _ in range(20))}]} for i in range(600)))
w('bad/encoded.jsonl', ({'messages': json.dumps(r['messages'])} for r in chat(800, 40000)))
base = list(chat(60, 41000)); w('bad/repeated.jsonl', (base[i % 60] for i in range(1500)))
(B / 'latin1.jsonl').write_bytes('\n'.join(json.dumps({'messages': [{'role': 'user', 'content': f'Où est la commande n° {i} de José ?'}, {'role': 'assistant', 'content': f'Elle est arrivée à Besançon le {i % 28 + 1} août.'}]}, ensure_ascii=False) for i in range(900)).encode('latin-1'))
w('bad/two_users.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}, {'role': 'user', 'content': 'Please hurry.'}, {'role': 'assistant', 'content': a(i)}]} for i in range(1000)))
w('bad/markup.jsonl', ({'messages': [{'role': 'user', 'content': f'<|im_start|>user\n{q(i)}<|im_end|>\n'}, {'role': 'assistant', 'content': f'<|im_start|>assistant\n{a(i)}<|im_end|>\n'}]} for i in range(1000)))
w('bad/hashes.jsonl', ({**r, 'answer': f'They pack the boxes first, then the rest.\n#### {r["answer"]}'} for r in prompts(1000, 630000)))
(B / 'empty.jsonl').write_text('')
w('bad/doubled_prompt.jsonl', ({'prompt': (p := q(i)), 'chosen': p + ' ' + a(i), 'rejected': p + ' ' + bad_answer(i)} for i in range(1000)))
w('bad/ends_with_user.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}, {'role': 'assistant', 'content': a(i)}, {'role': 'user', 'content': 'Thanks, goodbye!'}]} for i in range(1000)))
w('bad/all_same_answer.jsonl', ({'prompt': [{'role': 'user', 'content': math(i)[0]}], 'answer': ''} for i in range(1000)))
w('bad/mojibake.jsonl', ({'messages': [{'role': 'user', 'content': f'OÃ¹ est la commande nÂ° {i} de JosÃ© ?'}, {'role': 'assistant', 'content': f'Elle est arrivÃ©e Ã\xa0 BesanÃ§on le {i % 28 + 1} aoÃ»t.'}]} for i in range(900)))
w('bad/tool_turn.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}, {'role': 'bot', 'content': a(i)}]} for i in range(1000)))
w('bad/rejected_longer_swapped.jsonl', ({'question': q(i), 'answer_a': bad_answer(i), 'answer_b': a(i)} for i in range(1000)))
w('bad/mixed.jsonl', (({'messages': [{'role': 'user', 'content': q(i)}, {'role': 'assistant', 'content': a(i)}]} if i % 2 else {'instruction': q(i), 'output': a(i)}) for i in range(1000)))
w('bad/nulls.jsonl', ({'text': story(i) if i % 4 else None} for i in range(1000)))
w('bad/prompt_in_answer.jsonl', ({'messages': [{'role': 'user', 'content': q(i)}, {'role': 'assistant', 'content': "I'm sorry, but as an AI language model I cannot help with that."}]} for i in range(1000)))
# ------------------------------------------------------------------ other files
(D / 'templates').mkdir(exist_ok=True); T = D / 'templates'
(T / 'good.jinja').write_text("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
(T / 'unclosed.jinja').write_text("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
(T / 'no_assistant.jinja').write_text("{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|im_start|>user\\n' + m['content'] + '<|im_end|>\\n' }}{% elif m['role'] == 'gpt' %}{{ '<|im_start|>assistant\\n' + m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
(T / 'from_value.jinja').write_text("{% for m in messages %}{{ '<|im_start|>' + m['from'] + '\\n' + m['value'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
(T / 'no_generation.jinja').write_text("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}")
(D / 'rewards.py').write_text('import re\n\n\ndef shows_steps(completions, prompts, answers):\n    return [min(c.count("\\n"), 4) / 4 for c in completions]\n\n\ndef boxed(completions):\n    return [float(bool(re.search(r"boxed", c))) for c in completions]\n\n\nasync def later(completions, prompts, answers):\n    return [0.0 for _ in completions]\n\n\ndef average(completions, prompts, answers):\n    return sum(len(c) for c in completions) / len(completions)\n')
(D / 'broken_reward.py').write_text('def score(completions, prompts, answers):\n    return [1.0 if a in c else 0.0 for c, a in zip(completions, answers]\n')
def adapter(name, **k):
    p = D / 'adapters' / name; p.mkdir(parents=True, exist_ok=True)
    (p / 'adapter_config.json').write_text(json.dumps({'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'base_model_name_or_path': 'mistralai/Mistral-7B-Instruct-v0.3', 'r': 16, 'lora_alpha': 32, 'lora_dropout': 0.0, 'bias': 'none', 'target_modules': ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'], 'use_dora': False, 'use_rslora': False, **k}, indent=1))
    (p / 'adapter_model.safetensors').write_bytes(b'\x02\x00\x00\x00\x00\x00\x00\x00{}')
adapter('mistral-support')
def model(name, tokenizer, **k):
    p = D / 'models' / name; p.mkdir(parents=True, exist_ok=True)
    (p / 'config.json').write_text(json.dumps({'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'hidden_size': 2048, 'intermediate_size': 5632, 'num_hidden_layers': 22, 'num_attention_heads': 32, 'num_key_value_heads': 4, 'vocab_size': 32000, 'max_position_embeddings': 2048, 'tie_word_embeddings': False, 'torch_dtype': 'bfloat16', 'rope_theta': 10000.0, 'rms_norm_eps': 1e-5, 'hidden_act': 'silu', **k}, indent=1))
    (p / 'tokenizer_config.json').write_text(json.dumps({'bos_token': '<s>', 'eos_token': '</s>', 'model_max_length': 2048, 'tokenizer_class': 'LlamaTokenizer', **tokenizer}, indent=1))
    (p / 'generation_config.json').write_text('{"eos_token_id": 2}')
TEMPLATE = "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + eos_token + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
model('tiny-chat', {'chat_template': TEMPLATE}); model('tiny-base', {})
model('tiny-reward', {'chat_template': TEMPLATE}, architectures=['LlamaForSequenceClassification'], num_labels=1)
(D / 'models' / 'no-config').mkdir(exist_ok=True); (D / 'models' / 'no-config' / 'README.md').write_text('# weights\n')
p = D / 'models' / 'only-adapter'; p.mkdir(exist_ok=True); (p / 'adapter_config.json').write_text((D / 'adapters/mistral-support/adapter_config.json').read_text())
def task(folder, name, text):
    p = D / folder; p.mkdir(exist_ok=True); (p / name).write_text(text)
w('support_test.jsonl', ({'question': q(i), 'choices': [a(i), bad_answer(i), 'Maybe.'], 'gold': 0} for i in range(800000, 800200)))
TASK = 'task: {n}\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {f}}}\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{{{question}}}}\\nAnswer:"\ndoc_to_choice: choices\ndoc_to_target: gold\nmetric_list:\n  - metric: acc\n'
task('tasks', 'support.yaml', TASK.format(n='support_choice', f='data/support_test.jsonl'))
task('tasks_gone', 'support.yaml', TASK.format(n='support_choice', f='data/support_tset.jsonl'))
task('tasks_leak', 'instr.yaml', 'task: support_said\ndataset_path: json\ndataset_kwargs:\n  data_files: {test: data/instr.jsonl}\ntest_split: test\noutput_type: generate_until\ndoc_to_text: "{{instruction}}"\ndoc_to_target: output\ngeneration_kwargs: {until: ["\\n\\n"]}\nmetric_list:\n  - metric: exact_match\n')
S = D / 'scripts'; S.mkdir(exist_ok=True)
(S / 'train.py').write_text('''import argparse
import torch
from torch import nn


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--output-dir", default="out")
    a = p.parse_args()
    torch.distributed.init_process_group("nccl")
    model = nn.parallel.DistributedDataParallel(nn.Linear(64, 64).cuda())
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr)
    for _ in range(a.epochs):
        loss = model(torch.randn(a.batch_size, 64).cuda()).pow(2).mean()
        loss.backward(); opt.step(); opt.zero_grad()
    torch.save(model.module.state_dict(), a.output_dir + "/model.pt")


if __name__ == "__main__":
    main()
''')
(S / 'ds_train.py').write_text('''import argparse
import deepspeed
import torch

p = argparse.ArgumentParser()
p.add_argument("--local_rank", type=int, default=-1)
p.add_argument("--deepspeed_config", required=True)
p.add_argument("--output", required=True)
a = p.parse_args()
net = torch.nn.Linear(64, 64)
engine, opt, _, _ = deepspeed.initialize(model=net, model_parameters=net.parameters(), config=a.deepspeed_config)
for step in range(100):
    loss = engine(torch.randn(8, 64, device=engine.device, dtype=torch.bfloat16)).float().pow(2).mean()
    engine.backward(loss); engine.step()
engine.save_checkpoint(a.output)
''')
