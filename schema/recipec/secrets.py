"""What a secret looks like: by the name of its key, or by its own shape. And text in which none can be read.

The shapes are those that the issuers document and that gitleaks (config/gitleaks.toml) and detect-secrets (plugins)
look for, as far as they are certain: a word of the issuer's, then a length. What a hash, a git revision, a model or a
dataset may look like is no shape of a secret.
"""

from __future__ import annotations

import re
from functools import lru_cache

_SHAPES = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
      (?:hf_|api_org_)[A-Za-z0-9]{20,}                        # Hugging Face
    | sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}               # OpenAI, Anthropic, DeepSeek and others
    | (?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})
    | gl(?:pat|dt|ft|rt|soat|cbt|ptt|imt|oas|agent)-[A-Za-z0-9_-]{20,}
    | xox[abeoprs]-[A-Za-z0-9-]{10,} | xapp-[0-9]-[A-Za-z0-9-]{10,}
    | AIza[A-Za-z0-9_-]{35} | GOCSPX-[A-Za-z0-9_-]{20,} | ya29\.[A-Za-z0-9_-]{20,}
    | nvapi-[A-Za-z0-9_-]{20,}
    | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}   # JSON web token
    | wandb_v[0-9]_[A-Za-z0-9_]{20,}
    | (?:npm_|gsk_|r8_|dckr_pat_|dop_v1_|tgp_v[0-9]_|rk_live_|sk_live_|hvs\.|pypi-AgE|pplx-)[A-Za-z0-9_-]{20,}
    | dapi[a-f0-9]{32} | SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}
    )
    | -----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY(?:\ BLOCK)?-----(?:[A-Za-z0-9+/=\s\\]*-----END[A-Z ]*-----)?
    | https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}
    | (?<=://)[^\s/:@'"{}]*:(?!\$|\*|<|%\()[^\s/@'"]+(?=@)    # user and password of a URL
    | (?<=(?i:accountkey)=)[A-Za-z0-9+/]{40,}={0,2} | (?<=SharedAccessKey=)[A-Za-z0-9+/]{40,}={0,2}
    | (?<![\w-])(?i:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?token|client[_-]?secret)=(?![$<*{\[])[^\s;&,'"]{6,}
    """,
    re.VERBOSE,
)
_NAME = re.compile(
    r"(?:^|_)(?:token|secrets?|passw(?:or)?d|passphrase|passwort|pwd|credentials?|api_?keys?"
    r"|(?:access|secret|private|auth|account|signing|encryption|service|client|master|license|wandb|openai|anthropic|azure|hf)_?key"
    r"|conn(?:ection)?_?str(?:ing)?|webhook(?:_url)?|(?:basic|http|proxy)_auth)$"
    r"|^(?:[A-Z0-9]+_)+(?:PASS|PW|DSN|AUTH)$|^(?:db|user|smtp|mail|mysql|postgres|pg|redis|mongo|ftp|proxy)_?pass$"
)
# A token of a text: `<pad>`, `[MASK]`, or one of a tokenizer's words for it
_TOKEN_OF_TEXT = re.compile(
    r"(?:^|_)(?:bos|eos|eot|eod|pad|unk|sep|cls|mask|stop|end|begin|start|special|image|audio|video|think|think_start|think_end|tool)_token$"
)
_HEXADECIMAL = re.compile(r"[0-9a-f]{40}")
# What stands under such a name and is none: a switch, a path, a token of a text, what is set elsewhere
_PLAIN = re.compile(
    r"(?i:true|false|yes|no|none|null|auto|[0-9.]{1,4})|[<\[].*[>\]]|(?:~|\.{0,2})/[\w./-]*"
    r"|[\w.-]+(?:/[\w.-]+)*\.(?:json|pem|key|crt|txt|ya?ml)|\$\{?\w+\}?"
)
# A name and its value as YAML, JSON, a shell or a command line write them
_ASSIGNED = re.compile(
    r"""([A-Za-z][\w.-]*)["']?
    (?:\s*[:=]\s*("(?:[^"\\]|\\.)*"|'[^']*') | =([^\s,{}\[\]"'#]+) | \s*:\s+([^\s,{}\[\]"'#][^,}#\n]*))""",
    re.VERBOSE,
)


def is_named(name: str, value: str) -> bool:
    """Return whether a value under a key is a secret, by the name of the key."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").rpartition(".")[2]
    if not value or _PLAIN.fullmatch(value):
        return False
    low = word.lower()
    if "wandb" in low and _HEXADECIMAL.fullmatch(value):
        return True
    known = _NAME.search(low) or _NAME.search(word)
    return known is not None and not _TOKEN_OF_TEXT.search(low)


def has_shape(text: str) -> bool:
    """Return whether a text holds what looks like a secret."""
    return _SHAPES.search(text) is not None


def shapes(text: str) -> list[tuple[int, int]]:
    """Return where in a text something looks like a secret, as begins and ends."""
    return [found.span() for found in _SHAPES.finditer(text)]


def hidden(text: str, known: tuple[str, ...] = ()) -> str:
    """Return text of the same length in which no secret can be read: neither by its shape, nor one that is known."""
    for value in known:
        text = text.replace(value, "*" * len(value))
    return _SHAPES.sub(lambda found: "*" * len(found[0]), text)


@lru_cache(maxsize=16)
def named_in(text: str) -> tuple[str, ...]:
    """Return the values in a text that are secrets by the names that stand before them, longest first."""
    found: set[str] = set()
    for name, quoted, word, plain in _ASSIGNED.findall(text):
        bare = quoted[1:-1] or word or plain.strip()
        if len(bare) > 3 and "${" not in bare and is_named(name, bare):
            found.add(bare)
    return tuple(sorted(found, key=lambda value: (-len(value), value)))
