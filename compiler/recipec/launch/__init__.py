"""Launchers: from jobs to the scripts that start them. One line here for each."""

from __future__ import annotations

from recipec.launch import local, nodes
from recipec.launch.launcher import Launcher

LAUNCHERS: dict[str, Launcher] = {one.name: one for one in (local.LAUNCHER, nodes.LAUNCHER)}


def launcher(name: str) -> Launcher:
    """Return a launcher. Raises KeyError when there is none of that name."""
    return LAUNCHERS[name]
