# make test and make demo need only Python >= 3.10 with venv; the first run installs into .venv.
PYTHON ?= python3
WORKERS ?= 2
CASES ?= 10000
SEED ?= 0

BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo lint test test-web fuzz docs test-deepinv test-ray test-s3 clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

# The stamp is newer than the files that say what to install, so an edit of one of them installs anew.
$(INSTALLED): pyproject.toml constraints.txt src/blinddps/version.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[test,lint]'
	@touch $@

install: $(INSTALLED)  ## create .venv and install the package, editable, with its test and lint tools

demo: $(INSTALLED)  ## restore the shipped examples into demo-output/
	$(BIN)/blinddps demo --out demo-output
	@echo "To call blinddps by its name in this terminal: source $(BIN)/activate"

lint: $(INSTALLED)  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# One torch thread per worker: on few cores, threads that spin while they wait cost more than they bring. A file is one
# worker's: what its tests share is made once.
test: lint  ## lint, then every test
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-web: $(INSTALLED)  ## the page in a real browser; needs chromium (apt-get install chromium)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[browser]'
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest tests/web

fuzz: $(INSTALLED)  ## feed CASES damaged inputs (10,000) to everything that reads
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m tests.fuzz --count $(CASES) --seed $(SEED)

# Sphinx and its kin get a folder of their own, too: nothing that runs needs them.
docs: $(INSTALLED)  ## the documentation as a site, in build/docs; runs the examples, some minutes
	$(BIN)/python -m pip install --quiet --upgrade --target .docs -c constraints.txt sphinx furo myst-parser sphinx-copybutton sphinx-gallery
	PYTHONPATH=.docs OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -b html docs/site build/docs

# deepinv needs torchvision, which must not get into .venv: both go into a folder of their own, beside the rest of it.
test-deepinv: $(INSTALLED)  ## what the bridge to deepinv does, by deepinv's own tests
	$(BIN)/python -m pip install --quiet --upgrade --target .deepinv --no-deps -c constraints.txt deepinv torchvision einops h5py \
		natsort matplotlib contourpy cycler fonttools kiwisolver pyparsing python-dateutil six packaging requests urllib3 idna certifi charset-normalizer
	PYTHONPATH=.deepinv OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/bridges

test-ray: $(INSTALLED)  ## tasks on a Ray cluster of this machine, nodes killed
	$(BIN)/python -m pip install --quiet --upgrade --target .ray -c constraints.txt --no-deps ray click msgpack jsonschema \
		jsonschema-specifications referencing rpds-py attrs protobuf pyyaml requests urllib3 idna certifi charset-normalizer filelock packaging
	PYTHONPATH=.ray OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/engine/test_ray.py

test-s3: $(INSTALLED)  ## results on a server that speaks S3 (moto's), of this machine
	$(BIN)/python -m pip install --quiet --upgrade --target .s3 -c constraints.txt s3fs 'moto[server]'
	PYTHONPATH=.s3 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/io/test_published.py

clean:  ## remove .venv, caches and demo-output/
	rm -rf .venv .deepinv .docs .ray .s3 .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist demo-output
