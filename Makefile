# nines: `make` builds, `make demo` shows it at work, `make test` runs the tests.
# Everything here works without root. See CONTRIBUTING.md.

GO       ?= go
PREFIX   ?= /usr/local
BIN      ?= bin
DESTDIR  ?=
FUZZTIME ?= 10s
# What each fuzz target gets in `make test`; 0: none.
FUZZ_SECONDS ?= 2

# A release tarball has no git: it carries a VERSION file instead.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo unknown)

# -buildvcs=false: a checkout owned by somebody else must build too, and the
# version is stamped here anyway.
LDFLAGS  := -s -w -X main.version=$(VERSION)
GOBUILD  := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
# The keeper forwards SIGURG, so the runtime must not use it for preemption; and
# it begins before the runtime, to see which signals it was given as ignored
# (supervisor/entry).
INITFLAGS := $(LDFLAGS) -X=runtime.godebugDefault=asyncpreemptoff=1 $(if $(filter amd64 arm64,$(shell $(GO) env GOARCH)),-E=nines_start)

PROGRAMS := nines nines-init nines-exec nines-log
# Go's ./... leaves folders named testdata out; the programs there are tested
# and linted as well.
PACKAGES := ./... $(addprefix ./,$(sort $(dir $(wildcard testdata/*/*.go testdata/*/*/*.go))))
GODIRS   := cgroups cmd ipc spec supervisor testdata

# Run by its version and not installed: nothing outside the Go cache changes.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler; without one the tests run all the same.
CC_FOUND := $(shell command -v $${CC:-gcc} 2>/dev/null)
RACE     ?= $(if $(CC_FOUND),-race)
TESTFLAGS ?=
BENCHFLAGS ?=

.DEFAULT_GOAL := build
.PHONY: build demo test vm vet gofmt lint fuzz bench cover clean man install uninstall help check-go

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: check-go ## the four static binaries, in ./bin
	@mkdir -p $(BIN)
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/nines ./cmd/nines-exec ./cmd/nines-log
	$(GOBUILD) -ldflags '$(INITFLAGS)' -o $(BIN)/nines-init ./cmd/nines-init

demo: build ## kill a real web service, and break it by a new version, and watch it come back, in under a minute
	@$(GOBUILD) -o bin/demo/ ./testdata/web ./testdata/demo
	@$(GOBUILD) -tags v2 -o bin/demo/web-v2 ./testdata/web
	@bin/demo/demo -bin bin -web bin/demo/web -web-v2 bin/demo/web-v2

# How a list of packages is tested: by go, or by what .ci/run puts in its place.
GOTEST ?= $(GO) test $(1) $(2)

# -count=1: what a test builds and runs is not part of the cache key of Go.
test: build vet gofmt ## every test, with the race detector where there is a C compiler, and some seconds of fuzzing
	@$(if $(RACE),,echo "note: no C compiler found: testing without the race detector")
	$(call GOTEST,$(RACE) -count=1 -timeout 20m $(TESTFLAGS),$(filter-out ./testdata/vm/%,$(PACKAGES)))
	$(VMTEST)
	@[ $(FUZZ_SECONDS) = 0 ] || GO='$(GO)' FUZZTIME=$(FUZZ_SECONDS)s testdata/fuzz.sh

# Apart from the others: emulated processors take all that the machine has, and
# nothing that the race detector could see runs on this side.
VMTEST = $(call GOTEST,-count=1 -timeout 20m $(TESTFLAGS),./testdata/vm)

vm: check-go ## the tests in a virtual machine alone (testdata/vm/README.md)
	$(GO) test -count=1 -timeout 20m -v $(TESTFLAGS) ./testdata/vm

vet: check-go
	$(GO) vet $(PACKAGES)
	$(GO) vet -tags generate ./cmd/nines

gofmt: check-go
	@out=$$(gofmt -l $(GODIRS)) && { [ -z "$$out" ] || { echo "gofmt -w needed:"; echo "$$out"; exit 1; } >&2; }

lint: vet gofmt ## vet, gofmt and the linters
	$(GO) run $(GOLANGCI) run $(PACKAGES)

fuzz: check-go ## each fuzz target for FUZZTIME (default 10s)
	GO='$(GO)' FUZZTIME=$(FUZZTIME) testdata/fuzz.sh

bench: build ## figures beside a C floor and, where installed, runit and s6 (root)
	testdata/bench/run.sh $(BENCHFLAGS)

cover: build ## test coverage: coverage.html, and the total
	$(GO) test -count=1 -timeout 15m -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -n 1

# The generator runs here, whatever the binaries are built for.
man: check-go ## man pages and completion scripts, in ./bin/generated
	@rm -rf $(BIN)/generated
	GOOS= GOARCH= CGO_ENABLED=0 $(GO) run -buildvcs=false -tags generate ./cmd/nines $(BIN)/generated

# bin/stage holds what is installed, as it lies below PREFIX. Its list is
# installed too, so that uninstall removes that and nothing else.
MANIFEST := share/nines/manifest

install: build man ## programs, man pages, completions and a systemd unit, into DESTDIR and PREFIX (default /usr/local)
	@rm -rf $(BIN)/stage
	@mkdir -p $(BIN)/stage/bin $(BIN)/stage/lib/systemd/system $(BIN)/stage/share/nines
	@cp $(addprefix $(BIN)/,$(PROGRAMS)) $(BIN)/stage/bin/
	@cp -R $(BIN)/generated/. $(BIN)/stage/share/
	@sed 's|@bindir@|$(PREFIX)/bin|' cmd/nines-init/nines.service >$(BIN)/stage/lib/systemd/system/nines.service
	@: >$(BIN)/stage/$(MANIFEST)
	@cd $(BIN)/stage && find . -type f | sed 's|^\./||' | LC_ALL=C sort >../manifest && mv ../manifest $(MANIFEST)
	@while read -r f; do \
		case $$f in bin/*) mode=0755 ;; *) mode=0644 ;; esac; \
		install -D -m $$mode "$(BIN)/stage/$$f" "$(DESTDIR)$(PREFIX)/$$f" || exit 1; \
	done <$(BIN)/stage/$(MANIFEST)
	@echo "installed $$(wc -l <$(BIN)/stage/$(MANIFEST)) files into $(DESTDIR)$(PREFIX)"

uninstall: ## what install put there
	@if [ -e "$(DESTDIR)$(PREFIX)/$(MANIFEST)" ]; then \
		while read -r f; do rm -f "$(DESTDIR)$(PREFIX)/$$f" || exit 1; done <"$(DESTDIR)$(PREFIX)/$(MANIFEST)"; \
		rmdir "$(DESTDIR)$(PREFIX)/$(dir $(MANIFEST))"; \
	else \
		echo "nothing to remove: there is no $(DESTDIR)$(PREFIX)/$(MANIFEST)"; \
	fi

clean: ## everything that the other targets made
	rm -rf bin coverage.out coverage.html

check-go:
	@command -v $(GO) >/dev/null || { echo "cannot find go: install Go 1.21 or newer (it fetches the version that go.mod names): https://go.dev/dl" >&2; exit 1; }
