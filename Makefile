# Each target creates .venv and installs what it needs on first use; later runs start at once.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
OMP_WAIT_POLICY ?= PASSIVE
GOMP_SPINCOUNT ?= 1000
export OMP_WAIT_POLICY GOMP_SPINCOUNT

.PHONY: help demo test lab train evaluate bench other-machines clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## */  make \1	/p' Makefile

demo: .venv/.with-ocr  ## prompt -> poster.png, with the shipped weights
	$(BIN)/minglm generate 'A yellow poster with an apple in the centre and the red word "HELLO" at the bottom.' --seed 0 --out poster.png --read

test: export MINGLM_DEVICE = cpu
test: export OMP_WAIT_POLICY = PASSIVE
test: export TORCH_DEVICE_BACKEND_AUTOLOAD = 0
test: .venv/.with-test  ## everything CI runs: unit tests, then the notebooks against their outputs
	$(BIN)/pytest --durations=10 tests
	$(BIN)/pytest --durations=10 --nbval --nbval-current-env --nbval-sanitize-with=tests/sanitize.cfg --nbval-cell-timeout=300 notebooks

lab: .venv/.with-notebooks,ocr  ## JupyterLab at the first notebook
	$(BIN)/jupyter lab $(firstword $(sort $(wildcard notebooks/*.ipynb)) notebooks)

train: .venv/.with-ocr  ## the reference weights, from nothing
	$(BIN)/minglm train all --config mini

evaluate: .venv/.with-ocr  ## score the shipped weights
	$(BIN)/minglm evaluate

bench: .venv/.with-test  ## run every script in benchmarks/
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

other-machines: .venv/.with-test  ## the notebooks as with other processors, threads and roundings (an hour)
	PYTHON=$(BIN)/python scripts/other_machines.sh

clean:  ## remove what make made; training runs in runs/ stay
	rm -rf .venv build *.egg-info .pytest_cache poster.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps. `.with-X` means: minglm is installed with the extra X (X may be a list: a,b).
.venv/.with-%: pyproject.toml .venv/.made
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[$*]'
	@touch $@

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "minglm needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	       "Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@
