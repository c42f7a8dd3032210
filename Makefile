PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Modules outside tests/soak that run more at full size.
FULL = $(filter-out tests/soak/% tests/docs/%, \
	$(shell grep -rlE --include='test_*.py' 'mark\.minutes|\bsome_of\b|\btests\.soak\.sizes\b' tests))

# Tests start some hundred processes, each of which would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run check quick test suite durations soak lint browser bench forecasts reports clean

run: $(VENV)/.runtime  ## the dashboard, at http://localhost:8501
	$(BIN)/streamlit run app.py

check: $(VENV)/.development  ## lint, types, and the tests that need no browser and no minutes, side by side
	$(MAKE) -j 2 lint quick

quick: $(VENV)/.development
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow and not browser"

test: $(VENV)/.development browser  ## lint, types, and the whole suite, side by side
	$(MAKE) -j 2 lint suite

suite: $(VENV)/.development
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

durations: $(VENV)/.development browser  ## the suite, recorded in tests/durations.json; on an idle machine
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --junitxml=.pytest_cache/suite.xml
	$(BIN)/python -m tests.durations .pytest_cache/suite.xml

soak: $(VENV)/.development browser  ## faults, crowds and every combination at full size; figures in tests/README.md
	LORA_LAB_SOAK=full $(BIN)/pytest -s tests/soak $(FULL)
	$(BIN)/python -m tests.soak.figures

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

browser:  ## the Chromium that the browser tests drive
	sh tests/browser/install.sh

bench: $(VENV)/.development  ## speed and memory, on the MNIST that LORA_LAB_DATA names
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.transformers

forecasts: $(VENV)/.development  ## expected times beside what runs took, on digits
	$(BIN)/python -m benchmarks.forecasts

reports: $(VENV)/.development  ## the reports of docs/reports, one on the Fashion-MNIST that LORA_LAB_DATA names, and Home's example
	PYTHONPATH=. $(BIN)/python docs/reports/make.py
	PYTHONPATH=. $(BIN)/python -m docs.reports.texts

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.runtime: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.development: requirements-dev.txt requirements-onnx.txt requirements-peft.txt requirements-ray.txt requirements-trackers.txt requirements-networks.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-networks.txt
	touch $@
