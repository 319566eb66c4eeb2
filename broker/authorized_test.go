package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
)

// A fixedBlocker answers what a test sets.
type fixedBlocker struct {
	is  bool
	err error
}

func (b *fixedBlocker) BlockedFor(context.Context, string, string) (bool, error) { return b.is, b.err }
func (b *fixedBlocker) Blocked(context.Context, string) (bool, error)            { return b.is, b.err }

// The block is looked at before anything is made, and again before it is given; one
// that cannot be looked at blocks.
func TestTheBlockIsLookedAtTwice(t *testing.T) {
	away := errors.New("the store is away")
	for _, c := range []struct {
		name          string
		before, after fixedBlocker
		asked         bool
		status        int // 0 means that it is given
	}{
		{"nobody is blocked", fixedBlocker{}, fixedBlocker{}, true, 0},
		{"blocked before", fixedBlocker{is: true}, fixedBlocker{}, false, http.StatusForbidden},
		{"blocked meanwhile", fixedBlocker{}, fixedBlocker{is: true}, true, http.StatusForbidden},
		{"the blocks cannot be read", fixedBlocker{err: away}, fixedBlocker{}, false, http.StatusServiceUnavailable},
		{"the blocks cannot be read any more", fixedBlocker{}, fixedBlocker{err: away}, true, http.StatusServiceUnavailable},
	} {
		b, block, asked := newBench(t), c.before, false
		vend := authorized(&block, func(_ context.Context, _ Workspace, _ api.TokenRequest, s Scope) (Grant, error) {
			asked, block = true, c.after
			return Grant{Token: credential.NewToken("ghs_x", time.Now().Add(time.Hour)), Scope: s}, nil
		})
		w := Workspace{ID: "sb-1", Policy: b.policy, Profile: b.profile("[acme/widgets]", "[clone]")}
		g, err := vend(t.Context(), w, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"})
		status := 0
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			status = refusal.Status
		}
		if asked != c.asked || status != c.status || g.Token.IsZero() != (c.status != 0) {
			t.Errorf("%s: asked = %v, answer %v, %v, want asked = %v and status %d", c.name, asked, g.Token, err, c.asked, c.status)
		}
		if err != nil && strings.Contains(err.Error(), "ghs_x") {
			t.Errorf("%s: the error shows the token: %v", c.name, err)
		}
	}
}

func TestWhichIDARepositoryHasToHave(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		name    string
		repos   string
		asked   int64
		want    int64
		refused bool
	}{
		{"nobody says", "[acme/widgets]", 0, 0, false},
		{"who asks says", "[acme/widgets]", 7, 7, false},
		{"the profile says", "['acme/widgets#7']", 0, 7, false},
		{"both say the same", "['acme/widgets#7']", 7, 7, false},
		{"they differ", "['acme/widgets#7']", 8, 0, true},
		{"another repository", "['acme/gadgets#7']", 7, 0, true},
	} {
		w := Workspace{ID: "sb-1", Policy: b.policy, Profile: b.profile(c.repos, "[clone]")}
		s, err := Authorize(w, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, RepositoryID: c.asked, Operation: "read"})
		if s.RepositoryID() != c.want || (err != nil) != c.refused {
			t.Errorf("%s: Authorize = %+v, %v, want the id %d, refused = %v", c.name, s, err, c.want, c.refused)
		}
	}
	if s, err := Authorize(Workspace{ID: "sb-1"}, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"}); err == nil {
		t.Errorf("Authorize without a policy = %+v, want a refusal", s)
	}
}
