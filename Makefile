# make run: the retraining flow on the sample data.  make test: the tests.  make test-system: the tests with real servers.
# make docs: the documentation, as HTML in docs/_build.  Each sets up .venv itself.
PYTHON ?= python3
BIN := .venv/bin
# Processes that run the tests; 0: this one alone.
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-system test-scale test-faults week lint format docs serve size images clean

run: .venv/pipeline
	PATH="$(CURDIR)/$(BIN):$$PATH" tokensieve run --data data/freight

test: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "not system and not scale and not faults" -n $(WORKERS) --dist worksteal

test-system: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m system -n $(WORKERS) --dist worksteal

# The tests with a local Spark (needs Java) and a local server of the S3 protocol.
test-scale: .venv/scale
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/scale

# Kill, fill, cut and corrupt; print a table of fault, outcome and seconds to recover.
test-faults: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/faults -n $(WORKERS) --dist worksteal

# Play seven days of operation in a quarter of an hour, and print a table of trials and outcomes.
week: .venv/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -s tests/system/week.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build

serve: .venv/pipeline
	$(BIN)/tokensieve serve --model artifacts/onnx

size: .venv/pipeline
	$(BIN)/python -m benchmarks.serving.installed_size

# Build the images of deploy/, start the services from them and use them once. Needs podman and podman-compose.
# With options: make images IMAGES="--encoder FOLDER --no-build".
images:
	$(PYTHON) deploy/try_images.py $(IMAGES)

# One stamp per extra, written last, so that an interrupted installation is repeated.
.venv/pipeline .venv/docs .venv/dev .venv/scale: .venv/%: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tokensieve needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv artifacts .tokensieve
