package revoke

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// tell delivers an event as GitHub does.
func (b *bench) tell(id, event, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", WebhookPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", id)
	r.Header.Set("X-Hub-Signature-256", sign(webhookSecret, body))
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return w
}

func TestOnlyWhatGitHubSigned(t *testing.T) {
	b := newBench(t)
	body := `{"action":"deleted","installation":{"account":{"login":"acme"}}}`
	kept := b.MustToken("ci", "acme/widgets", "read")
	for _, c := range []struct {
		name      string
		signature []string
	}{
		{"no signature", nil},
		{"an empty one", []string{""}},
		{"one of another secret", []string{sign("another-secret-0123456789", body)}},
		{"one of another body", []string{sign(webhookSecret, body+" ")}},
		{"one of SHA-1's length", []string{"sha256=" + strings.Repeat("0", 40)}},
		{"one without its name", []string{strings.TrimPrefix(sign(webhookSecret, body), "sha256=")}},
		{"two", []string{sign(webhookSecret, body), sign(webhookSecret, body)}},
	} {
		r := httptest.NewRequest("POST", WebhookPath, strings.NewReader(body))
		r.Header["X-Hub-Signature-256"] = c.signature
		r.Header.Set("X-GitHub-Event", "installation")
		r.Header.Set("X-GitHub-Delivery", "1")
		w := httptest.NewRecorder()
		b.Handler().ServeHTTP(w, r)
		wantCode(t, c.name, w, 401)
	}
	if !slices.Equal(b.alive(), []string{fakegithub.Hash(kept)}) || len(b.Journal.Of(broker.KindGitHub)) != 0 {
		t.Errorf("alive is %q, want the token", b.alive())
	}
	b.revoker.Secret = func() (string, error) { return "", ErrNoWebhooks }
	wantCode(t, "where none are configured", b.tell("2", "installation", body), 404)
	for secret, err := range map[string]error{"": nil, "short": nil, webhookSecret: errors.New("gone")} {
		b.revoker.Secret = func() (string, error) { return secret, err }
		wantCode(t, "with secret "+secret, b.tell("2", "installation", body), 503)
	}
}

