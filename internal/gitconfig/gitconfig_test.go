package gitconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseReadsWhatGitLists(t *testing.T) {
	list := gitList(t, "[http]\n\temptyAuth\n\tProxy = a=b\n[url \"https://A/\"]\n\tinsteadOf = x\\ny\n[core]\n\tbare = false\n")
	want := []Setting{
		{Scope: Command, Key: "http.emptyauth", NoValue: true},
		{Scope: Command, Key: "http.proxy", Value: "a=b"},
		{Scope: Command, Key: "url.https://A/.insteadof", Value: "x\ny"},
		{Scope: Command, Key: "core.bare", Value: "false"},
	}
	if len(list) != len(want) {
		t.Fatalf("Parse = %v, want %d settings", list, len(want))
	}
	for i, s := range list {
		if !strings.HasPrefix(s.Origin, "file:") || s.File() == "" {
			t.Errorf("origin = %q, want a file", s.Origin)
		}
		want[i].Origin = s.Origin
		if s != want[i] {
			t.Errorf("Parse[%d] = %+v, want %+v", i, s, want[i])
		}
	}
}

// gitList makes git list a file.
func gitList(t *testing.T, text string) []Setting {
	t.Helper()
	file := writeConfig(t, text)
	args := append([]string{"config", "--file", file}, Arguments()[1:]...)
	out, err := git(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func git(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "HOME=" + t.TempDir()}
	return cmd.Output()
}

func TestParseRefusesWhatGitDoesNotWrite(t *testing.T) {
	for _, text := range []string{"x", "local\x00file:x\x00a.b\n1", "local\x00a.b\n1\x00", "\x00\x00a.b\n\x00", "local\x00f\x00ab\x00"} {
		if list, err := Parse([]byte(text)); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, list)
		}
	}
}

func TestTrue(t *testing.T) {
	for value, want := range map[string]bool{
		"true": true, "Yes": true, "on": true, "1": true, "0x2": true, "-1": true,
		"false": false, "no": false, "off": false, "0": false, "": false, "00": false, "maybe": false,
	} {
		if got := (Setting{Value: value}).True(); got != want {
			t.Errorf("True(%q) = %v, want %v", value, got, want)
		}
	}
	if !(Setting{NoValue: true}).True() {
		t.Error("True of a key without a value = false, want true")
	}
}

func TestParts(t *testing.T) {
	for key, want := range map[string][3]string{
		"http.sslverify":                  {"http", "", "sslverify"},
		"http.https://A.b:1/c.d.proxy":    {"http", "https://A.b:1/c.d", "proxy"},
		"Remote.x.y.Proxy":                {"remote", "x.y", "proxy"},
		"credential.https://h.com.heLper": {"credential", "https://h.com", "helper"},
	} {
		section, subsection, name := (Setting{Key: key}).Parts()
		if got := [3]string{section, subsection, name}; got != want {
			t.Errorf("Parts(%q) = %q, want %q", key, got, want)
		}
	}
}

var patterns = []string{
	"https://github.com", "https://github.com/", "https://GitHub.com", "https://github.com:443", "https://github.com:0443/",
	"https://me@github.com", "https://github.com/acme", "https://github.com/acme/", "https://github.com/acm", "https://github.com/acme/widgets.git",
	"https://*.com", "https://*.github.com", "https://github.*", "https://*", "http://github.com", "HTTPS://github.com",
	"https://github.com.evil.example", "https://github.co", "https://github.com:8443", "https://*.com:8443", "https://github.com/%61cme",
	"https://github.com/./acme", "https://github.com/x/../acme", "https://git.example:8443", "https://other.example", "ssh://github.com",
}

// Every setting that git itself applies to a URL must match here.
func TestMatchesWhatGitMatches(t *testing.T) {
	for _, pattern := range patterns {
		file := writeConfig(t, "[http \""+pattern+"\"]\n\tproxy = p\n")
		for _, u := range []struct{ host, path string }{
			{"github.com", "acme/widgets.git"}, {"github.com", "other/x"}, {"git.example:8443", "a/b"}, {"api.github.com", "a"},
		} {
			_, err := git(t, "config", "--file", file, "--get-urlmatch", "http.proxy", "https://"+u.host+"/"+u.path)
			gits, ours := err == nil, Matches(pattern, u.host, u.path)
			if gits && !ours {
				t.Errorf("Matches(%q, %s, %s) = false, and git applies it", pattern, u.host, u.path)
			}
			if ours && !gits && !strings.ContainsAny(pattern, "%@") && !strings.Contains(pattern, "/.") {
				t.Errorf("Matches(%q, %s, %s) = true, and git does not apply it", pattern, u.host, u.path)
			}
		}
	}
}

func TestMatchesPartOfAURL(t *testing.T) {
	for pattern, want := range map[string]bool{"github.com": true, "github.com/acme": true, "https://": true, "example.com": false, "github.com/else": false} {
		if got := Matches(pattern, "github.com", "acme/x"); got != want {
			t.Errorf("Matches(%q) = %v, want %v", pattern, got, want)
		}
	}
	if !Matches("https://github.com/else", "github.com", "") {
		t.Error("a pattern with a path does not match where the path is not known")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("local\x00file:.git/config\x00http.sslverify\nfalse\x00")
	f.Add("command\x00command line:\x00http.proxy\x00")
	f.Add("system\x00file:/etc/gitconfig\x00url.https://x/.insteadof\ngit@x:\x00local\x00file:c\x00a.b\nc\x00")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse([]byte(text))
		if err != nil {
			return
		}
		var back strings.Builder
		for _, s := range list {
			s.Parts()
			back.WriteString(s.Scope + "\x00" + s.Origin + "\x00" + s.Key)
			if !s.NoValue {
				back.WriteString("\n" + s.Value)
			}
			back.WriteString("\x00")
		}
		if back.String() != text {
			t.Errorf("Parse(%q) = %+v, which is not all of it", text, list)
		}
	})
}

func FuzzMatches(f *testing.F) {
	for _, p := range patterns {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		if Matches(pattern, "github.com", "acme/widgets") && !Matches(pattern, "github.com", "") {
			t.Errorf("Matches(%q) is wider with a path than without", pattern)
		}
	})
}
