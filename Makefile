# make run   a virtual environment, the requirements, and the page on http://127.0.0.1:7860
# make test  the same, with a browser, and all tests
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 2

.PHONY: run test lint slow browser screenshots clean

run: $(VENV)/.installed
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.installed-dev browser
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

slow: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest --slow $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

screenshots: $(VENV)/.installed-dev browser
	$(BIN)/python tests/take_screenshots.py

browser: $(VENV)/.installed-dev
	$(BIN)/python tests/install_browser.py

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-train.txt $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .hypothesis
