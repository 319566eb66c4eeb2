package fakegithub

import (
	"strings"
	"testing"
)

func TestParseGitPath(t *testing.T) {
	for _, test := range []struct {
		path string
		want gitPath
	}{
		{"/acme/widgets/info/refs", gitPath{"acme", "widgets", false, infoRefs}},
		{"/acme/widgets.git/git-upload-pack", gitPath{"acme", "widgets", false, uploadPack}},
		{"/Acme/Widgets.GIT/git-receive-pack", gitPath{"Acme", "Widgets", false, receivePack}},
		{"/acme/widgets.wiki.git/info/refs", gitPath{"acme", "widgets", true, infoRefs}},
		{"/acme/widgets.wiki/info/refs", gitPath{"acme", "widgets", true, infoRefs}},
		{"/acme/.github/info/refs", gitPath{"acme", ".github", false, infoRefs}},
		{"/acme_corp/a.b_c-d/info/refs", gitPath{"acme_corp", "a.b_c-d", false, infoRefs}},
	} {
		got, ok := parseGitPath(test.path)
		if !ok || got != test.want {
			t.Errorf("parseGitPath(%q) = %+v, %t, want %+v", test.path, got, ok, test.want)
		}
	}
}

func TestParseGitPathRefuses(t *testing.T) {
	for _, path := range []string{
		"", "/", "/acme", "/acme/widgets", "/acme/widgets.git", "acme/widgets/info/refs",
		"//acme/widgets/info/refs", "/acme//widgets/info/refs", "/acme/widgets//info/refs", "/acme/widgets/info/refs/",
		"/acme/../info/refs", "/acme/./info/refs", "/acme/.git/info/refs", "/acme/.wiki.git/info/refs", "/../widgets/info/refs",
		"/acme/wid%67ets/info/refs", "/acme/widgets%2fx/info/refs", "/acme/widgets;x/info/refs", `/acme/wid\gets/info/refs`,
		"/acme/widgets/objects/info/packs", "/acme/widgets/HEAD", "/acme/widgets/info/lfs/objects/batch", "/acme/widgets/git-upload-archive",
		"/-acme/widgets/info/refs", "/" + strings.Repeat("a", 40) + "/widgets/info/refs", "/acme/" + strings.Repeat("a", 101) + "/info/refs",
		"/acme/\u212aelvin/info/refs",
	} {
		if got, ok := parseGitPath(path); ok {
			t.Errorf("parseGitPath(%q) = %+v, want it refused", path, got)
		}
	}
}

// What parses names one repository, and its canonical path parses to itself.
func FuzzParseGitPath(f *testing.F) {
	f.Add("/acme/widgets.git/info/refs")
	f.Add("/acme/widgets.wiki.git/git-receive-pack")
	f.Add("/acme/../git-upload-pack")
	f.Add("/a/%2e%2e/info/refs")
	f.Fuzz(func(t *testing.T, path string) {
		p, ok := parseGitPath(path)
		if !ok {
			return
		}
		if strings.ContainsAny(p.owner+p.name, "/%\\;?#\x00 ") || p.name == "." || p.name == ".." {
			t.Fatalf("parseGitPath(%q) = %+v, want no such bytes in a name", path, p)
		}
		again, ok := parseGitPath("/" + p.fullName() + "/" + p.endpoint)
		if !ok || again != p {
			t.Fatalf("parseGitPath of the canonical path of %+v = %+v, %t", p, again, ok)
		}
	})
}
