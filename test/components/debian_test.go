//go:build linux

package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseMirror(t *testing.T) {
	const (
		archive  = "Packages|Debian|main|http://mirror.example/debian/\n"
		security = "Packages|Debian-Security|main|http://mirror.example/debian-security/\n"
		other    = "Packages|Acme|main|https://packages.acme.example/apt\n"
		icons    = "DEP-11|Debian|main|http://icons.example/debian/\n"
		contrib  = "Packages|Debian|contrib|http://contrib.example/debian/\n"
	)
	for _, tt := range []struct{ name, targets, want string }{
		{"the archive", archive, "http://mirror.example/debian/"},
		{"after others", other + security + icons + contrib + archive, "http://mirror.example/debian/"},
		{"the first of two", archive + strings.ReplaceAll(archive, "mirror", "second"), "http://mirror.example/debian/"},
		{"security has no sid", security, ""},
		{"no Debian", other, ""},
		{"an empty address", "Packages|Debian|main|\n", ""},
		{"no lists yet", "", ""},
	} {
		got, err := parseMirror(tt.targets)
		if got != tt.want || errors.Is(err, errNoMirror) != (tt.want == "") {
			t.Errorf("%s: parseMirror(%q) = %q, %v, want %q", tt.name, tt.targets, got, err, tt.want)
		}
	}
}

func FuzzParseMirror(f *testing.F) {
	f.Add("Packages|Debian|main|http://mirror.example/debian/\n")
	f.Add("||||\n\n|")
	f.Fuzz(func(t *testing.T, targets string) {
		got, err := parseMirror(targets)
		if err == nil && !strings.Contains(targets, "Packages|Debian|main|"+got) {
			t.Errorf("parseMirror(%q) = %q, which is not in it", targets, got)
		}
	})
}

func TestParseAptOptions(t *testing.T) {
	const dump = `APT::Architecture=amd64
Acquire::Check-Valid-Until=false
Acquire::http::Proxy=http://proxy.example:3128
Acquire::http::Proxy::direct.example=DIRECT
Acquire::AllowInsecureRepositories=0
`
	want := []string{
		`Acquire::Check-Valid-Until "false";`,
		`Acquire::http::Proxy "http://proxy.example:3128";`,
	}
	if got := parseAptOptions(dump); !slices.Equal(got, want) {
		t.Errorf("parseAptOptions = %q, want %q", got, want)
	}
}

func TestFirstVersion(t *testing.T) {
	for text, want := range map[string]string{
		"git version 2.39.5":                               "2.39.5",
		"git-lfs/3.3.0 (GitHub; linux amd64; go 1.19.8)":   "3.3.0",
		"ShellCheck - shell script analysis\nversion: 0.9": "0.9",
		"no number": "",
	} {
		if got := firstVersion(text); got != want {
			t.Errorf("firstVersion(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestUpstream(t *testing.T) {
	for version, want := range map[string]string{
		"1:2.47.3-0+deb13u1\n": "2.47.3",
		"3.8.1-1":              "3.8.1",
		"5.1.1":                "5.1.1",
		"0.66.0+ds1-1":         "0.66.0",
		"1.85.1+dfsg1-1":       "1.85.1",
	} {
		if got := upstream(version); got != want {
			t.Errorf("upstream(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestKeyFollowsTheRecipe(t *testing.T) {
	base := chroot{suite: "sid", packages: []string{"git"}}
	same := chroot{name: "another name", suite: "sid", packages: []string{"git"}}
	if base.key() != same.key() {
		t.Errorf("key = %q and %q, want the same for the same recipe", base.key(), same.key())
	}
	for _, other := range []chroot{
		{suite: "trixie", packages: []string{"git"}},
		{suite: "sid", packages: []string{"git", "git-lfs"}},
		{suite: "sid", packages: []string{"git"}, helpers: []string{"git-lfs"}},
	} {
		if base.key() == other.key() {
			t.Errorf("key of %+v and %+v = %q, want different ones", base, other, base.key())
		}
	}
}
