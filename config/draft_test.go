package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/hooks/refs"
)

func TestDraftComesBack(t *testing.T) {
	d := Draft{
		Workspace: "sb-1", Hosts: []string{"github.com"}, Source: "ssm:///km/sandbox/{workspace}/github-tokens/{owner}?region=us-east-1",
		Repos: []string{"acme/widgets", "*"},
		Refs:  []refs.Entry{{Ref: "main"}, {Ref: "yes"}, {Ref: "agent/**", Allow: []refs.Verb{refs.Create, refs.Delete}}},
	}
	text, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Parse(text)
	if err != nil || w.ID != d.Workspace || w.Source.String() != strings.NewReplacer("{", "%7B", "}", "%7D").Replace(d.Source) || !reflect.DeepEqual(w.Refs, d.Refs) {
		t.Errorf("Parse(%s) = %+v, %v, want %+v", text, w, err, d)
	}
	if !strings.Contains(string(text), "source: "+d.Source+"\n") {
		t.Errorf("Encode = %s, want the source to read well", text)
	}
}

// Nothing listed is nothing allowed, said out loud: an absent key would allow
// any repository.
func TestDraftOfNothingAllowsNothing(t *testing.T) {
	text, err := Draft{Workspace: "sb-1", Hosts: []string{"github.com"}}.Encode()
	if want := "workspace: sb-1\nhosts: [github.com]\nrepos: []\nrefs: []\n"; err != nil || string(text) != want {
		t.Errorf("Encode = %q, %v, want %q", text, err, want)
	}
}

func TestDraftRefusesWhatParseDoes(t *testing.T) {
	for _, d := range []Draft{
		{Workspace: "../x", Hosts: []string{"github.com"}},
		{Workspace: "sb-1"},
		{Workspace: "sb-1", Hosts: []string{"*"}},
		{Workspace: "sb-1", Hosts: []string{"github.com"}, Repos: []string{"acme"}},
	} {
		if text, err := d.Encode(); err == nil {
			t.Errorf("Encode(%+v) = %s, want an error", d, text)
		}
	}
}
