# make setup   .venv with the command nand      make demo   the whole pipeline on the generated data set
# make test    everything that CI runs       make lint   style, floors (which package may import which), types
# make bench   NAND beside its peers, a quarter of an hour: benchmarks/peers.md
# make rehearsal   the paper's setting (profiles/mvtec_ad.yaml) on a drawn miniature with small random models
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo bench rehearsal test lint clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV): Python's environment, then the packages (about 3 GB with PyTorch, a minute or more)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --compile-bytecode --constraint constraints.txt --editable '.[test]'
	touch $@

demo: setup
	$(BIN)/nand repro

bench: setup
	$(BIN)/python -m benchmarks.peers

rehearsal: setup
	$(BIN)/python -m benchmarks.rehearsal

lint: setup
	$(BIN)/lint-imports
	$(BIN)/ruff check .
	$(BIN)/mypy

test: setup lint
	$(BIN)/python -m pytest

clean:
	rm -rf .nand artifacts results data/demo
