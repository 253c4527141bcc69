"""The part of pip's configuration that uv, which does not read it, needs as well. Works without pip."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

PYPI = "https://pypi.org/simple"
_MANY = ("find-links", "extra-index-url", "trusted-host")
_READ = (*_MANY, "index-url", "no-index", "cert", "timeout", "proxy")


class PipSettings(NamedTuple):
    """The settings that decide where packages come from, named as in pip."""

    find_links: tuple[str, ...] = ()
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    trusted_host: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None
    timeout: str | None = None
    proxy: str | None = None


def read_pip_settings(variables: Mapping[str, str], files: Iterable[Path] | None = None) -> PipSettings:
    """Return pip's settings: its files (global, user, of this interpreter, PIP_CONFIG_FILE), then PIP_* variables.

    Later ones override earlier ones. In each file, [install] overrides [global], as in pip. Files that cannot be read
    count as empty.
    """
    found: dict[str, str] = {}
    for file in _files(variables) if files is None else files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for name in _READ:
        value = variables.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            found[name] = value
    timeout = variables.get("PIP_DEFAULT_TIMEOUT") or found.get("default-timeout")
    many = {name: tuple(found.get(name, "").split()) for name in _MANY}
    return PipSettings(
        find_links=many["find-links"],
        index_url=found.get("index-url"),
        extra_index_url=many["extra-index-url"],
        trusted_host=many["trusted-host"],
        no_index=found.get("no-index", "").lower() in ("1", "true", "yes", "on"),
        cert=found.get("cert"),
        timeout=found.get("timeout") or timeout,
        proxy=found.get("proxy"),
    )


def _files(variables: Mapping[str, str]) -> list[Path]:
    """Return the files that pip reads; later ones override earlier ones. None when PIP_CONFIG_FILE is the null device."""
    named = variables.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(variables.get("HOME") or Path.home())
    shared = [Path(folder) / "pip" for folder in variables.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    own = Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "pip"
    if sys.platform == "darwin":
        own = home / "Library" / "Application Support" / "pip" if (home / "Library").is_dir() else own
        shared = [Path("/Library/Application Support/pip")]
    folders = [*shared, Path("/etc"), home / ".pip", own, Path(sys.prefix)]
    return [folder / "pip.conf" for folder in folders] + ([Path(named)] if named else [])


def uv_flags(settings: PipSettings, variables: Mapping[str, str]) -> list[str]:
    """Return the equivalent options for `uv pip install`. Settings that UV_* variables already make are left out.

    `unsafe-best-match` is what pip does with several indexes: look in all of them and take the best version. The main
    index comes first, since uv takes all wheels of a release from the first index that has it.
    """
    names = variables.keys()
    flags: list[str] = []
    if "UV_FIND_LINKS" not in names:
        flags += [part for place in settings.find_links for part in ("--find-links", place)]
    if not names & {"UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"}:
        urls = (settings.index_url or PYPI, *settings.extra_index_url)
        flags += [part for url in urls for part in ("--index", url)]
        flags += ["--default-index", settings.index_url] if settings.index_url else []
    if settings.no_index:
        flags.append("--no-index")
    if "UV_INSECURE_HOST" not in names:
        flags += [part for host in settings.trusted_host for part in ("--allow-insecure-host", host)]
    if "UV_INDEX_STRATEGY" not in names:
        flags += ["--index-strategy", "unsafe-best-match"]
    return flags


def uv_variables(settings: PipSettings, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that uv needs besides its options: certificates, proxy, timeout."""
    wanted = {
        "SSL_CERT_FILE": settings.cert,
        "HTTPS_PROXY": settings.proxy,
        "HTTP_PROXY": settings.proxy,
        "UV_HTTP_TIMEOUT": settings.timeout,
    }
    return {name: value for name, value in wanted.items() if value and name not in variables}
