#!/bin/sh
# make lint: formatting, vet, static analysis, the other systems, shell scripts.
set -eu

fail=0
step() { printf '%s\n' "lint: $*"; }

step "gofumpt"
unformatted=$(git ls-files '*.go' | xargs go tool gofumpt -l)
if [ -n "$unformatted" ]; then
	printf 'not formatted; run: go tool gofumpt -w %s\n' "$unformatted"
	fail=1
fi

step "go vet, here and for the other systems we build for"
go vet ./... || fail=1
go vet -tags demo ./issuing || fail=1
# The operator runs on Linux, and has no code for one processor: to build it again takes
# minutes.
elsewhere=$(go list -f '{{if .GoFiles}}{{.ImportPath}}{{end}}' ./cmd/... | grep -v /gatepass-operator)
# shellcheck disable=SC2086 # a list of packages
GOOS=darwin go build $elsewhere || fail=1
# shellcheck disable=SC2086
GOOS=linux GOARCH=arm64 go build $elsewhere || fail=1

step "staticcheck"
go tool staticcheck ./... || fail=1

step "generated files are as make generate makes them"
fresh=$(mktemp -d)
sh test/tools/generate.sh "$fresh" || fail=1
(cd "$fresh" && find . -type f) | while read -r file; do
	cmp -s "$fresh/$file" "$file" || { printf '%s is out of date; run: make generate\n' "$file"; exit 1; }
done || fail=1
rm -rf "$fresh"

step "go.mod is tidy"
go mod tidy -diff || fail=1

if [ "${CI:-}" = true ] && ! command -v shellcheck >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
	step "installing shellcheck"
	apt-get update -qq && apt-get install -y -qq --no-install-recommends shellcheck >/dev/null || fail=1
fi
if command -v shellcheck >/dev/null 2>&1; then
	step "shellcheck"
	git ls-files '*.sh' .ci/run | xargs shellcheck || fail=1
else
	printf 'missing: shellcheck (apt-get install shellcheck)\n'
	[ "${CI:-}" != true ] || fail=1
fi

exit "$fail"
