package awsdebris

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

func TestWorkspaceOf(t *testing.T) {
	for _, c := range []struct {
		form, alias, want string // "" for none
	}{
		{"alias/gatepass-{workspace}", "alias/gatepass-sb-1", "sb-1"},
		{"alias/gatepass-{workspace}", "alias/gatepass-", ""},
		{"alias/gatepass-{workspace}", "alias/Gatepass-sb-1", ""},
		{"alias/gatepass-{workspace}", "alias/gatepass-a/b", ""},
		{"alias/gatepass-{workspace}", "alias/gatepass--x", ""},
		{"alias/gp/{workspace}/token", "alias/gp/sb-1/token", "sb-1"},
		{"alias/gp/{workspace}/token", "alias/gp/sb-1/tokens", ""},
		{"alias/gp/{workspace}/token", "alias/gp/token", ""},
		{"alias/{workspace}-of-{workspace}", "alias/a-of-a", "a"},
		{"alias/{workspace}-of-{workspace}", "alias/a-of-b", ""},
		{"alias/{workspace}-of-{workspace}", "alias/aa-of-a", ""},
		{"alias/one", "alias/one", ""},
		{firstSystemsKey.String(), "alias/km-github-token-sb-1a2b3c4d", "sb-1a2b3c4d"},
	} {
		if got, ok := form(c.form).workspaceOf(c.alias); got != c.want && ok || ok != (c.want != "") {
			t.Errorf("%s of form %s: workspaceOf = %q, %v, want %q", c.alias, c.form, got, ok, c.want)
		}
	}
}

func (f form) String() string { return string(f) }

func FuzzWorkspaceOf(f *testing.F) {
	f.Add("alias/gatepass-{workspace}", "alias/gatepass-sb-1")
	f.Add("alias/{workspace}{workspace}", "alias/aa")
	f.Add("alias/{workspace}/x", "alias/x")
	f.Fuzz(func(t *testing.T, text, alias string) {
		id, ok := form(text).workspaceOf(alias)
		if ok && (store.CheckWorkspace(id) != nil || strings.ReplaceAll(text, place, id) != alias) {
			t.Errorf("workspaceOf(%q, %q) = %q, which does not make that alias", text, alias, id)
		}
	})
}

func TestParseInput(t *testing.T) {
	for _, c := range []struct{ text, id, parameter string }{
		{input("sb-1", "/sandbox/sb-1/github-token"), "sb-1", "/sandbox/sb-1/github-token"},
		{`{"sandbox_id": "sb-1"}`, "", ""},
		{`{"sandbox_id": "sb-1", "ssm_parameter_name": null}`, "", ""},
		{`{"sandbox_id": 1, "ssm_parameter_name": "/x"}`, "", ""},
		{`{"Sandbox_ID": "sb-1", "ssm_parameter_name": "/x"}`, "", ""},
		{`{"sandbox_id": "../x", "ssm_parameter_name": "/x"}`, "", ""},
		{`["sandbox_id", "ssm_parameter_name"]`, "", ""},
		{"sb-1", "", ""},
		{"", "", ""},
	} {
		id, parameter, ok := parseInput(c.text)
		if ok != (c.id != "") || ok && (id != c.id || parameter != c.parameter) {
			t.Errorf("parseInput(%s) = %q, %q, %v, want %q, %q", c.text, id, parameter, ok, c.id, c.parameter)
		}
	}
}

func FuzzParseInput(f *testing.F) {
	f.Add(input("sb-1", "/sandbox/sb-1/github-token"))
	f.Add(`{"sandbox_id": {}, "ssm_parameter_name": []}`)
	f.Fuzz(func(t *testing.T, text string) {
		if id, parameter, ok := parseInput(text); ok && (store.CheckWorkspace(id) != nil || parameter == "") {
			t.Errorf("parseInput(%q) = %q, %q, want none", text, id, parameter)
		}
	})
}
