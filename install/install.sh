#!/bin/sh
# Puts gatepass into an image: see usage below, and docs/images.md. It needs
# git and what every small image has: a POSIX shell, coreutils or busybox, sed,
# grep and awk.
set -eu
umask 022
export LC_ALL=C

usage() {
	cat <<'TEXT'
usage: install.sh [--from DIR] [--prefix DIR] [--root DIR] [--host HOST[:PORT]]...
                  [--workspace-file FILE] [--no-verify-install] [--dry-run]
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
  --workspace-file FILE  becomes /etc/gatepass/workspace.yaml
  --no-verify-install    do not push to a temporary repository at the end
  --dry-run, -n          say what would be done, and do nothing
  --uninstall            take everything out again

Only login shells read /etc/profile.d. For everything else that runs in the
image, put this into the Dockerfile as well:

  ENV GIT_ASKPASS=/usr/local/bin/gatepass-askpass GIT_TERMINAL_PROMPT=0

The files get the time SOURCE_DATE_EPOCH (in seconds), or without it that of
the program gatepass; folders that were there before keep their own. Running
this twice is the same as running it once.

Exit status: 0 done, 1 failed, 2 wrong usage.
TEXT
}

programs='git-credential-gatepass gatepass-askpass gatepass-pre-push gatepass-agent gatepass'
profile=/etc/profile.d/gatepass.sh
policy=/etc/gatepass/workspace.yaml
hooks=/usr/local/share/gatepass/hooks # where gatepass install has them
state=/usr/local/share/gatepass/image # the receipt, which --uninstall follows

from='' prefix=/usr/local root=/ hosts='' workspace='' verify=yes dry='' uninstall=''
user=$(id -u)

say() { printf '%s\n' "$*"; }

die() { # WHAT WHY DO
	printf 'gatepass: %s: %s; %s\n' "$@" >&2
	exit 1
}

wrong() { # WHY
	printf 'gatepass: install.sh: %s; see install.sh --help\n' "$1" >&2
	exit 2
}

# fail dies of what one of our programs said, in a line like die's own.
fail() { # FILE WHAT DO
	die "$2" "$(sed -n '1s/^gatepass: //; 1p' "$1")" "$3"
}

options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--from | --prefix | --root | --host | --workspace-file)
			[ $# -gt 1 ] || wrong "$1 needs a value"
			valued "$1" "$2"
			shift
			;;
		--*=*) valued "${1%%=*}" "${1#*=}" ;;
		--no-verify-install) verify='' ;;
		--uninstall) uninstall=yes ;;
		--dry-run | -n) dry=yes ;;
		--help | -h) usage && exit 0 ;;
		*) wrong "$1 is not an option" ;;
		esac
		shift
	done
}

valued() { # OPTION VALUE
	case $2 in
	'') wrong "$1 needs a value" ;;
	*[[:cntrl:]]*) wrong "the value of $1 holds a control character" ;;
	esac
	case $1 in
	--from) from=$2 ;;
	--prefix) prefix=${2%/} ;;
	--root) root=$2 ;;
	--workspace-file) workspace=$2 ;;
	--host)
		case $2 in
		*[!A-Za-z0-9.:-]*) wrong "--host $2 is not a host name with an optional :port" ;;
		esac
		hosts="$hosts --host $2"
		;;
	*) wrong "$1 is not an option" ;;
	esac
}

