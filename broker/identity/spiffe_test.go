package identity

import (
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	for _, c := range []struct {
		text, domain, path string // domain "" means refused
	}{
		{"spiffe://prod.example/sb/1", "prod.example", "/sb/1"},
		{"spiffe://prod_1-a.example/SB-1_a.b", "prod_1-a.example", "/SB-1_a.b"},
		{"spiffe://prod.example/...", "prod.example", "/..."},
		{"spiffe://az09/azAZ09", "az09", "/azAZ09"},
		{"spiffe://a`/x", "", ""},
		{"spiffe://a{/x", "", ""},
		{"spiffe://a:/x", "", ""},
		{"spiffe://a+/x", "", ""},
		{"spiffe://a/`", "", ""},
		{"spiffe://a/{", "", ""},
		{"spiffe://a/@", "", ""},
		{"spiffe://a/[", "", ""},
		{"spiffe://a/:", "", ""},
		{"spiffe://a/+", "", ""},
		{"spiffe://" + strings.Repeat("a", 255) + "/x", strings.Repeat("a", 255), "/x"},
		{"spiffe://" + strings.Repeat("a", 256) + "/x", "", ""},
		{"spiffe://a/" + strings.Repeat("b", 2037), "a", "/" + strings.Repeat("b", 2037)},
		{"spiffe://a/" + strings.Repeat("b", 2038), "", ""},
		{"", "", ""},
		{"spiffe://", "", ""},
		{"spiffe:///x", "", ""},
		{"spiffe://prod.example", "", ""},
		{"spiffe://prod.example/", "", ""},
		{"spiffe://prod.example/a/", "", ""},
		{"spiffe://prod.example//a", "", ""},
		{"spiffe://prod.example/./a", "", ""},
		{"spiffe://prod.example/a/..", "", ""},
		{"spiffe://Prod.example/a", "", ""},
		{"SPIFFE://prod.example/a", "", ""},
		{"https://prod.example/a", "", ""},
		{"spiffe://prod.example:443/a", "", ""},
		{"spiffe://user@prod.example/a", "", ""},
		{"spiffe://prod.example/a?b", "", ""},
		{"spiffe://prod.example/a#b", "", ""},
		{"spiffe://prod.example/a%2fb", "", ""},
		{"spiffe://prod.example/a b", "", ""},
		{"spiffe://prod.example/ä", "", ""},
		{"spiffe://prоd.example/a", "", ""}, // a Cyrillic о
		{"spiffe://prod.example/a\x00", "", ""},
		{" spiffe://prod.example/a", "", ""},
	} {
		id, err := ParseID(c.text)
		if (err == nil) != (c.domain != "") || id.TrustDomain().Name() != c.domain || id.Path() != c.path {
			t.Errorf("ParseID(%.60q) = %+v, %v, want %s and %s", c.text, id, err, c.domain, c.path)
		}
	}
}

// An id that is too long is refused for its length, because its characters may all be
// valid.
func TestParseIDSaysWhatIsTooLong(t *testing.T) {
	for text, want := range map[string]string{
		"spiffe://a/" + strings.Repeat("b", maxID):                 "SPIFFE ID has 2059 bytes",
		"spiffe://" + strings.Repeat("a", maxTrustDomain+1) + "/x": "trust domain has 256 bytes",
	} {
		if _, err := ParseID(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseID(%.40q) = %v, want that the %s", text, err, want)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("spiffe://prod.example/sb/1")
	f.Add("spiffe://a//b")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err == nil && (id.String() != text || strings.ContainsAny(text[len("spiffe://"):], "%?#@: \\")) {
			t.Errorf("ParseID(%q) = %+v, want an id letter for letter", text, id)
		}
	})
}
