package mint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// meddler changes the answer to a mint, as no GitHub should.
type meddler struct {
	http.RoundTripper
	change func(map[string]any)
}

func (m meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response, err := m.RoundTripper.RoundTrip(r)
	if err != nil || r.Method != http.MethodPost {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	m.change(object)
	body, err = json.Marshal(object)
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, err
}

func TestAWiderGrantIsRevokedAndRefused(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another permission":    func(o map[string]any) { o["permissions"].(map[string]any)["issues"] = "write" },
		"a higher level":        func(o map[string]any) { o["permissions"].(map[string]any)["contents"] = "write" },
		"an unknown level":      func(o map[string]any) { o["permissions"].(map[string]any)["contents"] = "superadmin" },
		"all repositories":      func(o map[string]any) { o["repository_selection"] = "all" },
		"no selection at all":   func(o map[string]any) { delete(o, "repository_selection") },
		"no repositories named": func(o map[string]any) { delete(o, "repositories") },
		"no permissions named":  func(o map[string]any) { delete(o, "permissions") },
		"another repository": func(o map[string]any) {
			o["repositories"] = append(o["repositories"].([]any), map[string]any{"id": 99, "name": "secret", "full_name": "acme/secret"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.app.Client = &http.Client{Transport: meddler{g.Transport(), change}}
			m, err := g.app.Mint(t.Context(), g.grant())
			if !errors.Is(err, ErrWider) || !m.Token.IsZero() {
				t.Errorf("Mint = %v, %v, want %v", m, err, ErrWider)
			}
			if live := g.Tokens(); len(live) != 0 {
				t.Errorf("live tokens = %d, want 0: it must be revoked", len(live))
			}
		})
	}
}

// A caller that gives up as GitHub answers does not leave a token behind.
func TestAWiderGrantIsRevokedForWhoHasGivenUp(t *testing.T) {
	g := newGitHub(t)
	ctx, giveUp := context.WithCancel(t.Context())
	g.app.Client = &http.Client{Transport: meddler{g.Transport(), func(o map[string]any) {
		o["repository_selection"] = "all"
		giveUp()
	}}}
	m, err := g.app.Mint(ctx, g.grant())
	if !errors.Is(err, ErrWider) || m.Unconfirmed != 0 || len(g.Tokens()) != 0 {
		t.Errorf("Mint = %v, %v with %d live tokens, want %v and none", m, err, len(g.Tokens()), ErrWider)
	}
}

// What is not wanted and cannot be revoked is accounted for.
func TestATokenThatIsNotTakenBackCounts(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"wider":   func(o map[string]any) { o["repository_selection"] = "all" },
		"renamed": func(o map[string]any) { o["repositories"].([]any)[0].(map[string]any)["name"] = "novelties" },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGitHub(t)
			g.app.Client = &http.Client{Transport: meddler{g.Transport(), change}}
			g.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
			grant := g.grant()
			grant.Repositories = PinnedRepositories(Pin{g.widgets, "widgets"})
			grant.Owner = "acme"
			m, err := g.app.Mint(t.Context(), grant)
			if err == nil || m.Unconfirmed != len(g.Tokens()) || m.Unconfirmed != 1 || strings.Contains(err.Error(), "\n") {
				t.Errorf("Mint = %v, %v with %d live tokens, want one line and one unseen", m, err, len(g.Tokens()))
			}
		})
	}
}
