# Everything for a fresh Debian or Ubuntu machine with git, make and python3. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
# The release that the tests are run with. Named so that pip takes the CPU build where one is
# offered and not the newest CUDA build of several GB; for a GPU, see README.md.
TORCH ?= torch==2.13.0
# The types of GTK, for mypy on the plug-in. Without its dependencies: PyGObject itself would have to
# be compiled, against headers that are not everywhere. It is built for GTK 3, as GIMP uses it, and
# pip's cache would not tell that from a build for GTK 4.
GTK_STUBS ?= --no-deps --no-cache-dir pygobject-stubs==2.20.0
PIP_FLAGS ?= --disable-pip-version-check
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14

BIN := $(VENV)/bin
BASE_STAMP := $(VENV)/.base
DEV_STAMP := $(VENV)/.dev
SOURCES := maskupe daemon training gimp_plugin tests

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-fast test-pythons check format docs picture package wheels plugin-zip gimp bench fuzz soak clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: $(BASE_STAMP) ## a real photo through a real daemon; or yours: make demo PHOTO=… MASK=…
	@$(BIN)/maskupe demo $(if $(PHOTO),--photo "$(PHOTO)") $(if $(MASK),--mask "$(MASK)")

test: test-unit ## all tests (those of GIMP run where a GIMP 3 can be had)
	$(BIN)/python -m pytest tests/gimp

test-unit: $(DEV_STAMP) ## all tests but those in a real GIMP, a file to each core
	$(BIN)/python -m pytest --ignore tests/gimp -n logical --dist loadfile

test-fast: $(DEV_STAMP) ## the tests that take no longer than a few seconds
	$(BIN)/python -m pytest -m "not slow and not gimp"

test-pythons: ## the tests without PyTorch, with each Python that is here: PYTHONS="3.10 3.13"
	@tools/test_pythons.sh $(PYTHONS)

check: $(DEV_STAMP) ## lint, formatting, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell --skip '*.po,*.onnx,*.safetensors' $(SOURCES) docs README.md CONTRIBUTING.md CHANGELOG.md

format: $(DEV_STAMP) ## put the sources into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV_STAMP) ## write the tables of the documents anew, from the code and from measurements
	$(BIN)/python -m tools.docs $(if $(EVALUATION),--evaluation "$(EVALUATION)") $(if $(EDGES),--edges "$(EDGES)")

picture: $(BASE_STAMP) ## make the README's picture anew
	$(BIN)/maskupe demo --out build/demo
	$(BIN)/python -c "from PIL import Image; \
	  Image.open('build/demo/sheet.png').convert('RGB').save('docs/images/portrait.jpg', quality=92)"

package: $(DEV_STAMP) ## build wheel and source archive, install the wheel elsewhere, try it
	@tools/try_package.sh $(BIN)/python

wheels: $(DEV_STAMP) ## build all wheels and look into them; or some: WHEELS="macos-aarch64 research-weights"
	$(BIN)/python -m tools.wheels --out dist $(WHEELS)

plugin-zip: $(BASE_STAMP) ## the plug-in as an archive to unpack into GIMP's folder
	$(BIN)/python -m maskupe_gimp.bundle dist

gimp: $(DEV_STAMP) ## the tests in real GIMPs 3.0 and 3.2, which must be had
	MASKUPE_REQUIRE_GIMP=1 MASKUPE_GIMP_VERSIONS=3.0,3.2 MASKUPE_SCREENSHOTS=build/screenshots \
	    $(BIN)/python -m pytest tests/gimp

bench: $(DEV_STAMP) ## measure everything, some minutes: docs/benchmarks.md and .json
	$(BIN)/python -m benchmarks --write docs

fuzz: $(DEV_STAMP) ## read damaged pictures by the thousand, a minute or two: MUTANTS=6000
	$(BIN)/python -m tests.fuzz $(if $(MUTANTS),--mutants $(MUTANTS))

soak: $(DEV_STAMP) ## let the daemon work for minutes and watch its memory
	$(BIN)/python -m tests.daemon.soak

clean: ## remove what was built, not the weights and not your runs
	rm -rf $(VENV) .venv-* build dist out .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------- installation

$(BIN)/python:
	@tools/make_venv.sh "$(PYTHON)" "$(VENV)"

$(BASE_STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing MaskUPE into $(VENV): about 460 MB, a minute or two …"
	$(BIN)/python -m pip install $(PIP_FLAGS) -e .
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing $(TORCH) into $(VENV) for the tests: large (200 MB to download, or more) …"
	$(BIN)/python -m pip install $(PIP_FLAGS) $(TORCH)
	@echo "Installing MaskUPE with its development tools …"
	$(BIN)/python -m pip install $(PIP_FLAGS) -e ".[dev]"
	PYGOBJECT_STUB_CONFIG=Gtk3,Gdk3 $(BIN)/python -m pip install $(PIP_FLAGS) $(GTK_STUBS)
	@touch $@ $(BASE_STAMP)
