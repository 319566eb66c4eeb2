#!/bin/sh
set -- "gatepass-linux-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" ${WORKSPACEFILE:+"--workspace-file=$WORKSPACEFILE"} ${HOST:+"--host=$HOST"}
cd "$(dirname "$0")/$1" && shift && exec ./install.sh "$@" $([ "${VERIFY:-true}" = true ] || echo --no-verify-install)
