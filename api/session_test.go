package api

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDecodeSessionRequest(t *testing.T) {
	widgets := Repo{Owner: "acme", Name: "widgets"}
	for _, c := range []struct {
		in   string
		repo Repo
		want string // part of the error
	}{
		{`{}`, Repo{}, ""},
		{` {} `, Repo{}, ""},
		{`{"repo":"acme/widgets"}`, widgets, ""},
		{`{"repo":"ACME/Widgets"}`, widgets, ""},
		// None of these may be taken for a session for all repositories.
		{`{"repo":""}`, Repo{}, `"repo" must be owner/name`},
		{`{"repo":"*"}`, Repo{}, `"repo" must be owner/name`},
		{`{"repo":"acme/*"}`, Repo{}, `"repo" must be owner/name`},
		{`{"repo":"acme/.."}`, Repo{}, `"repo" must be owner/name`},
		{`{"repo":null}`, Repo{}, "is not a string"},
		{`{"repo":["acme/widgets"]}`, Repo{}, "is not a string"},
		{`{"repo":"acme/widgets","repo":"acme/gears"}`, Repo{}, "given twice"},
		{`{"Repo":"acme/widgets"}`, Repo{}, "unknown key"},
		{`{"repos":"acme/widgets"}`, Repo{}, "unknown key"},
		{`{"repo":"acme/widgets"}{}`, Repo{}, "text after its JSON"},
		{`{"repo":"acme/widgets"`, Repo{}, "not the JSON object"},
		{`[]`, Repo{}, "not the JSON object"},
		{`null`, Repo{}, "not the JSON object"},
		{``, Repo{}, "not the JSON object"},
		{"{\"repo\":\"\xff\"}", Repo{}, "not UTF-8"},
		{`{"repo":"` + strings.Repeat("a", MaxRequest) + `"}`, Repo{}, "over 4096"},
	} {
		got, err := DecodeSessionRequest([]byte(c.in))
		if got.Repo != c.repo || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("DecodeSessionRequest(%.60s) = %v, %v, want %v, %q", c.in, got, err, c.repo, c.want)
		}
	}
	for repo, want := range map[Repo]string{{}: `{}`, widgets: `{"repo":"acme/widgets"}`} {
		if data, err := EncodeSessionRequest(SessionRequest{repo}); err != nil || string(data) != want {
			t.Errorf("EncodeSessionRequest(%v) = %s, %v, want %s", repo, data, err, want)
		}
	}
}

func gatewaySession() GatewaySession {
	return GatewaySession{NewSecret("gpg_x"), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "sb-1", []string{"agent/**", "refs/tags/v*"}, Author{"bot", "1+bot@example.com"}}
}

func TestGatewaySessionRoundTrip(t *testing.T) {
	w := httptest.NewRecorder()
	if err := WriteGatewaySession(w, gatewaySession()); err != nil {
		t.Fatal(err)
	}
	want := `{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","workspace":"sb-1","refs":["agent/**","refs/tags/v*"],"author":{"name":"bot","email":"1+bot@example.com"}}`
	if got := strings.TrimSpace(w.Body.String()); got != want || w.Header().Get("Cache-Control") != "no-store" || !IsJSON(w.Header().Get("Content-Type")) {
		t.Errorf("WriteGatewaySession wrote %s, %v, want %s", got, w.Header(), want)
	}
	got, err := DecodeGatewaySession([]byte(want[:len(want)-1] + `,"later":{"x":1}}`))
	if err != nil || !reflect.DeepEqual(got, gatewaySession()) {
		t.Errorf("DecodeGatewaySession = %+v, %v, want what was written", got, err)
	}
	asJSON, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", got, got, got, asJSON); strings.Contains(text, "gpg_x") {
		t.Errorf("the session is in %s", text)
	}
}

