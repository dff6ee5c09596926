# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: help setup data demo collect test check lock clean

help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

setup: ## Make the three environments, or find them made
	@$(PYTHON) -m infra.environments

data: setup ## Make the example's evaluation and live speech, and check their hashes
	@cd examples/grid && PATH="$(CURDIR)/.venv/bin:$$PATH" ../../.venv/bin/dvc repro --quiet

demo: data ## Take a trained Whisper from a folder to live traffic and back, in seven acts
	@$(RUN) examples/grid/demo

# Once for all workers: what pytest makes of the tests' assertions is kept beside them.
unexport PYTHONDONTWRITEBYTECODE

collect: setup
	@$(RUN) -m pytest --collect-only > /dev/null || true # some modules want the data

test: setup ## Run the tests, `make check` among them; SLUICE_TEST_ALL=1: every one
	@$(MAKE) --no-print-directory -j 2 data collect
	@$(RUN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

check: setup ## Format, lint, types, layers
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy --cache-dir "$${XDG_CACHE_HOME:-$$HOME/.cache}/sluice/mypy" cli registry pipelines validation canary drift model_repository infra benchmarks
	@.venv/bin/lint-imports

lock: ## Resolve the locks again (needs uv on the PATH)
	@infra/environments/lock.sh
	@infra/images/lock.sh

clean: ## Remove what builds made here; the shared environments stay
	@rm -rf .venv build .mypy_cache .ruff_cache .hypothesis
