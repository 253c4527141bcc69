"""Mistakes that people, editors and attackers make in a recipe: one function each, from bytes to bytes."""

import re
from collections.abc import Callable
from random import Random

ODD = [
    b"\t", b"\0", b"\x1b[2J", b"\x7f", b"\x85", "\x85".encode(), "\u2028".encode(), "\u2029".encode(), b"\xff", b"\xc3",
    b"\xed\xa0\x80", "\ufeff".encode(), "한국어 모델".encode(), "🦙🏽".encode(), "👩‍🚀".encode(), "مرحبا".encode(), "\u202egnp".encode(),
    "e\u0301\u20dd".encode(), "ﬁ²٣".encode(), b"\r", b"\r\n", b"\n", b"'", b'"', b": ", b"#", b"&a ", b"*a", b"!!int ", b"|\n",
    b"---\n", b"...\n", b"<<: *a\n", b"? ", b"- ", b"{", b"}", b"[", b"]", b",", b"%YAML 1.1\n", b"@", b"`", "…".encode(),
]  # fmt: skip
VALUES = [
    "0", "-1", "1", "2", "3", "7", "1.0", "0.5", "1e-4", "1e400", "-1e-400", ".nan", ".inf", "-.inf", "9" * 30, "9" * 399, "9" * 5000,
    "0x" + "f" * 300, "0o17", "1_000", "true", "no", "null", "~", "''", '"\\0"', '"\\n"', '"a\\x07b"', '"\\U0001F999"', "[]", "{}", "[1, [2]]",
    "{a: 1}", "{a..b: 1}", "{'': 1}", "{'[': 1}", "{1: 2}", "[a, b]", "100%", "50%", "99.99%", "100.5%", "0%", "epoch", "auto", "none",
    "hf_abcdefghijklmnopqrstuvwx", "a" * 300, "한국어", "$(id)", "../../x", "*x", "&x 1", "[*x]", "!!str 5", "!!binary x", "!x y", "2024-01-01",
    "1:30", "%", "@x", "`x`", "x: y", "\"unclosed", "'unclosed", "[unclosed", "{unclosed", "|", ">-", "data/x.jsonl", "data/x.csv",
    "zero3", "fsdp2", "zero1", "ddp", "single", "cpu", "nvme", "nf4", "int8", "fp16", "fp32", "bf16", "h100-80gb", "t4", "dpo", "pretrain", "sft",
    "text", "chat", "preference", "instruction", "vllm", "adamw_8bit", "muon", "lora", "llama3", "eager", "tuned", "[base]", "cosine_with_min_lr",
]  # fmt: skip
_VALUE = re.compile(rb"(?<=: )[^\s,{}\[\]#][^,{}\[\]#\n]*")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]+(?=:)")


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True) or [b""]


