package broker

import (
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace"
)

func TestATokenOpensWhatWasAskedAndNoMore(t *testing.T) {
	b := newBench(t)
	got := b.token("ci", "Acme/Widgets", "read")
	var answer struct {
		Username, Token string
		Repositories    []string
		Permissions     map[string]string
	}
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != 200 || answer.Username != "x-access-token" {
		t.Fatalf("answer = %d %s", got.Code, got.Body)
	}
	if !slices.Equal(answer.Repositories, []string{"acme/widgets"}) || len(answer.Permissions) != 1 || answer.Permissions["contents"] != "read" {
		t.Errorf("answer = %+v, want acme/widgets to read", answer)
	}
	live := b.Tokens()
	if len(live) != 1 || live[0].Permissions["contents"] != "read" || len(live[0].Repositories) != 1 {
		t.Errorf("GitHub has %+v, want one token for one repository to read", live)
	}
	if want := []string{"intent", "minted granted", "request granted"}; !slices.Equal(b.journal.kinds(), want) {
		t.Errorf("the journal has %q, want %q", b.journal.kinds(), want)
	}
	last := b.journal.entries[2]
	if last.Workspace != "ci-7" || last.Rule != "ci" || last.Policy != "h" || last.Hash != live[0].Hash || last.Subject != "ci" {
		t.Errorf("the last line is %+v, want who got what by which rule", last)
	}
}

func TestWhatIsRefusedAndHow(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		name, caller, body string
		status             int
		want               string
	}{
		{"nobody", "", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, 401, "has no identity"},
		{"a forged identity", "forged", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, 401, "the signature does not hold"},
		{"another host", "ci", `{"host":"gitlab.com","repo":"acme/widgets","operation":"read"}`, 204, ""},
		{"another repository", "ci", `{"host":"github.com","repo":"acme/payroll","operation":"read"}`, 403, "the profile of workspace ci-7 does not allow acme/payroll"},
		{"a write where the profile clones", "x", `{"host":"github.com","repo":"acme/widgets","operation":"write"}`, 403, "does not allow contents: write"},
		{"a permission that the profile lacks", "ci", `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"checks":"write"}}`, 403, "does not allow checks: write"},
		{"not a level", "ci", `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"contents":"all"}}`, 400, "the level"},
		{"an identity that makes no id", "../x", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, 403, "this identity does not give a valid workspace ID"},
		{"a malformed request", "ci", `{"host":"github.com"}`, 400, `repo\" must be owner/name`},
		{"a large request", "ci", strings.Repeat(" ", 5000), 413, "over 4096 bytes"},
		{"a repository that GitHub does not have", "ci", `{"host":"github.com","repo":"octo/nothing","operation":"read"}`, 403, "octo/nothing"},
	} {
		got := b.ask(c.caller, "/v1/token", "application/json", c.body)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, got.Code, got.Body, c.status, c.want)
		}
		if kind := got.Header().Get("Content-Type"); c.status != 204 && kind != "application/problem+json" {
			t.Errorf("%s: Content-Type %q, want a problem document", c.name, kind)
		}
	}
	if live := b.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
}

// A token that cannot be recorded is not given, and is revoked.
func TestAuditFailsClosed(t *testing.T) {
	for _, kind := range []string{"intent", "minted", "request"} {
		b := newBench(t)
		b.journal.err, b.journal.only = errors.New("no space"), kind
		got := b.token("ci", "acme/widgets", "read")
		if got.Code != 503 || strings.Contains(got.Body.String(), "ghs_") || got.Header().Get("Retry-After") == "" {
			t.Errorf("without a line for %s: %d %s, want 503", kind, got.Code, got.Body)
		}
		if live := len(b.Tokens()); kind != "request" && live != 0 {
			t.Errorf("without a line for %s %d tokens are alive, want none", kind, live)
		}
	}
}

func TestManyOfOneScopeMintOnce(t *testing.T) {
	b := newBench(t)
	b.start(Config{Limits: func() Limits { return Limits{} }}) // which limit nothing
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got := b.token("ci", "acme/widgets", "read"); got.Code != 200 {
				t.Errorf("answer = %d %s", got.Code, got.Body)
			}
		})
	}
	wg.Wait()
	if n := b.mints(); n != 1 {
		t.Errorf("GitHub was asked %d times, want once", n)
	}
}

