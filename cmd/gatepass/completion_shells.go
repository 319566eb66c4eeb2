package main

import (
	"fmt"
	"strings"
)

// bashCompletion works with bash 3.2 and later. Bash takes "=" for a word of its
// own. After "exec --" another command is completed, with bash-completion's help
// where it is loaded.
func bashCompletion(all []completed) string {
	var b strings.Builder
	b.WriteString(`# bash completion for gatepass; written by: gatepass completion bash
# shellcheck shell=bash disable=SC2207

_gatepass() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at='' words='' i
	COMPREPLY=()
	if [[ $cur == '=' ]]; then
		cur=''
	elif [[ $prev == '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "$at ${COMP_WORDS[i]}" in
`)
	fmt.Fprintf(&b, "\t\t%s) at+=\" ${COMP_WORDS[i]}\" ;;\n", commandPaths(all))
	b.WriteString(`		' exec --')
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			elif ((i + 1 == COMP_CWORD)); then
				COMPREPLY=($(compgen -c -- "$cur"))
			else
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			return
			;;
		esac
	done
	case "$at $prev" in
`)
	bashValues(&b, all)
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "\t%s)\n\t\twords=%s\n", quoted(c.at), quoted(strings.Join(wordsOf(c.words), " ")))
		fmt.Fprintf(&b, "\t\t[[ $cur != -* ]] || words=%s\n\t\t;;\n", quoted(strings.Join(wordsOf(c.options), " ")))
	}
	b.WriteString("\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n\ncomplete -F _gatepass gatepass\n")
	return b.String()
}

func bashValues(b *strings.Builder, all []completed) {
	for _, c := range all {
		for _, o := range c.options {
			if o.value == chosen {
				fmt.Fprintf(b, "\t%s)\n\t\tCOMPREPLY=($(compgen -W %s -- \"$cur\"))\n\t\treturn\n\t\t;;\n", quoted(c.at+" "+o.word), quoted(strings.Join(o.choices, " ")))
			}
		}
	}
	for _, v := range []struct {
		kind  valueKind
		reply string
	}{
		{file, "\t\tcompopt -o filenames 2>/dev/null\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"},
		{directory, "\t\tcompopt -o filenames 2>/dev/null\n\t\tCOMPREPLY=($(compgen -d -- \"$cur\"))\n"},
		{text, ""},
	} {
		if names := valued(all, v.kind); names != "" {
			fmt.Fprintf(b, "\t%s)\n%s\t\treturn\n\t\t;;\n", names, v.reply)
		}
	}
}

// commandPaths are the paths of all commands, as alternatives of a case.
func commandPaths(all []completed) string {
	var paths []string
	for _, c := range all[1:] {
		paths = append(paths, quoted(c.at))
	}
	return strings.Join(paths, "|")
}

// zshCompletion is a function for fpath that can also be sourced.
func zshCompletion(all []completed) string {
	var b strings.Builder
	b.WriteString(`#compdef gatepass
# zsh completion for gatepass; written by: gatepass completion zsh

_gatepass() {
	local at='' before=${words[CURRENT-1]} i
	local -a offered options
	for ((i = 2; i < CURRENT; i++)); do
		case "$at ${words[i]}" in
`)
	fmt.Fprintf(&b, "\t\t(%s) at+=\" ${words[i]}\" ;;\n", commandPaths(all))
	b.WriteString(`		(' exec --')
			shift $i words
			(( CURRENT -= i ))
			_normal
			return
			;;
		esac
	done
	if [[ $PREFIX == --*=* ]]; then
		before=${PREFIX%%=*}
		compset -P 1 '*='
	fi
	case "$at $before" in
`)
	zshValues(&b, all)
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "\t(%s)\n\t\toffered=(%s)\n\t\toptions=(%s)\n\t\t;;\n", quoted(c.at), zshItems(c.words), zshItems(c.options))
	}
	b.WriteString(`	esac
	if [[ $PREFIX == -* ]]; then
		_describe -o option options
	else
		_describe word offered
	fi
}

if [[ ${funcstack[1]} == _gatepass ]]; then
	_gatepass "$@"
else
	compdef _gatepass gatepass
fi
`)
	return b.String()
}

func zshValues(b *strings.Builder, all []completed) {
	for _, c := range all {
		for _, o := range c.options {
			if o.value == chosen {
				fmt.Fprintf(b, "\t(%s) compadd -- %s; return ;;\n", quoted(c.at+" "+o.word), strings.Join(o.choices, " "))
			}
		}
	}
	for _, v := range []struct {
		kind  valueKind
		reply string
	}{{file, "_files; "}, {directory, "_files -/; "}, {text, ""}} {
		if names := valued(all, v.kind); names != "" {
			fmt.Fprintf(b, "\t(%s) %sreturn ;;\n", names, v.reply)
		}
	}
}

func zshItems(list []described) string {
	items := make([]string, len(list))
	for i, d := range list {
		items[i] = quoted(strings.TrimSuffix(d.word+":"+strings.ReplaceAll(d.about, ":", `\:`), ":"))
	}
	return strings.Join(items, " ")
}

// fishCompletion is a list of rules, each for one place in the command line.
func fishCompletion(all []completed) string {
	var b strings.Builder
	b.WriteString(`# fish completion for gatepass; written by: gatepass completion fish

# __gatepass_at says the words of the command being typed, each with a space in
# front; after "exec --" these two are the last.
function __gatepass_at
	set -l at ''
	for word in (commandline -opc)[2..]
		switch "$at $word"
`)
	fmt.Fprintf(&b, "\t\t\tcase %s ' exec --'\n", strings.ReplaceAll(commandPaths(all), "|", " "))
	b.WriteString(`				set at "$at $word"
		end
	end
	test "$at" = "$argv[1]"
end

# __gatepass_command completes the other command that follows "--".
function __gatepass_command
	set -l words (commandline -opc)
	set -e words[1..(contains -i -- -- $words)]
	complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end

complete -c gatepass -f
complete -c gatepass -n "__gatepass_at ' exec --'" -x -a '(__gatepass_command)'
`)
	for _, c := range all {
		at := fmt.Sprintf("complete -c gatepass -n \"__gatepass_at %s\"", quoted(c.at))
		for _, d := range c.words {
			b.WriteString(at + " -a " + quoted(d.word) + fishAbout(d.about) + "\n")
		}
		for _, o := range c.options {
			b.WriteString(at + fishOption(o) + fishAbout(o.about) + "\n")
		}
	}
	return b.String()
}

func fishOption(o described) string {
	option := " -l " + strings.TrimPrefix(o.word, "--")
	if !strings.HasPrefix(o.word, "--") {
		option = " -s " + strings.TrimPrefix(o.word, "-")
	}
	switch o.value {
	case chosen:
		return option + " -x -a " + quoted(strings.Join(o.choices, " "))
	case file:
		return option + " -r -F"
	case directory:
		return option + " -x -a '(__fish_complete_directories)'"
	case text:
		return option + " -x"
	}
	return option
}

func fishAbout(about string) string {
	if about == "" {
		return ""
	}
	return " -d " + strings.ReplaceAll(quoted(about), `'\''`, `\'`)
}
