package yamlfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/internal/suggest"
)

// A problem is one mistake in a file.
type problem struct {
	line, column int
	text         string
}

// explain turns the YAML package's error into one line, in the user's words.
func explain(data []byte, into any, err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	said := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if list, ok := errors.AsType[*yaml.TypeError](err); ok {
		said = list.Errors
	}
	var all []problem
	var root yaml.Node
	if yaml.Unmarshal(data, &root) == nil {
		all = unknownKeys(&root, reflect.TypeOf(into))
	}
	for _, text := range said {
		if p := parse(text); len(all) == 0 || !strings.Contains(text, " not found in type ") {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b problem) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column)) })
	var texts []string
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return errors.New(strings.Join(slices.Compact(texts), ", "))
}

func (p problem) String() string {
	switch {
	case p.line == 0:
		return p.text
	case p.column == 0:
		return fmt.Sprintf("line %d: %s", p.line, p.text)
	}
	return fmt.Sprintf("line %d column %d: %s", p.line, p.column, p.text)
}

// parse parses the YAML package's text about one mistake: "line 3: cannot unmarshal
// !!seq into string", or the error of an UnmarshalYAML of ours.
func parse(text string) problem {
	var p problem
	where, what, ok := strings.Cut(text, ": ")
	if !ok {
		return problem{text: text}
	}
	if n, _ := fmt.Sscanf(where, "line %d column %d", &p.line, &p.column); n == 0 {
		return problem{text: text}
	}
	p.text = what
	if key, first, ok := strings.Cut(what, " already defined at line "); ok {
		p.text = strings.TrimPrefix(key, "mapping key ") + " is given twice, first on line " + first
	}
	if is, want, ok := strings.Cut(strings.TrimPrefix(what, "cannot unmarshal "), " into "); ok && is != what {
		p.text = "want " + goType(want) + ", not " + yamlValue(is)
	}
	if key, _, ok := strings.Cut(strings.TrimPrefix(what, "field "), " not found in type "); ok {
		p.text = fmt.Sprintf("unknown key %.60q", key)
	}
	return p
}

// goType returns the words for a Go type that the file's author uses.
func goType(name string) string {
	switch {
	case name == "string":
		return "a string"
	case name == "bool":
		return "true or false"
	case name == "time.Duration":
		return "a time such as 90s or 2h"
	case strings.HasPrefix(name, "[]"):
		return "a list"
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"), strings.HasPrefix(name, "float"):
		return "a number"
	}
	return "a mapping"
}

// yamlValue returns the words for what the YAML package calls "!!str `abc`" or "!!seq".
func yamlValue(tag string) string {
	kind, value, hasValue := strings.Cut(tag, " ")
	switch {
	case kind == "!!seq":
		return "a list"
	case kind == "!!map":
		return "a mapping"
	case hasValue:
		return value
	}
	return "nothing"
}

// unknownKeys finds every key of the document for which the struct has no field.
func unknownKeys(node *yaml.Node, t reflect.Type) []problem {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) || t == reflect.TypeFor[yaml.Node]() {
		return nil
	}
	var all []problem
	switch {
	case node.Kind == yaml.DocumentNode && len(node.Content) == 1:
		return unknownKeys(node.Content[0], t)
	case node.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for _, item := range node.Content {
			all = append(all, unknownKeys(item, t.Elem())...)
		}
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Map:
		for i := 1; i < len(node.Content); i += 2 {
			all = append(all, unknownKeys(node.Content[i], t.Elem())...)
		}
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		return unknownFields(node, fields(t))
	}
	return all
}

func unknownFields(node *yaml.Node, known map[string]reflect.Type) []problem {
	var all []problem
	var names []string
	for name := range known {
		names = append(names, name)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if of, ok := known[key.Value]; ok {
			all = append(all, unknownKeys(node.Content[i+1], of)...)
			continue
		}
		all = append(all, problem{key.Line, key.Column, suggest.Unknown("key", key.Value, "", names)})
	}
	return all
}

// fields returns the keys of a struct, by the rules of the YAML package.
func fields(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case strings.Contains(options, "inline"):
			for name, of := range fields(f.Type) {
				all[name] = of
			}
		case name == "":
			all[strings.ToLower(f.Name)] = f.Type
		default:
			all[name] = f.Type
		}
	}
	return all
}
