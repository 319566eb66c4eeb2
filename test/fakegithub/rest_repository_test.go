package fakegithub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const policyPath = ".github/policies/build.yaml"

// contents is the text of the file that an answer shows.
func (r reply) contents(t *testing.T) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(r.text("content")) // which skips newlines
	if err != nil || r.text("encoding") != "base64" || r.body["size"] != float64(len(raw)) {
		t.Errorf("%s: not a base64 text of the size it says (%v)", r.raw, err)
	}
	return string(raw)
}

func TestContentsFollowTheRepository(t *testing.T) {
	w := newWorld(t, Options{})
	w.repository(Repository{Owner: "acme", Name: "docs", Files: map[string]string{policyPath: "a: 1\n", "empty": ""}})
	token := w.token(Permissions{"contents": "write"}, "docs")
	ws := w.workspace(token)
	ws.clone("acme/docs")
	ws.git("tag", "-a", "-m", "one", "v1")
	ws.git("checkout", "--quiet", "-b", "next/try")
	ws.commit(policyPath, []byte("a: 2\n"))
	ws.git("push", "--quiet", "origin", "next/try", "v1")
	second := strings.TrimSpace(ws.git("rev-parse", "HEAD"))
	blob := strings.TrimSpace(ws.git("rev-parse", "HEAD:"+policyPath))
	for _, test := range []struct{ query, want string }{
		{"", "a: 1\n"},
		{"?ref=main", "a: 1\n"},
		{"?ref=v1", "a: 1\n"},
		{"?ref=next/try", "a: 2\n"},
		{"?ref=" + second, "a: 2\n"},
	} {
		got := w.rest("GET", "/repos/acme/docs/contents/"+policyPath+test.query, token, "")
		w.wantStatus(got, 200)
		if text := got.contents(t); text != test.want || got.text("path") != policyPath || got.text("name") != "build.yaml" {
			t.Errorf("contents%s of %s = %q, want %q", test.query, got.text("path"), text, test.want)
		}
		if isSecond := got.text("sha") == blob; isSecond != (test.want == "a: 2\n") {
			t.Errorf("contents%s: sha = %s, of the second commit %s", test.query, got.text("sha"), blob)
		}
	}
	if got := w.rest("GET", "/repos/acme/docs/contents/empty", token, ""); got.status != 200 || got.contents(t) != "" {
		t.Errorf("contents of an empty file = %d %s, want 200 and no text", got.status, got.raw)
	}
	ws.git("push", "--quiet", "origin", "HEAD:main")
	if got := w.rest("GET", "/repos/acme/docs/contents/"+policyPath, token, ""); got.contents(t) != "a: 2\n" {
		t.Errorf("contents after a push = %s, want what was pushed", got.raw)
	}
}

func TestContentsHaveLines(t *testing.T) {
	w := newWorld(t, Options{})
	w.repository(Repository{Owner: "acme", Name: "docs", Public: true, Files: map[string]string{"long": strings.Repeat("x", 100)}})
	got := w.rest("GET", "/repos/acme/docs/contents/long", "", "")
	var lengths []int
	for line := range strings.Lines(got.text("content")) {
		lengths = append(lengths, len(line))
	}
	if !slices.Equal(lengths, []int{61, 61, 17}) { // 136 characters, and newlines
		t.Errorf("lines of %q = %v, want 60 characters each and a newline after all", got.text("content"), lengths)
	}
}

func TestContentsAreRefused(t *testing.T) {
	w := newWorld(t, Options{})
	w.repository(Repository{Owner: "acme", Name: "docs", Files: map[string]string{policyPath: "a: 1\n", "large": strings.Repeat("x", maxContents+1)}})
	reads := w.token(Permissions{"contents": "read"}, "docs")
	for _, test := range []struct {
		name, path, bearer string
		status             int
		message            string
	}{
		{"no such file", "docs/contents/nothing", reads, 404, "Not Found"},
		{"a glob", "docs/contents/lar%3Fe", reads, 404, "Not Found"},
		{"another case", "docs/contents/LARGE", reads, 404, "Not Found"},
		{"no such branch", "docs/contents/large?ref=other", reads, 404, "No commit found for the ref other"},
		{"a ref with an operator", "docs/contents/large?ref=main~0", reads, 404, "No commit found for the ref main~0"},
		{"no such commit", "docs/contents/large?ref=" + strings.Repeat("0", 40), reads, 404, "No commit found for the ref " + strings.Repeat("0", 40)},
		{"a token of another repository", "docs/contents/large", w.token(nil, "widgets"), 404, "Not Found"},
		{"a token that may not read", "docs/contents/large", w.token(Permissions{"issues": "read"}, "docs"), 403, msgNotForApps},
		{"nobody", "docs/contents/large", "", 404, "Not Found"},
		{"the App itself", "docs/contents/large", w.jwt(), 401, "Bad credentials"},
		{"a large file", "docs/contents/large", reads, 403, msgTooLarge},
	} {
		if got := w.rest("GET", "/repos/acme/"+test.path, test.bearer, ""); got.status != test.status || got.text("message") != test.message {
			t.Errorf("%s: GET %s = %d %q, want %d %q", test.name, test.path, got.status, got.text("message"), test.status, test.message)
		}
	}
	w.gh.Revoke(reads)
	w.wantStatus(w.rest("GET", "/repos/acme/docs/contents/"+policyPath, reads, ""), 401)
}

