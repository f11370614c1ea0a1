# Every target is a thin call; on Windows use the lines of the README instead.
PYTHON ?= python3
BENCH ?=
NN ?=
bin = .venv/bin

.PHONY: help setup lab report test bench refresh portability check-lock

help:
	@echo "make report   run every notebook and write reports/latest/index.html"
	@echo "make test     ruff, unit tests, and every notebook, strictly"
	@echo "make lab      open the notebooks in JupyterLab"
	@echo "make setup    make .venv from requirements.txt (the others do it when needed)"
	@echo "make bench    ours against a peer; one of them: make bench BENCH=import_time"
	@echo "make refresh  execute the notebooks again and store their outputs; some: NN='00 01'"
	@echo "make portability  what would break on other machines and backends; some: NN='00 01'"
	@echo "make check-lock  prove that the lock has wheels on Linux, macOS and Windows"

setup:
	@$(PYTHON) tools/setup.py

lab: setup
	@$(bin)/jupyter lab notebooks/00_start_here.ipynb

report: setup
	@$(bin)/kerasaid report

test: setup
	@$(bin)/ruff check .
	@$(bin)/ruff format --check --quiet .
	@$(bin)/python -m pytest
	@$(bin)/python -m pytest notebooks --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300

bench: setup
	@$(bin)/python -m benchmarks $(BENCH)

refresh: setup
	@$(bin)/python -m kerasaid.runs.refresh $(NN)

portability: setup
	@$(bin)/python tools/portability.py $(NN)

check-lock: setup
	@$(bin)/python tools/check_lock.py
