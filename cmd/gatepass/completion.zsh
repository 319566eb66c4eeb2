#compdef gatepass
# zsh completion for gatepass; written by: gatepass completion zsh

_gatepass() {
	local -a offers
	local n
	offers=("${(@f)$(command gatepass complete -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
	case ${offers[1]} in
	(:command*)
		n=${offers[1]#*$'\t'}
		shift $n words
		(( CURRENT -= n ))
		_normal
		;;
	(:file) compset -P '--*='; _files ;;
	(:directory) compset -P '--*='; _files -/ ;;
	(?*)
		offers=("${(@)offers//:/\\:}")
		offers=("${(@)offers/$'\t'/:}")
		if [[ $PREFIX == -* ]]; then
			_describe -o option offers
		else
			_describe word offers
		fi
		;;
	esac
}

if [[ ${funcstack[1]} == _gatepass ]]; then
	_gatepass "$@"
else
	compdef _gatepass gatepass
fi
