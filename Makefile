# make demo · make quick · make test · make long · make check · make lowest · make adversary · make bench · make lecture: each sets up .venv first if it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo quick test long check lowest adversary bench lecture clean

demo: $(READY)
	$(BIN)/aepipe demo -o demo

# What takes less than 90 seconds on two cores: no training, no environments.
QUICK := -m pytest -n 2 -m "not trains and not slow and not gpu"

quick: check
	$(BIN)/python $(QUICK)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

# The programs that make documents, each in a short form.
long: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Hostile inputs and kills: their table goes to docs/security.md.
adversary: $(READY)
	$(BIN)/python -m tests.adversary.campaign --page docs/security.md

# The quick tests with the lowest versions that pyproject.toml names.
LOWEST := .venv-lowest
lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python $(QUICK)

$(LOWEST)/.ready: pyproject.toml lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: -c lowest.txt -e '.[train,test]'
	touch $@

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e plugins/aepipe-openvino -e plugins/aepipe-science
	$(BIN)/python -m tests.programs.bench -o docs/benchmarks.md

lecture: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e plugins/aepipe-flow
	$(BIN)/python docs/lecture.py -o docs/lecture

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,test]'
	touch $(READY)

clean:
	rm -rf $(VENV) $(LOWEST) demo build dist
