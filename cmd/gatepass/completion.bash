# bash completion for gatepass; written by: gatepass completion bash
# shellcheck shell=bash disable=SC2207

# This works with bash 3.2 and later. After "exec --" it completes another
# command, with bash-completion's help where that is loaded.
_gatepass() {
	local cur=${COMP_WORDS[COMP_CWORD]} word more
	[[ $cur != '=' ]] || cur=''
	COMPREPLY=()
	while IFS=$'\t' read -r word more; do
		case $word in
		:command)
			if declare -F _command_offset >/dev/null; then
				_command_offset "$more"
			elif ((more == COMP_CWORD)); then
				COMPREPLY=($(compgen -c -- "$cur"))
			else
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			;;
		:file)
			compopt -o filenames 2>/dev/null
			COMPREPLY=($(compgen -f -- "$cur"))
			;;
		:directory)
			compopt -o filenames 2>/dev/null
			COMPREPLY=($(compgen -d -- "$cur"))
			;;
		"$cur"*) COMPREPLY+=("$word") ;;
		esac
	done < <(command gatepass complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _gatepass gatepass