// Every given token can be revoked by anyone with access to the store.
func TestWhatIsGivenIsKept(t *testing.T) {
	b := newBench(t)
	b.token("ci", "acme/widgets", "write")
	i := &workspace.Issuer{App: b.app, Store: b.store, Now: b.Now}
	if _, err := i.Destroy(t.Context(), "ci-7"); err != nil {
		t.Fatal(err)
	}
	if live := b.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive after the workspace was destroyed, want none", len(live))
	}
}

func TestGitsOwnFormat(t *testing.T) {
	b := newBench(t)
	got := b.ask("ci", CredentialsPath, "text/plain", "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n")
	if got.Code != 200 || !strings.HasPrefix(got.Body.String(), "username=x-access-token\npassword=ghs_") || strings.Count(got.Body.String(), "\n") != 3 {
		t.Errorf("answer = %d %s, want git's format", got.Code, got.Body)
	}
	for body, want := range map[string]int{
		"protocol=http\nhost=github.com\npath=acme/widgets.git\n\n":           204,
		"protocol=https\nhost=gitlab.com\npath=acme/widgets.git\n\n":          204,
		"protocol=https\nhost=github.com\n\n":                                 400,
		"nonsense":                                                            400,
		"protocol=https\nhost=github.com\npath=acme/payroll.git\n\n":          403,
		"protocol=https\nhost=github.com\npath=" + strings.Repeat("a", 20000): 413,
	} {
		if got := b.ask("ci", CredentialsPath, "text/plain", body); got.Code != want {
			t.Errorf("%.60q: %d %s, want %d", body, got.Code, got.Body, want)
		}
	}
}

func TestTheZeroPolicyRefuses(t *testing.T) {
	_, err := new(Policy).Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil))
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != 401 {
		t.Errorf("Resolve = %v, want 401", err)
	}
	if _, err := Authorize(Workspace{Policy: new(Policy)}, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "a", Name: "b"}, Operation: "read"}); err == nil {
		t.Error("the zero Policy serves a host")
	}
	if _, err := Authorize(Workspace{Policy: &Policy{Hosts: []string{"github.com"}}}, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "a", Name: "b"}, Operation: "read"}); err == nil {
		t.Error("a workspace without a profile is given something")
	}
}

func TestNewPanicsWithoutWhatIsPartOfTheSafety(t *testing.T) {
	whole := Config{Policy: func() *Policy { return new(Policy) }, Journal: new(paper), Store: new(storetest.Memory), GitHub: new(mint.App)}
	New(whole)
	for name, c := range map[string]Config{
		"Policy":  {Journal: whole.Journal, Store: whole.Store, GitHub: whole.GitHub},
		"Journal": {Policy: whole.Policy, Store: whole.Store, GitHub: whole.GitHub},
		"Store":   {Policy: whole.Policy, Journal: whole.Journal, GitHub: whole.GitHub},
		"GitHub":  {Policy: whole.Policy, Journal: whole.Journal, Store: whole.Store},
	} {
		func() {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, "Config."+name+" is nil") {
					t.Errorf("without %s New panics with %q, want the field named", name, said)
				}
			}()
			New(c)
		}()
	}
}

// full is a store whose writes fail.
type full struct{ store.Store }

func (full) Put(context.Context, store.Name, store.Secret, store.Mode) error {
	return errors.New("no space")
}