# settle makes the paths absolute. From here on root is empty for /, so that
# $root/etc is a path either way.
settle() {
	case $prefix/ in
	*/./* | */../* | *//*) wrong "--prefix $prefix is not a plain path" ;;
	/?*) ;;
	*) wrong "--prefix $prefix is not an absolute path" ;;
	esac
	case ${SOURCE_DATE_EPOCH-0} in
	'' | *[!0-9]*) wrong "SOURCE_DATE_EPOCH is not a number of seconds" ;;
	esac
	[ -n "$from" ] || from=$(dirname "$0")
	from=$(cd "$from" 2>/dev/null && pwd -P) || die "find the programs" "there is no folder $from" "name theirs with --from DIR"
	given=$root
	root=$(cd "$root" 2>/dev/null && pwd -P) || die "open the root $given" "it is not a folder you can enter" "name another with --root DIR"
	root=${root%/}
	case $root in
	*[\"\\\&\<\>]* | *[[:cntrl:]]*) die "open the root $given" "its path holds a quote, a backslash or another such character" "give it a plainer name" ;;
	esac
}

# begin makes a working folder. At the end, finish gives the folders that we
# wrote to their times back, and those that we made our time.
begin() {
	temp=${TMPDIR:-/tmp}
	temp_time=$(stat -c %Y "$temp" 2>/dev/null) || temp_time=''
	tmp=$(mktemp -d "$temp/gatepass.XXXXXX") || die "make a temporary folder" "$temp cannot be written to" "name another with TMPDIR"
	trap finish EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir "$tmp/home"
	touch "$tmp/kept" "$tmp/made" "$tmp/ours" "$tmp/untouched"
	# What is set for whoever runs this says nothing about the image.
	unset GATEPASS_CONFIG GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX
}

finish() {
	status=$?
	trap - EXIT HUP INT TERM
	number=0
	while IFS= read -r path; do
		number=$((number + 1))
		touch -c -r "$tmp/time.$number" "$path" 2>/dev/null || :
	done <"$tmp/kept"
	while IFS= read -r path; do touch -c -r "$tmp/stamp" "$root$path" 2>/dev/null || :; done <"$tmp/made"
	rm -rf "$tmp"
	[ -z "$temp_time" ] || touch -d "@$temp_time" "$temp" 2>/dev/null || :
	exit "$status"
}

keep_time() { # PATH
	if [ -e "$1" ] && ! grep -Fqx -e "$1" "$tmp/kept"; then
		printf '%s\n' "$1" >>"$tmp/kept"
		touch -r "$1" "$tmp/time.$(sed -n '$=' "$tmp/kept")"
	fi
}

own() { [ "$user" != 0 ] || chown 0:0 "$@"; }

# writable finds out before anything is written.
writable() { # PATH
	path=$root$1
	while [ ! -e "$path" ]; do
		path=${path%/*}
		path=${path:-/}
	done
	[ -w "$path" ] || die "install into ${root:-/}" "user $user cannot write to $path" "run this as root, or name a folder of your own with --root DIR"
}

# make_dir makes a folder and those above it, and notes which were not there.
# A link that leads out of the root is not followed.
make_dir() { # PATH
	if [ -z "$1" ] || [ -d "$root$1" ]; then
		case $(cd "$root$1/" && pwd -P)/ in
		"$root"/*) ;;
		*) die "write to $root$1" "a link leads out of $root" "remove the link" ;;
		esac
		keep_time "$root$1/."
		return 0
	fi
	make_dir "${1%/*}"
	mkdir "$root$1" 2>/dev/null || die "make the folder $root$1" "it cannot be made" "see what is in its place"
	own "$root$1"
	printf '%s\n' "$1" >>"$tmp/made"
}

# put copies a file to its place in one step.
put() { # SOURCE PATH MODE
	make_dir "${2%/*}"
	new=$root${2%/*}/.gatepass.new
	rm -f "$new"
	if ! { cp "$1" "$new" && chmod "$3" "$new" && own "$new" && touch -r "$tmp/stamp" "$new" && mv -f "$new" "$root$2"; }; then
		die "write $root$2" "it cannot be written" "see whether the disk is full"
	fi
}

# ours notes what --uninstall removes.
ours() { printf 'file %s\n' "$1" >>"$tmp/ours"; }

recorded() { # LINE
	[ -f "$root$state/receipt" ] && grep -Fqx -e "$1" "$root$state/receipt"
}

# find_gits sets gits to the folders with a git, as a PATH: first those of PATH.
# One found elsewhere counts when it runs.
find_gits() {
	gits='' seen=''
	IFS=:
	set -f
	for dir in $PATH; do
		[ ! -f "$dir/git" ] || [ ! -x "$dir/git" ] || add_git "$dir"
	done
	set +f
	unset IFS
	[ -z "$root" ] || return 0
	for dir in /usr/local/bin /usr/bin /opt/*/bin /opt/conda/envs/*/bin "${CONDA_PREFIX:-/opt/conda}/bin" "$home"/*conda3/bin \
		"$home/.nix-profile/bin" /nix/var/nix/profiles/default/bin /home/linuxbrew/.linuxbrew/bin; do
		! "$dir/git" version >/dev/null 2>&1 || add_git "$dir"
	done
}

add_git() { # FOLDER
	real=$(cd "$1" && pwd -P)
	case $1$seen: in
	[!/]* | *":$real:"*) ;;
	*) gits=${gits:+$gits:}$1 seen=$seen:$real ;;
	esac
}

# gatepass runs the program's VERB with every git on PATH. In / that is for the
# scope --system, in which each git is asked for its file; from outside --root
# works without running anything of the image.
gatepass() { # VERB ARGUMENT...
	verb=$1
	shift
	if [ -z "$root" ]; then
		set -- --system "$@"
	else
		set -- --root "$root" "$@"
	fi
	PATH=${gits:+$gits:}$PATH TMPDIR=$tmp HOME=$home "$tmp/gatepass" "$verb" "$@" 2>"$tmp/error"
}

# plan asks what gatepass is going to change: configs are its configuration
# files, below the root.
plan() { # VERB ARGUMENT...
	gatepass "$@" --dry-run --json >"$tmp/plan" || fail "$tmp/error" "$1" "then run this again"
	sed -n 's/^ *"path": "\(.*\)",*$/\1/p' "$tmp/plan" >"$tmp/paths"
	while IFS= read -r path; do printf '%s\n' "${path#"$root"}"; done <"$tmp/paths" >"$tmp/configs"
}

# before is where the time of a configuration file is kept that gatepass edits.
before() { printf '%s/time.%s' "$root$state" "$(printf '%s' "$1" | tr / %)"; }

# check finds out what it can before anything is written.
check() {
	for name in $programs; do
		[ -f "$from/$name" ] || die "find $name" "it is not in $from" "name the folder of the programs with --from DIR"
	done
	start_with "$from"
	[ -n "$gits" ] || die "configure git" "there is no git on PATH" "install git first"
	for path in "$prefix/bin" /etc/gitconfig "$profile" "$state/receipt"; do
		writable "$path"
	done
	[ -z "$workspace" ] || check_workspace
}

start_with() { # FOLDER
	cp "$1/gatepass" "$1/gatepass-pre-push" "$tmp"
	chmod 0755 "$tmp/gatepass" "$tmp/gatepass-pre-push"
	"$tmp/gatepass" version >/dev/null 2>&1 ||
		die "run $1/gatepass" "it does not start here ($(uname -m))" "take the build for this machine, or name a TMPDIR that is not mounted noexec"
}

# check_workspace has the guard read the new workspace file.
check_workspace() {
	cp "$workspace" "$tmp/workspace.yaml" 2>/dev/null || die "read the workspace file $workspace" "it is not there, or not for user $user" "name another with --workspace-file FILE"
	chmod 0644 "$tmp/workspace.yaml"
	(cd "$tmp" && GATEPASS_CONFIG=workspace.yaml PATH=${gits:+$gits:}$PATH ./gatepass-pre-push check / </dev/null >/dev/null 2>error) ||
		fail "$tmp/error" "use the workspace file $workspace" "correct it"
	if [ -e "$root$policy" ] && ! recorded "file $policy" && [ "$(cat "$root$policy")" != "$(cat "$workspace")" ]; then
		die "write $root$policy" "another one is there" "move it away or leave --workspace-file out"
	fi
}

install_all() {
	if [ -n "${SOURCE_DATE_EPOCH-}" ]; then
		touch -d "@$SOURCE_DATE_EPOCH" "$tmp/stamp"
	else
		touch -r "$from/gatepass" "$tmp/stamp"
	fi
	for name in $programs; do
		path=$prefix/bin/$name
		# shellcheck disable=SC3013 # dash, ash, bash and ksh all have -ef
		[ "$from/$name" -ef "$root$path" ] || ours "$path"
		put "$from/$name" "$path" 0755
	done
	if [ -n "$workspace" ] && { [ ! -e "$root$policy" ] || recorded "file $policy"; }; then
		ours "$policy"
		put "$tmp/workspace.yaml" "$policy" 0644
	fi
	write_profile
	configure
	write_receipt
	say "installed gatepass in $root$prefix/bin"
}

write_profile() {
	cat >"$tmp/profile" <<TEXT
# Written by gatepass's install.sh; its --uninstall takes it out again.
GIT_ASKPASS='$(printf '%s' "$prefix/bin/gatepass-askpass" | sed "s/'/'\\\\''/g")'
GIT_TERMINAL_PROMPT=0
export GIT_ASKPASS GIT_TERMINAL_PROMPT
TEXT
	ours "$profile"
	put "$tmp/profile" "$profile" 0644
}

# configure lets gatepass install write, and gives what it wrote our time.
configure() {
	# shellcheck disable=SC2086 # hosts are words
	plan install --bin-dir "$prefix/bin" $hosts
	make_dir "$state"
	! grep -q '"dir": ' "$tmp/plan" || make_dir "$hooks"
	while IFS= read -r path; do
		make_dir "${path%/*}"
		[ ! -e "$root$path" ] || [ -e "$(before "$path")" ] || keep_config "$path"
	done <"$tmp/configs"
	# shellcheck disable=SC2086
	gatepass install --bin-dir "$prefix/bin" $hosts || fail "$tmp/error" "configure git" "then run this again"
	while IFS= read -r path; do touch -r "$tmp/stamp" "$root$path"; done <"$tmp/configs"
	[ ! -d "$root$hooks" ] || touch -r "$tmp/stamp" "$root$hooks"/*
}

keep_config() { # PATH
	kept=$(before "$1")
	touch -r "$root$1" "$kept"
	own "$kept"
	ours "${kept#"$root"}"
}

# write_receipt adds to what an earlier run noted. Programs at an earlier
# prefix go.
write_receipt() {
	ours "$state/receipt"
	old=$(sed -n 's/^prefix //p' "$root$state/receipt" 2>/dev/null) || old=''
	if [ -n "$old" ] && [ "$old" != "$prefix" ]; then
		for name in $programs; do
			! recorded "file $old/bin/$name" || rm -f "$root$old/bin/$name"
		done
	fi
	{
		printf 'prefix %s\n' "$prefix"
		[ ! -f "$root$state/receipt" ] || sed '/^prefix /d' "$root$state/receipt"
		sed 's/^/dir /' "$tmp/made"
		cat "$tmp/ours"
	} | awk '!seen[$0]++' >"$tmp/receipt"
	put "$tmp/receipt" "$state/receipt" 0644
}

# verify_all pushes with each git. Inside another root its files cannot be
# tried in place: there a temporary home gets the same programs.
verify_all() {
	list=$gits
	if [ -n "$root" ]; then
		list=${gits%%:*}
		export GIT_CONFIG_NOSYSTEM=1
		HOME=$tmp/home PATH=${gits:+$gits:}$PATH "$tmp/gatepass" install --global --bin-dir "$root$prefix/bin" >"$tmp/out" 2>&1 || fail "$tmp/out" "verify the install" "then run this again"
	fi
	IFS=:
	for dir in $list; do verify_with "$dir"; done
	unset IFS
}

verify_with() { # FOLDER
	what="verify the install with $1/git"
	rm -rf "$tmp/verify"
	mkdir "$tmp/verify" "$tmp/verify/work"
	printf 'refs: [gatepass/allowed]\n' >"$tmp/verify/policy.yaml"
	if ! { try "$1" init -q --bare ../remote.git && try "$1" init -q && try "$1" commit -q --allow-empty -m check; }; then
		fail "$tmp/out" "$what" "see whether this git works, or leave it out with --no-verify-install"
	fi
	push "$1" HEAD:refs/heads/gatepass/allowed ||
		fail "$tmp/out" "$what" "see what stands in the way of a push that is allowed"
	! push "$1" HEAD:refs/heads/gatepass/refused ||
		die "$what" "a push went through that the policy refuses" "see what this git reads: git config --list --show-origin"
	grep -q '^gatepass: push to refs/heads/gatepass/refused denied' "$tmp/out" ||
		fail "$tmp/out" "$what" "the push was refused, but not by the guard"
	say "verified with $1/git: an allowed push goes through, another is refused"
}

# push pushes to the temporary repository. Git and the guard take it for one of
# github.com, which is not contacted: see TrialOptions in trial.go.
push() { # FOLDER REFSPEC
	try "$1" -c remote.gatepass-trial.url=https://github.com/gatepass/trial -c remote.gatepass-trial.vcs=gatepass-trial \
		-c protocol.gatepass-trial.allow=always -c alias.remote-gatepass-trial="$helper" push -q gatepass-trial "$2"
}

helper='!f() { unset $(git rev-parse --local-env-vars); while read -r line; do case $line in
capabilities) printf "connect\n\n" ;; "connect git-receive-pack") echo; exec git receive-pack ../remote.git ;; *) exit 1 ;; esac; done; }; f'

try() ( # FOLDER ARGUMENT...
	cd "$tmp/verify/work"
	git=$1/git
	shift
	HOME=$tmp/home XDG_CONFIG_HOME=$tmp/home/.config GATEPASS_CONFIG=$tmp/verify/policy.yaml PATH=${git%/git}:$PATH \
		"$git" -c protocol.file.allow=always -c commit.gpgSign=false -c user.name=gatepass -c user.email=gatepass@localhost "$@" >"$tmp/out" 2>&1
)

uninstall_all() {
	[ -f "$root$state/receipt" ] || {
		say "nothing to do: not installed"
		exit 0
	}
	writable "$state/receipt"
	cp "$root$state/receipt" "$tmp/receipt"
	prefix=$(sed -n 's/^prefix //p' "$tmp/receipt")
	if [ -z "$root" ] && [ -x "$prefix/bin/gatepass" ]; then
		from=$prefix/bin
	fi
	[ -f "$from/gatepass" ] || die "uninstall" "there is no gatepass in $from" "name its folder with --from DIR"
	start_with "$from"
	plan uninstall
	while IFS= read -r path; do
		keep_time "$root${path%/*}/."
		# shellcheck disable=SC3013 # dash, ash, bash and ksh all have -nt
		[ "$root$path" -nt "$root$state/receipt" ] || printf '%s\n' "$path" >>"$tmp/untouched"
	done <"$tmp/configs"
	gatepass uninstall || fail "$tmp/error" "uninstall" "then run this again"
	while IFS= read -r path; do give_time_back "$path"; done <"$tmp/untouched"
	sed -n 's/^file //p' "$tmp/receipt" >"$tmp/files"
	while IFS= read -r path; do
		[ ! -d "$root${path%/*}" ] || keep_time "$root${path%/*}/."
		rm -f "$root$path"
	done <"$tmp/files"
	sed -n 's/^dir //p' "$tmp/receipt" | sed '1!G;h;$!d' >"$tmp/dirs"
	while IFS= read -r path; do
		keep_time "$root${path%/*}/."
		rmdir "$root$path" 2>/dev/null || [ ! -d "$root$path" ] || say "$root$path stays: it holds files of others"
	done <"$tmp/dirs"
}

# give_time_back gives a configuration file the time it had before. Only those
# are asked for that nobody else changed since.
give_time_back() { # PATH
	[ ! -e "$root$1" ] || [ ! -e "$(before "$1")" ] || touch -r "$(before "$1")" "$root$1"
}

dry_run() {
	if [ -n "$uninstall" ]; then
		[ -f "$root$state/receipt" ] || say "nothing to do: not installed"
		[ ! -f "$root$state/receipt" ] || sed -n "s|^[a-z]* /|would remove /|p" "$root$state/receipt"
		return 0
	fi
	for name in $programs; do say "would write $root$prefix/bin/$name"; done
	[ -z "$workspace" ] || say "would write $root$policy"
	say "would write $root$profile"
	if [ -n "$root" ]; then
		say "would run gatepass install --root $root --bin-dir $prefix/bin$hosts"
	else
		say "would run gatepass install --system --bin-dir $prefix/bin$hosts, for the git in $gits"
	fi
}

options "$@"
settle
begin
home=${HOME:-/root}
find_gits
[ -n "$uninstall" ] || check
if [ -n "$dry" ]; then
	dry_run
elif [ -n "$uninstall" ]; then
	uninstall_all
else
	install_all
	[ -z "$verify" ] || verify_all
fi
