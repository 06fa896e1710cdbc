# make demo   export the shipped weights and answer the example scan
# make test   the test suite, with coverage
# make slow   the long tests: real images, large backbones, start-up and memory
# make fuzz   tens of thousands of damaged images, bundles and model files; ARGS='--images 300000'
# make check  ruff, the shape of the code, mypy, import-linter, wheel contents
# make bench  the benchmarks
# make docs   the documentation, as pages in site/ that need no network
# make weights RUNS=runs DATA=brain.npz   all that ships beside newly trained weights; goes on where it was cut off
# make lock   requirements/EXTRA.txt: the packages of each extra, with hashes
# make licences, audit, sbom   licences and known vulnerabilities of the packages; bill of materials with the weights
# make release  wheel, sdist, bill of materials and their SHA256SUMS in dist/
# make gpu    all that needs a GPU; skips, with reasons, what cannot run here
# Each works on a fresh machine with Python 3.11 or newer, and can be run again.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# Tests of one file share what they export, so a file stays with one process.
SHARED := -n 2 --dist loadfile --benchmark-disable
PACKAGES := bench export models runtime training

.PHONY: lock licences audit sbom demo test slow fuzz check bench docs release gpu weights format clean .typecheck

demo: $(VENV)/light.installed
	$(BIN)/bt-export --precision fp16
	$(BIN)/bt-infer examples/scan.png --bundle bundles/fp16 --engine onnxruntime-cpu --format table

test: $(VENV)/dev.installed
	$(BIN)/coverage erase
	$(BIN)/pytest $(SHARED) --cov --cov-report=term-missing:skip-covered -m "not slow and not gpu and not ratio" $(ARGS)

slow: $(VENV)/dev.installed
	$(BIN)/pytest $(SHARED) -m "slow and not gpu and not ratio" $(ARGS)

fuzz: $(VENV)/dev.installed
	$(BIN)/python -m tests.fuzz.run $(ARGS)

check: $(VENV)/dev.installed .typecheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/structure.py
	MYPYPATH=.typecheck $(BIN)/mypy --package braintumor
	cd .typecheck && ../$(BIN)/lint-imports ../pyproject.toml --no-logo --no-cache
	$(BIN)/python .ci/supply.py licences
	$(BIN)/python .ci/supply.py audit || [ $$? -eq 2 ]
	$(BIN)/pytest -q tests/test_layers.py tests/test_wheel.py

lock licences audit: $(VENV)/dev.installed
	$(BIN)/python .ci/supply.py $@

sbom: $(VENV)/dev.installed
	mkdir -p dist
	$(BIN)/python .ci/supply.py sbom dist/environment.cdx.json

bench: $(VENV)/dev.installed
	$(BIN)/pytest tests/benchmarks $(ARGS)
	$(BIN)/pytest -m ratio tests/bench
	$(BIN)/python bench/perf/startup.py
	$(BIN)/python bench/perf/memory.py

# Trained models of RUNS become the shipped ones: weights with card and recorded answers, the temperature of the vote, the
# int8 plans of the vote and of the models outside of it, the cascades of the vote. A file is made again when what it
# depends on is newer.
SHIPPED := models/pretrained
VOTERS := EfficientNetV2M DenseNet121 InceptionResNetV2
OTHERS := EfficientNetV2S
TRAINED := $(patsubst $(RUNS)/%/,%,$(dir $(wildcard $(RUNS)/*/*.keras)))
PLAN := $(BIN)/bt-export --precision int8 --calibrate $(DATA) --save-plans $(SHIPPED) --bundle

ifneq ($(filter weights,$(MAKECMDGOALS)),)
ifeq ($(and $(RUNS),$(DATA)),)
$(error make weights needs the folder of bt-train and the file of bt-data: make weights RUNS=runs DATA=brain.npz)
endif
endif

weights: $(VENV)/dev.installed $(TRAINED:%=$(SHIPPED)/%.keras) $(SHIPPED)/vote.json $(RUNS)/vote.planned \
	$(SHIPPED)/cascades.json \
	$(OTHERS:%=$(RUNS)/%.planned)

.SECONDEXPANSION:
$(TRAINED:%=$(SHIPPED)/%.keras): $(SHIPPED)/%.keras: $(RUNS)/%/$$(*F).keras
	$(BIN)/bt-train ship $< --data $(DATA) --to $(SHIPPED)

$(SHIPPED)/vote.json: $(VOTERS:%=$(SHIPPED)/%.keras)
	$(BIN)/bt-train calibrate $^ --data $(DATA)

$(RUNS)/vote.planned: $(VOTERS:%=$(SHIPPED)/%.keras)
	$(PLAN) $(RUNS)/bundles/vote $^
	touch $@

$(SHIPPED)/cascades.json: $(RUNS)/vote.planned $(SHIPPED)/vote.json
	for options in fp32 fp16 bf16 int8 "int8 --float-precision bf16"; do \
	$(BIN)/bt-export --precision $$options --cascade $(DATA) --save-plans $(SHIPPED) --bundle $(RUNS)/bundles/cascade \
	$(VOTERS:%=$(SHIPPED)/%.keras) || exit; done

$(OTHERS:%=$(RUNS)/%.planned): $(RUNS)/%.planned: $(SHIPPED)/%.keras
	$(PLAN) $(RUNS)/bundles/$* $<
	touch $@

docs: $(VENV)/docs.installed .typecheck
	$(BIN)/python docs/scripts/rooms.py
	$(BIN)/python docs/scripts/schemas.py
	$(BIN)/python docs/scripts/answer.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

release: $(VENV)/dev.installed
	$(BIN)/python .ci/release.py

gpu: $(VENV)/dev.installed
	$(BIN)/python bench/perf/gpu_suite.py $(ARGS)

format: $(VENV)/dev.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot follow setup.cfg's mapping of root folders to sub-packages: it gets the tree as a user imports it.
.typecheck:
	mkdir -p .typecheck/braintumor
	rm -f .typecheck/braintumor/*
	cd .typecheck/braintumor && ln -sf ../../braintumor/* . && ln -sfn $(foreach name,$(PACKAGES),../../$(name)) .

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/light.installed: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[cpu]'
	touch $@

$(VENV)/docs.installed: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/dev.installed: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[bench,cpu,docs,export,train,dev]'
	touch $@ $(VENV)/light.installed $(VENV)/docs.installed

clean:
	rm -rf $(VENV) .typecheck site .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
