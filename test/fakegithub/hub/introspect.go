package hub

import (
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// typeNamed answers __type: the schema's description of a type, or null if the type
// does not exist. Like GitHub, the hub answers two per query.
func (x *execution) typeNamed(args object) (any, *failure) {
	if x.types++; x.types > 2 {
		return nil, fail(0, "Introspection of more than two types in a query is not supported")
	}
	name, _ := args["name"].(string)
	if x.schema.Types[name] == nil {
		return nil, nil
	}
	return x.typeOf(ast.NamedType(name, nil)), nil
}

// schemaEntity returns __schema.
func (x *execution) schemaEntity() entity {
	return entity{"__Schema", object{
		"description": nil,
		"queryType":   x.typeOf(ast.NamedType("Query", nil)), "mutationType": x.typeOf(ast.NamedType("Mutation", nil)), "subscriptionType": nil,
		"types": lazy(func(object) (any, *failure) {
			var out []entity
			for name := range x.schema.Types {
				out = append(out, x.typeOf(ast.NamedType(name, nil)))
			}
			return out, nil
		}),
		"directives": []entity{},
	}}
}

// typeOf returns a type with its wrappers.
func (x *execution) typeOf(t *ast.Type) entity {
	switch {
	case t.NonNull:
		inner := *t
		inner.NonNull = false
		return wrapper("NON_NULL", x.typeOf(&inner))
	case t.Elem != nil:
		return wrapper("LIST", x.typeOf(t.Elem))
	}
	d := x.schema.Types[t.NamedType]
	return entity{"__Type", object{
		"kind": string(d.Kind), "name": d.Name, "description": orNull(d.Description), "ofType": nil, "specifiedByURL": nil, "isOneOf": false,
		"fields": lazy(func(args object) (any, *failure) {
			if d.Kind != ast.Object && d.Kind != ast.Interface {
				return nil, nil
			}
			return x.fieldsOf(d, args["includeDeprecated"] == true), nil
		}),
		"inputFields": lazy(func(object) (any, *failure) {
			if d.Kind != ast.InputObject {
				return nil, nil
			}
			var out []entity
			for _, f := range d.Fields {
				out = append(out, x.inputValue(f.Name, f.Type, f.DefaultValue))
			}
			return out, nil
		}),
		"interfaces":    lazy(func(object) (any, *failure) { return x.typesNamed(d.Interfaces), nil }),
		"possibleTypes": lazy(func(object) (any, *failure) { return x.possible(d), nil }),
		"enumValues":    lazy(func(args object) (any, *failure) { return enumValues(d, args["includeDeprecated"] == true), nil }),
	}}
}

func wrapper(kind string, of entity) entity {
	out := object{"kind": kind, "ofType": of}
	for _, key := range []string{"name", "description", "fields", "inputFields", "interfaces", "possibleTypes", "enumValues", "specifiedByURL", "isOneOf"} {
		out[key] = nil
	}
	return entity{"__Type", out}
}

func (x *execution) typesNamed(names []string) []entity {
	out := []entity{}
	for _, name := range names {
		out = append(out, x.typeOf(ast.NamedType(name, nil)))
	}
	return out
}

func (x *execution) possible(d *ast.Definition) any {
	if !d.IsAbstractType() {
		return nil
	}
	var names []string
	for _, p := range x.schema.PossibleTypes[d.Name] {
		names = append(names, p.Name)
	}
	return x.typesNamed(names)
}

func (x *execution) fieldsOf(d *ast.Definition, deprecated bool) []entity {
	out := []entity{}
	for _, f := range d.Fields {
		reason, is := deprecation(f.Directives)
		if strings.HasPrefix(f.Name, "__") || is && !deprecated {
			continue
		}
		args := []entity{}
		for _, a := range f.Arguments {
			args = append(args, x.inputValue(a.Name, a.Type, a.DefaultValue))
		}
		out = append(out, entity{"__Field", object{
			"name": f.Name, "description": orNull(f.Description), "args": args, "type": x.typeOf(f.Type), "isDeprecated": is, "deprecationReason": orNull(reason),
		}})
	}
	return out
}

func (x *execution) inputValue(name string, t *ast.Type, value *ast.Value) entity {
	var text any
	if value != nil {
		text = value.String()
	}
	return entity{"__InputValue", object{
		"name": name, "description": nil, "type": x.typeOf(t), "defaultValue": text, "isDeprecated": false, "deprecationReason": nil,
	}}
}

func enumValues(d *ast.Definition, deprecated bool) any {
	if d.Kind != ast.Enum {
		return nil
	}
	out := []entity{}
	for _, v := range d.EnumValues {
		reason, is := deprecation(v.Directives)
		if !is || deprecated {
			out = append(out, entity{"__EnumValue", object{
				"name": v.Name, "description": orNull(v.Description), "isDeprecated": is, "deprecationReason": orNull(reason),
			}})
		}
	}
	return out
}

func deprecation(directives ast.DirectiveList) (reason string, is bool) {
	d := directives.ForName("deprecated")
	if d == nil {
		return "", false
	}
	if a := d.Arguments.ForName("reason"); a != nil {
		reason = a.Value.Raw
	}
	return reason, true
}
