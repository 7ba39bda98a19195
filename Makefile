# The thin front of FlashCL: `make` lists what there is. Only `install` changes the system, only `models` uses the network for data.

SWIFT   ?= swift
DEVICE  ?= $(or $(FLASHCL_DEVICE),gpu)
# One compiler job per core, and no more than memory bears (1.5 GB each).
JOBS    ?= $(shell awk -v cores="$$(nproc)" '/MemAvailable/ { n = int($$2 / 1500000); print n < 1 ? 1 : n < cores ? n : cores }' /proc/meminfo)
SOURCES := Package.swift Sources Tests
RELEASE := $(SWIFT) build -c release --product flashcl -j $(JOBS)
FLASHCL  = $$($(SWIFT) build -c release --show-bin-path)/flashcl
.DEFAULT_GOAL := help
.PHONY: help install models demo test check bench scale peers device-bundle format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

install: ## install OpenCL's headers, CLBlast, PoCL and pip, where they are missing (Debian, Ubuntu)
	@scripts/install.sh

models: install ## fetch the demo's two models (190 MB, once)
	@scripts/fetch.sh

demo: models ## generate text and compare sentences on this machine's best device (DEVICE=gpu:1, cpu, …)
	$(RELEASE)
	@DEVICE="$(DEVICE)" scripts/demo.sh

# In release: the reference computes real models, which takes minutes in a debug build.
test: install ## check the format and run every test
	@scripts/fetch.sh || echo "test: no models: the tests that read one are skipped" >&2
	$(SWIFT) format lint --strict --recursive --parallel $(SOURCES)
	$(SWIFT) test -c release -Xswiftc -enable-testing --scratch-path .build-tests -j $(JOBS)

# With a device, everything on that; without one, on every OpenCL implementation that runs on a processor.
check: install ## prove every operation right, on PoCL, Intel, rusticl and Oclgrind (DEVICE=gpu:1, all, …: on that alone)
	$(RELEASE)
	@if [ "$(origin DEVICE)$(FLASHCL_DEVICE)" = file ]; then scripts/check.sh; else $(FLASHCL) check --device "$(DEVICE)"; fi

bench: install ## time every operation on the device, and keep the results in bench/results/
	$(RELEASE)
	$(FLASHCL) bench --device "$(DEVICE)" --output bench/results

scale: ## draw how cost grows with length, batch and model size, into docs/ (ten minutes on two cores)
	$(RELEASE)
	@FLASHCL="$(FLASHCL)" DEVICE="$(DEVICE)" scripts/scale.sh

# OPTIONS="--model FILE.gguf --seconds 1": bench/peers/compare.py --help lists them.
ROUNDS  ?= 3
PEERS    = bench/peers/.venv
peers: install $(PEERS)/.installed ## time FlashCL beside PyTorch, onnxruntime, llama.cpp and more, in turn, and keep that too (ROUNDS=3, ONLY=decode, …)
	$(RELEASE)
	$(PEERS)/bin/python bench/peers/compare.py --flashcl $(FLASHCL) --device "$(DEVICE)" --rounds $(ROUNDS) \
	  --only "$(ONLY)" --json bench/results --plot bench/results $(OPTIONS)

$(PEERS)/.installed: bench/peers/requirements.txt
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet -r bench/peers/requirements.txt
	@touch $@

device-bundle: install ## pack bench/device-bundle.tar.gz: proof and timings for a machine with a GPU and nothing else
	@JOBS=$(JOBS) scripts/device-bundle.sh

format: ## format the sources in place
	$(SWIFT) format format --in-place --recursive --parallel $(SOURCES)

clean: ## remove what was built (fetched models stay)
	rm -rf .build .build-tests
