package redact

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const token = "ghs_0123456789abcdefghijABCDEFGHIJ012345"

func TestText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain text stays", "repository acme/widgets is not allowed", "repository acme/widgets is not allowed"},
		{"a token goes", "got " + token + " twice", "got [redacted] twice"},
		{"so does a stateless one", "ghs_12345_eyJhbGciOi.eyJpc3Mi.c2ln;", "[redacted];"},
		{"so does a JWT", "Bearer eyJhbGciOi.eyJpc3Mi.c2ln", "Bearer [redacted]"},
		{"the shortest of them", "ghs_01azAZ9_.", "[redacted]"},
		{"a token ends where its letters do", "ghs_01azAZ89{ghs_01azAZ89[ghs_01azAZ89:x", "[redacted]{[redacted][[redacted]:x"},
		{"eight letters are enough", "ghp_01234567,", "[redacted],"},
		{"seven are a word", "ghp_0123456,", "ghp_0123456,"},
		{"blanks around go", " a b\r\n", "a b"},
		{"an empty user in a URL", "https://@host/x", "https://[redacted]@host/x"},
		{"a password without a host", "https://me:secret@", "https://[redacted]@"},
		{"no host at all", "https:///a@b", "https:///a@b"},
		{"the bare prefix is a word", "tokens begin with ghs_", "tokens begin with ghs_"},
		{"a password in a URL goes", "proxy http://me:secret@proxy:3128/x refused", "proxy http://[redacted]@proxy:3128/x refused"},
		{"an @ behind the authority stays", "https://host/a@b", "https://host/a@b"},
		{"long text is cut", strings.Repeat("a", 200), strings.Repeat("a", 100) + "..."},
		{"a token at the cut goes whole", strings.Repeat("a", 90) + token, strings.Repeat("a", 90) + mark},
		{"letters are not cut in two", strings.Repeat("a", 99) + "üü", strings.Repeat("a", 99) + "..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Text(c.in, 100); got != c.want {
				t.Errorf("Text(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

// Every kind of secret that gatepass handles can come back in the text of a server,
// of a setting or of a workspace.
var secrets = map[string]string{
	"GitHub, of an App":          token,
	"GitHub, stateless":          "ghs_12345_eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl-_",
	"GitHub, of a person":        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
	"GitHub, OAuth":              "gho_0123456789abcdefghijABCDEFGHIJ012345",
	"GitHub, of a user by App":   "ghu_0123456789abcdefghijABCDEFGHIJ012345",
	"GitHub, refresh":            "ghr_0123456789abcdefghijABCDEFGHIJ012345",
	"GitHub, fine-grained":       "github_pat_11AAAAAAA0abcdefghijkl_0123456789abcdefghijABCDEFGHIJ",
	"a JWT":                      "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl-_",
	"a session of the broker":    "eyJ3b3Jrc3BhY2UiOiJzYiJ9.20787.c2lnbmF0dXJl-_",
	"a join token":               "gpj_abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz",
	"Vault, of a service":        "hvs.CAESIJ0123456789abcdefghijABCDEFGHIJ-_",
	"Vault, of a batch":          "hvb.AAAAAQ0123456789abcdefghijABCDEFGHIJ-_",
	"Vault, of a recovery":       "hvr.CAESIJ0123456789abcdefghijABCDEFGHIJ-_",
	"Vault, legacy":              "s.abcdefghij0123456789ABCD",
	"Vault, legacy, a namespace": "b.abcdefghij0123456789ABCD.ns1",
	"Google":                     "ya29.a0AfH6SMBx-_0123456789",
	"AWS, an id":                 "AKIAIOSFODNN7EXAMPLE",
	"AWS, an id of a session":    "ASIAIOSFODNN7EXAMPLE",
	"AWS, a secret":              "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEK1+",
	"AWS, a session":             "IQoJb3JpZ2luX2VjEOD//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+/=",
	"git's own Basic":            "eC1hY2Nlc3MtdG9rZW46Z2hzXzAxMjM0NTY3ODlhYmM=",
	"a key in PEM":               "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----",
}

// values are secrets that only the name before them identifies.
var values = map[string]string{
	"a header":                    "Authorization: Digest hunter2",
	"a header in small letters":   "authorization:hunter2",
	"a header of Vault":           "X-Vault-Token: hunter2",
	"a header of AWS":             "X-Amz-Security-Token: hunter2",
	"a query":                     "/x?access_token=hunter2&a=b",
	"an assignment":               "AWS_SECRET_ACCESS_KEY=hunter2",
	"a session's assignment":      "AWS_SESSION_TOKEN = 'hunter2'",
	"a webhook's secret":          `{"secret":"hunter2"}`,
	"git's answer":                "password=hunter2",
	"JSON with blanks":            `{"Token" : "hunter2"}`,
	"a form":                      "client_secret=hunter2&x=y",
	"a password in a URL":         "https://me:hunter2@host",
	"Basic":                       "Basic bWU6aHVudGVyMg==",
	"Basic without its end":       "basic bWU6aHVudGVyMg",
	"Bearer":                      "Bearer abc/hunter2+",
	"Bearer without a digit":      "bearer abcdefghijklmnopqrstuvwxyz",
	"Basic among others":          "http.extraheader=Basic bWU6aHVudGVyMg== (local)",
	"a key in PEM that is cut":    "-----BEGIN PRIVATE KEY-----\nhunter2",
	"a key in PEM as it is shown": `-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----`,
}

func TestTextKnowsEverySecretThatPassesThrough(t *testing.T) {
	for name, secret := range secrets {
		for _, around := range [][2]string{{"", ""}, {"got ", " today"}, {"'", "'"}, {"x=", ","}, {"(", ")."}, {"\n", "\n"}, {"Bearer ", ""}} {
			got := Text(around[0]+secret+around[1], 4096)
			if strings.Contains(got, secret[len(secret)/2:]) || !strings.Contains(got, mark) || !strings.Contains(got, strings.TrimSpace(around[1])) {
				t.Errorf("%s: Text(%q) = %q", name, around[0]+secret+around[1], got)
			}
		}
	}
	for name, text := range values {
		if got := Text(text, 4096); strings.Contains(got, "hunter2") || strings.Contains(got, "bWU6") || strings.Contains(got, "xyz") || !strings.Contains(got, mark) {
			t.Errorf("%s: Text(%q) = %q", name, text, got)
		}
	}
}

// If redaction hides what is wrong, people turn it off.
func TestTextLeavesWhatIsNoSecret(t *testing.T) {
	for _, text := range []string{
		"commit 0123456789abcdef0123456789abcdef01234567",
		"hash 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"the digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"Basic authentication is off; Bearer authentication is on",
		"the password: it is too short",
		"vault://kv/x?field=token&addr=https://vault:8200",
		"arn:aws:sts::123456789012:assumed-role/role/i-0abcdef0123456789",
		"/opt/Some1/very/long/path/to/a/File.txt",
		"file:///tmp/TestAppAddOne3384858294/001/store",
		"s.example.com refuses; r.b.c.d too",
		"-----BEGIN CERTIFICATE----- abc -----END CERTIFICATE-----",
		"the token: it has expired",
	} {
		if got := Text(text, 4096); got != text {
			t.Errorf("Text(%q) = %q, want it as it is", text, got)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("", "")
	f.Add("a "+token, "")
	f.Add("http://a:b@c://d@e", "Basic ")
	f.Add("\xff\xfeüü", "password=")
	f.Add("-----BEGIN ", "PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, before, after string) {
		for name, secret := range secrets {
			got := Text(before+" "+secret+" "+after, 1<<20)
			if strings.Contains(got, secret) {
				t.Errorf("%s: Text(%q) = %q, which holds it", name, before+" "+secret+" "+after, got)
			}
		}
		if short := Text(before, 16); utf8.ValidString(before) && !utf8.ValidString(short) {
			t.Errorf("Text(%q, 16) = %q, which is not UTF-8", before, short)
		}
		once := Text(before+after, 1<<20)
		if again := Text(once, 1<<20); len(again) > len(once)+len(mark) {
			t.Errorf("Text(%q) = %q, and grows again to %q", before+after, once, again)
		}
	})
}
