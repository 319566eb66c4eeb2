package workspace

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

var bothOwners = []string{"github-tokens/acme", "github-tokens/octo", "workspace"}

func TestCreateDeliversInTheLayout(t *testing.T) {
	c := newCity(t)
	c.moveTo(filestoreIn(t))
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/w*"), 0); err != nil {
		t.Fatal(err)
	}
	c.checkNames(bothOwners...)
	c.checkLive(2, 0)
	before := c.Tokens()
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/w*"), 0); err != nil || !slices.Equal(hashesOf(c), hashesIn(before)) {
		t.Errorf("Create again = %v and mints anew, want nothing to change", err)
	}
	// With one owner there is the single token, too, and the other is revoked.
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.checkLive(1, 0)
}

// filestoreIn is a store of files, in a folder of the test.
func filestoreIn(t *testing.T) store.Store {
	t.Helper()
	s, err := filestore.OpenStore(&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// moveTo moves the installations to another store.
func (c *city) moveTo(s store.Store) {
	c.t.Helper()
	for name, err := range c.store.List(c.t.Context(), store.Installations()) {
		var e store.Entry
		if err == nil {
			e, err = c.store.Get(c.t.Context(), name)
		}
		if err == nil {
			err = s.Put(c.t.Context(), name, e.Value, store.CreateOnly)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.store = s
}

func hashesOf(c *city) []string { return hashesIn(c.Tokens()) }

func hashesIn(tokens []fakegithub.Token) (hashes []string) {
	for _, token := range tokens {
		hashes = append(hashes, token.Hash)
	}
	return hashes
}

// A workspace can be made while GitHub is down, or before the App is installed, and the
// next run repairs it: no part of the failure is permanent.
func TestCreateHeals(t *testing.T) {
	c := newCity(t)
	r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, late/widgets"), 0)
	if r == nil || err == nil || !strings.Contains(err.Error(), "find the installation on late: ") {
		t.Fatalf("Create = %v, %v, want a record and an error that names the owner", r, err)
	}
	c.checkNames("github-token", "github-tokens/acme", "workspace")
	c.settleIn("late")
	if _, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, late/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	c.checkLive(2, 0)
}

// kills runs test once for every effect of a run and both ways to die at it, in a store
// that compares versions and in one that does not.
func kills(t *testing.T, test func(t *testing.T, m *mortal) (isOver bool)) {
	killsIn(t, false, test)
	killsIn(t, true, test)
}

func killsIn(t *testing.T, isPlain bool, test func(t *testing.T, m *mortal) (isOver bool)) {
	isOver := false
	for at := 1; !isOver && !t.Failed(); at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("plain %v effect %d done %v", isPlain, at, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { isOver = test(t, &mortal{at: at, after: after, isPlain: isPlain}) })
			})
		}
	}
}

func TestCreateThatIsKilledIsFinishedByTheNext(t *testing.T) {
	kills(t, func(t *testing.T, m *mortal) bool {
		c := newCity(t)
		p := profileOf(t, "acme/widgets, octo/w*")
		_, err := c.run(m).Create(t.Context(), "sb-1", p, 0)
		if (err == nil) == (m.isDead && !m.isQuiet) {
			t.Fatalf("Create = %v, dead: %v", err, m.isDead)
		}
		c.Advance(lockTime)
		if _, err := c.run(&mortal{}).Create(t.Context(), "sb-1", p, 0); err != nil {
			t.Fatalf("the next Create = %v", err)
		}
		c.checkNames(bothOwners...)
		c.checkLive(2, 1)
		if _, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil {
			t.Fatal(err)
		}
		c.checkNames()
		c.checkLive(0, 1)
		c.Advance(time.Hour)
		c.checkLive(0, 0)
		return !m.isDead
	})
}

func TestDestroyThatIsKilledIsFinishedByTheNext(t *testing.T) {
	kills(t, func(t *testing.T, m *mortal) bool {
		c := newCity(t)
		if _, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets, octo/widgets"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.run(m).Destroy(t.Context(), "sb-1"); (err == nil) == m.isDead {
			t.Fatalf("Destroy = %v, dead: %v", err, m.isDead)
		}
		c.Advance(lockTime)
		for range 2 {
			if lost, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil || len(lost) > 0 {
				t.Fatalf("the next Destroy = %v, %v, want it done", lost, err)
			}
		}
		c.checkNames()
		c.checkLive(0, 0)
		return !m.isDead
	})
}