// A workspace that may push nothing gets an empty list: null would mean that the broker
// does not say.
func TestGatewaySessionSaysThatNothingMayBePushed(t *testing.T) {
	data, err := EncodeGatewaySession(GatewaySession{Session: NewSecret("gpg_x"), ExpiresAt: time.Unix(1, 0)})
	if got, decodeErr := DecodeGatewaySession(data); err != nil || decodeErr != nil || got.Refs == nil || len(got.Refs) != 0 {
		t.Errorf("the refs of %s are %#v, %v, %v, want an empty list", data, got.Refs, err, decodeErr)
	}
}

// An older broker names no author, and an older client ignores it.
func TestGatewaySessionWithoutAnAuthor(t *testing.T) {
	got, err := DecodeGatewaySession([]byte(`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","workspace":"sb-1","refs":[]}`))
	if err != nil || got.Author.String() != "" {
		t.Errorf("DecodeGatewaySession = author %q, %v, want none", got.Author, err)
	}
	if got := (Author{"bot", "1+bot@example.com"}).String(); got != "bot <1+bot@example.com>" {
		t.Errorf("String = %q, want what git writes", got)
	}
}

// However many refs a profile has, the workspace can read the answer.
func TestGatewaySessionFits(t *testing.T) {
	a := gatewaySession()
	for len(a.Refs) < 5000 {
		a.Refs = append(a.Refs, strings.Repeat("<", 100))
	}
	data, err := EncodeGatewaySession(a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeGatewaySession(data)
	if err != nil || len(got.Refs) < 10 || got.Session.Reveal() != "gpg_x" {
		t.Errorf("DecodeGatewaySession of %d bytes = %d refs, %v, want as many as fit", len(data), len(got.Refs), err)
	}
}

func TestDecodeGatewaySessionRefuses(t *testing.T) {
	for _, bad := range []string{
		"", "null", "[]", "<html>", `{"session":"gpg_x"}`, `{"expires_at":"2026-01-02T03:04:05Z"}`,
		`{"session":"gpg_x","expires_at":"soon"}`, `{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z"}{}`,
		`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","refs":"agent/**"}`,
		`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","refs":["agent/\u001b[31m"]}`,
		`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","workspace":"a\nb"}`,
		`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","author":"bot <1+bot@example.com>"}`,
		`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","author":{"name":"a","email":"b\nc@example.com"}}`,
		`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","workspace":"` + strings.Repeat("a", MaxAnswer) + `"}`,
	} {
		got, err := DecodeGatewaySession([]byte(bad))
		if err == nil || got.Session.Reveal() != "" || strings.Contains(err.Error(), "gpg_") {
			t.Errorf("DecodeGatewaySession(%.80s) = %v, want an error without the session", bad, err)
		}
	}
}

func FuzzDecodeSessionRequest(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"repo":"acme/widgets"}`))
	f.Add([]byte(`{"repo":"*"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeSessionRequest(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
				t.Errorf("the error %q is more than a line", err)
			}
			return
		}
		if asksForOne := strings.Contains(string(data), ":"); asksForOne != r.Repo.IsValid() {
			t.Errorf("DecodeSessionRequest(%q) = %v", data, r)
		}
		again, err := EncodeSessionRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeSessionRequest(again); err != nil || got != r {
			t.Errorf("DecodeSessionRequest(%s) = %v, %v, want %v", again, got, err, r)
		}
	})
}

func FuzzDecodeGatewaySession(f *testing.F) {
	f.Add([]byte(`{"session":"gpg_x","expires_at":"2026-01-02T03:04:05Z","workspace":"sb-1","refs":["agent/**"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeGatewaySession(data)
		if err != nil {
			return
		}
		if a.Session.Reveal() == "" || a.ExpiresAt.IsZero() {
			t.Errorf("DecodeGatewaySession(%q) = %+v", data, a)
		}
		for _, text := range append(a.Refs, a.Workspace, a.Author.Name, a.Author.Email) {
			if strings.ContainsAny(text, "\n\r\x1b\x00") {
				t.Errorf("DecodeGatewaySession(%q) took %q", data, text)
			}
		}
	})
}
