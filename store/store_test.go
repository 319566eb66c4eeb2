package store

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The names are a contract with what reads them.
func TestLayout(t *testing.T) {
	must := func(n Name, err error) Name {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for want, got := range map[string]Name{
		"config/github/app-client-id":                   AppClientID(),
		"config/github/private-key":                     PrivateKey(),
		"config/github/signer":                          Signer(),
		"config/github/probe":                           Probe(),
		"config/github/installation-id":                 LegacyInstallation(),
		"config/github/github-url":                      GitHubURL(),
		"broker/spent/" + strings.Repeat("00", 32):      UsedProof([32]byte{}),
		"broker/deliveries/" + strings.Repeat("00", 32): Delivery([32]byte{}),
		"config/github/installations/my-org":            must(Installation("My-Org")),
		"sandbox/sb-1/github-tokens/acme_corp":          must(Token("sb-1", "ACME_corp")),
		"sandbox/sb-1/github-token":                     must(OnlyToken("sb-1")),
		"sandbox/sb-1/workspace":                        must(Record("sb-1")),
		"broker/session-key/20513":                      SessionKey(20513),
		"broker/join/" + strings.Repeat("00", 32):       JoinToken([32]byte{}),
		"broker/redeemed/" + strings.Repeat("00", 32):   Redeemed([32]byte{}),
	} {
		if got.String() != want {
			t.Errorf("name = %s, want %s", got, want)
		}
	}
}

func TestNamesOfTheBroker(t *testing.T) {
	for _, hash := range [][32]byte{{}, {1, 2, 3}} {
		if got, ok := JoinToken(hash).JoinToken(); !ok || got != hash || !JoinTokens().Has(JoinToken(hash)) {
			t.Errorf("JoinToken(%x).JoinToken() = %x, %v", hash, got, ok)
		}
		if _, ok := Redeemed(hash).JoinToken(); ok {
			t.Error("what says that a token was used is a token")
		}
	}
	if day, ok := SessionKey(7).SessionKeyDay(); !ok || day != 7 || !SessionKeys().Has(SessionKey(7)) {
		t.Errorf("SessionKey(7).SessionKeyDay() = %d, %v", day, ok)
	}
	if n, err := Quarantine("K3"); err != nil || !Quarantines().Has(n) {
		t.Errorf("Quarantine(K3) = %s, %v, want a name of Quarantines", n, err)
	}
	if n, err := Quarantine("../x"); err == nil {
		t.Errorf("Quarantine(../x) = %s, want an error", n)
	}
	for _, other := range []Name{AppClientID(), {joinFolder + "/00"}, {sessionKeysFolder + "/x"}, {joinFolder}} {
		_, isJoin := other.JoinToken()
		_, isKey := other.SessionKeyDay()
		if isJoin || isKey {
			t.Errorf("%s is a join token or a key", other)
		}
	}
}

func TestNamesCannotClimb(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-x", "a b", "a\n", "a\x00", "ä", "%2e%2e", strings.Repeat("x", 129)} {
		if n, err := Record(bad); err == nil {
			t.Errorf("Record(%q) = %s, want an error", bad, n)
		}
		if n, err := Installation(bad); err == nil {
			t.Errorf("Installation(%q) = %s, want an error", bad, n)
		}
		if n, err := Token("sb-1", bad); err == nil {
			t.Errorf("Token(sb-1, %q) = %s, want an error", bad, n)
		}
		if n, err := Token(bad, "acme"); err == nil {
			t.Errorf("Token(%q, acme) = %s, want an error", bad, n)
		}
		if p, err := Workspace(bad); err == nil {
			t.Errorf("Workspace(%q) = %s, want an error", bad, p)
		}
	}
}

func TestIdsAtTheirLimits(t *testing.T) {
	for id, want := range map[string]bool{
		"0": true, "9": true, "a": true, "z": true, "A": true, "Z": true, "a.b-c_d": true, strings.Repeat("x", 128): true,
		"/": false, ":": false, "@": false, "[": false, "`": false, "{": false, "_a": false, strings.Repeat("x", 129): false,
	} {
		if err := CheckWorkspace(id); (err == nil) != want {
			t.Errorf("CheckWorkspace(%q) = %v, want it to be taken: %v", id, err, want)
		}
	}
	for login, want := range map[string]bool{strings.Repeat("o", 39): true, strings.Repeat("o", 40): false, "a.b": false} {
		if n, err := Installation(login); (err == nil) != want {
			t.Errorf("Installation(%q) = %s, %v, want it to be taken: %v", login, n, err, want)
		}
	}
}