// Tokens that the first system delivered are revoked, too.
func TestDestroyTakesWhatTheLedgerDoesNotKnow(t *testing.T) {
	c := newCity(t)
	token := c.foreign()
	name, err := store.OnlyToken("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.store.Put(t.Context(), name, store.NewSecret(token), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if _, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	c.checkNames()
	c.checkLive(0, 0)
}

// A token is revoked and deleted under any name in the store, even if it is there
// twice.
func TestDestroyTakesTokensUnderOtherNames(t *testing.T) {
	c := newCity(t)
	token := c.foreign()
	for _, place := range []string{"superseded/00000000000000ff", "superseded/00000000000000aa", "vended/00000000000000ff"} {
		name, err := store.ParseName("sandbox/sb-1/" + place)
		if err == nil {
			err = c.store.Put(t.Context(), name, store.NewSecret(token), store.CreateOnly)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	c.checkNames()
	c.checkLive(0, 0)
}

// Other workspaces share the token that a broker gave: they were given it for an hour after it
// was revoked.
func TestDestroyMarksWhatOthersShare(t *testing.T) {
	for _, own := range []bool{false, true} {
		c := newCity(t)
		token := credential.NewToken(c.foreign(), time.Now().Add(time.Hour))
		name, err := store.Vended("sb-1", token.ID(), token.Expiry)
		text := fmt.Sprintf(`{"token":%q,"expires_at":%q,"own":%v}`, token.Secret(), token.Expiry.UTC().Format(time.RFC3339), own)
		if err == nil {
			err = c.store.Put(t.Context(), name, store.NewSecret(text), store.CreateOnly)
		}
		if err == nil {
			_, err = c.run(&mortal{}).Destroy(t.Context(), "sb-1")
		}
		if err != nil {
			t.Fatal(err)
		}
		c.checkLive(0, 0)
		blocks, err := store.ReadBlocks(t.Context(), c.store)
		log, logErr := store.ReadBlockLog(t.Context(), c.store)
		id, recent := token.ID().String(), store.NewBlocks(log.Recent()...)
		if err != nil || blocks.Tokens[id] == own || (logErr == nil) == own || recent.Tokens[id] == own {
			t.Errorf("own = %v: blocks = %+v, %v, and the log says %+v, %v", own, blocks, err, recent, logErr)
		}
	}
}

// markless is a store whose block list this run may not write.
type markless struct{ store.Store }

func (s markless) Put(ctx context.Context, name store.Name, v store.Secret, mode store.Mode) error {
	if strings.HasPrefix(name.String(), "broker/barred/") {
		return errors.New("write " + name.String() + ": access denied")
	}
	return s.Store.Put(ctx, name, v, mode)
}

// A destruction that could not write the mark revoked a shared token all the same, and
// brokers gave it to other workspaces until it would have expired.
func TestDestroyWithoutTheRightToMark(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	token := credential.NewToken(c.foreign(), time.Now().Add(time.Hour))
	name, err := store.Vended("sb-1", token.ID(), token.Expiry)
	text := fmt.Sprintf(`{"token":%q,"expires_at":%q}`, token.Secret(), token.Expiry.UTC().Format(time.RFC3339))
	if err == nil {
		err = c.store.Put(t.Context(), name, store.NewSecret(text), store.CreateOnly)
	}
	if err != nil {
		t.Fatal(err)
	}
	bound := *i
	bound.Store = markless{i.Store}
	_, err = bound.Destroy(t.Context(), "sb-1")
	if err == nil || !strings.Contains(err.Error(), "access denied") || !strings.Contains(err.Error(), "allow this command to write the block list, broker/barred in the store") {
		t.Errorf("Destroy = %v, want what to allow", err)
	}
	if live := c.Tokens(); len(live) != 1 || live[0].Hash != token.Hash() {
		t.Errorf("%v live, want the shared token", live)
	}
	if _, err := i.Destroy(t.Context(), "sb-1"); err != nil {
		t.Errorf("Destroy with the right to mark = %v", err)
	}
	blocks, err := store.ReadBlocks(t.Context(), c.store)
	if err != nil || !blocks.Tokens[token.ID().String()] {
		t.Errorf("blocks = %+v, %v, want the token marked", blocks, err)
	}
	c.checkLive(0, 0)
	c.checkNames()
}

// A token that cannot be delivered is not left alive.
func TestAnUndeliverableTokenIsRevoked(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	i.Store = fullStore{i.Store}
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Fatalf("Create = %v, want the store's error", err)
	}
	c.checkNames("workspace")
	c.checkLive(0, 0)
	if n := c.Count(func(r fakegithub.Request) bool { return r.Method == http.MethodDelete }); n != 1 {
		t.Errorf("GitHub was asked to revoke %d times, want once", n)
	}
}

// A token that cannot be delivered, and that GitHub does not know everywhere yet, is
// kept until it can be revoked.
func TestAnUndeliverableTokenThatIsTooNewIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		i := c.run(&mortal{})
		full := *i
		full.Store = fullStore{i.Store}
		c.lag(20 * time.Second)
		if _, err := full.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Fatalf("Create = %v, want the store's error", err)
		}
		c.checkLive(1, 0)
		time.Sleep(20 * time.Second)
		c.lag(0)
		if lost, err := i.Destroy(t.Context(), "sb-1"); err != nil || len(lost) != 0 {
			t.Errorf("Destroy = %v, %v, want nothing lost", lost, err)
		}
		c.checkLive(0, 0)
	})
}

