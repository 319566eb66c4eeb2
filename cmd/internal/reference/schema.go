package reference

import (
	"bytes"
	"encoding/json"
)

// dialect is the version of JSON Schema that editors and validators support best.
const dialect = "http://json-schema.org/draft-07/schema#"

// Schema returns a JSON Schema of the file, indented and with a newline at the end.
func (f File) Schema() ([]byte, error) {
	s := object(f.Keys)
	s["$schema"], s["title"], s["description"] = dialect, f.Title+" of gatepass", f.About
	if f.Name == "profile" {
		s = orSandbox(s)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(s)
	return b.Bytes(), err
}

// orSandbox accepts any mapping as a profile of the first system: its keys are not
// gatepass's.
func orSandbox(s map[string]any) map[string]any {
	isSandbox := map[string]any{"properties": map[string]any{"apiVersion": map[string]any{"pattern": `^klankermaker\.ai/`}}, "required": []string{"apiVersion"}}
	all := map[string]any{"if": isSandbox, "then": map[string]any{}, "else": map[string]any{}}
	for _, key := range []string{"$schema", "title", "description"} {
		all[key] = s[key]
		delete(s, key)
	}
	all["else"] = s
	return all
}

func object(keys []Key) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, k := range keys {
		s := k.Of.schema()
		s["description"] = k.sentence()
		properties[k.Name] = s
		if k.Required {
			required = append(required, k.Name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// sentence returns the text that an editor shows for a key.
func (k Key) sentence() string {
	if k.Default == "" {
		return k.About + "."
	}
	return k.About + ". Default: " + k.Default + "."
}

func (t Type) schema() map[string]any {
	switch {
	case t.Any:
		return map[string]any{}
	case t.Number:
		return map[string]any{"type": "number", "minimum": 0}
	case t.Truth:
		return map[string]any{"type": "boolean"}
	case t.OneOf != nil:
		return map[string]any{"enum": t.OneOf}
	case t.List != nil:
		return map[string]any{"type": "array", "items": t.List.schema()}
	case t.Map != nil:
		return map[string]any{"type": "object", "additionalProperties": t.Map.schema()}
	case t.Keys != nil:
		return object(t.Keys)
	case t.Either != nil:
		var some []map[string]any
		for _, e := range t.Either {
			some = append(some, e.schema())
		}
		return map[string]any{"anyOf": some}
	case t.Pattern != "":
		return map[string]any{"type": "string", "pattern": t.Pattern}
	}
	return map[string]any{"type": "string"}
}
