# Says what zsh offers when Tab is pressed, a line for each LINE:
#
#   zsh -f tab.zsh SCRIPT LINE...
#
# zsh completes only at a terminal, so it starts another zsh at one; that one
# reads this file too, and the completion SCRIPT.
if [[ ! -o interactive ]]; then
	zmodload zsh/zpty
	zpty inner zsh -f -i
	zpty -w inner "source ${(q)0:A} ${(q)1:A}"
	zpty -r inner text '*ready*'
	for line in "${@[2,-1]}"; do
		zpty -w -n inner $'\C-u'$line$'\t'
		zpty -r inner text '*<*>*'
		print -r -- ${${text##*<}%%>*}
	done
	exit
fi

PROMPT=
autoload -Uz compinit && compinit -D -u
source $1

# compadd gets every match from whoever found it. With -A, -D or -O it only
# tells them which of their words fit.
compadd() {
	local -a tab_matches
	if [[ -z ${(M)@[1,(i)(-|--)]:#-*[ADO]} ]]; then
		builtin compadd -A tab_matches "$@"
		tab_offered+=($tab_matches)
	fi
	builtin compadd "$@"
}

tab() {
	local -aU tab_offered
	_main_complete
	print -r -- "<$tab_offered>"
}
zle -C tab complete-word tab
bindkey '^I' tab
bindkey '^U' kill-whole-line
print rea''dy