// Each case asks for a token that is cached, and a decorator refuses it: the order of
// the chain prevents the cache from answering, keeps the audit log complete, and GitHub
// is not asked.
func TestNothingGoesPastTheChain(t *testing.T) {
	blocked := func(b *bench, target blocklist.Target) {
		if err := b.blocks.Add(b.t.Context(), target); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(*bench) // called between the request that fills the cache and the refused one
		caller  string       // of the refused request; x and y share their profile's tokens
		status  int
		reason  string // in the audit log; "" if it cannot be written
	}{
		{"the policy is narrowed", func(b *bench) { b.policy = b.narrower() }, "x", http.StatusForbidden, ReasonRepository},
		{"the host is not served any more", func(b *bench) { b.policy = &Policy{Hash: "h2", Rules: b.policy.Rules} }, "x", http.StatusNoContent, ReasonHost},
		{"the workspace is blocked", func(b *bench) { blocked(b, blocklist.Target{Workspace: "x"}) }, "x", http.StatusForbidden, ReasonBlocked},
		{"the account is blocked", func(b *bench) { blocked(b, blocklist.Target{Owner: "acme"}) }, "y", http.StatusForbidden, ReasonBlocked},
		{"the App is blocked", func(b *bench) { blocked(b, blocklist.Target{App: true}) }, "x", http.StatusForbidden, ReasonBlocked},
		{"the list of what is blocked cannot be read", func(b *bench) {
			b.blocks.Store = full{new(storetest.Memory)} // without an App: its volume is lost
			b.Advance(2 * time.Second)
		}, "x", http.StatusServiceUnavailable, ReasonStore},
		{"the workspace asks too often", nil, "x", http.StatusTooManyRequests, ReasonLimit},
		{"what the workspace is given cannot be kept", func(b *bench) { b.keeper.Store = full{b.store} }, "y", http.StatusServiceUnavailable, ReasonStore},
		{"the answer cannot be written down", func(b *bench) { b.journal.err = errors.New("no space") }, "x", http.StatusServiceUnavailable, ""},
	} {
		b := newBench(t)
		b.start(Config{Limits: func() Limits { return Limits{Rate: 1e-6, Burst: 2} }})
		blocked(b, blocklist.Target{Workspace: "another"}) // so that the list is not empty
		for range 2 {
			if got := b.token("x", "acme/widgets", "read"); got.Code != http.StatusOK {
				t.Fatalf("%s: warming answers %d %s", c.name, got.Code, got.Body)
			}
			if c.prepare != nil {
				break
			}
		}
		if c.prepare != nil {
			c.prepare(b)
		}
		lines := len(b.journal.entries)
		got := b.token(c.caller, "acme/widgets", "read")
		if got.Code != c.status || strings.Contains(got.Body.String(), "ghs_") {
			t.Errorf("%s: %d %s, want %d", c.name, got.Code, got.Body, c.status)
		}
		if n := b.mints(); n != 1 {
			t.Errorf("%s: GitHub was asked for %d tokens, want the one that warmed the cache", c.name, n)
		}
		var reasons []string
		for _, e := range b.journal.entries[lines:] {
			reasons = append(reasons, e.Kind+" "+e.Decision+" "+e.Reason)
		}
		if want := KindRequest + " " + Refused + " " + c.reason; c.reason != "" && !slices.Equal(reasons, []string{want}) {
			t.Errorf("%s: the audit log has %q, want %q", c.name, reasons, want)
		}
	}
}

// narrower returns the policy without what the rule "any" gave.
func (b *bench) narrower() *Policy {
	rules := slices.Clone(b.policy.Rules)
	rules[1].Profile = b.profile("[octo/widgets]", "[clone]")
	return &Policy{Hash: "h2", Hosts: b.policy.Hosts, Rules: rules}
}

// A request refused by the profile counts against the workspace's limit: so it can
// neither fill the audit log nor try names.
func TestTheLimitComesBeforeThePolicy(t *testing.T) {
	b := newBench(t)
	b.start(Config{Limits: func() Limits { return Limits{Rate: 1e-6, Burst: 1} }})
	if got := b.token("x", "acme/payroll", "read"); got.Code != http.StatusForbidden {
		t.Errorf("the first request = %d %s, want 403", got.Code, got.Body)
	}
	if got := b.token("x", "acme/payroll", "read"); got.Code != http.StatusTooManyRequests {
		t.Errorf("the second request = %d %s, want 429", got.Code, got.Body)
	}
}

// A workspace that is blocked during a mint gets nothing, and the store has the token
// for its revocation.
func TestABlockDuringAMint(t *testing.T) {
	b := newBench(t)
	b.start(Config{WrapMint: func(next MintFunc) MintFunc {
		return func(ctx context.Context, s Scope) (mint.Minted, error) {
			m, err := next(ctx, s)
			return m, errors.Join(err, b.blocks.Block(ctx, "x"))
		}
	}})
	if got := b.token("x", "acme/widgets", "read"); got.Code != http.StatusForbidden || strings.Contains(got.Body.String(), "ghs_") {
		t.Errorf("the request = %d %s, want 403", got.Code, got.Body)
	}
	if n := b.vended("x"); n != 1 || b.mints() != 1 {
		t.Errorf("%d tokens are minted and %d in the store, want one", b.mints(), n)
	}
}

