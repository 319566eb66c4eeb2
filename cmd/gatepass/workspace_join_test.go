package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/store"
)

func TestJoinTokenIsPrintedOnce(t *testing.T) {
	w := newIssuingWorld(t)
	text := strings.TrimSuffix(w.do("workspace", "join-token", "sb-1", "--rule", "agents"), "\n")
	token, err := identity.ParseJoinToken(text)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := w.open().Get(t.Context(), store.JoinToken(token.Hash()))
	if err != nil || strings.Contains(entry.Value.Reveal(), text) || !strings.Contains(entry.Value.Reveal(), `"sb-1"`) {
		t.Errorf("the store has %q, %v, want the workspace under the token's hash", entry.Value.Reveal(), err)
	}
	var r joinReport
	if err := json.Unmarshal([]byte(w.do("workspace", "join-token", "sb-1", "--rule", "agents", "--ttl", "90s", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(r.ExpiresAt); r.Workspace != "sb-1" || r.Rule != "agents" || left > 90*time.Second || left < 60*time.Second || r.JoinToken == text {
		t.Errorf("the report is for %s and %v, want sb-1 and 90s", r.Workspace, left)
	}
}

func TestJoinTokenRefuses(t *testing.T) {
	w := newIssuingWorld(t)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no workspace", nil, 2, "the workspace's ID is missing"},
		{"no rule", []string{"sb-1"}, 2, "--rule is missing"},
		{"a long life", []string{"--rule", "agents", "--ttl", "11m", "sb-1"}, 2, "up to 10m0s"},
		{"no life", []string{"--rule", "agents", "--ttl", "0s", "sb-1"}, 2, "up to 10m0s"},
		{"an id that climbs", []string{"--rule", "agents", "../sb-1"}, 2, "an id is"},
		{"a rule of two lines", []string{"--rule", "a\nb", "sb-1"}, 2, "printable"},
		{"another kind of store", []string{"--rule", "agents", "--store", "x://y", "sb-1"}, 1, "there is no store"},
	} {
		out, errs, status := w.gatepass(append([]string{"workspace", "join-token"}, c.args...)...)
		if status != c.status || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: %d, %q, %q, want %d with %q", c.name, status, out, errs, c.status, c.want)
		}
	}
}
