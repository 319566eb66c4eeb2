#!/bin/sh
# make dist: the release archives, the same bytes for the same commit and Go.
#
#   dist.sh GO LDFLAGS TAGS COMMAND...
#
# Everything in them belongs to root and has the time SOURCE_DATE_EPOCH, or
# without it that of the last commit. Needs GNU tar.
set -eu
umask 022
export LC_ALL=C
go=$1 ldflags=$2 tags=$3
shift 3
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
workspace='git-credential-gatepass gatepass-askpass gatepass-pre-push gatepass-agent gatepass'

pack() { # FILE FOLDER NAME...
	file=$1 folder=$2
	shift 2
	tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode=go-w --mtime="@$epoch" -C "$folder" -cf - "$@" | gzip -n -9 >"$file"
}

feature=dist/feature
rm -rf dist/gatepass-linux-* dist/devcontainer-feature-gatepass.tgz dist/SHA256SUMS "$feature" # and not what make lambda put there
mkdir -p "$feature"
for arch in amd64 arm64; do
	name=gatepass-linux-$arch
	mkdir "dist/$name" "$feature/$name"
	for command in "$@"; do
		entry=
		[ "$command $arch" != "gatepass-pre-push amd64" ] || entry=' -E main.entry' # see entry_linux_amd64.go
		CGO_ENABLED=0 GOOS=linux GOARCH=$arch "$go" build -trimpath -tags "$tags" -ldflags "$ldflags$entry" -o "dist/$name/$command" "./cmd/$command"
	done
	cp install/install.sh LICENSE "dist/$name"
	for command in $workspace install.sh; do
		cp "dist/$name/$command" "$feature/$name"
	done
	pack "dist/$name.tar.gz" dist "$name"
	rm -r "dist/$name"
done
cp install/devcontainer/* "$feature"
pack dist/devcontainer-feature-gatepass.tgz "$feature" .
rm -r "$feature"
cd dist && sha256sum -- *.tar.gz *.tgz >SHA256SUMS && cat SHA256SUMS
