# What to do with Gatepost. `make` alone lists it.
#
#   ARGS    goes on to the command that a target runs: make run ARGS="--port 9000"
#   FROM    is the newer release for `make updates`: a directory, an address or a tag
#   MINUTES is how long `make fuzz` looks
#   NAME    is what `make migration` calls the revision, and `make resource` the resource
#   NAME    of `make mine` is the name of the product; WITHOUT=posts leaves the example out # base only
#   PYTHON  makes .venv, when there is none yet: make test PYTHON=python3.13

PYTHON ?= python3
ARGS =
MINUTES = 10
NAME =
WITHOUT = # base only
FROM =

BIN = .venv/bin

# Compiled modules are kept whatever the environment says: compiling takes longer than most commands.
export PYTHONDONTWRITEBYTECODE =
RUN = .venv/.run
DEV = .venv/.dev
DOCS = .venv/.docs

PARALLEL = -n auto --dist worksteal

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(RUN) ## serve on an embedded database
	@$(BIN)/gatepost serve $(ARGS)

.PHONY: install
install: $(RUN) ## make .venv with the command gatepost in it, and no more

.PHONY: test
test: $(DEV) ## run the tests, on SQLite and on PostgreSQL
	$(BIN)/pytest $(PARALLEL) -m "not slow" $(ARGS)

.PHONY: test-all
test-all: $(DEV) ## run the tests and the slow ones
	$(BIN)/pytest $(PARALLEL) $(ARGS)

.PHONY: test-plain
test-plain: $(DEV) ## run the tests of the API without the fast path, on FastAPI's own ways
	GATEPOST_FASTPATH=off $(BIN)/pytest -n auto tests/api $(ARGS)

