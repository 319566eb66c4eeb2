#!/bin/sh
# make fuzz: run every fuzz target for a while. $1 is the time for each.
set -eu

time=${1:?usage: fuzz.sh TIME}
git grep -lE '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -ohE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | while read -r target; do
		printf '%s\n' "fuzz: ./$dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$dir"
	done
done