// If a workspace is destroyed, or its token replaced, in the first seconds of the
// token, GitHub's 401 does not prove that the token is revoked (octokit/auth-app.js#65).
func TestANewTokenIsNotTakenForRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		i := c.run(&mortal{})
		c.lag(20 * time.Second)
		if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
			t.Fatal(err)
		}
		if lost, err := i.Destroy(t.Context(), "sb-1"); err == nil || !strings.Contains(err.Error(), "in a minute") {
			t.Errorf("Destroy = %v, %v, want an error that says to try again", lost, err)
		}
		c.checkLive(1, 0)
		time.Sleep(20 * time.Second)
		if sum, err := (&Round{Issuer: i}).Run(t.Context()); err != nil || sum.Revoked != 1 {
			t.Errorf("a round = %+v, %v, want the destruction finished", sum, err)
		}
		c.checkLive(0, 0)
		c.checkNames()
	})
}

func (c *city) lag(d time.Duration) {
	c.t.Helper()
	if err := c.SetLag(d, http.StatusUnauthorized); err != nil {
		c.t.Fatal(err)
	}
}

// fullStore accepts no tokens.
type fullStore struct{ store.Store }

func (s fullStore) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	if n.IsToken() {
		return errors.New("no space")
	}
	return s.Store.Put(ctx, n, v, mode)
}

func TestADestroyedWorkspaceIsNotMadeMeanwhile(t *testing.T) {
	c := newCity(t)
	if _, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	c.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), 1)
	if _, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err == nil {
		t.Fatal("Destroy is done, want an error")
	}
	if _, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err == nil || !strings.Contains(err.Error(), "being destroyed") {
		t.Errorf("Create = %v, want a refusal", err)
	}
	if _, err := c.run(&mortal{}).Destroy(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	c.checkNames()
	c.checkLive(0, 0)
}

// Every name of the workspace's folder is checked before any request.
func TestIDsThatClimbAreRefused(t *testing.T) {
	c := newCity(t)
	if _, err := c.run(&mortal{}).Create(t.Context(), "../config", profileOf(t, "acme/widgets"), 0); err == nil {
		t.Error("Create(../config) is done, want an error")
	}
	if _, err := c.run(&mortal{}).Destroy(t.Context(), ".."); err == nil {
		t.Error("Destroy(..) is done, want an error")
	}
}

// The first system wrote logins in GitHub's case, and its entry stays until it is
// pruned: with two entries of one account, the choice must not depend on chance.
func TestStoredInstallationsTakeTheEntryInLowerCase(t *testing.T) {
	c := newCity(t)
	for text, value := range map[string]string{"Globex": "7", "globex": "8", "Only-Legacy": "9"} {
		name, err := store.ParseName("config/github/installations/" + text)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.store.Put(t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
			t.Fatal(err)
		}
	}
	installed, err := StoredInstallations(t.Context(), c.store)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, i := range installed {
		got[i.Account.Login] = i.ID
	}
	if _, twice := got["Globex"]; twice || got["globex"] != 8 || got["Only-Legacy"] != 9 {
		t.Errorf("StoredInstallations = %v, want globex: 8 and Only-Legacy: 9", got)
	}
}
