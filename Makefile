PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Modules outside tests/soak that run more at full size.
FULL := $(addprefix tests/, \
	adapter/test_transformers.py bad_files/test_any_files.py bad_files/test_bad_files.py \
	browser/test_accessibility.py browser/test_first_press.py browser/test_journey.py browser/test_links.py \
	browser/test_stages.py browser/test_texts_journey.py browser/test_trained_pages.py \
	data/test_bad_texts.py \
	engine/test_ray.py networks/library/test_packages.py networks/test_onnx_file.py same_numbers/test_same_pages.py \
	pages/test_filled_forms.py pages/test_one_verdict.py pages/test_text_forms.py \
	study/test_counting.py study/test_false_alarms.py study/test_language_models.py test_cli_jobs.py training/test_peft_parity.py)

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

reports: $(VENV)/.development  ## the reports of docs/reports, on the MNIST and Fashion-MNIST that LORA_LAB_DATA names, and Home's example
	PYTHONPATH=. $(BIN)/python docs/reports/make.py
	PYTHONPATH=. $(BIN)/python -m docs.reports.transformers

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
