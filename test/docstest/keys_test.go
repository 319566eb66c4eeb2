package docstest

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	brokerconfig "github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/probe"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
)

// keyTable is a table of keys: its first column has them.
var keyTable = regexp.MustCompile(`(?m)^\| (?:key|keys|limit)\b[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)+)`)

// schemaKeys are the names of all properties of a JSON Schema.
func schemaKeys(value any, found map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		if properties, ok := v["properties"].(map[string]any); ok {
			for name := range properties {
				found[name] = true
			}
		}
		for _, inner := range v {
			schemaKeys(inner, found)
		}
	case []any:
		for _, inner := range v {
			schemaKeys(inner, found)
		}
	}
}

// fieldKeys are the names of the fields of a type, and of those inside it, by a tag.
func fieldKeys(of reflect.Type, tag string, found map[string]bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || !strings.Contains(of.PkgPath(), "gatepass") {
		return
	}
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get(tag), ",")
		found[name] = true
		fieldKeys(of.Field(i).Type, tag, found)
	}
}

// TestTablesOfKeysNameKeysThatAreThere: a key in a table is one of a file that the programs
// read, whether or not the table is generated.
func TestTablesOfKeysNameKeysThatAreThere(t *testing.T) {
	known := map[string]bool{}
	for _, name := range []string{"workspace", "profile", "broker"} {
		var schema any
		if err := json.Unmarshal([]byte(read(t, "docs/reference/"+name+".schema.json")), &schema); err != nil {
			t.Fatal(err)
		}
		schemaKeys(schema, known)
	}
	for _, of := range []any{v1.Token{}, v1.ClusterToken{}, v1.App{}, v1.TenantPolicy{}} {
		fieldKeys(reflect.TypeOf(of), "json", known)
	}
	fieldKeys(reflect.TypeFor[apps.Config](), "yaml", known)
	fieldKeys(reflect.TypeOf(brokerconfig.ParseCases).Out(0), "yaml", known)
	fieldKeys(reflect.TypeOf(probe.ParseCases).Out(0), "yaml", known)
	looked := 0
	for _, page := range pages(t) {
		if page == "docs/dynamodb.md" || page == "docs/postgres.md" {
			continue // keys of a store's URL
		}
		for _, table := range keyTable.FindAllStringSubmatch(read(t, page), -1) {
			for row := range strings.Lines(table[1]) {
				first, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
				for _, m := range span.FindAllStringSubmatch(first, -1) {
					for _, name := range strings.FieldsFunc(m[1], func(r rune) bool { return strings.ContainsRune(" .,[]{}:", r) }) {
						looked++
						if !known[name] {
							t.Errorf("%s: no file has the key %s", page, m[1])
						}
					}
				}
			}
		}
	}
	t.Logf("%d keys were looked at", looked)
	if looked < 200 {
		t.Errorf("%d keys were looked at, want those of all tables", looked)
	}
}