func TestContentsAreFilesAsJSON(t *testing.T) {
	w := newWorld(t, Options{})
	ws := w.workspace(w.token(Permissions{"contents": "write"}))
	ws.clone("acme/site")
	w.must(os.Symlink("README.md", filepath.Join(ws.dir, "link")))
	ws.git("add", "link")
	ws.git("commit", "--quiet", "-m", "a link")
	ws.git("push", "--quiet", "origin", "main")
	for _, test := range []struct {
		path, accept string
		status       int
	}{
		{"README.md", "", 200},
		{"README.md", "*/*", 200},
		{"README.md", "application/vnd.github+json", 200},
		{"README.md", "application/vnd.github.v3+json", 200},
		{"README.md", "application/vnd.github.raw+json", 400},
		{"README.md", "application/vnd.github.object+json", 400},
		{"link", "", 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.gh.URL()+"/repos/acme/site/contents/"+test.path, nil)
		w.must(err)
		if test.accept != "" {
			r.Header.Set("Accept", test.accept)
		}
		if got := w.send(r); got.status != test.status {
			t.Errorf("%s as %q = %d %s, want %d", test.path, test.accept, got.status, got.raw, test.status)
		}
	}
}

func TestContentsOfARenamedRepositoryAreElsewhere(t *testing.T) {
	w := newWorld(t, Options{})
	repo := w.repository(Repository{Owner: "acme", Name: "docs", Files: map[string]string{policyPath: "a: 1\n"}})
	token := w.token(nil)
	w.must(w.gh.RenameRepository("acme", "docs", "manual"))
	got := w.rest("GET", "/repos/acme/docs/contents/"+policyPath+"?ref=main", token, "")
	want := fmt.Sprintf("%s/repositories/%d/contents/%s?ref=main", w.gh.URL(), repo.ID, policyPath)
	if got.status != 301 || got.header.Get("Location") != want {
		t.Fatalf("contents under the old name = %d to %q, want 301 to %q", got.status, got.header.Get("Location"), want)
	}
	if got := w.rest("GET", strings.TrimPrefix(want, w.gh.URL()), token, ""); got.status != 200 || got.contents(t) != "a: 1\n" {
		t.Errorf("contents by the ID = %d %s, want the file", got.status, got.raw)
	}
}

func TestDirectoriesAreListed(t *testing.T) {
	c := loadContract(t)
	w := newWorld(t, Options{})
	w.repository(Repository{Owner: "acme", Name: "docs", Files: map[string]string{"a/b/c.txt": "12345", "a/d.txt": "1"}})
	token := w.token(Permissions{"contents": "read"})
	for path, want := range map[string]string{
		"": "README.md file 7, a dir 0", "a": "b dir 0, d.txt file 1", "a/b": "c.txt file 5",
	} {
		got := w.rest("GET", "/repos/acme/docs/contents/"+path, token, "")
		if path == "" {
			got = w.rest("GET", "/repos/acme/docs/contents", token, "")
		}
		w.wantStatus(got, 200)
		if err := c.Validate(t, "content-directory", got.raw); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		var entries []struct {
			Name, Type string
			Size       int
		}
		w.must(json.Unmarshal(got.raw, &entries))
		var names []string
		for _, e := range entries {
			names = append(names, fmt.Sprintf("%s %s %d", e.Name, e.Type, e.Size))
		}
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("%q lists %s, want %s", path, got, want)
		}
	}
	w.wantStatus(w.rest("GET", "/repos/acme/docs/contents/a/x", token, ""), 404)
}
