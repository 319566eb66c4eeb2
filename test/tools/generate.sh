#!/bin/sh
# make generate: deep copies, CRDs and RBAC from the operator's types and markers.
# With a folder as argument, all of it goes there instead (make lint compares).
set -eu

to=${1:-.}
mkdir -p "$to/deploy/crds" "$to/deploy/rbac" "$to/operator/api/v1"
go tool controller-gen object crd:maxDescLen=400 paths=./operator/api/v1 \
	output:crd:dir="$to/deploy/crds" output:object:dir="$to/operator/api/v1"
go tool controller-gen rbac:roleName=gatepass-operator paths=./operator output:rbac:dir="$to/deploy/rbac"
