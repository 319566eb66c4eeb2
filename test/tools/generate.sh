#!/bin/sh
# make generate: deep copies, CRDs and RBAC from the operator's types and markers, and
# the copies that the Helm chart has of them.
# With a folder as argument, all of it goes there instead (make lint compares).
set -eu

to=${1:-.}
mkdir -p "$to/deploy/crds" "$to/deploy/rbac" "$to/operator/api/v1"
go tool controller-gen object crd:maxDescLen=400 paths=./operator/api/v1 \
	output:crd:dir="$to/deploy/crds" output:object:dir="$to/operator/api/v1"
go tool controller-gen rbac:roleName=gatepass-operator paths=./operator output:rbac:dir="$to/deploy/rbac"
chart=$to/deploy/helm/gatepass/files
mkdir -p "$chart/crds" "$chart/rbac"
rm -f "$chart"/crds/*.yaml
cp "$to"/deploy/crds/gatepass.dev_*.yaml "$chart/crds/"
cp "$to/deploy/rbac/role.yaml" "$chart/rbac/"
if [ "$to" = . ]; then # docs/reference, of the programs in bin; make test compares it
	GATEPASS_TEST_BIN_DIR=$PWD/bin go test ./cmd/internal/reference -run Current -update >/dev/null
fi
