package workspace

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// inherit puts a token into the store as the first system does.
func (c *city) inherit() (hash string) {
	c.t.Helper()
	token := c.foreign()
	c.putRaw("github-token", token)
	return fakegithub.Hash(token)
}

func (c *city) putRaw(name, value string) {
	c.t.Helper()
	n, err := store.ParseName("sandbox/sb-1/" + name)
	if err == nil {
		err = c.store.Put(c.t.Context(), n, store.NewSecret(value), store.Replace)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// What a sandbox of the first system works with is not taken from it before it
// has something else.
func TestATokenOfTheFirstSystemStaysUntilItIsReplaced(t *testing.T) {
	c := newCity(t)
	old := c.inherit()
	stop := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	i := c.run(&mortal{})
	i.Adopt = true
	for range 2 {
		if _, err := i.Create(t.Context(), "sb-1", profile(t, "acme/widgets"), 0); err == nil {
			t.Fatal("Create = nil, want GitHub's refusal")
		}
		if !c.isLive(old) {
			t.Fatal("the token is gone, and there is no other")
		}
		c.checkNames("github-token", "workspace")
	}
	stop()
	if _, err := i.Refresh(t.Context(), "sb-1", false); err != nil {
		t.Fatal(err)
	}
	if c.isLive(old) {
		t.Error("the token is alive, although another took its place")
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.checkLive(1, 0)
}

// Whoever damaged the ledger does not keep a workspace from being ended. One that
// a later gatepass made is left to that.
func TestDestroyWithoutAReadableRecord(t *testing.T) {
	for _, c := range []struct {
		name, record string
		isDestroyed  bool
	}{
		{"no JSON", "{", true},
		{"of another workspace", `{"schema":1,"id":"sb-2","created":"2026-01-01T00:00:00Z"}`, true},
		{"without a version", "{}", true},
		{"of a later version", `{"schema":2}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			city := newCity(t)
			city.create("acme/widgets")
			city.putRaw("workspace", c.record)
			i := city.run(&mortal{})
			if _, err := i.Clear(t.Context(), "sb-1"); err == nil {
				t.Error("Clear = nil, want the workspace left alone")
			}
			city.checkLive(1, 0)
			lost, err := i.Destroy(t.Context(), "sb-1")
			if !c.isDestroyed {
				if err == nil || !strings.Contains(err.Error(), "use the gatepass that wrote it") {
					t.Errorf("Destroy = %v, want it left to a later gatepass", err)
				}
				city.checkLive(1, 0)
				return
			}
			if err != nil || len(lost) != 1 {
				t.Errorf("Destroy = %v, %v, want one token that may be lost", lost, err)
			}
			city.checkNames()
			city.checkLive(0, 0)
		})
	}
}
