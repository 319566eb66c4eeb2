package manifestflow

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"
)

var field = regexp.MustCompile(`<form method="post" action="([^"]*)">\s*<input type="hidden" name="manifest" value="([^"]*)">`)

func TestThePageAsksForExactlyTheManifest(t *testing.T) {
	s := open(t, aFlow(t))
	page := entered(t, s).get(s.URL()).body
	found := field.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no form with a manifest in\n%s", page)
	}
	if got, want := html.UnescapeString(found[1]), "https://ghe.example/organizations/acme/settings/apps/new?state="+s.state; got != want {
		t.Errorf("the form goes to %s, want %s", got, want)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(html.UnescapeString(found[2])), &m); err != nil {
		t.Fatal(err)
	}
	permissions, _ := m["default_permissions"].(map[string]any)
	if m["redirect_url"] != s.at(s.callbackPath()) || m["name"] != "Sandbox Pass" || m["public"] != false || len(permissions) != 2 || permissions["contents"] != "write" {
		t.Errorf("the manifest is %v, want the flow's with this page as redirect_url", m)
	}
	for _, want := range []string{
		"<strong>Sandbox Pass</strong>", "the organization acme", "at ghe.example", "<strong>private</strong>", "only acme can install it",
		"<code>ssm:///km</code>", `>Code</th><td role="cell">read and write</td><td role="cell">clone, fetch and push</td>`,
		`>Pull requests</th>`, `>Metadata</th><td role="cell">read</td>`, `<html lang="en">`, "This page waits until",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestThePageOfAPublicApp(t *testing.T) {
	f := aFlow(t)
	f.Org, f.Manifest.Public, f.Manifest.Name = "", true, ""
	s := open(t, f)
	page := entered(t, s).get(s.URL()).body
	for _, want := range []string{"<strong>public</strong>", "your account", "you choose it at GitHub", `action="https://ghe.example/settings/apps/new?state=`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestHostileNamesStayText(t *testing.T) {
	for _, name := range []string{`"><script>alert(1)</script>`, `'-alert(1)-'`, "{{.State}}", "a\u202eb", `</style><img src=x>`} {
		f := aFlow(t)
		f.Manifest.Name, f.KeyGoes = name, "file:///"+name
		s := open(t, f)
		page := entered(t, s).get(s.URL()).body
		if strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.Contains(page, "\u202eb</strong>") || strings.Count(page, "</style>") != 1 {
			t.Errorf("the name %q is more than text in\n%s", name, page)
		}
		var m map[string]any
		found := field.FindStringSubmatch(page)
		if found == nil || json.Unmarshal([]byte(html.UnescapeString(found[2])), &m) != nil || m["name"] != name {
			t.Errorf("GitHub would be asked for %v, want the name %q", m["name"], name)
		}
	}
}

func TestNothingButThePageMayRun(t *testing.T) {
	s := open(t, aFlow(t))
	got := entered(t, s).get(s.URL())
	_, rest, _ := strings.Cut(got.body, "<style>")
	style, _, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	want := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self' https://ghe.example"
	if policy := got.header.Get("Content-Security-Policy"); !found || policy != want {
		t.Errorf("Content-Security-Policy = %s, want %s", policy, want)
	}
	for key, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin", "Content-Type": "text/html; charset=utf-8",
	} {
		if v := got.header.Get(key); v != want {
			t.Errorf("%s = %q, want %q", key, v, want)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name         string
		outcome      Outcome
		want, absent []string
	}{
		{
			"all went well",
			Outcome{App: "Sandbox <Pass>", KeptIn: "ssm:///km", Install: "https://ghe.example/github-apps/x/installations/new", Command: "gatepass app discover"},
			[]string{
				"<h1>Sandbox &lt;Pass&gt; is ready</h1>", "stored in ssm:///km", `href="https://ghe.example/github-apps/x/installations/new"`,
				"<code>gatepass app discover</code>",
			},
			[]string{`class="bad"`},
		},
		{
			"not stored",
			Outcome{App: "Sandbox Pass", Problem: "write ssm:///km: denied; the key is in /home/me/x.pem", Command: "gatepass app add"},
			[]string{`<main class="bad">`, "Sandbox Pass is made, but not set up", "the key is in /home/me/x.pem", "<code>gatepass app add</code>"},
			[]string{"is ready", "stored in"},
		},
		{"not confirmed", Outcome{App: "Sandbox Pass", KeptIn: "ssm:///km", Problem: "GitHub answered 401"}, []string{`class="bad"`, "Sandbox Pass is set up, but GitHub has not confirmed"}, []string{"is ready"}},
		{"no key", Outcome{Problem: "GitHub answered 502"}, []string{"The App is not set up", "502"}, []string{"is ready", "<pre"}},
		{"a link that is a script", Outcome{App: "x", Install: "javascript:alert(1)"}, []string{"is ready"}, []string{"javascript:"}},
	} {
		s := open(t, aFlow(t))
		s.linger = time.Hour
		b := entered(t, s)
		done := make(chan struct{})
		go func() { s.Finish(c.outcome); close(done) }()
		page := b.get(s.at(s.resultPath())).body
		for _, want := range c.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the result lacks %q:\n%s", c.name, want, page)
			}
		}
		for _, absent := range c.absent {
			if strings.Contains(page, absent) {
				t.Errorf("%s: the result has %q:\n%s", c.name, absent, page)
			}
		}
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Errorf("%s: Finish still waits, want it to return once the result was seen", c.name)
		}
	}
}

// The page waits for a slow key without any script.
func TestTheBrowserIsToldToAskAgain(t *testing.T) {
	s := open(t, aFlow(t))
	s.hold, s.linger = time.Millisecond, time.Minute
	b := entered(t, s)
	if page := b.get(s.at(s.resultPath())).body; !strings.Contains(page, `<meta http-equiv="refresh" content="1">`) || !strings.Contains(page, "Fetching the key") {
		t.Errorf("the result that is not there yet is\n%s\nwant a page that comes back", page)
	}
	go s.Finish(Outcome{App: "Sandbox Pass"})
	page := ""
	for deadline := time.Now().Add(time.Minute); !strings.Contains(page, "is ready") && time.Now().Before(deadline); {
		page = b.get(s.at(s.resultPath())).body
	}
	if strings.Contains(page, "refresh") || !strings.Contains(page, "is ready") {
		t.Errorf("the result is\n%s\nwant success, once and for all", page)
	}
}