// vended counts the workspace's entries in the vend log.
func (b *bench) vended(workspace string) (n int) {
	b.t.Helper()
	below, err := store.Workspace(workspace)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, err := range b.store.List(b.t.Context(), below) {
		if err != nil {
			b.t.Fatal(err)
		}
		n++
	}
	return n
}

// A token that can neither be recorded nor revoked at once is revoked later.
func TestATokenThatCannotBeRevokedAtOnce(t *testing.T) {
	b := newBench(t)
	revoked := 0
	made := b.start(Config{RevokedUnused: func(credential.Token) { revoked++ }})
	b.journal.err, b.journal.only = errors.New("no space"), KindMinted
	revoke := made.UnusedRevoker.Revoke
	made.UnusedRevoker.Revoke = func(context.Context, credential.Token) error { return errors.New("GitHub is away") }
	if got := b.token("x", "acme/widgets", "read"); got.Code != http.StatusServiceUnavailable || len(b.Tokens()) != 1 {
		t.Errorf("the request = %d %s with %d tokens alive, want 503 with one", got.Code, got.Body, len(b.Tokens()))
	}
	made.UnusedRevoker.Revoke = revoke
	if err := made.UnusedRevoker.Retry(t.Context()); err != nil || len(b.Tokens()) != 0 || revoked != 1 {
		t.Errorf("Retry = %v with %d alive and %d told, want the token revoked", err, len(b.Tokens()), revoked)
	}
}

// The budget is checked before GitHub is asked.
func TestTheBudgetComesBeforeTheMint(t *testing.T) {
	b := newBench(t)
	rate := mint.Rate{Limit: 5000, Remaining: 1, Reset: b.Now().Add(time.Minute)}
	b.start(Config{}).Budget.Rate = func() (mint.Rate, bool) { return rate, true }
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		if got := b.token("ci", []string{"acme/widgets", "octo/widgets"}[i], "read"); got.Code != want {
			t.Errorf("request %d = %d %s, want %d", i, got.Code, got.Body, want)
		}
	}
	if n := b.mints(); n != 1 {
		t.Errorf("GitHub was asked for %d tokens, want one", n)
	}
}

// Only New composes the chain: this package calls each of its parts once, there, and no
// other package makes a Broker.
func TestTheChainIsComposedInOnePlace(t *testing.T) {
	calls := map[string][]string{}
	chain := []string{"audited", "limited", "authorized", "recorded", "newShared", "journaled", "published", "minted"}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		inBroker := filepath.Dir(path) == "../broker"
		for _, declared := range file.Decls {
			in := path
			if f, ok := declared.(*ast.FuncDecl); ok {
				in += " " + f.Name.Name
			}
			ast.Inspect(declared, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if name, ok := n.Fun.(*ast.Ident); ok && inBroker && slices.Contains(chain, name.Name) {
						calls[name.Name] = append(calls[name.Name], in)
					}
				case *ast.AssignStmt:
					for _, to := range n.Lhs {
						if field, ok := to.(*ast.SelectorExpr); ok && field.Sel.Name == "Vend" {
							calls["Vend ="] = append(calls["Vend ="], in)
						}
					}
				case *ast.CompositeLit:
					if isBroker(n.Type, inBroker) {
						calls["Broker{}"] = append(calls["Broker{}"], in)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range append(chain, "Vend =", "Broker{}") {
		if want := []string{"../broker/broker.go New"}; !slices.Equal(calls[part], want) {
			t.Errorf("%s is in %q, want it in %q alone", part, calls[part], want)
		}
	}
}

// isBroker reports whether a type is written as Broker.
func isBroker(typ ast.Expr, inBroker bool) bool {
	switch typ := typ.(type) {
	case *ast.Ident:
		return inBroker && typ.Name == "Broker"
	case *ast.SelectorExpr:
		of, ok := typ.X.(*ast.Ident)
		return ok && of.Name == "broker" && typ.Sel.Name == "Broker"
	}
	return false
}