# The names alone, without the bounds that pyproject.toml puts on them.
define NEWEST
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
names = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
names = [name for name in names if isinstance(name, str)]  # the rest are groups
print(" ".join(re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?", name)[0] for name in names))
endef
export NEWEST

# The fast path reaches into other libraries: this tells before an upgrade whether they have moved.
.PHONY: canary
canary: $(DEV) ## try the fast path on the newest releases, in an environment that is thrown away
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(BIN)/python -m venv "$$folder"; \
	"$$folder/bin/pip" install --disable-pip-version-check --quiet $$($(BIN)/python -c "$$NEWEST"); \
	"$$folder/bin/pip" list --disable-pip-version-check | grep -iE '^(asyncpg|fastapi|sqlalchemy|starlette|uvicorn) '; \
	"$$folder/bin/python" -m pytest -q -p no:cacheprovider $(CANARY) $(ARGS)

CANARY = tests/api/test_fastpath.py tests/infrastructure/test_lookups.py tests/infrastructure/test_server.py

.PHONY: unit
unit: $(DEV) ## run the tests that need no database and no HTTP
	$(BIN)/pytest tests/domain tests/application $(ARGS)

.PHONY: docs
docs: $(DOCS) ## build the pages of docs/ and the reference as a site, in build/site
	$(BIN)/mkdocs build --strict --site-dir build/site

.PHONY: gates
gates: $(DEV) ## check format, style, walls and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

.PHONY: fuzz
fuzz: $(DEV) ## look for bugs by random requests, for MINUTES=10
	FUZZ_MINUTES=$(MINUTES) $(BIN)/pytest -n auto tests/journeys/test_schemathesis.py tests/journeys/test_model.py $(ARGS)

.PHONY: check
check: gates test ## pass the gates and the tests: what a change must do

# begin: base only
.PHONY: bench
bench: $(RUN) ## measure against the usual ways, side by side
	@python3 benchmarks/run.py $(ARGS)

.PHONY: mine
mine: $(DEV) ## make this clone a product of your own: NAME=acme, and WITHOUT=posts
	@$(BIN)/python -m scripts.mine "$(NAME)" --without "$(WITHOUT)"

# end: base only
.PHONY: updates
updates: $(DEV) ## merge a newer release of the base: FROM=directory, address or tag
	@$(BIN)/python -m scripts.updates "$(FROM)"

PASSED_OVER = $(shell awk '!/^\#/ && NF {print "--ignore-vuln", $$2}' requirements/passed-over.txt)

# Its answer changes with the day and needs the network, so it is none of the gates. Strict: what
# could not be looked up is a failure.
.PHONY: audit
audit: $(DEV) ## look the dependencies up among known vulnerabilities
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--requirement requirements/run.txt $(PASSED_OVER) $(ARGS)

.PHONY: sbom
sbom: $(DEV) ## list what an installation is made of (CycloneDX), in build/sbom.json
	@mkdir -p build
	$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements requirements/run.txt \
		--pyproject pyproject.toml --output-reproducible --output-file build/sbom.json $(ARGS)

.PHONY: format
format: $(DEV) ## format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: migration
migration: $(DEV) ## write the next migration, NAME=..., from the rows in the code
	$(BIN)/python -m infrastructure.database.migrations.generate "$(NAME)"
	$(BIN)/ruff format --quiet infrastructure/database/migrations
	$(BIN)/ruff check --fix infrastructure/database/migrations

.PHONY: resource
resource: $(DEV) ## write the files of a new resource, NAME=..., a plural, as docs/extending.md does
	$(BIN)/python -m scripts.resource "$(NAME)"

.PHONY: openapi
openapi: $(DEV) ## take a new snapshot of the OpenAPI document
	$(BIN)/gatepost openapi > .venv/openapi.json
	mv .venv/openapi.json tests/openapi.json

COMPILE = $(BIN)/uv pip compile --quiet --no-config --no-header --no-annotate \
	--universal --python-version 3.11 --generate-hashes $(ARGS)

.PHONY: screenshots
screenshots: $(DEV) ## take the pictures of the console in docs/screenshots; ARGS=--every: of all pages, in build/
	$(BIN)/python -m scripts.screenshots $(ARGS)

.PHONY: lock
lock: $(DEV) ## lock the dependencies again; newer ones with ARGS=--upgrade
	$(COMPILE) --output-file requirements/install.txt --group install
	$(COMPILE) --output-file requirements/run.txt --group build pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --group build --group dev pyproject.toml \
		--constraints requirements/run.txt --constraints requirements/install.txt
	$(COMPILE) --output-file requirements/docs.txt --group docs --constraints requirements/dev.txt

define FIT_FOR_USE
import sys
version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    sys.exit("Gatepost needs Python 3.11 or newer and $(PYTHON) is " + version
             + ". Name another one: make PYTHON=python3.13")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) cannot make a virtual environment. "
             "On Debian and Ubuntu: apt-get install python" + version + "-venv")
endef
export FIT_FOR_USE

PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
UV = $(BIN)/uv pip install --quiet --python $(BIN)/python

# uv does in seconds what takes pip most of a minute, but it does not read pip's configuration: where
# that names the only registry in reach, pip installs.
WITH_UV = { $(UV) $(1) || $(PIP) $(1); }

# Brings .venv to what a lock file says. Its stamps are off meanwhile: a .venv that has none was never
# finished and is made anew, and one that can't be finished is taken away.
define INSTALL
@set -e; \
test -e $(RUN) || $(PYTHON) -c "$$FIT_FOR_USE"; \
trap 'rm -rf .venv' EXIT; \
trap 'exit 1' HUP INT TERM; \
test -e $(RUN) || $(PYTHON) -m venv --clear .venv; \
rm -f $(RUN) $(DEV) $(DOCS); \
echo 'Installing $< into .venv'; \
$(PIP) --no-compile --require-hashes --requirement requirements/install.txt; \
$(call WITH_UV,--require-hashes --requirement $<); \
$(call WITH_UV,--no-build-isolation --no-deps --editable .); \
touch $(1); \
trap - EXIT
endef

$(RUN): requirements/run.txt pyproject.toml
	$(call INSTALL,$(RUN))

$(DEV): requirements/dev.txt pyproject.toml
	$(call INSTALL,$(RUN) $(DEV))

$(DOCS): requirements/docs.txt $(RUN)
	@echo 'Installing $< into .venv'
	@$(call WITH_UV,--require-hashes --requirement $<)
	@touch $(DOCS)
