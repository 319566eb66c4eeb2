#!/bin/sh
# make lambda: gatepass-refresher as AWS Lambda takes it (provided.al2023), the
# same bytes for the same commit and Go.
#
#   lambda.sh GO LDFLAGS TAGS
#
# Everything in the zips has the time SOURCE_DATE_EPOCH, or without it that of the
# last commit.
set -eu
umask 022
go=$1 ldflags=$2 tags=$3
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p dist
for arch in amd64 arm64; do
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch "$go" build -trimpath -tags "$tags" -ldflags "$ldflags" -o "$work/bootstrap" ./cmd/gatepass-refresher
	zip=dist/gatepass-refresher-lambda-$arch.zip
	CGO_ENABLED=0 "$go" run ./test/tools/lambdazip "$zip" "$epoch" "$work/bootstrap" LICENSE
	(cd dist && sha256sum "${zip#dist/}")
done
