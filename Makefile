# Two commands on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A process for each core, of one thread: most tests are of the interpreter's speed.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-slow lint bench bench-tinygan bench-metakd bench-nijigan bench-speed clean

demo: $(STAMP)  ## distil the packaged teacher, measure, export, report
	$(BIN)/distilgan distill stylekd-faces --out runs/demo
	@echo "open runs/demo/report.html"

test: $(STAMP) lint  ## what CI runs
	$(PYTEST)

test-slow: $(STAMP)  ## the long checks too
	$(PYTEST) -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)  ## the tables of docs/stylekd.md, about two hours each on two cores; finished runs are kept
	$(BIN)/python benchmarks/stylekd.py
	$(BIN)/python benchmarks/stylekd.py --table parts
	$(BIN)/python benchmarks/tables.py

bench-tinygan: $(STAMP)  ## the tables of docs/tinygan.md, two to four hours each on two cores; needs Fashion-MNIST
	$(BIN)/distilgan data fashion-mnist benchmarks/runs/fashion-mnist
	$(BIN)/python benchmarks/tinygan.py
	$(BIN)/python benchmarks/tinygan.py --table options
	$(BIN)/python benchmarks/tables.py

bench-metakd: $(STAMP)  ## the tables of docs/metakd.md, about four hours on two cores; faces are rendered first
	$(BIN)/distilgan data poses benchmarks/runs/poses/train --identities 400 --recordings 2 --workers 2
	$(BIN)/distilgan data poses benchmarks/runs/poses/validation --first 801 --identities 30 --recordings 2 --workers 2
	$(BIN)/distilgan data poses benchmarks/runs/poses/test --first 901 --identities 40 --recordings 2 --workers 2
	$(BIN)/python benchmarks/metakd.py --table grid --jobs 2
	$(BIN)/python benchmarks/metakd.py --jobs 2
	$(BIN)/python benchmarks/metakd.py --table long --jobs 2
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/tables.py

bench-nijigan: $(STAMP)  ## the tables of docs/nijigan.md, about four hours on two cores
	$(BIN)/python benchmarks/nijigan.py --jobs 2
	$(BIN)/python benchmarks/nijigan.py --table ablation --jobs 2
	$(BIN)/python benchmarks/tables.py

bench-speed: $(STAMP)  ## the table of docs/speed.md, with OFFICIAL=CHECKOUT of NVIDIA's code; without it ours alone
	$(BIN)/python benchmarks/speed.py $(if $(OFFICIAL),--official $(OFFICIAL))
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)
