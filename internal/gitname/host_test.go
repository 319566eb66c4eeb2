package gitname

import (
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("b", 61)
	for host, want := range map[string]string{
		"github.com":         "github.com",
		"GitHub.com":         "github.com",
		"A.example":          "a.example",
		"Z.example":          "z.example",
		"0-9.a_z":            "0-9.a_z",
		"10.0.0.9":           "10.0.0.9",
		"h:1":                "h:1",
		"h:443":              "h",
		"h:4430":             "h:4430",
		"h:65535":            "h:65535",
		"[::]":               "[::]",
		"[FE80::a9F]:443":    "[fe80::a9f]",
		"[::ffff:10.0.0.9]":  "[::ffff:10.0.0.9]",
		"[::1]:8443":         "[::1]:8443",
		label + ".example":   label + ".example",
		longest:              longest,
		"[" + ipv6(45) + "]": "[" + ipv6(45) + "]",
	} {
		if got, ok := Host(host); !ok || got != want {
			t.Errorf("Host(%q) = %q, %v, want %q", host, got, ok, want)
		}
	}
	for _, host := range []string{
		"", ".", "a..b", "github.com.", ".github.com", "-a", "a-", "a.-b", "a-.b", "gıthub.com", "\u212aeys.example",
		"@b", "a/b", "a:b", "a@b", "a[b", "a`b", "a{b", "a b", "a%b", "a\x00b",
		"h:", "h:0", "h:0443", "h:65536", "h:99999", "h:100000", "h:4/3", "h:44:", "h:+1", "h:443:443",
		"h:18446744073709552059", // 2^64+443: its digits must be counted before they are added up
		"[", "[]", "[:]", "[::1", "[abc]", "[g::]", "[::g]", "[::G]", "[::/]", "[::@]", "[::`]", "[::1%25eth0]", "[[::1]]",
		"[::1]x", "[::1]443", "[::1]:", "[::1]:0", "[::1]:65536", "[::1]]", "[::1]:443:443",
		label + "a.example", longest + "b", "[" + ipv6(46) + "]",
	} {
		if got, ok := Host(host); ok {
			t.Errorf("Host(%q) = %q, want none", host, got)
		}
	}
}

// ipv6 returns n characters that an address may contain.
func ipv6(n int) string { return strings.Repeat("0", n-2) + "::" }

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8080": true, "127.255.255.255": true, "[::1]": true, "[::1]:8080": true,
		"": false, "localhost": false, "127.1": false, "127.0.0.01": false, "127.0.0.256": false, "127.0.0.1000": false, "127.0.0.a": false,
		"127.0.0.1.example": false, "127.0.0": false, "127.0.0.": false, "126.0.0.1": false, "0.0.0.0": false, "10.0.0.9": false,
		"[::]": false, "[::2]": false, "[::ffff:127.0.0.1]": false, "[::1": false, "127.0.0.1:": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %v, want %v", host, got, want)
		}
	}
}
