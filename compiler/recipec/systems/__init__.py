"""The systems: what each of them can do, and the tables and checks by which a stage becomes its files.

One protocol serves every system of every kind (`system.py`); they are registered in `registry.py`, and nothing else
here or elsewhere knows one by name.
"""
