# Every target that runs something installs and builds first, if that is needed. `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

P ?= 9
TAG ?= millrace
# Recipes read variables from the environment, quoted: the shell never runs what is in them. Those of the command line are there already.
export P TAG

# A smaller young generation than Node's 16 MiB: 20 to 30 MB less memory, and no more CPU for it.
# glibc raises the size from which it maps memory with each buffer that is freed, up to 32 MB, and what is below stays with the process: held at its first
# value, what fetches and batches took goes back: 15 MB less. Other C libraries do not read it.
# The shell gives its place to the program, so that a signal reaches it once and its exit code is the target's.
CLI := exec env MALLOC_MMAP_THRESHOLD_=131072 node --max-semi-space-size=8 dist/apps/purchase/cli.js
BROKERS := export KAFKA_BROKERS="$${KAFKA_BROKERS:-localhost:9092}"
INSTALLED := node_modules/.package-lock.json
SOURCES := $(shell find . \( -name '*.ts' -o -name '*.mjs' -o -name '*.css' -o -name '*.html' \) -not -path './node_modules/*' -not -path './dist/*' -not -path './.*/*')

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo 'variables: COUNT=20000 (run), P=9 (partitions), KAFKA_BROKERS=localhost:9092, ARGS="--late 0.02" (flags of the command), TAG (image)'

.PHONY: run
run: build ## demo: producer, pipeline and live console in one process; COUNT=20000 ends by itself
	@set -f; $(CLI) demo $${COUNT:+"--count=$$COUNT"} $$ARGS

.PHONY: test
test: check-kafka build ## every test, those on a real Kafka included (Java 17 and Maven, or Docker, or KAFKA_BROKERS)
	@npm test --silent -- $${TEST_REPORTS:+--reporter=default --reporter=json "--outputFile.json=$$TEST_REPORTS/unit.json"}
	@npm run test:faults --silent -- $${TEST_REPORTS:+--reporter=default --reporter=json "--outputFile.json=$$TEST_REPORTS/sim.json"}
	@npm run test:kafka --silent -- $${TEST_REPORTS:+--reporter=default --reporter=json "--outputFile.json=$$TEST_REPORTS/kafka.json"}

.PHONY: build
build: dist/apps/purchase/cli.js ## compile to dist/

.PHONY: docker-build
docker-build: ## build the image TAG
	@docker build --tag "$$TAG" .

.PHONY: kafka
kafka: $(INSTALLED) ## a Kafka on localhost:9092: in Docker if there is an engine, else from its jars until Ctrl-C
	@if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then \
	  docker compose up --detach --wait kafka && echo 'Kafka is up: KAFKA_BROKERS=localhost:9092 (docker compose down stops it)'; \
	else exec node --import tsx testing/kafka/cli.ts start --port 9092; fi

.PHONY: run-producer
run-producer: build ## make purchases into a topic with P partitions
	@set -f; $(BROKERS); $(CLI) produce "--partitions=$$P" $$ARGS

.PHONY: run-consumer
run-consumer: build ## one instance of the pipeline on P partitions, with a thread for each core
	@set -f; $(BROKERS); export THREADS="$${THREADS:-auto}"; $(CLI) run "--partitions=$$P" $$ARGS

.PHONY: live
live: build ## the live console on a running Kafka
	@set -f; $(BROKERS); $(CLI) live $$ARGS

.PHONY: spark
spark: ## nothing to start
	@echo 'No Spark, no cluster and no other service is needed: the pipeline is a plain Node process. Start one with: make run-consumer'

.PHONY: growth
growth: check-kafka build ## event time through 1,000 windows: memory, state and changelog must stay bounded
	@set -f; exec node --import tsx bench/growth.ts $$ARGS

.PHONY: bench
bench: check-kafka build ## against Kafka Streams and a bare loop, every run checked; ARGS=--quick takes 3 minutes, ARGS=--help lists the parts
	@set -f; exec node --import tsx bench/cli.ts $$ARGS

.PHONY: bench-smoke
bench-smoke: check-kafka build ## whether the benchmarks work at all: every part, as small as can be
	@set -f; exec node --import tsx bench/cli.ts --smoke $$ARGS

.PHONY: bench-report
bench-report: $(INSTALLED) ## docs/benchmarks.md anew, from the results in bench/results
	@exec node --import tsx bench/cli.ts --report-only

.PHONY: chaos
chaos: check-kafka build ## the pipeline on a real Kafka under MINUTES of faults, against an oracle; SEED plans the same faults again, GUARANTEE=at_least_once
	@set -f; exec node --import tsx testing/chaos/cli.ts "--minutes=$${MINUTES:-30}" $${SEED:+"--seed=$$SEED"} $${GUARANTEE:+"--guarantee=$$GUARANTEE"} $$ARGS

.PHONY: lint
lint: $(INSTALLED) ## type check, lint and format check
	@npm run check --silent

.PHONY: format
format: $(INSTALLED) ## format and fix
	@npm run format --silent

.PHONY: clean
clean: ## remove what was built (state and node_modules stay)
	@rm -rf dist coverage

.PHONY: check-kafka
check-kafka: $(INSTALLED)
	@node --import tsx testing/kafka/cli.ts check

.PHONY: check-node
check-node:
	@command -v node >/dev/null || { echo 'Node.js 20.19 or newer is needed, and there is no node here: https://nodejs.org' >&2; exit 1; }
	@node -e 'const [major, minor] = process.versions.node.split(".").map(Number); if (major < 20 || (major === 20 && minor < 19)) { console.error("Node.js 20.19 or newer is needed, and this is " + process.version + ": https://nodejs.org"); process.exit(1); }'

$(INSTALLED): package.json package-lock.json | check-node
	@echo 'Installing. better-sqlite3 comes prebuilt; where it does not, it is compiled, which needs a C++ compiler (c++ or g++), make and Python 3.'
	@command -v c++ >/dev/null || command -v g++ >/dev/null || echo 'There is no C++ compiler here. Should the install fail: apt-get install g++ make python3, or the like.'
	@npm ci
	@touch $@

dist/apps/purchase/cli.js: $(INSTALLED) $(SOURCES) tsconfig.json tsconfig.build.json
	@npm run build --silent
	@touch $@
