package reference

import (
	"fmt"
	"strings"
)

// A Group is one mapping of a file.
type Group struct {
	Path string // of its key, such as "callers[].oidc"; "" for the file itself
	Keys []Key
}

// Groups lists the mappings of a file, each before those inside it.
func (f File) Groups() []Group {
	all := []Group{{"", f.Keys}}
	for _, k := range f.Keys {
		all = append(all, k.Of.groups(k.Name)...)
	}
	return all
}

func (t Type) groups(path string) []Group {
	switch {
	case t.List != nil:
		return t.List.groups(path + "[]")
	case t.Map != nil:
		return t.Map.groups(path + ".NAME")
	case t.Either != nil:
		var all []Group
		for _, e := range t.Either {
			all = append(all, e.groups(path)...)
		}
		return all
	}
	if t.Keys == nil {
		return nil
	}
	all := []Group{{path, t.Keys}}
	for _, k := range t.Keys {
		all = append(all, k.Of.groups(path+"."+k.Name)...)
	}
	return all
}

// Page returns the reference page of the file, in Markdown.
func (f File) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\nPath: %s. Schema: [%s.schema.json](%[4]s.schema.json). `gatepass check FILE` names each mistake in a file.\n", f.Title, f.About, code(f.Default), f.Name)
	fmt.Fprintf(&b, "\n```yaml\n# yaml-language-server: $schema=%s.schema.json\n%s```\n", f.Name, f.Example)
	for _, g := range f.Groups() {
		if g.Path != "" {
			fmt.Fprintf(&b, "\n## `%s`\n", g.Path)
		}
		b.WriteString("\n| key | means | default |\n|---|---|---|\n")
		for _, k := range g.Keys {
			fmt.Fprintf(&b, "| `%s` | %s%s | %s |\n", k.Name, cell(k.About), k.Of.values("`"), cell(k.defaultText()))
		}
	}
	return b.String()
}

// code formats a path as code.
func code(text string) string {
	if strings.HasPrefix(text, "/") {
		return "`" + text + "`"
	}
	return text
}

func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(text)
}

func (k Key) defaultText() string {
	if k.Required {
		return "it is required"
	}
	return k.Default
}

// values lists the allowed texts of a type, if there are few, in quotes.
func (t Type) values(quote string) string {
	if t.List != nil {
		return t.List.values(quote)
	}
	if t.OneOf == nil {
		return ""
	}
	return ": " + quote + strings.Join(t.OneOf, quote+", "+quote) + quote
}

// Text returns the text of a key on its page, without markup.
func (k Key) Text() string {
	text := k.About + k.Of.values("")
	if d := k.defaultText(); d != "" {
		text += " (default: " + d + ")"
	}
	if k.Required {
		text = k.About + k.Of.values("") + " (required)"
	}
	return text
}
