# make demo   export the shipped weights and answer the example scan
# make test   the test suite, with coverage
# make slow   the long tests: real images, large backbones, start-up and memory
# make check  ruff, mypy, layers, wheel contents
# make bench  the benchmarks
# make gpu    all that needs a GPU; skips, with reasons, what cannot run here
# Each works on a fresh machine with Python 3.11 or newer, and can be run again.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := bench export models runtime training

.PHONY: demo test slow check bench gpu format clean .typecheck

demo: $(VENV)/light.installed
	$(BIN)/bt-export --precision fp16
	$(BIN)/bt-infer examples/scan.png --bundle bundles/fp16 --engine onnxruntime-cpu --format table

test: $(VENV)/dev.installed
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow and not gpu and not ratio" --benchmark-disable $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

slow: $(VENV)/dev.installed
	$(BIN)/pytest -m "slow and not gpu and not ratio" --benchmark-disable $(ARGS)

check: $(VENV)/dev.installed .typecheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.typecheck $(BIN)/mypy --package braintumor
	$(BIN)/pytest -q tests/test_layers.py tests/test_wheel.py

bench: $(VENV)/dev.installed
	$(BIN)/pytest tests/benchmarks $(ARGS)
	$(BIN)/pytest -m ratio tests/bench
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/memory.py

gpu: $(VENV)/dev.installed
	$(BIN)/python bench/gpu_suite.py $(ARGS)

format: $(VENV)/dev.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot follow setup.cfg's mapping of root folders to sub-packages: it gets the tree as a user imports it.
.typecheck:
	mkdir -p .typecheck/braintumor
	cd .typecheck/braintumor && ln -sf ../../braintumor/* . && ln -sfn $(foreach name,$(PACKAGES),../../$(name)) .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/light.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[cpu]'
	touch $@

$(VENV)/dev.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench,cpu,export,train,dev]'
	touch $@ $(VENV)/light.installed

clean:
	rm -rf $(VENV) .typecheck .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
