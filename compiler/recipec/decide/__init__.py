"""How a plan is decided: what was said (`said.py`), what stages hand on (`graph.py`), and the order of it all (`decision.py`)."""
