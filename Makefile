# Each target creates .venv and installs what it needs on first use; later runs start at once.
# Another interpreter: make test PYTHON=python3.12
# torch from elsewhere: make test TORCH_INDEX=URL, or TORCH_INDEX= for whatever pip takes by itself

PYTHON ?= python3
BIN := .venv/bin
OMP_WAIT_POLICY ?= PASSIVE
GOMP_SPINCOUNT ?= 1000
export OMP_WAIT_POLICY GOMP_SPINCOUNT

# What pip takes by itself on Linux is the CUDA build of torch, gigabytes of it. Without an NVIDIA card we ask for the
# CPU build, which only PyTorch's own index has; on other systems pip's own choice is the CPU build already.
TORCH := $(shell sed -n 's/^ *"\(torch==[0-9.]*\)",$$/\1/p' pyproject.toml)
ifeq ($(shell uname -s; command -v nvidia-smi || true),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif

.PHONY: help demo lint test classroom-test lab lab-solved train evaluate bench other-machines clean

help:  ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## */  make \1	/p' Makefile

# Any prompt: make demo PROMPT='a blue card with two cats and the words "Good night"'
demo: export PROMPT ?= a yellow poster with an apple and the words "Hello, 你好"
demo: .venv/.with-ocr  ## prompt -> poster.png, with the shipped weights; PROMPT='...' for one of your own
	$(BIN)/minglm generate "$$PROMPT" --seed 0 --out poster.png --read

lint: .venv/.with-test  ## what ruff has to say, within a second
	$(BIN)/ruff check .

test: export MINGLM_DEVICE = cpu
test: export OMP_WAIT_POLICY = PASSIVE
test: export TORCH_DEVICE_BACKEND_AUTOLOAD = 0
test: .venv/.with-test  ## everything CI runs: unit tests, then the notebooks against their outputs
	$(BIN)/pytest --durations=10 tests
	$(BIN)/pytest --durations=10 --nbval --nbval-current-env --nbval-sanitize-with=tests/sanitize.cfg --nbval-cell-timeout=300 notebooks

classroom-test: export MINGLM_RUN_ALL = 1
classroom-test: export MINGLM_DEVICE = cpu
classroom-test: export TORCH_DEVICE_BACKEND_AUTOLOAD = 0
classroom-test: .venv/.with-test  ## run every student copy whole: unsolved, and half solved both ways (about an hour)
	$(BIN)/pytest tests/test_classroom.py -k whole_student_copies

lab: .venv/.with-notebooks,ocr  ## the course in JupyterLab: your own copies, without solutions (made on first use)
	@test -d my_course || $(BIN)/minglm classroom my_course --students-only
	$(BIN)/jupyter lab my_course/students/00_meet_minglm.ipynb

lab-solved: .venv/.with-notebooks,ocr  ## the notebooks of the repository in JupyterLab, solved
	$(BIN)/jupyter lab notebooks/00_meet_minglm.ipynb

train: .venv/.with-ocr  ## the reference weights, from nothing
	$(BIN)/minglm train all --config mini

evaluate: .venv/.with-ocr  ## score the shipped weights
	$(BIN)/minglm evaluate

bench: .venv/.with-test  ## run every script in benchmarks/
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

other-machines: .venv/.with-test  ## the notebooks as with other processors, threads and roundings (an hour)
	PYTHON=$(BIN)/python scripts/other_machines.sh

clean:  ## remove what make made; training runs in runs/ stay
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache poster.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps. `.with-X` means: minglm is installed with the extra X (X may be a list: a,b).
.venv/.with-%: pyproject.toml .venv/.torch
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[$*]'
	@touch $@

# torch alone, from TORCH_INDEX, if that answers within seconds; pip itself would ask six times for every package. What
# torch needs beside it is installed by `.with-X`.
ASK = import signal, urllib.request; signal.alarm(10); urllib.request.urlopen("$(TORCH_INDEX:/=)/torch/", timeout=5)
.venv/.torch: pyproject.toml .venv/.made
	@if [ -z '$(TORCH_INDEX)' ]; then \
	  echo "$(TORCH): the build that pip takes by itself"; \
	elif ! $(BIN)/python -c '$(ASK)' 2>/dev/null; then \
	  echo "$(TORCH): $(TORCH_INDEX) does not answer, so pip takes the build that it finds elsewhere, on Linux often" \
	       "gigabytes of CUDA. To ask another index: make TORCH_INDEX=URL"; \
	else \
	  echo "$(TORCH): the CPU build, from $(TORCH_INDEX). To leave the choice to pip: make TORCH_INDEX="; \
	  $(BIN)/python -m pip install --disable-pip-version-check --no-deps --index-url '$(TORCH_INDEX)' '$(TORCH)' || \
	    echo "$(TORCH): not found there; pip takes the build that it finds elsewhere"; \
	fi
	@touch $@

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "minglm needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	       "Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@
