# The first of these that is installed; pjsua2 has wheels for 3.11 and 3.12.
PYTHONS := python3.11 python3.12 python3.13 python3.14
PYTHON ?= $(or $(notdir $(firstword $(foreach name,$(PYTHONS),$(shell command -v $(name) 2>/dev/null)))),python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 4

NATIVE_TESTS ?= tests/native tests/mikey tests/keys tests/ticket tests/sdp tests/vectors \
	tests/kms/test_service.py tests/kms/test_public_key.py tests/kms/test_forwarding.py \
	tests/media/test_srtp.py tests/media/test_stream.py tests/media/test_mki.py tests/media/test_endpoint.py

.PHONY: demo bench test test-stacks test-again test-long test-core test-native check native native-check docs dist sbom audit coverage format clean fuzz

define make_venv
@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "Python 3.11 or later with venv not found: apt-get install python3 python3-venv (or set PYTHON=...)" >&2; exit 1; }
$(PYTHON) -m venv $(VENV)
$(BIN)/pip install --quiet --upgrade pip
endef

$(STAMP): pyproject.toml
	$(make_venv)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.runs

# What a call takes, without what tests and faces need.
$(VENV)/.runs: pyproject.toml
	$(make_venv)
	$(BIN)/pip install --quiet --editable '.[pjsua2,media,kms]'
	@touch $@

demo: $(VENV)/.runs
	@$(BIN)/sipmikey --version >&2
	$(BIN)/sipmikey demo $(if $(STACK),--stack $(STACK)) $(DEMO)

test: $(STAMP)
	./tools/install-peers
	SIPMIKEY_PURE=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile $(if $(filter long,$(LATER)),-m 'not long') $(TESTS)
	$(if $(TESTS)$(filter native,$(LATER)),,@if command -v cargo >/dev/null; then $(MAKE) --no-print-directory test-native; \
	    else echo "the native core is not tested: no cargo here"; fi)

# All tests of calls on each combination of the two SIP stacks (docs/stacks.md). It takes an hour or more.
STACK_TESTS := tests/agent tests/interop tests/nat tests/regress tests/testing
COMBINATIONS ?= pjsua2 python caller=pjsua2,callee=python caller=python,callee=pjsua2
test-stacks: $(STAMP)
	./tools/install-peers
	@failed=; for stacks in $(COMBINATIONS); do echo "SIPMIKEY_TEST_STACK=$$stacks"; \
	    SIPMIKEY_TEST_STACK=$$stacks SIPMIKEY_PURE=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile \
	        $(or $(TESTS),$(STACK_TESTS)) || failed="$$failed $$stacks"; done; \
	    test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

# The tests that failed in the last run, one at a time. Failures in many files are a fault: only a few are tried again.
AGAIN_AT_MOST ?= 4
FAILED = $(BIN)/pytest --last-failed --last-failed-no-failures none
test-again: $(STAMP)
	@failed=$$($(FAILED) --collect-only -q | grep '::' | sed 's/::.*//' | sort -u | wc -l); \
	    echo "tests of $$failed files failed beside other tests"; \
	    test "$$failed" -ge 1 && test "$$failed" -le $(AGAIN_AT_MOST)
	SIPMIKEY_PURE=1 $(FAILED) -v

# The tests that take longest, which CI runs last.
test-long: $(STAMP)
	SIPMIKEY_PURE=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile -m long

# The native core is a package of its own, built of Rust: see docs/native.md.
native: $(STAMP)
	@command -v cargo >/dev/null || { echo "cargo not found: the native core needs Rust 1.85 or later (Debian 13: apt-get install cargo)" >&2; exit 1; }
	$(BIN)/pip install --quiet ./native
	@$(BIN)/sipmikey --version

test-native: native
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(NATIVE_TESTS)

native-check:
	cd native && cargo fmt --check && cargo clippy --quiet --locked -- -D warnings
	cd native && cargo test --quiet --locked --package sipmikey-core
	@if cargo deny --version >/dev/null 2>&1; then cd native && cargo deny check; \
	    else echo "advisories and licences of the crates are not checked: cargo install cargo-deny"; fi

# What needs neither root nor another program, and is done in under two minutes.
CORE_TESTS := $(wildcard $(addprefix tests/,mikey keys ticket sdp sip call deferred vectors regress phone settings)) \
	$(addprefix tests/kms/test_,policy.py service.py subscribers.py secrets_at_rest.py public_key.py) \
	$(addprefix tests/cli/decode/test_,decode.py decode_keys.py) \
	$(addprefix tests/cli/test_,config.py ladder.py narrate.py readme.py)

test-core: $(STAMP)
	$(BIN)/pytest -n $(WORKERS) -m 'not interop and not long and not processes' $(CORE_TESTS)

# The two halves run side by side, some three minutes each on a quiet machine.
COVERED := sipmikey/mikey/*,sipmikey/keys/*,sipmikey/ticket/*
COVERAGE_CALL := tests/call
COVERAGE_REST := $(wildcard $(addprefix tests/,mikey keys ticket sdp deferred vectors regress)) \
	$(addprefix tests/kms/,test_service.py test_public_key.py test_forwarding.py) \
	tests/agent/sdes/test_sdes_descriptions.py
COVER := SIPMIKEY_PURE=1 $(BIN)/python -m coverage run -m pytest -q -m 'not interop and not processes'

# Every figure of the documentation: PARTS="start codec" makes some of them.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.bench $(PARTS) $(if $(LABEL),--label $(LABEL))

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_layers.py
	$(BIN)/python tools/check_words.py
	$(BIN)/codespell

# The pages as a site, in build/site. A broken link or reference ends it.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Sdist and wheel in dist/, tried in new environments of every Python found.
dist: $(STAMP)
	$(BIN)/python tools/check_distribution.py $(PYTHONS)

# What a full installation consists of, in an environment of its own. Needs PyPI or a mirror of it.
build/shipped: pyproject.toml
	rm -rf $@ && $(PYTHON) -m venv $@
	$@/bin/pip install --quiet '.[all,gui]'

sbom: $(STAMP) build/shipped
	$(BIN)/pip install --quiet '.[release]'
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml -o dist/sbom.json build/shipped/bin/python
	@echo "dist/sbom.json: $$(grep -c '"bom-ref"' dist/sbom.json) components"

# Advisories against what is shipped. What PyPI does not know counts as a failure, but for sipmikey itself.
audit: $(STAMP) build/shipped
	$(BIN)/pip install --quiet '.[release]'
	build/shipped/bin/pip freeze --exclude sipmikey > build/shipped.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r build/shipped.txt

# Branches of the core that no test takes: every one of COVERED is taken, and of all not fewer than today.
coverage: $(STAMP)
	rm -f .coverage .coverage.*
	$(COVER) $(COVERAGE_CALL) & call=$$!; $(COVER) $(COVERAGE_REST); rest=$$?; wait $$call && exit $$rest
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --show-missing --skip-covered
	$(BIN)/python -m coverage report --include='$(COVERED)' --fail-under=100

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf native/target $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS_EACH),60) $(TARGETS)