// What each event does to ci's token for acme/widgets; one for octo/widgets stays.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name, event, body string
		isRevoked         bool // the token is revoked, and the next request gets another
		isDropped         bool // the next request gets another
	}{
		{"uninstalled", "installation", `{"action":"deleted","installation":{"account":{"login":"Acme"}}}`, true, true},
		{"uninstalled, of this App", "installation", `{"action":"deleted","installation":{"app_id":APP,"client_id":"CLIENT","account":{"login":"acme"}}}`, true, true},
		{"uninstalled, of another App", "installation", `{"action":"deleted","installation":{"app_id":999,"client_id":"Iv23liOther","account":{"login":"acme"}}}`, false, false},
		{"uninstalled, of an App that is not known", "installation", `{"action":"deleted","installation":{"app_id":999,"account":{"login":"acme"}}}`, true, true},
		{"taken from another App", "installation_repositories", `{"action":"removed","installation":{"app_id":999,"client_id":"Iv23liOther"},"repositories_removed":[{"full_name":"acme/widgets"}]}`, false, false},
		{"suspended", "installation", `{"action":"suspend","installation":{"account":{"login":"acme"}}}`, true, true},
		{"installed", "installation", `{"action":"created","installation":{"account":{"login":"acme"}}}`, false, false},
		{"unsuspended", "installation", `{"action":"unsuspend","installation":{"account":{"login":"acme"}}}`, false, false},
		{"permissions accepted", "installation", `{"action":"new_permissions_accepted","installation":{"account":{"login":"acme"}}}`, false, false},
		{"another account's", "installation", `{"action":"deleted","installation":{"account":{"login":"acme2"}}}`, false, false},
		{"another action", "installation", `{"action":"danced","installation":{"account":{"login":"acme"}}}`, false, false},
		{"taken from the installation", "installation_repositories", `{"action":"removed","repositories_removed":[{"full_name":"acme/other"},{"full_name":"Acme/Widgets"}]}`, true, true},
		{"added to it", "installation_repositories", `{"action":"added","repositories_added":[{"full_name":"acme/widgets"}]}`, false, true},
		{"another taken", "installation_repositories", `{"action":"removed","repositories_removed":[{"full_name":"acme/other"}]}`, false, false},
		{"renamed", "repository", `{"action":"renamed","repository":{"full_name":"acme/new"},"changes":{"repository":{"name":{"from":"widgets"}}}}`, true, true},
		{"transferred away", "repository", `{"action":"transferred","repository":{"full_name":"other/widgets"},"changes":{"owner":{"from":{"organization":{"login":"acme"}}}}}`, true, true},
		{"deleted", "repository", `{"action":"deleted","repository":{"full_name":"acme/widgets"}}`, true, true},
		{"made private", "repository", `{"action":"privatized","repository":{"full_name":"acme/widgets"}}`, false, true},
		{"starred", "repository", `{"action":"edited","repository":{"full_name":"acme/widgets"}}`, false, false},
		{"the account renamed", "installation_target", `{"action":"renamed","account":{"login":"newacme"},"changes":{"login":{"from":"acme"}}}`, true, true},
		{"an event of no interest", "push", `{"ref":"refs/heads/main"}`, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			body := strings.NewReplacer("APP", strconv.FormatInt(b.AppID, 10), "CLIENT", b.ClientID).Replace(c.body)
			token := b.MustToken("ci", "acme/widgets", "read")
			other := b.MustToken("ci", "octo/widgets", "read")
			wantCode(t, "the delivery", b.tell("1", c.event, body), 204)
			isAlive := slices.Contains(b.alive(), fakegithub.Hash(token))
			if isAlive == c.isRevoked || !slices.Contains(b.alive(), fakegithub.Hash(other)) {
				t.Errorf("the token is alive: %v, want %v, and octo's to stay", isAlive, !c.isRevoked)
			}
			if revoked := b.Journal.Of(broker.KindRevoked); len(revoked) == 1 != c.isRevoked {
				t.Errorf("the journal has %+v, want a revocation: %v", revoked, c.isRevoked)
			}
			if now := b.MustToken("ci", "acme/widgets", "read"); (now != token) != c.isDropped {
				t.Errorf("the next request gets another token: %v, want %v", now != token, c.isDropped)
			}
			if again := b.MustToken("ci", "octo/widgets", "read"); again != other {
				t.Error("octo's token is another now")
			}
		})
	}
}

// A refusal by GitHub is dropped as soon as GitHub reports a change.
func TestANewInstallationIsAskedAtOnce(t *testing.T) {
	b := newBench(t)
	if err := b.Suspend(b.Installations["acme"], true); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "while it is suspended", b.Token("ci", "acme/widgets", "read"), 403)
	if err := b.Suspend(b.Installations["acme"], false); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "from memory", b.Token("ci", "acme/widgets", "read"), 403)
	b.tell("1", "installation", `{"action":"unsuspend","installation":{"account":{"login":"acme"}}}`)
	wantCode(t, "after the event", b.Token("ci", "acme/widgets", "read"), 200)
}

// Another replica learns from the store what was revoked.
func TestAnEventReachesOtherReplicas(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	token := two.MustToken("ci", "acme/widgets", "read")
	one.tell("1", "repository", `{"action":"renamed","repository":{"full_name":"acme/new"},"changes":{"repository":{"name":{"from":"widgets"}}}}`)
	two.Advance(time.Second)
	if now := two.MustToken("ci", "acme/widgets", "read"); now == token {
		t.Error("the other replica gives the dead token")
	}
}

const (
	removed = `{"action":"removed","repositories_removed":[{"full_name":"acme/widgets"}]}`
	repos   = "installation_repositories"
)

// Only the body is signed. So an attacker who saw one can send it again with another
// id, under another event name, and many times at once. It counts once.
func TestADeliveryCountsOnce(t *testing.T) {
	g := brokertest.NewGitHub(t)
	b := newReplica(g)
	wantCode(t, "the delivery", b.tell("1", repos, removed), 204)
	wantCode(t, "the same again", b.tell("1", repos, removed), 409)
	wantCode(t, "with another id", b.tell("2", repos, removed), 409)
	wantCode(t, "at another replica, after a restart", newReplica(g).tell("3", repos, removed), 409)
	for _, event := range []string{"installation", "installation_target", "repository", "ping"} {
		wantCode(t, "as "+event, b.tell("4", event, removed), 400)
	}
	wantCode(t, "as an event of no interest", b.tell("5", "push", removed), 204)
	wantCode(t, "another body", b.tell("1", repos, removed+" "), 204)
	wantCode(t, "one without an id", b.tell("", repos, removed), 400)
	if got := len(b.Journal.Of(broker.KindGitHub)); got != 2 {
		t.Errorf("%d events were acted on, want 2", got)
	}
}

