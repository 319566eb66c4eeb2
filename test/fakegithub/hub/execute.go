package hub

import (
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// An entity is an object of a GraphQL answer. A lazy field is computed when it is
// requested.
type entity struct {
	kind   string
	fields object
}

// A lazy value is computed from the field's arguments.
type lazy func(args object) (any, *failure)

// A graphError is an error in the form of GitHub's GraphQL API.
type graphError struct {
	Type       string           `json:"type,omitempty"`
	Message    string           `json:"message"`
	Path       []any            `json:"path,omitempty"`
	Locations  []map[string]int `json:"locations,omitempty"`
	Extensions object           `json:"extensions,omitempty"`
}

// An execution is one operation in progress.
type execution struct {
	schema *ast.Schema
	vars   object
	types  int // __type expressions so far
	errors []graphError
}

// fail records an error at a field.
func (x *execution) fail(f *failure, field *ast.Field, path []any) {
	kind := f.kind
	if kind == "" {
		kind = "UNPROCESSABLE"
	}
	e := graphError{Type: kind, Message: f.text(), Path: slices.Clone(path)}
	if field.Position != nil {
		e.Locations = []map[string]int{{"line": field.Position.Line, "column": field.Position.Column}}
	}
	if kind == "FORBIDDEN" {
		e.Extensions = object{"saml_failure": false}
	}
	x.errors = append(x.errors, e)
}

// text returns a failure as GraphQL words it: only the reasons.
func (f *failure) text() string {
	if len(f.details) == 0 {
		return f.message
	}
	d := f.details[0]
	if m, is := d["message"].(string); is {
		return m
	}
	return fmt.Sprintf("%v is %v", d["field"], d["code"])
}

// object answers a selection of an entity. It returns false if a field that is never
// null could not be answered, which makes the whole object null.
func (x *execution) object(e entity, set ast.SelectionSet, path []any) (object, bool) {
	out := object{}
	whole := true
	for _, field := range x.collect(e.kind, set) {
		at := append(slices.Clone(path), field.Alias)
		value, ok := x.field(e, field, at)
		if !ok {
			whole = false
		}
		out[field.Alias] = value
	}
	return out, whole
}

// collect returns the fields of a selection that apply to a type. Fields with the same
// alias become one, with their selections joined.
func (x *execution) collect(kind string, set ast.SelectionSet) []*ast.Field {
	var out []*ast.Field
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			if x.included(s.Directives) {
				out = join(out, s)
			}
		case *ast.InlineFragment:
			if x.included(s.Directives) && (s.TypeCondition == "" || x.is(kind, s.TypeCondition)) {
				for _, f := range x.collect(kind, s.SelectionSet) {
					out = join(out, f)
				}
			}
		case *ast.FragmentSpread:
			if x.included(s.Directives) && x.is(kind, s.Definition.TypeCondition) {
				for _, f := range x.collect(kind, s.Definition.SelectionSet) {
					out = join(out, f)
				}
			}
		}
	}
	return out
}

func join(list []*ast.Field, f *ast.Field) []*ast.Field {
	for i, other := range list {
		if other.Alias == f.Alias {
			joined := *other
			joined.SelectionSet = append(slices.Clone(other.SelectionSet), f.SelectionSet...)
			list[i] = &joined
			return list
		}
	}
	return append(list, f)
}

func (x *execution) included(directives ast.DirectiveList) bool {
	for _, d := range directives {
		on, _ := d.ArgumentMap(x.vars)["if"].(bool)
		if d.Name == "skip" && on || d.Name == "include" && !on {
			return false
		}
	}
	return true
}

// is reports whether an object's type is another type, or implements it.
func (x *execution) is(kind, other string) bool {
	if kind == other {
		return true
	}
	for _, d := range x.schema.PossibleTypes[other] {
		if d.Name == kind {
			return true
		}
	}
	return false
}

func (x *execution) field(e entity, field *ast.Field, path []any) (any, bool) {
	if field.Name == "__typename" {
		return e.kind, true
	}
	value, there := e.fields[field.Name]
	if !there {
		x.fail(&failure{kind: "NOT_MODELED", message: "fakegithub: " + e.kind + "." + field.Name + " is not modeled"}, field, path)
		return nil, !field.Definition.Type.NonNull
	}
	if f, is := value.(lazy); is {
		var no *failure
		if value, no = f(field.ArgumentMap(x.vars)); no != nil {
			x.fail(no, field, path)
			return nil, !field.Definition.Type.NonNull
		}
	}
	return x.complete(value, field.Definition.Type, field, path)
}

// complete answers a value as its type requires.
func (x *execution) complete(value any, t *ast.Type, field *ast.Field, path []any) (any, bool) {
	switch v := value.(type) {
	case nil:
		return nil, !t.NonNull
	case entity:
		out, whole := x.object(v, field.SelectionSet, path)
		if !whole {
			return nil, !t.NonNull
		}
		return out, true
	case []entity:
		return x.list(len(v), func(i int) any { return v[i] }, t, field, path)
	case []any:
		return x.list(len(v), func(i int) any { return v[i] }, t, field, path)
	}
	return value, true
}

func (x *execution) list(n int, item func(int) any, t *ast.Type, field *ast.Field, path []any) (any, bool) {
	out := make([]any, 0, n)
	for i := range n {
		value, ok := x.complete(item(i), t.Elem, field, append(slices.Clone(path), i))
		if !ok {
			return nil, !t.NonNull
		}
		out = append(out, value)
	}
	return out, true
}
