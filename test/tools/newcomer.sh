#!/bin/sh
# make newcomer: somebody with an empty home, this repository and its README.
#
#   newcomer.sh [cold]
#
# Runs the commands of README.md in their order: the demo, the playground and what it says
# to try first, the installation. Then it does the quick starts with the programs that were
# installed. With "cold" the build cache is empty, too; modules are not loaded again.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
home=$(mktemp -d "${TMPDIR:-/tmp}/gpn.XXXXXX")
playground=
finish() {
	[ -z "$playground" ] || kill "$playground" 2>/dev/null || :
	[ -z "$playground" ] || wait "$playground" || :
	chmod -R u+w "$home"
	rm -rf "$home"
}
trap finish EXIT
trap 'exit 130' INT TERM

modules=$(go env GOMODCACHE) cache=$(go env GOCACHE)
[ "${1:-}" != cold ] || cache=$home/cache
as_newcomer() { # COMMAND...
	env -i HOME="$home" PATH="$home/.local/bin:$PATH" TMPDIR="${TMPDIR:-/tmp}" XDG_RUNTIME_DIR="$home/run" LC_ALL=C TERM=dumb USER=newcomer \
		GOMODCACHE="$modules" GOCACHE="$cache" GOFLAGS="${GOFLAGS:-}" GOPROXY="${GOPROXY:-}" GOSUMDB="${GOSUMDB:-}" GOTOOLCHAIN="${GOTOOLCHAIN:-}" GIT_CONFIG_NOSYSTEM=1 "$@"
}
die() {
	echo "newcomer: $*" >&2
	exit 1
}
began=$(date +%s)
seconds() { echo $(($(date +%s) - began)); }

# command prints the one indented line of the README that begins so, without its remark.
command_of() { # BEGINNING
	found=$(sed -n "s/^    \($1.*\)/\1/p" "$home/gatepass/README.md" | sed 's/ *# .*//')
	if [ -z "$found" ] || [ "$(printf '%s\n' "$found" | wc -l)" != 1 ]; then
		die "the README does not have one command that begins $1: $found"
	fi
	printf '%s\n' "$found"
}
do_it() { # COMMAND, in the clone
	echo "\$ $1"
	(cd "$home/gatepass" && as_newcomer sh -ec "$1")
}

mkdir -m 0700 "$home/run"
git clone -q "$root" "$home/gatepass"
echo "cloned after $(seconds) s"

do_it "$(command_of 'make demo')" >"$home/demo" || die "the demo fails: $(cat "$home/demo")"
grep -q 'of .* checks passed' "$home/demo" || die "the demo does not say how many checks passed"
tail -1 "$home/demo"
echo "demo's end after $(seconds) s"

serve=$(command_of 'make build')
(cd "$home/gatepass" && as_newcomer sh -ec "${serve%%&&*}") >/dev/null
(cd "$home/gatepass" && exec env -i HOME="$home" PATH="$PATH" TMPDIR="${TMPDIR:-/tmp}" LC_ALL=C sh -c "exec ${serve#*&& }") >"$home/playground" &
playground=$!
waited=0
until grep -q 'ctrl-C stops it' "$home/playground"; do
	if ! kill -0 "$playground" || [ $((waited += 1)) -gt 600 ]; then
		die "the playground does not start: $(cat "$home/playground")"
	fi
	sleep 0.1
done
# The first thing to try: the last command of it is a push that is refused.
sed -n '/^# 1\./,/^# 2\./s/^  //p' "$home/playground" >"$home/first"
(cd "$home" && as_newcomer sh "$home/first") >"$home/tried" 2>&1 || :
for said in '\[new branch\].*agent/try' 'refs/heads/main denied'; do
	grep -q "$said" "$home/tried" || die "what the playground says to try first does not show $said: $(cat "$home/tried")"
done
echo "first pass on --serve after $(seconds) s"
kill "$playground"
wait "$playground" || die "the playground ended with $?"
playground=

# The file that the README says is first, where its first line says.
mkdir -p "$home/.config/gatepass"
sed -n '/^# ~\/.config\/gatepass\/workspace.yaml$/,/^```$/p' "$home/gatepass/README.md" | sed '/^```$/d' >"$home/.config/gatepass/workspace.yaml"
do_it "$(command_of 'make install')" >/dev/null
do_it 'gatepass check ~/.config/gatepass/workspace.yaml'
do_it "$(command_of 'gatepass install --dry-run')"
[ ! -e "$home/.gitconfig" ] || die "a dry run wrote $home/.gitconfig"
do_it 'gatepass install'
[ -s "$home/.gitconfig" ] || die "gatepass install wrote nothing"
# There is no AWS here, and the doctor says so.
do_it "$(command_of 'gatepass doctor') --timeout 5s" >"$home/doctor" && die "the doctor finds nothing without AWS"
grep -q "no AWS credentials" "$home/doctor" || die "the doctor: $(cat "$home/doctor")"
do_it 'gatepass uninstall'
[ ! -e "$home/.gitconfig" ] || die "gatepass uninstall left $(cat "$home/.gitconfig")"
do_it 'gatepass agent stop' || :
echo "installed after $(seconds) s"

(cd "$root" && GATEPASS_TEST_BIN_DIR="$home/.local/bin" go test -count=1 -run 'TestQuickStarts(Count)?$' -v ./test/docstest) >"$home/starts" || die "the quick starts: $(cat "$home/starts")"
grep -E 'blocks of commands|^ +--- ' "$home/starts"
echo "quick starts after $(seconds) s"
