package serve

import (
	"testing"

	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// What git calls the GitHub is that of the App, unless the file says otherwise: a
// token of an Enterprise Server is not for github.com.
func TestHostsAreThoseOfTheStore(t *testing.T) {
	nothing := func(string) string { return "" }
	of := func(f *config.File, s store.Store) string {
		t.Helper()
		c := &configuration{}
		if err := c.findGitHub(t.Context(), f, s, nothing); err != nil {
			t.Fatal(err)
		}
		return c.github
	}
	s := new(storetest.Memory)
	if got := of(new(config.File), s); got != mint.DefaultGitHub {
		t.Errorf("with an empty store: %q, want github.com", got)
	}
	if err := s.Put(t.Context(), store.GitHubURL(), store.NewSecret("https://ghe.example"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if got := of(new(config.File), s); got != "https://ghe.example" {
		t.Errorf("with an Enterprise Server in the store: %q", got)
	}
	if got := of(&config.File{Hosts: []string{"x.example"}}, s); got != "" {
		t.Errorf("with hosts in the file: %q, want the store not to matter", got)
	}
}
