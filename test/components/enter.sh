#!/bin/sh
# Runs a command in a throw-away view of the file system at ROOT:
#
#   enter.sh ROOT SCRATCH [HOST INSIDE]... -- DIR COMMAND [ARGUMENT]...
#
# SCRATCH is an empty folder to mount on. Each HOST folder is seen, read-only,
# at INSIDE. The command starts in DIR. Everything it writes is in memory and
# gone afterwards, so ROOT stays as it was set up.
#
# The caller starts this as the first process of its own mount and process
# namespaces: when it ends, its mounts and whatever the command left running
# end too. For the same reason the command is not exec'ed: this shell stays to
# collect orphans.
set -eu
umask 022
root=$1 scratch=$2
shift 2

mount -t tmpfs -o mode=755 gatepass "$scratch"
cd "$scratch"
mkdir upper work view
mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" gatepass view
cd view

mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
chmod 1777 dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir tmp/home

while [ "$1" != -- ]; do
	mkdir -p ".$2"
	mount --bind "$1" ".$2"
	mount -o remount,bind,ro ".$2"
	shift 2
done
shift
# shellcheck disable=SC2016 # the inner shell expands these
chroot . /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$@" || exit $?