func TestADeliveryCountsOnceOfManyAtATime(t *testing.T) {
	g := brokertest.NewGitHub(t)
	replicas := []*bench{newReplica(g), newReplica(g)}
	replicas[0].MustToken("ci", "acme/widgets", "read")
	replicas[0].Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Slow(80*time.Millisecond), 20)
	codes := make(chan int, 20)
	var all sync.WaitGroup
	for i := range cap(codes) {
		all.Go(func() { codes <- replicas[i%2].tell(strconv.Itoa(i), repos, removed).Code })
	}
	all.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	acted := len(replicas[0].Journal.Of(broker.KindGitHub)) + len(replicas[1].Journal.Of(broker.KindGitHub))
	if count[204] != 1 || count[409] != 19 || acted != 1 {
		t.Errorf("the answers are %v, and %d were acted on, want one", count, acted)
	}
}

// A broker that dies while it acts has not acted: its claim expires, and one of the
// repeated deliveries is acted on.
func TestADeliveryThatABrokerDiedOf(t *testing.T) {
	g := brokertest.NewGitHub(t)
	b := newReplica(g)
	claim := func() {
		t.Helper()
		if _, err := b.revoker.claim(t.Context(), sha256.Sum256([]byte(removed))); err != nil {
			t.Fatal(err)
		}
	}
	claim()
	wantCode(t, "while the other may live", b.tell("1", repos, removed), 409)
	b.Advance(claimLife)
	claim()
	wantCode(t, "while the second may live", b.tell("1", repos, removed), 409)
	b.Advance(claimLife)
	wantCode(t, "afterwards", b.tell("1", repos, removed), 204)
	wantCode(t, "and again", newReplica(g).tell("2", repos, removed), 409)
}

// Events about an issue, a label or a hook also have an action and the repository:
// under another event name they must not pass for an event about the repository.
func TestAnEventUnderAnothersName(t *testing.T) {
	b := newBench(t)
	token := b.MustToken("ci", "acme/widgets", "read")
	const of = `,"repository":{"full_name":"acme/widgets"},"installation":{"id":1},"sender":{"login":"x"}}`
	for body, want := range map[string]string{
		`{"action":"deleted","issue":{"id":1}` + of:                          `the key "issue"`,
		`{"action":"deleted","hook_id":1,"hook":{}` + of:                     `the key "hook"`,
		`{"action":"deleted","installation":{"account":{"login":"acme"}}}`:   `no repository`,
		`{"action":"renamed","repository_ruleset":{"id":1}` + of:             `the key "repository_ruleset"`,
		`{"action":"deleted","Repository":{"full_name":"acme/widgets"}}`:     `no repository`,
		`{"action":"removed","repositories_removed":[{"full_name":"a/b"}]}`:  `no repository`,
		`{"action":"deleted","issue":{},"repository":{"full_name":"acme/b"}`: `it is not the expected JSON`,
	} {
		got := b.tell("1", "repository", body)
		wantCode(t, body, got, 400)
		if !strings.Contains(strings.ReplaceAll(got.Body.String(), `\"`, `"`), want) {
			t.Errorf("%s: the answer is %s, want %q", body, got.Body, want)
		}
	}
	if !slices.Contains(b.alive(), fakegithub.Hash(token)) {
		t.Error("the token is dead")
	}
	wantCode(t, "the repository's own", b.tell("1", "repository", `{"action":"deleted","organization":{"login":"acme"},"enterprise":{}`+of), 204)
	if slices.Contains(b.alive(), fakegithub.Hash(token)) {
		t.Error("the token is alive")
	}
}

