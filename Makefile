# The front door. `make` lists what there is; continuous integration calls the same through .ci/run.

CARGO ?= cargo
# Passed to every cargo command, such as --locked or --offline.
CARGO_FLAGS ?=
# Passed to the tests, such as TESTS=catcher.
TESTS ?=
# What `make torture` asks for; OKAERI_SEED=… begins with a seed of yours.
CRASHES ?= 1000

.DEFAULT_GOAL := help
.PHONY: help test torture check bench demo clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## run every test, on SQLite and on a private PostgreSQL (installed when missing)
	@.ci/install-missing compiler postgres dkim postfix spamassassin jsonschema
	.ci/with-postgres $(CARGO) test $(CARGO_FLAGS) $(TESTS)

torture: ## a thousand crashes at random and a hundred simulated weeks: nightly, half an hour at most (docs/torture.md)
	@.ci/install-missing compiler postgres
	@# The simulated year is half as long in a build that is optimised a little; failpoints need the rest of the development profile.
	@# The library's year first and alone: three minutes that are not shared with the rest.
	OKAERI_TORTURE=$(CRASHES) CARGO_PROFILE_DEV_OPT_LEVEL=1 .ci/with-postgres $(CARGO) test $(CARGO_FLAGS) --test it -- year::library --nocapture
	OKAERI_TORTURE=$(CRASHES) CARGO_PROFILE_DEV_OPT_LEVEL=1 .ci/with-postgres $(CARGO) test $(CARGO_FLAGS) --test it -- torture:: year:: --skip year::library --nocapture

check: ## formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets -- -D warnings

bench: ## run the benchmarks: minutes, and some gigabytes of disk (docs/benchmarks.md)
	@.ci/install-missing compiler postgres
	.ci/with-postgres $(CARGO) bench $(CARGO_FLAGS)

demo: ## the whole way on a sample shop, with mails you can look at
	$(CARGO) run --release $(CARGO_FLAGS) -- demo

clean: ## remove what was built, and the demo's folders
	$(CARGO) clean
	rm -rf okaeri-demo*
