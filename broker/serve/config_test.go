package main

import (
	"testing"

	"github.com/gatepass/gatepass/broker/settings"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/storetest"
)

// What git calls the GitHub is that of the App, unless the file says otherwise: a
// token of an Enterprise Server is not for github.com.
func TestHostsAreThoseOfTheStore(t *testing.T) {
	nothing := func(string) string { return "" }
	of := func(f *settings.File, s store.Store) string {
		t.Helper()
		c := &configuration{}
		if err := c.findGitHub(t.Context(), f, s, nothing); err != nil {
			t.Fatal(err)
		}
		return c.github
	}
	s := new(storetest.Memory)
	if got := of(new(settings.File), s); got != mint.DefaultGitHub {
		t.Errorf("with an empty store: %q, want github.com", got)
	}
	if err := s.Put(t.Context(), store.GitHubURL(), store.NewSecret("https://ghe.example"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if got := of(new(settings.File), s); got != "https://ghe.example" {
		t.Errorf("with an Enterprise Server in the store: %q", got)
	}
	if got := of(&settings.File{Hosts: []string{"x.example"}}, s); got != "" {
		t.Errorf("with hosts in the file: %q, want the store not to matter", got)
	}
}
