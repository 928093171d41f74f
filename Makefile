# Three words to remember: make demo, make test, make check.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-fast check format bench gpu-check clean

demo: .venv/demo.stamp
	$(BIN)/promptlearn models pull smollm2-135m-instruct
	$(BIN)/promptlearn demo

test: .venv/dev.stamp
	$(BIN)/pytest -n auto

test-fast: .venv/dev.stamp
	$(BIN)/pytest -n auto -m "not slow"

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Against peers, which have an environment of their own; see docs/performance.md.
bench: .venv/bench.stamp
	.venv/bench/bin/python benchmarks/search.py
	.venv/bench/bin/python benchmarks/throughput.py
	.venv/bench/bin/python benchmarks/overshoot.py
	.venv/bench/bin/python benchmarks/kills.py
	.venv/bench/bin/python benchmarks/store.py
	.venv/bench/bin/python benchmarks/determinism.py

# For whoever has a GPU: every test that needs CUDA, and what a training step takes there, in less than eight minutes.
gpu-check: .venv/gpu.stamp
	@$(BIN)/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'gpu-check: torch ' + torch.__version__ + ' sees no CUDA here, so nothing was tested')"
	timeout --signal=INT --kill-after=15 450 $(BIN)/python -m pytest tests/tuning/test_cuda.py -rs -s

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[local]'
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	touch $@ .venv/demo.stamp .venv/gpu.stamp

.venv/gpu.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[rl]' hypothesis pytest pytest-asyncio pytest-timeout
	touch $@

.venv/bench.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv/bench
	.venv/bench/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv dist build
