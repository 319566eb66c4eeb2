# What a newcomer runs first: make demo, make test.
.DEFAULT_GOAL := help
SHELL := /bin/sh

GO       ?= go
BIN      := bin
PREFIX   ?= /usr/local
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo '(devel)')
# AWS's library for Lambda functions without what only its go1.x runtime called.
TAGS     := lambda.norpc
LDFLAGS  := -s -w -X github.com/gatepass/gatepass/internal/version.number=$(VERSION)
# On linux/amd64 the guard ends before Go starts where it has nothing to do: see entry_linux_amd64.go.
ENTRY    := $(if $(filter linux/amd64,$(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)),-E main.entry)
MANDIR   ?= $(PREFIX)/share/man
COMMANDS := $(notdir $(patsubst %/,%,$(dir $(wildcard cmd/*/main.go))))

BASH_COMPLETION := $(PREFIX)/share/bash-completion/completions/gatepass
ZSH_COMPLETION  := $(PREFIX)/share/zsh/site-functions/_gatepass
FISH_COMPLETION := $(PREFIX)/share/fish/vendor_completions.d/gatepass.fish
COMPLETIONS     := $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)

export CGO_ENABLED ?= 0

.PHONY: help build $(COMMANDS) generate test test-race test-real newcomer pictures fuzz lint vuln bench demo dist lambda install uninstall clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# The guard is built apart: on linux/amd64 it begins before Go starts, see ENTRY.
GUARD := gatepass-pre-push
build: $(GUARD) ## build the programs into bin/
	@$(call timed,$(filter-out $(GUARD),$(COMMANDS)),$(GO) build -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o $(BIN)/ $(addprefix ./cmd/,$(filter-out $(GUARD),$(COMMANDS))))

$(COMMANDS):
	@mkdir -p $(BIN)
	@$(call timed,$@,$(GO) build -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)$(if $(filter $(GUARD),$@), $(ENTRY))" -o $(BIN)/$@ ./cmd/$@)

# timed says which programs a command builds, and afterwards how long that took. V=1 shows
# the command.
timed = echo "building $(1) into $(BIN)/"; began=$$(date +%s); $(if $(V),set -x;) $(2) && echo "built in $$(($$(date +%s) - began)) s"

# Built apart, without what the story does not need: it is what a newcomer waits for.
DEMO := gatepass gatepass-agent gatepass-pre-push git-credential-gatepass
demo: ## the whole story on this machine: clone, push, refused push, stale token, issuing
	@mkdir -p $(BIN)/demo
	@$(call timed,the demo: $(DEMO),$(GO) build -trimpath -tags demo -ldflags "$(LDFLAGS)" -o $(BIN)/demo/ $(addprefix ./cmd/,$(DEMO)))
	@$(BIN)/demo/gatepass demo

# Twice as many packages at once as there are processors: many of them wait.
AT_ONCE := $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))
# Programs that end soon spend a third of their time on collecting garbage; so does the linker
# on each test program.
test: export GOGC ?= 400
# The tests run the programs that are built once. Long tests run in "make test-real" only.
test: build ## the tests that need only Go and git, without the long ones
	GATEPASS_TEST_BIN_DIR=$(CURDIR)/$(BIN) $(GO) test -short -trimpath -p $(AT_ONCE) ./...

generate: build ## what is made from types, markers and programs: deep copies, CRDs, RBAC, docs/reference
	@sh test/tools/generate.sh

test-race: ## the same under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

test-real: build ## the tests against real components, which it sets up once; PACKAGES=./cmd for some
	$(GO) run ./test/components test $(PACKAGES)

newcomer: ## the README from an empty home: the demo, the playground, the installation, the quick starts
	@sh test/tools/newcomer.sh $(COLD)

# TO=DIR: into DIR, every page at three widths, in light and in dark.
pictures: ## the screenshots in docs/images, taken by Chromium; TO=DIR for those of every page
	@mkdir -p $(or $(TO),docs/images)
	GATEPASS_TEST_CHROMIUM=$$(command -v chromium) GATEPASS_TEST_PICTURES=$(abspath $(or $(TO),docs/images)) $(GO) test -count=1 -run '$(if $(TO),TestEveryPage|TestTheStatusPageOf,TestPicturesForTheDocumentation)' ./test/browser

fuzz: ## every fuzz target for FUZZTIME (10s) each
	@sh test/tools/fuzz.sh $(or $(FUZZTIME),10s)

lint: ## formatting, vet, linters, other systems, shell scripts
	@sh test/tools/lint.sh

vuln: ## known vulnerabilities in what the programs call
	@sh test/tools/vuln.sh "$(GO)"

bench: build ## the measured promises, each beside its peer
	$(GO) run ./test/bench

install: build ## copy programs, manual and shell completion to PREFIX (/usr/local); then run: gatepass install
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(addprefix $(DESTDIR),$(dir $(COMPLETIONS)))
	for c in $(COMMANDS); do install -m 0755 $(BIN)/$$c $(DESTDIR)$(PREFIX)/bin/$$c || exit 1; done
	$(BIN)/gatepass man $(DESTDIR)$(MANDIR)
	$(BIN)/gatepass completion bash >$(DESTDIR)$(BASH_COMPLETION)
	$(BIN)/gatepass completion zsh >$(DESTDIR)$(ZSH_COMPLETION)
	$(BIN)/gatepass completion fish >$(DESTDIR)$(FISH_COMPLETION)
	chmod 0644 $(DESTDIR)$(MANDIR)/man1/gatepass*.1 $(DESTDIR)$(MANDIR)/man1/git-credential-gatepass.1 $(DESTDIR)$(MANDIR)/man5/gatepass*.5 $(addprefix $(DESTDIR),$(COMPLETIONS))

uninstall: ## remove them again (run gatepass uninstall first)
	for c in $(COMMANDS); do rm -f $(DESTDIR)$(PREFIX)/bin/$$c; done
	rm -f $(DESTDIR)$(MANDIR)/man1/gatepass.1 $(DESTDIR)$(MANDIR)/man1/gatepass-*.1 $(DESTDIR)$(MANDIR)/man1/git-credential-gatepass.1 $(DESTDIR)$(MANDIR)/man5/gatepass-*.5 $(addprefix $(DESTDIR),$(COMPLETIONS))

dist: ## release archives for linux in dist/, with install.sh for images
	@sh test/tools/dist.sh "$(GO)" "$(LDFLAGS)" "$(TAGS)" $(COMMANDS)

lambda: ## the zips of gatepass-refresher for AWS Lambda in dist/
	@sh test/tools/lambda.sh "$(GO)" "$(LDFLAGS)" "$(TAGS)"

clean: ## remove what was built
	rm -rf $(BIN) dist
