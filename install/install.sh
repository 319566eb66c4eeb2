#!/bin/sh
# Puts gatepass into an image: see usage below, and docs/images.md. It only finds
# the program gatepass and calls it. A shell could not write below an image's
# root safely.
set -eu

usage() {
	cat <<'TEXT'
usage: install.sh [--from DIR] [--prefix DIR] [--root DIR] [--host HOST[:PORT]]...
                  [--gateway URL] [--gateway-ca FILE]
                  [--workspace-file FILE | --policy-later] [--run-gits]
                  [--no-verify-install] [--dry-run]
       install.sh --uninstall [--root DIR] [--dry-run]

Puts gatepass into an image, for a RUN line of a Dockerfile: the programs, the
system configuration of every git it finds, and /etc/profile.d/gatepass.sh.
Then it pushes to a temporary repository to see that the guard works.

  --from DIR             where the programs are (default: beside this script)
  --prefix DIR           they go to DIR/bin (default: /usr/local)
  --root DIR             the image's files are under DIR (default: /, which is
                         right inside a Dockerfile)
  --host HOST[:PORT]     a host to answer for, instead of the workspace file's;
                         may be repeated
  --gateway URL          git goes through the broker's gateway, as with gateway: URL
                         in the workspace file
  --gateway-ca FILE      trust its certificates for the gateway; FILE is one of
                         the image
  --workspace-file FILE  becomes /etc/gatepass/workspace.yaml
  --policy-later         do without a workspace file: it is mounted when the
                         container starts, and until then every push is denied
  --run-gits             also run gits that are not on PATH (as in /opt), to ask
                         each for its configuration file and to verify it;
                         not with --root DIR
  --no-verify-install    do not push to a temporary repository at the end
  --dry-run, -n          say what would be done, and do nothing
  --uninstall            take everything out again

Only the gits on PATH are run, and below a root nothing. Of other gits the
configuration file follows from where they are.

Only login shells read /etc/profile.d. For everything else that runs in the
image, put this into the Dockerfile as well:

  ENV GIT_ASKPASS=/usr/local/bin/gatepass-askpass GIT_TERMINAL_PROMPT=0

The files get the time SOURCE_DATE_EPOCH (in seconds), or without it that of
the program gatepass; folders that were there before keep their own. Running
this twice is the same as running it once.

Exit status: 0 done, 1 failed, 2 wrong usage.
TEXT
}

die() { # CODE TEXT
	printf 'gatepass: install.sh: %s\n' "$2" >&2
	exit "$1"
}

verb=install from='' root=/
left=$#
while [ "$left" -gt 0 ]; do
	option=$1
	shift
	left=$((left - 1))
	case $option in
	--from | --root)
		[ "$left" -gt 0 ] || die 2 "$option needs a value; see install.sh --help"
		option=$option=$1
		shift
		left=$((left - 1))
		;;
	esac
	case $option in
	--from=?*) from=${option#*=} ;;
	--root=?*) root=${option#*=} ;;
	--from= | --root=) die 2 "${option%=} needs a value; see install.sh --help" ;;
	--uninstall) verb=uninstall ;;
	--help | -h) usage && exit 0 ;;
	*) set -- "$@" "$option" ;; # behind those that are still to be read
	esac
done

[ -n "$from" ] || from=$(dirname -- "$0")
gatepass=$from/gatepass
if [ ! -f "$gatepass" ] && [ "$verb" = uninstall ]; then
	gatepass=$(command -v gatepass) || gatepass=$from/gatepass
fi
[ -f "$gatepass" ] || die 1 "there is no gatepass in $from; name the directory of the programs with --from DIR"
"$gatepass" version >/dev/null 2>&1 ||
	die 1 "$gatepass does not start here ($(uname -m)); take the build for this machine, from where programs may run"

[ "$verb" = uninstall ] || set -- --from "$from" "$@"
case $root in
*[!/]*) exec "$gatepass" "$verb" --root "$root" "$@" ;; # a link to / too: somebody else may have made it
*) exec "$gatepass" "$verb" --system "$@" ;;
esac
