#!/bin/sh
# Runs a command in a session of its own, with a bus and an unlocked, empty
# keyring:
#
#   keyring.sh DIR COMMAND [ARGUMENT]...
#
# Home and keyring are in DIR, an empty folder. The keyring's password is empty.
# Both daemons end with the command.
set -eu
umask 077
dir=$1
shift
export HOME="$dir/home" XDG_CONFIG_HOME="$dir/config" XDG_CACHE_HOME="$dir/cache"
export XDG_DATA_HOME="$dir/data" XDG_RUNTIME_DIR="$dir/run"
mkdir "$HOME" "$XDG_CONFIG_HOME" "$XDG_CACHE_HOME" "$XDG_DATA_HOME" "$XDG_RUNTIME_DIR"
unset DISPLAY WAYLAND_DISPLAY GNOME_KEYRING_CONTROL

# In the foreground, so that the daemon stays where it can be ended.
# shellcheck disable=SC2016 # the inner shell expands these
exec dbus-run-session -- sh -c '
	echo | gnome-keyring-daemon --foreground --unlock --components=secrets >/dev/null 2>&1 &
	keyring=$!
	trap "kill $keyring 2>/dev/null || :" EXIT
	tries=0
	until dbus-send --session --print-reply --dest=org.freedesktop.DBus / \
		org.freedesktop.DBus.GetNameOwner string:org.freedesktop.secrets >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || { echo "the keyring does not start" >&2; exit 1; }
		sleep 0.1
	done
	status=0
	GATEPASS_TEST_SECRET_SERVICE=1 "$@" || status=$?
	exit "$status"
' sh "$@"