def delete_line(r: Random, data: bytes) -> bytes:
    lines = _lines(data)
    del lines[r.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(r: Random, data: bytes) -> bytes:
    lines = _lines(data)
    lines.insert(r.randrange(len(lines) + 1), r.choice(lines))
    return b"".join(lines)


def swap_lines(r: Random, data: bytes) -> bytes:
    lines = _lines(data)
    i, j = r.randrange(len(lines)), r.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def _replace(r: Random, data: bytes, pattern: re.Pattern[bytes], make: Callable[[bytes], bytes]) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data
    match = r.choice(found)
    return data[: match.start()] + make(match[0]) + data[match.end() :]


def change_value(r: Random, data: bytes) -> bytes:
    return _replace(r, data, _VALUE, lambda _old: r.choice(VALUES).encode())


def borrow_value(r: Random, data: bytes) -> bytes:
    others = _VALUE.findall(data) or [b"x"]
    return _replace(r, data, _VALUE, lambda _old: r.choice(others))


def quote_value(r: Random, data: bytes) -> bytes:
    return _replace(r, data, _VALUE, lambda old: b'"' + old.replace(b'"', b"") + b'"')


def odd_value(r: Random, data: bytes) -> bytes:
    return _replace(
        r, data, _VALUE, lambda old: b'"' + r.choice(ODD).replace(b'"', b"") + old.replace(b'"', b"") + b'"'
    )


def misspell(r: Random, data: bytes) -> bytes:
    def wrong(word: bytes) -> bytes:
        i = r.randrange(len(word))
        return r.choice([word[:i] + word[i + 1 :] or b"x", word[:i] + word[i : i + 1] + word[i:], word.upper()])

    return _replace(r, data, _WORD, wrong)


def borrow_key(r: Random, data: bytes) -> bytes:
    words = _WORD.findall(data) or [b"x"]
    return _replace(r, data, _WORD, lambda _old: r.choice(words))


def odd_key(r: Random, data: bytes) -> bytes:
    return _replace(
        r,
        data,
        _WORD,
        lambda old: r.choice(
            [b'"a..b"', b"''", b'"["', b"1", b"~", b"? [a]", b'"\\0"', b"a.b", b"[0]", old + r.choice(ODD)]
        ),
    )


def indent(r: Random, data: bytes) -> bytes:
    lines = _lines(data)
    i = r.randrange(len(lines))
    lines[i] = r.choice([b" ", b"  ", b"\t", b"    ", b"- "]) + lines[i]
    return b"".join(lines)


def insert_odd(r: Random, data: bytes) -> bytes:
    i = r.randrange(len(data) + 1)
    return data[:i] + r.choice(ODD) + data[i:]


def delete_bytes(r: Random, data: bytes) -> bytes:
    i = r.randrange(len(data) + 1)
    return data[:i] + data[i + r.randint(1, 6) :]


def cut(r: Random, data: bytes) -> bytes:
    return data[: r.randrange(len(data) + 1)]


def line_breaks(r: Random, data: bytes) -> bytes:
    return data.replace(b"\n", r.choice([b"\r\n", b"\r", b"\n\n", "\u2028".encode(), "\x85".encode()]))


def byte_order_mark(r: Random, data: bytes) -> bytes:
    return r.choice(
        [b"\xef\xbb\xbf" + data, b"\xef\xbb\xbf" * 2 + data, data.decode("utf-8", "replace").encode("utf-16")]
    )


def latin_1(r: Random, data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode("latin-1", "replace") + r.choice([b"", b"# caf\xe9\n", b"x: \xe9"])


def deepen(r: Random, data: bytes) -> bytes:
    depth = r.choice([3, 62, 63, 64, 65, 5000])
    opened, closed = r.choice([(b"[", b"]"), (b"{a: ", b"}")])
    return _replace(r, data, _VALUE, lambda old: opened * depth + old + closed * depth)


def anchor(r: Random, data: bytes) -> bytes:
    data = _replace(r, data, _VALUE, lambda old: b"&a " + old)
    return _replace(r, data, _VALUE, lambda _old: b"*a")


def override(r: Random, data: bytes) -> bytes:
    tool = r.choice(["axolotl", "deepspeed", "accelerate", "lm_eval", "transformers"])
    key = r.choice(
        [
            "micro_batch_size",
            "plugins",
            "strict",
            "a..b",
            "'a b'",
            "limit",
            "zero_optimization",
            "fsdp_config",
            "special_tokens",
            "1",
        ]
    )
    return data + f"\noverrides: {{{tool}: {{{key}: {r.choice(VALUES)}}}}}\n".encode()


MUTATIONS: list[Callable[[Random, bytes], bytes]] = [
    delete_line, repeat_line, swap_lines, change_value, change_value, change_value, borrow_value, quote_value, odd_value, misspell, borrow_key,
    odd_key, indent, insert_odd, delete_bytes, cut, line_breaks, byte_order_mark, latin_1, deepen, anchor, override,
]  # fmt: skip


def mutant(r: Random, data: bytes) -> bytes:
    """Return `data` with one to three mistakes in it."""
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        data = r.choice(MUTATIONS)(r, data)
    return data
