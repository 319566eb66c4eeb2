package docstest

import (
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker/config"
)

// limitRow is a row of the table of limits: its names, and their defaults in the
// same order.
var limitRow = regexp.MustCompile("(?m)^\\| (`[a-z_]+`.*?) \\|.*\\| ([0-9][^|]*) \\|$")

// The defaults in the table of limits are those that a file without limits has.
func TestLimitsHaveTheDefaultsOfThePage(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/broker.md"), "| limit | of | default |")
	table, _, _ = strings.Cut(table, "\n\n")
	var limits strings.Builder
	for _, row := range limitRow.FindAllStringSubmatch(table, -1) {
		names, values := strings.Split(row[1], ", "), strings.Split(row[2], ", ")
		if len(names) != len(values) {
			t.Fatalf("the row of %s has %d defaults, want %d", row[1], len(values), len(names))
		}
		for i, name := range names {
			limits.WriteString("  " + strings.Trim(name, "`*") + ": " + values[i] + "\n")
		}
	}
	said := load(t, "limits:\n"+limits.String()).Limits
	if without := load(t, "").Limits; said != without {
		t.Errorf("docs/broker.md says %+v, want %+v", said, without)
	}
	if n := strings.Count(limits.String(), "\n"); n != reflect.TypeFor[config.Limits]().NumField() {
		t.Errorf("the table has %d limits, want all of them", n)
	}
}

// load reads a broker's file that has only more.
func load(t *testing.T, more string) *config.File {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ci.profile"), "metadata: {name: ci}\nspec: {}\n")
	path := filepath.Join(dir, "broker.yaml")
	write(t, path, "listen: unix:///run/broker.sock\naudit: /var/log/audit\nprofiles: ["+dir+"/*.profile]\n"+more)
	f, err := config.LoadDraft(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// keys are those that a part of the broker's file may have, with those below.
func keys(of reflect.Type, found map[string]bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return
	}
	for i := range of.NumField() {
		field := of.Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if key == "-" || !field.IsExported() {
			continue
		}
		if key != "" {
			found[key] = true
		}
		keys(field.Type, found)
	}
}

func TestPagesNameTheKeysOfABroker(t *testing.T) {
	var said strings.Builder
	for _, name := range []string{"broker", "callers", "callers-aws", "callers-mtls", "join", "audit", "console", "gateway"} {
		said.WriteString(read(t, "docs/"+name+".md"))
	}
	found := map[string]bool{}
	keys(reflect.TypeFor[config.File](), found)
	if len(found) < 60 {
		t.Errorf("a broker's file has %d keys, want all of them", len(found))
	}
	for key := range found {
		if !regexp.MustCompile(`\b` + key + `\b`).MatchString(said.String()) {
			t.Errorf("no page about brokers names the key %s", key)
		}
	}
}

// The README says which Go it takes: an old one cannot read go.mod, and says
// something else.
func TestReadmeNamesTheGo(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (1\.[0-9]+)`).FindStringSubmatch(read(t, "go.mod"))
	if version == nil || !strings.Contains(read(t, "README.md"), "You need Go "+version[1]+" ") {
		t.Errorf("the README does not say that Go %v is needed", version)
	}
}