// A webhook with the form encoding, which GitHub proposes, gets a clear refusal when
// GitHub tries it.
func TestAFormIsRefusedByItsName(t *testing.T) {
	b := newBench(t)
	for _, event := range []string{"ping", "installation"} {
		body := "payload=" + url.QueryEscape(`{"zen":"x","action":"deleted","installation":{"account":{"login":"acme"}}}`)
		r := httptest.NewRequest("POST", WebhookPath, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-GitHub-Event", event)
		r.Header.Set("X-GitHub-Delivery", "1")
		r.Header.Set("X-Hub-Signature-256", sign(webhookSecret, body))
		w := httptest.NewRecorder()
		b.Handler().ServeHTTP(w, r)
		wantCode(t, event, w, 415)
		if got := w.Body.String(); !strings.Contains(got, "application/x-www-form-urlencoded") || !strings.Contains(got, "application/json") {
			t.Errorf("%s: the answer is %s, want what it is and what to set", event, got)
		}
	}
	wantCode(t, "a ping without its form", b.tell("1", "ping", `{"action":"deleted"}`), 400)
}

// GitHub repeats a delivery with the same id on request; if the first one failed, the
// repeated one counts.
func TestADeliveryThatFailedCountsAgain(t *testing.T) {
	b := newBench(t)
	token := b.MustToken("ci", "acme/widgets", "read")
	body := removed
	b.Journal.Fail(errors.New("no space"))
	wantCode(t, "while nothing can be written down", b.tell("1", "installation_repositories", body), 503)
	b.Journal.Fail(nil)
	cancel := b.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(404), 100)
	wantCode(t, "while the token cannot be revoked", b.tell("1", "installation_repositories", body), 503)
	cancel()
	wantCode(t, "the same again", b.tell("1", "installation_repositories", body), 204)
	if slices.Contains(b.alive(), fakegithub.Hash(token)) {
		t.Error("the token is alive")
	}
}

// Tokens that cannot be revoked because the installation is suspended give no access.
func TestASuspendedInstallationsTokensRunOut(t *testing.T) {
	b := newBench(t)
	b.MustToken("ci", "acme/widgets", "read")
	if err := b.Suspend(b.Installations["acme"], true); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the delivery", b.tell("1", "installation", `{"action":"suspend","installation":{"account":{"login":"acme"}}}`), 204)
	wantCode(t, "a request", b.Token("ci", "acme/widgets", "read"), 403)
}

func TestMalformedEvents(t *testing.T) {
	b := newBench(t)
	for event, body := range map[string]string{
		"installation":              `{"action":"deleted"}`,
		"installation_repositories": `{"action":"removed","repositories_removed":[{"full_name":"acme"}]}`,
		"installation_target":       `{"action":"renamed"}`,
		"repository":                `{"action":"renamed","repository":{"full_name":"acme/widgets"}}`,
	} {
		for _, text := range []string{body, "", "null x", "[]", `{"action":7}`} {
			wantCode(t, event+" "+text, b.tell("1", event, text), 400)
		}
	}
	// Otherwise the last of two equal keys would count.
	wantCode(t, "a key twice", b.tell("1", "installation", `{"action":"deleted","installation":{"account":{"login":"octo","login":"acme"}}}`), 400)
	wantCode(t, "a long one", b.tell("1", "push", strings.Repeat(" ", maxDelivery+1)), 413)
	wantCode(t, "a ping", b.tell("1", "ping", `{"zen":"x"}`), 200)
}

func FuzzParseEvent(f *testing.F) {
	for _, event := range []string{"installation", "installation_repositories", "installation_target", "repository", "push"} {
		f.Add(event, []byte(`{"action":"renamed","installation":{"account":{"login":"acme"}},"account":{"login":"a"},"repository":{"full_name":"acme/widgets"},"repositories_removed":[{"full_name":"acme/widgets"}],"changes":{"login":{"from":"b"},"repository":{"name":{"from":"old"}},"owner":{"from":{"user":{"login":"c"}}}}}`))
		f.Add(event, []byte(`{"action":"removed","repositories_removed":[{"full_name":"acme/.."}]}`))
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		c, err := ParseEvent(event, body)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has a line break: %q", err)
		}
		for _, name := range c.repositories {
			owner, repo, ok := strings.Cut(name, "/")
			if err == nil && (!ok || owner == "" || repo == "" || !c.concerns(owner, repo)) {
				t.Errorf("ParseEvent(%q, %q) touches %q", event, body, name)
			}
		}
	})
}
