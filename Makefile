# One command for each thing one does here. `make test` is the whole truth; `make check` is the working loop.
PYTHON ?= python3
BIN := .venv/bin
FAST := $(addprefix tests/,unit golden bad rules doctor compose properties adopt metamorphic)

# A tool without bytecode takes twice as long to start, and tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup check test quickstart bench golden generated mutants clean

setup: $(BIN)/.ready

$(BIN)/.ready: pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else 'recipec needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: name another, as in make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12' % v[:2])"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

quickstart: setup
	$(BIN)/recipe run recipes/quickstart.yaml
	$(BIN)/recipe report quickstart

check: setup
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/pytest $(FAST) -m "not real and not conformance and not slow and not metamorphic" --numprocesses auto --dist worksteal

test: setup
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/pytest -m "not real and not conformance" --timeout 400 --numprocesses auto --dist worksteal
	$(BIN)/pytest -m "real or conformance" --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

bench: setup
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/many_compiles.py

golden: setup
	$(BIN)/pytest tests/golden tests/bad tests/rules tests/doctor tests/compose --update

generated: setup
	$(BIN)/recipe schema > docs/recipe.schema.json
	$(BIN)/python scripts/plan_schema.py > docs/plan.schema.json
	$(BIN)/python -m recipec.reference > docs/reference.md
	$(BIN)/python scripts/methods_table.py > docs/methods.md
	$(BIN)/python -m recipec.rules.catalogue > docs/rules.md
	$(BIN)/python scripts/findings.py > docs/findings.md
	$(BIN)/python scripts/pictures.py error

mutants: setup
	RECIPE_EXAMPLES=10 $(BIN)/python scripts/mutants.py $(FAST)

clean:
	rm -rf .venv build runs
