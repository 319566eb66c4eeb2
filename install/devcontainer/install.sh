#!/bin/sh
cd "$(dirname "$0")/gatepass-linux-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" || exit 1
[ "${VERIFY:-true}" = true ] || set -- --no-verify-install
[ "${POLICYLATER:-false}" = false ] || set -- --policy-later "$@"
exec ./install.sh ${WORKSPACEFILE:+"--workspace-file=$WORKSPACEFILE"} ${GITHOST:+"--host=$GITHOST"} "$@"