func TestNamesKnowWhatTheyAre(t *testing.T) {
	for _, c := range []struct {
		name, workspace, owner string
		token, record          bool
	}{
		{"sandbox/a/github-token", "a", "", true, false},
		{"sandbox/a/github-tokens/acme", "a", "acme", true, false},
		{"sandbox/a/workspace", "a", "", false, true},
		{"sandbox/a", "", "", false, false},
		{"sandbox/a/vended/github-tokens", "a", "", false, false},
		{"sandbox/a/github-tokens/acme/x", "a", "", false, false},
		{"config/a/github-tokens/acme", "", "", false, false},
		{"config/github/workspace", "", "", false, false},
		{"config/github/github-token", "", "", false, false},
		{"config/github/installations/acme/x", "", "", false, false},
		{"config/github/installations", "", "", false, false},
		{"config/github/other/acme", "", "", false, false},
		{"config/github/installations/acme", "", "acme", false, false},
		{"config/github/private-key", "", "", false, false},
	} {
		n, err := ParseName(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if id, _ := n.Workspace(); id != c.workspace {
			t.Errorf("%s is of workspace %q, want %q", n, id, c.workspace)
		}
		if owner, ok := n.Owner(); ok != (c.owner != "") || ok && owner != c.owner {
			t.Errorf("%s is of owner %q, want %q", n, owner, c.owner)
		}
		if n.IsToken() != c.token || n.IsRecord() != c.record {
			t.Errorf("%s: token %v, record %v, want %v, %v", n, n.IsToken(), n.IsRecord(), c.token, c.record)
		}
	}
}

// Locks, tokens that wait and tokens that were given are told apart from each other
// and from names that end alike elsewhere.
func TestFoldersOfAWorkspace(t *testing.T) {
	for text, want := range map[string]string{
		"sandbox/a/lock":              "lock",
		"sandbox/a/superseded/00":     "superseded",
		"sandbox/a/vended/00":         "vended",
		"broker/barred/tokens/00":     "blocked token",
		"sandbox/a/workspace":         "",
		"sandbox/lock":                "",
		"sandbox/a/x/lock":            "",
		"config/a/lock":               "",
		"sandbox/a/superseded":        "",
		"sandbox/a/superseded/00/x":   "",
		"config/a/superseded/00":      "",
		"config/a/vended/00":          "",
		"broker/barred/workspaces/00": "",
	} {
		n, err := ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		for kind, is := range map[string]bool{"lock": n.IsLock(), "superseded": n.IsSuperseded(), "vended": n.IsVended(), "blocked token": n.IsBlockedToken()} {
			if is != (kind == want) {
				t.Errorf("%s is a %s = %v, want %v", n, kind, is, kind == want)
			}
		}
	}
}

func TestValuesThatNotEveryStoreKeeps(t *testing.T) {
	for _, s := range []Secret{NewSecret("x"), NewSecret(strings.Repeat("x", MaxValue)), NewSecret("ü\n\t")} {
		if err := s.Check(); err != nil {
			t.Errorf("Check = %v for %d bytes, want nil", err, len(s.Reveal()))
		}
	}
	for name, s := range map[string]Secret{
		"nothing": {}, "the empty text": NewSecret(""), "too much": NewSecret(strings.Repeat("x", MaxValue+1)),
		"NUL": NewSecret("a\x00b"), "half a letter": NewSecret("a\xc3"),
	} {
		if err := s.Check(); err == nil || (s.Reveal() != "" && strings.Contains(err.Error(), s.Reveal())) {
			t.Errorf("%s: Check = %v, want an error without the value", name, err)
		}
	}
}

func TestPrefixEndsAtASegment(t *testing.T) {
	p, err := Workspace("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	mine, _ := Record("sb-1")
	other, _ := Record("sb-10")
	if !p.Has(mine) || p.Has(other) || !Everything().Has(other) {
		t.Errorf("%s has %s: %v, has %s: %v, want the first only", p, mine, p.Has(mine), other, p.Has(other))
	}
	for want, p := range map[string]Prefix{
		"": Everything(), "config/github/installations": Installations(), "sandbox": Workspaces(), "sandbox/sb-1": p,
		"broker/barred": AllBlocks(), "broker/deliveries": Deliveries(), "broker/join": JoinTokens(),
		"broker/spent": UsedProofs(), "broker/session-key": SessionKeys(),
	} {
		if p.String() != want {
			t.Errorf("folder = %q, want %q", p, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	type held struct{ s Secret }
	const text = "ghs_secretsecretsecret"
	s := NewSecret(text)
	encoded, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("put", "value", s, "held", held{s})
	shown := fmt.Sprint(s, held{s}, &s) + fmt.Sprintf("%#v %+v %q %x %s", s, held{s}, s, s, []Secret{s}) + string(encoded) + log.String()
	if strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
		t.Errorf("it prints as %s", shown)
	}
	if s.Reveal() != text || (Secret{}).Reveal() != "" {
		t.Errorf("Reveal = %q, want the text", s.Reveal())
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"sandbox/a/workspace", "../x", "a//b", "a/./b", "/a", "a/", "config/github/installations/acme"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		if err != nil {
			return
		}
		if n.String() != text || strings.Contains("/"+text+"/", "/.") || strings.Contains("/"+text+"/", "//") || strings.ContainsAny(text, "\\%\n\x00 ") {
			t.Errorf("ParseName(%q) = %q", text, n)
		}
		n.Owner()
		n.Workspace()
	})
}
