#!/bin/sh
# make vuln: known vulnerabilities in what the programs call (govulncheck).
#
# The database is vuln.go.dev's, or, where only a module proxy is reached, made
# from the module golang.org/x/vulndb. Where neither is reached, nothing was
# checked: that is printed, and is no failure.
#
# Vulnerabilities of modules fail. Those of the Go standard library are mended
# by building with a newer Go, so they are printed with the version to use.
set -eu

go=${1:-go}
reports=$(mktemp)
trap 'rm -f "$reports"' EXIT

# vulndb prints the folder of a database made from the module, once per version.
vulndb() {
	module=$($go mod download -json golang.org/x/vulndb@latest 2>/dev/null) || return 1
	value() { printf '%s\n' "$module" | sed -n "s/^\t\"$1\": \"\(.*\)\",*$/\1/p"; }
	version=$(value Version)
	folder=${XDG_CACHE_HOME:-$HOME/.cache}/gatepass-test/vulndb/$version
	if [ ! -d "$folder" ]; then
		rm -rf "$folder.part"
		$go run "golang.org/x/vulndb/cmd/indexdb@$version" -vulns "$(value Dir)/data/osv" -out "$folder.part" >&2 || return 1
		mv "$folder.part" "$folder"
	fi
	printf '%s\n' "$folder"
}

if $go tool govulncheck ./internal/version >/dev/null 2>&1; then
	database=https://vuln.go.dev
elif folder=$(vulndb); then
	database=file://$folder
else
	printf 'missing: a database of vulnerabilities (neither vuln.go.dev nor the module golang.org/x/vulndb is reached); nothing was checked\n'
	exit 0
fi
printf 'vuln: database %s\n' "$database"

code=0
$go tool govulncheck -db "$database" ./... >"$reports" || code=$?
case $code in
0) printf 'vuln: no known vulnerability is called\n' ;;
3)
	if grep -q '^  Module: ' "$reports"; then
		cat "$reports"
		exit 1
	fi
	printf 'vuln: no known vulnerability of a module is called; %s has some, so release with %s or later:\n' \
		"$($go env GOVERSION)" "$(sed -n 's/^ *Fixed in: .*@\(go1[.0-9]*\)$/\1/p' "$reports" | sort -V | tail -n 1)"
	sed -n 's/^Vulnerability #[0-9]*: /  /p' "$reports"
	;;
*)
	cat "$reports"
	exit "$code"
	;;
esac
