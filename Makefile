# make install: .venv with Modelyard, the examples' and the tools' packages
# make run:     install, then `modelyard up` in the foreground
# make mutation: install, then the mutation test of the planner
# make openapi: rewrite openapi.json, the published contract of the API
# make test-upgrade: install, then services of an older build under this one
# make test-clients: a client generated from openapi.json, against a real stack
# make fuzz:    call the whole API by its contract, about 10,000 times; some minutes
# make test:    install, what the tests need of the system, then checks and tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One more than two cores: many tests wait for processes.
TEST_WORKERS ?= 3

.PHONY: install run test check format system clean mutation openapi test-upgrade coverage test-wheel test-clients fuzz

install: $(STAMP)

# Without ensurepip (Debian's python3 without python3-venv), uv makes the environment instead. uv's
# program is the target, so that an attempt that failed half-way is made again.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Modelyard needs Python 3.11 or newer; say make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@rm -rf $(VENV)
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	else \
		$(PYTHON) -m uv --version >/dev/null 2>&1 \
			|| $(PYTHON) -m pip install --quiet --user uv \
			|| $(PYTHON) -m pip install --quiet --user --break-system-packages uv; \
		$(PYTHON) -m uv venv --quiet --python $(PYTHON) --seed $(VENV) \
			&& $(PYTHON) -m uv pip install --quiet --python $(BIN)/python uv; \
	fi

$(STAMP): pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[examples,dev]'
	@touch $@

run: install
	@exec $(BIN)/modelyard up

# Only where something is missing and we may install it; tests that need it skip otherwise.
system:
	@missing=''; \
	command -v wrk >/dev/null || missing="$$missing wrk"; \
	{ command -v podman && { command -v runc || command -v crun; }; } >/dev/null \
		|| missing="$$missing podman runc"; \
	ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing$$missing"; \
			{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
				apt-get -qq -y --no-install-recommends install $$missing >/dev/null; } \
				|| echo "WARNING:$$missing cannot be installed; tests that need it are SKIPPED"; \
		else \
			echo "WARNING:$$missing is missing; tests that need it are SKIPPED"; \
		fi; \
	fi

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Checks and tests at once: a type check alone leaves all cores but one idle. What the checks print
# follows the tests' report.
test: system install
	@checks=$$(mktemp); trap 'rm -f "$$checks"' EXIT; \
	$(MAKE) --no-print-directory check >"$$checks" 2>&1 & checking=$$!; \
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder \
		--durations=20; tested=$$?; \
	wait $$checking; checked=$$?; \
	cat "$$checks"; \
	exit $$((tested | checked))

# A test compares the file with what the routes declare.
openapi: install
	$(BIN)/python -m modelyard.api > openapi.json

# Whether services of an older build go on under this one; needs its commit in the repository.
test-upgrade: install
	$(BIN)/python -m pytest tests/upgrade

# The wheel alone, in an empty environment: up, quickstart, down.
test-wheel: install
	MODELYARD_TEST_WHEEL=1 $(BIN)/python -m pytest tests/e2e/test_wheel.py

# Lines that the fast tests miss.
coverage: install
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS) tests/unit tests/property \
		--cov --cov-report=term-missing

test-clients: install
	MODELYARD_TEST_CLIENTS=1 $(BIN)/python -m pytest tests/conformance/test_generated_client.py

fuzz: install
	nice $(BIN)/python bench/fuzz.py

# How many small changes of the planner's code its unit tests notice; some minutes.
mutation: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[mutation]'
	$(BIN)/python bench/mutation.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis
