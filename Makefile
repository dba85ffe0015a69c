# `make help` lists the targets. Each one installs what it needs first (.ci/setup).
.DEFAULT_GOAL := help
SHELL := /bin/sh
# A fresh rustup's cargo comes before one of the system, which may be too old.
export PATH := $(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
# A checkout is there to be changed: where there is cargo, it builds, unless a place of built files is named.
export SOCKEYE_BUILD := $(or $(SOCKEYE_BUILD),$(if $(SOCKEYE_PREBUILT),,$(if $(shell PATH="$(PATH)" command -v cargo),source)))
# Where Debian puts the packages of Node; a Node from elsewhere does not look there.
export NODE_PATH := $(if $(NODE_PATH),$(NODE_PATH):)/usr/share/nodejs

# All that need no Erlang: only the library does.
PURE_CRATES := -p sockeye-protocol -p sockeye-etf -p sockeye-json -p sockeye-engine -p sockeye-seam -p sockeye-port -p sockeye-sim -p sockeye-loom

.PHONY: help run chat build dist package test test-rust test-erlang test-elixir test-port test-peers test-bench test-dashboard test-proxies recipes monitoring test-cowboy docs lint install-modes test-dist test-musl test-bare release autobahn fuzz differential mutants coverage sim sim-faults loom props sanitize memory miri races test-otp soak churn kill bench bench-quick bench-scale clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## the demo server on 127.0.0.1:19765, with an Erlang shell; ENGINE=port runs the engine as a process of its own
	@.ci/setup run
	@rebar3 compile
	@SOCKEYE_ENGINE=$(ENGINE) examples/erlpy/run_erl_app.sh

chat: ## the chat on http://127.0.0.1:8080/, with an Erlang shell
	@.ci/setup build
	@rebar3 compile
	@examples/chat/run_chat.sh

build: ## the native library and the Erlang modules
	@.ci/setup build
	@rebar3 compile

dist: ## what others take instead of building: dist/ with library and executable, and native/prebuilt.config with their SHA-256
	@.ci/setup dist
	@env -u CARGO_INCREMENTAL $(foreach V,LTO CODEGEN_UNITS OPT_LEVEL DEBUG STRIP,-u CARGO_PROFILE_RELEASE_$(V)) escript native/build_nif.escript dist dist

package: ## the package for hex.pm: dist/sockeye-VERSION, and a tarball of it
	@.ci/setup build
	@escript native/build_nif.escript hex dist

release: ## whether this commit can be released: version, CHANGELOG, tag, built files, documents; publishes nothing
	@.ci/setup build
	@escript native/build_nif.escript release
	rebar3 edoc
	@rm -rf doc # of private modules as well: the next compile writes what the shell shows
	rebar3 eunit --module=sockeye_guide_tests,sockeye_docs_tests,sockeye_names_tests

test: ## all tests: Rust, Erlang, and real clients in Python and Node
	@.ci/setup test
	@$(MAKE) --no-print-directory test-rust test-erlang test-peers

test-rust: ## the tests of the crates that need no Erlang, and the fuzz targets on their seeds
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} cargo test --locked $(PURE_CRATES) # most of them wait
	cargo test --locked --manifest-path native/fuzz/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target}

test-erlang: ## EUnit, several modules at a time (JOBS=)
	test/eunit/run

test-elixir: ## ExUnit: what Elixir has of its own
	@.ci/setup install
	mix format --check-formatted mix.exs 'erlang/elixir/**/*.ex' 'test/elixir/*.exs'
	CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-target} MIX_ENV=test mix do compile --warnings-as-errors, test

test-port: ## EUnit with the engine as a process of its own
	@SOCKEYE_ENGINE=port test/eunit/run

test-bench: ## what of the bench needs no server: whom it finds, and what it makes of measurements
	python3 -m unittest discover -s bench/tests -t bench

test-peers: ## Python and Node clients against a server
	test/peers/run

test-dashboard: ## the dashboard in headless Chromium, with CONNECTIONS (20000); PICTURES=FOLDER takes those of the guide
	@.ci/setup dashboard
	@test/peers/run-dashboard $(or $(CONNECTIONS),20000) $(PICTURES)

test-proxies: ## real haproxy and nginx in front of a server, cowboy, Node and Python behind it
	@.ci/setup proxies
	@bench/setup beam
	SOCKEYE_PROXIES=1 rebar3 eunit --module=sockeye_proxies_tests,sockeye_beside_peers_tests

recipes: ## the guide's pages about production: nginx, haproxy, Caddy and systemd's tools with the files that stand there
	@.ci/setup recipes
	SOCKEYE_PROXIES=1 rebar3 eunit --module=sockeye_recipes_tests,sockeye_recipe_proxies_tests

monitoring: ## Prometheus's own tool reads the alert rules and the metrics
	@.ci/setup monitoring
	rebar3 eunit --module=sockeye_monitoring_tests

test-cowboy: ## routes of a real cowboy, which bench/setup gets, in both kinds of engine; the guide's programs of cowboy and gun
	@bench/setup beam
	rebar3 eunit --module=sockeye_cowboy_tests,sockeye_coming_from_tests
	SOCKEYE_ENGINE=port rebar3 eunit --module=sockeye_cowboy_tests

docs: ## the site in target/site: guide, modules, decisions, numbers, with a search; a link that leads nowhere fails it
	@.ci/setup docs
	docs/site/build target/site

lint: ## formatting, clippy, compiler warnings, xref, dialyzer, edoc
	@.ci/setup lint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo fmt --manifest-path native/fuzz/Cargo.toml --check
	cargo clippy --locked --manifest-path native/fuzz/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target} --all-targets -- -D warnings
	cargo fmt --manifest-path test/mutants/Cargo.toml --check
	cargo clippy --locked --manifest-path test/mutants/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target}/mutants/tool -- -D warnings
	rebar3 as test compile
	rebar3 xref
	rebar3 dialyzer
	rebar3 edoc
	@rm -rf doc # of private modules as well: the next compile writes what the shell shows

install-modes: ## the ways to depend on Sockeye, each tried for real
	@.ci/setup install
	test/install/run

test-dist: ## whether make dist makes the same bytes in two folders (two builds), and files that need what they say
	@.ci/setup dist
	test/install/dist

test-musl: ## the files for musl, in an emulator that is built with musl (Debian; two builds), MODULES="a b" of EUnit
	@.ci/setup dist eunit
	test/musl/run $(MODULES)

test-bare: ## in a bare Debian of its own (needs root): WAYS "hour", a stranger's first hour without Rust; also "run", "test", "rust", "proxies", "docs", "container"
	@.ci/setup build otp
	test/install/bare-debian $(or $(WAYS),hour)

autobahn: ## the Autobahn suite against a server and a client (needs CPython 2.7); CASES=--slice skips most of compression
	@.ci/setup autobahn
	test/autobahn/run $(CASES)
	test/autobahn/run-client $(CASES)

fuzz: ## each fuzz target for SECONDS (60) under libFuzzer, or TARGET="json url"
	@.ci/setup build
	@SOCKEYE_FUZZ_SECONDS=$(or $(SECONDS),60) native/fuzz/run $(TARGET)

differential: ## TEXTS (200000) of JSON beside Jansson and sonic-rs, REQUESTS (3000) for a WebSocket beside Python's websockets and Node's ws: the same but for known differences; SEED repeats
	@.ci/setup test differential
	test/differential/run $(or $(TEXTS),200000) $(or $(REQUESTS),3000) $(SEED)

mutants: ## small changes to CRATES (protocol json) which the crate's own tests must find (minutes; engine: hours); SHARD=k/n for some, FILES="utf8.rs" within one crate
	@.ci/setup build
	@for crate in $(or $(CRATES),protocol json); do test/mutants/run $$crate $(FILES) || exit 1; done

coverage: ## which lines and branches the tests reach: the crates' own, and EUnit (MODULES=... for some); WHAT=rust or erlang for one of both
	@.ci/setup coverage
	test/coverage/run $(or $(WHAT),all) $(MODULES)

# With the checks of a debug build.
SIM := cargo run --quiet --locked --profile soak -p sockeye-sim --

sim: ## the engine in SEEDS simulated worlds, or for SECONDS (60), from the seed FROM on; SEED=n runs one again, with its log
	@.ci/setup build
ifdef SEED
	$(SIM) --seed $(SEED) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(WITHOUT),--without $(WITHOUT))
else
	$(SIM) --seconds $(or $(SECONDS),60) $(if $(SEEDS),--seeds $(SEEDS)) --from $(or $(FROM),$(shell date +%s)000000)
endif

sim-faults: ## faults planted into a copy of the engine, each to be found by the simulation (some minutes)
	@.ci/setup build
	cargo test --locked -p sockeye-sim --test faults -- --ignored --nocapture

loom: ## what threads hand to each other in all orders with three preemptions, and with each ordering weakened (some 5 minutes)
	@.ci/setup build
	SOCKEYE_LOOM_PREEMPTIONS=3 cargo test --locked -p sockeye-loom --config profile.dev.package.sockeye-loom.opt-level=1 -- --include-ignored --nocapture

# The clock is the seed, if none is given.
props: ## the public API by RUNS (1000) lists of random commands against a model, in both kinds of engine, and planted faults; SEED repeats some (about an hour)
	@.ci/setup test
	@seed=$(or $(SEED),$$(date +%s)); for engine in nif port; do \
	    echo "seed $$seed, engine $$engine"; \
	    SOCKEYE_TEST_ALL=1 SOCKEYE_TEST_SEED=$$seed SOCKEYE_TEST_RUNS=$(or $(RUNS),1000) SOCKEYE_ENGINE=$$engine \
	        rebar3 eunit --module=sockeye_api_tests,sockeye_api_cluster_tests || exit 1; \
	done

sanitize: ## the library in a VM under AddressSanitizer, planted faults first: some modules of EUnit (ALL=1, MODULES=...) and MINUTES (2) of soak
	@.ci/setup sanitize
	test/sanitize/run $(if $(ALL),all,$(or $(MODULES),some)) $(or $(MINUTES),2)

memory: ## what the resident growth of a server by CONNECTIONS (4000) is made of, in WAYS ("one each tls one-port each-port tls-port")
	@.ci/setup test
	test/memory/run $(or $(CONNECTIONS),4000) $(WAYS)

miri: ## the parts without I/O in Rust's interpreter, which finds undefined behaviour and races (nightly Rust)
	@.ci/setup miri
	test/miri/run

races: ## the engine under ThreadSanitizer, a planted race first: its own tests, and as a process below EUnit (MODULES=..., none)
	@.ci/setup races
	test/races/run $(or $(MODULES),some)

test-otp: ## EUnit and Elixir in Debian's other RELEASES ("trixie sid"), each in a root folder of its own (needs root); MODULES=... for some, none for Elixir alone
	@.ci/setup otp
	MODULES=$(MODULES) test/otp/run $(RELEASES)

soak: ## MINUTES (30) of random life, crashes and halts, with a census before and after; SEED repeats one; PARTS="traffic" for some of "json traffic commands halting"; then 400 nodes that end, and all terms that are sent
	@.ci/setup test
	test/soak/run $(or $(MINUTES),30) $(or $(SEED),$$(date +%s)) $(PARTS)
	SOCKEYE_TEST_ROUNDS=100 SOCKEYE_TEST_ALL=1 rebar3 eunit --module=sockeye_lifecycle_tests,sockeye_sent_held_tests,sockeye_sent_tests

churn: ## MINUTES (60) of clients that come and go, 5,000 at a time, at nodes with each kind of engine: what is resident stays within 2 %
	@.ci/setup test
	test/soak/run $(or $(MINUTES),60) $(or $(SEED),$$(date +%s)) churn

kill: ## the engine's process is killed ROUNDS (1000) times under load, with a census; then large frames beside small ones
	@.ci/setup test
	test/kill/run $(or $(ROUNDS),1000) $(or $(CONNECTIONS),1000)

bench: ## every question of the benchmark, beside other servers (over an hour), into bench/NUMBERS.md, its plots and the README; ARGS="--rate --runs 3" for some of it
	@.ci/setup build
	bench/run $(or $(ARGS),--all --write)

bench-quick: ## the same in minutes: one short run, the servers that matter most
	@.ci/setup build
	bench/run --all --quick

bench-scale: ## as many connections as this host allows (19,500; 100,000 over HTTP/2; some ten minutes), all steps, into bench/SCALE.md; CONNECTIONS=500 for a look
	@.ci/setup build
	bench/scale $(if $(CONNECTIONS),--connections $(CONNECTIONS),--write) $(ARGS)

clean: ## what the targets above made, downloaded packages included
	rm -rf _build priv target dist doc .venv native/fuzz/target native/fuzz/corpus bench/target bench/results bench/peers/node/node_modules
