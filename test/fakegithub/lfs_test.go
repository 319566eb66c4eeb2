package fakegithub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

func TestParseLFSPath(t *testing.T) {
	for _, test := range []struct {
		path string
		want lfsPath
	}{
		{"/acme/widgets.git/info/lfs/objects/batch", lfsPath{owner: "acme", name: "widgets", endpoint: "objects/batch"}},
		{"/Acme/Widgets/info/lfs/locks", lfsPath{owner: "Acme", name: "Widgets", endpoint: "locks"}},
		{"/acme/widgets.git/info/lfs/locks/verify", lfsPath{owner: "acme", name: "widgets", endpoint: "locks/verify"}},
		{"/acme/widgets.git/info/lfs/locks/12/unlock", lfsPath{owner: "acme", name: "widgets", endpoint: "locks/12/unlock", lock: 12}},
	} {
		if got, ok := parseLFSPath(test.path); !ok || got != test.want {
			t.Errorf("parseLFSPath(%q) = %+v, %t, want %+v", test.path, got, ok, test.want)
		}
	}
	for _, path := range []string{
		"/acme/widgets.git/info/lfs", "/acme/widgets.git/info/lfs/", "/acme/widgets.git/info/lfs/objects", "/acme/widgets.git/info/lfs/locks/x/unlock",
		"/acme/widgets.git/info/lfs/locks/1", "/acme/widgets.git//info/lfs/locks", "/acme/widgets.git/info/lfs/objects/batch/", "/acme/info/lfs/locks",
	} {
		if got, ok := parseLFSPath(path); ok {
			t.Errorf("parseLFSPath(%q) = %+v, want it refused", path, got)
		}
	}
}

// lfs asks the LFS server of a repository of acme; a path with a space is a method
// and a path.
func (w *world) lfs(token, repo, path, body string) reply {
	w.t.Helper()
	method, rest, ok := strings.Cut(path, " ")
	if !ok {
		method, rest = http.MethodPost, path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.gh.URL()+"/acme/"+repo+".git/info/lfs/"+rest, strings.NewReader(body))
	w.must(err)
	req.Header.Set("Accept", lfsMedia)
	req.Header.Set("Content-Type", lfsMedia)
	if token != "" {
		req.SetBasicAuth("x-access-token", token)
	}
	return w.send(req)
}

func batchOf(operation string, content string) string {
	return fmt.Sprintf(`{"operation":%q,"transfers":["basic","ssh"],"ref":{"name":"refs/heads/main"},"objects":[{"oid":%q,"size":%d}],"hash_algo":"sha256"}`,
		operation, oidOf(content), len(content))
}

func oidOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// action is one of the actions that a batch offers for its only object; nil where it
// does not.
func (r reply) action(name string) map[string]any {
	objects, _ := r.body["objects"].([]any)
	if len(objects) != 1 {
		return nil
	}
	actions, _ := objects[0].(map[string]any)["actions"].(map[string]any)
	action, _ := actions[name].(map[string]any)
	return action
}

// do follows an action.
func (w *world) do(method string, action map[string]any, body string) reply {
	w.t.Helper()
	href, _ := action["href"].(string)
	req, err := http.NewRequestWithContext(w.t.Context(), method, href, strings.NewReader(body))
	w.must(err)
	req.Header.Set("Content-Type", lfsMedia)
	header, _ := action["header"].(map[string]any)
	for name, value := range header {
		req.Header.Set(name, value.(string))
	}
	return w.send(req)
}

func TestLFSTransfersAnObject(t *testing.T) {
	w := newWorld(t, Options{})
	writer, reader := w.token(mayWrite, "widgets"), w.token(mayRead, "widgets")
	const content = "large"
	first := w.lfs(reader, "widgets", "objects/batch", batchOf("download", content))
	if w.wantStatus(first, 200); !strings.Contains(string(first.raw), msgLFSNoObject) {
		t.Errorf("batch of an object that is not there = %s", first.raw)
	}
	offer := w.lfs(writer, "widgets", "objects/batch", batchOf("upload", content))
	w.wantStatus(offer, 200)
	upload, verify := offer.action("upload"), offer.action("verify")
	verifyBody := fmt.Sprintf(`{"oid":%q,"size":%d}`, oidOf(content), len(content))
	w.wantStatus(w.do("POST", verify, verifyBody), 404)
	w.wantStatus(w.do("PUT", upload, content), 200)
	if got := w.gh.LFSObjects("acme", "widgets"); len(got) != 0 {
		t.Errorf("objects before the verification = %q, want none", got)
	}
	w.wantStatus(w.do("POST", verify, verifyBody), 200)
	if got := w.gh.LFSObjects("acme", "widgets"); len(got) != 1 || got[0] != oidOf(content) {
		t.Errorf("objects = %q, want the one", got)
	}
	if again := w.lfs(writer, "widgets", "objects/batch", batchOf("upload", content)); again.action("upload") != nil {
		t.Errorf("an object that is there is offered an upload: %s", again.raw)
	}
	download := w.lfs(reader, "widgets", "objects/batch", batchOf("download", content)).action("download")
	if got := w.do("GET", download, ""); got.status != 200 || string(got.raw) != content {
		t.Errorf("download = %d %q, want %q", got.status, got.raw, content)
	}
}

func TestLFSStorageBelievesSignaturesOnly(t *testing.T) {
	w := newWorld(t, Options{})
	oid, err := w.gh.AddLFSObject("acme", "widgets", strings.NewReader("stored"))
	w.must(err)
	if oid != oidOf("stored") {
		t.Fatalf("AddLFSObject = %s, want the hash of the content", oid)
	}
	token := w.token(mayWrite, "widgets")
	download := w.lfs(token, "widgets", "objects/batch", batchOf("download", "stored")).action("download")
	upload := w.lfs(token, "widgets", "objects/batch", batchOf("upload", "new")).action("upload")
	verify := w.lfs(token, "widgets", "objects/batch", batchOf("upload", "new")).action("verify")
	href := download["href"].(string)
	if !strings.HasPrefix(href, w.gh.StorageURL()) || strings.HasPrefix(href, w.gh.URL()) {
		t.Errorf("href = %s, want it on another host than GitHub's", href)
	}
	with := func(action map[string]any, name, value string) map[string]any {
		header := map[string]any{}
		if old, ok := action["header"].(map[string]any); ok {
			for k, v := range old {
				header[k] = v
			}
		}
		header[name] = value
		return map[string]any{"href": action["href"], "header": header}
	}
	for _, test := range []struct {
		name   string
		got    reply
		status int
	}{
		{"without a signature", w.do("GET", map[string]any{"href": strings.SplitN(href, "?", 2)[0]}, ""), 403},
		{"another object", w.do("GET", map[string]any{"href": strings.ReplaceAll(href, oid, oidOf("other"))}, ""), 403},
		{"a longer life", w.do("GET", map[string]any{"href": strings.Replace(href, "Expires=3600", "Expires=9999", 1)}, ""), 403},
		{"a token beside the signature", w.do("GET", with(download, "Authorization", "Basic eDp5"), ""), 400},
		{"a write where reading is signed", w.do("PUT", download, "stored"), 403},
		{"an upload without its headers", w.do("PUT", map[string]any{"href": upload["href"]}, "new"), 403},
		{"an upload of another length", w.do("PUT", upload, "longer"), 403},
		{"an upload of other content", w.do("PUT", upload, "wen"), 400},
		{"a verification of another", w.do("POST", with(verify, "Authorization", "RemoteAuth eDp5"), "{}"), 401},
		{"what is not there", w.do("GET", map[string]any{"href": w.gh.StorageURL() + "/x"}, ""), 403},
	} {
		if test.got.status != test.status {
			t.Errorf("%s = %d, want %d: %s", test.name, test.got.status, test.status, test.got.raw)
		}
	}
	w.gh.Advance(downloadLife)
	for _, action := range []map[string]any{download, upload} {
		if got := w.do(map[bool]string{true: "GET", false: "PUT"}[action["header"] == nil], action, "new"); got.status != 403 {
			t.Errorf("an expired action = %d, want 403", got.status)
		}
	}
	if got := w.do("POST", verify, `{"oid":"`+oidOf("new")+`","size":3}`); got.status != 401 {
		t.Errorf("an expired verification = %d, want 401", got.status)
	}
}

func TestLFSRefuses(t *testing.T) {
	w := newWorld(t, Options{})
	reader, writer, other, blind := w.token(mayRead, "widgets"), w.token(mayWrite, "widgets"), w.token(mayWrite, "gadgets"), w.token(Permissions{"issues": "write"}, "widgets")
	download, upload := batchOf("download", "x"), batchOf("upload", "x")
	replaced := func(old, with string) string { return strings.Replace(upload, old, with, 1) }
	for _, test := range []struct {
		name, token, path, body string
		status                  int
		message                 string
	}{
		{"nobody", "", "objects/batch", download, 401, msgNoSuchRepo},
		{"not a token", "ghs_none", "objects/batch", download, 401, msgBadCredentials},
		{"a token of another repository", other, "objects/batch", download, 404, msgNoSuchRepo},
		{"a token without contents", blind, "objects/batch", download, 403, msgLFSNoPull},
		{"a reader who uploads", reader, "objects/batch", upload, 403, msgLFSNoPush},
		{"a reader who verifies locks", reader, "locks/verify", "{}", 403, "You must have push access to verify locks"},
		{"a reader who locks", reader, "locks", `{"path":"a"}`, 403, "You must have push access to create a lock"},
		{"an unknown operation", writer, "objects/batch", replaced("upload", "erase"), 422, "operation"},
		{"an unknown transfer", writer, "objects/batch", replaced(`["basic","ssh"]`, `["tus"]`), 422, "transfer"},
		{"another hash", writer, "objects/batch", replaced(`"hash_algo":"sha256"`, `"hash_algo":"sha512"`), 409, "hash"},
		{"an object without a size", writer, "objects/batch", replaced(`,"size":1`, ``), 422, "object"},
		{"an unknown key", writer, "objects/batch", replaced(`{"operation"`, `{"x":1,"operation"`), 400, "fakegithub:"},
		{"two texts", writer, "objects/batch", upload + upload, 400, "parsing"},
		{"a GET", writer, "GET objects/batch", "", 405, "Method"},
		{"a lock of nothing", writer, "locks", `{}`, 422, "blank"},
		{"an unlock of nothing", writer, "locks/1/unlock", `{}`, 404, "Not Found"},
	} {
		got := w.lfs(test.token, "widgets", test.path, test.body)
		if got.status != test.status || !strings.Contains(got.text("message"), test.message) || got.header.Get("Content-Type") != lfsMedia {
			t.Errorf("%s = %d %s (%s), want %d and %q", test.name, got.status, got.raw, got.header.Get("Content-Type"), test.status, test.message)
		}
	}
	w.must(w.gh.RenameRepository("acme", "widgets", "things"))
	if got := w.lfs(writer, "widgets", "objects/batch", upload); got.status != 308 || !strings.HasSuffix(got.header.Get("Location"), "/acme/things.git/info/lfs/objects/batch") {
		t.Errorf("the old name = %d to %q, want a redirect", got.status, got.header.Get("Location"))
	}
}

func TestLFSLocks(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.token(mayWrite, "widgets")
	theirs, err := w.gh.AddLFSLock("acme", "widgets", "b.psd", "jane")
	w.must(err)
	made := w.lfs(token, "widgets", "locks", `{"path":"a.psd","ref":{"name":"refs/heads/main"}}`)
	w.wantStatus(made, 201)
	if again := w.lfs(token, "widgets", "locks", `{"path":"a.psd"}`); again.status != 409 || again.text("message") != msgLockExists || again.body["lock"] == nil {
		t.Errorf("a second lock = %d %s, want 409 with the first", again.status, again.raw)
	}
	verified := w.lfs(token, "widgets", "locks/verify", `{"ref":{"name":"refs/heads/main"}}`)
	ours, _ := verified.body["ours"].([]any)
	others, _ := verified.body["theirs"].([]any)
	if verified.status != 200 || len(ours) != 1 || len(others) != 1 {
		t.Errorf("verify = %d %s, want one lock of each", verified.status, verified.raw)
	}
	page := w.lfs(token, "widgets", "GET locks?limit=1", "")
	next := page.text("next_cursor")
	second := w.lfs(token, "widgets", "GET locks?limit=1&cursor="+next, "")
	if next == "" || second.text("next_cursor") != "" || bytes.Equal(page.raw, second.raw) {
		t.Errorf("pages = %s and %s, want two", page.raw, second.raw)
	}
	unlock := fmt.Sprintf("locks/%d/unlock", theirs.ID)
	if got := w.lfs(token, "widgets", unlock, `{"force":false}`); got.status != 403 || got.text("message") != "b.psd is locked by jane" {
		t.Errorf("unlock of another's = %d %s, want 403", got.status, got.raw)
	}
	w.wantStatus(w.lfs(token, "widgets", unlock, `{"force":true}`), 200)
	if got := w.gh.LFSLocks("acme", "widgets"); len(got) != 1 || got[0].Path != "a.psd" || got[0].Owner != "gatepass[bot]" {
		t.Errorf("locks = %+v, want the App's", got)
	}
}

// A fault of the storage host is in its own form, and its requests are recorded
// without their signatures.
func TestLFSStorageFaultsAndRecord(t *testing.T) {
	w := newWorld(t, Options{})
	_, err := w.gh.AddLFSObject("acme", "widgets", strings.NewReader("stored"))
	w.must(err)
	download := w.lfs(w.token(mayRead), "widgets", "objects/batch", batchOf("download", "stored")).action("download")
	w.gh.Fail(To("GET", oidOf("stored")), Status(503), 1)
	if got := w.do("GET", download, ""); got.status != 503 || !strings.Contains(string(got.raw), "<Error>") {
		t.Errorf("a fault = %d %s, want 503 in XML", got.status, got.raw)
	}
	w.wantStatus(w.do("GET", download, ""), 200)
	last := w.gh.Requests()[len(w.gh.Requests())-1]
	if "https://"+last.Host != w.gh.StorageURL() || last.Query != "" {
		t.Errorf("recorded = %s?%s, want the storage host and no query", last.Host, last.Query)
	}
}

func TestLFSWithoutANetwork(t *testing.T) {
	w := newWorld(t, Options{HandlerOnly: true})
	_, err := w.gh.AddLFSObject("acme", "widgets", strings.NewReader("stored"))
	w.must(err)
	download := w.lfs(w.token(mayRead), "widgets", "objects/batch", batchOf("download", "stored")).action("download")
	if got := w.do("GET", download, ""); got.status != 200 || string(got.raw) != "stored" {
		t.Errorf("download = %d %q", got.status, got.raw)
	}
}

// needLFS skips where there is no git-lfs, and sets it up for a workspace.
func (ws *workspace) needLFS() {
	ws.w.t.Helper()
	if _, err := exec.LookPath("git-lfs"); err != nil {
		ws.w.t.Skip("missing: git-lfs")
	}
	ws.git("lfs", "install", "--skip-repo")
}

func TestGitLFSPushesAndClones(t *testing.T) {
	w := newWorld(t, Options{})
	one := w.workspace(w.token(mayWrite))
	one.needLFS()
	one.clone("acme/widgets")
	one.git("lfs", "track", "*.bin")
	for i := range 3 {
		one.commit(fmt.Sprintf("%d.bin", i), bytes.Repeat([]byte{byte(i)}, 100_000))
	}
	one.git("add", ".gitattributes")
	one.git("commit", "--quiet", "-m", "attributes")
	one.git("push", "--quiet", "origin", "HEAD:main")
	if got := w.gh.LFSObjects("acme", "widgets"); len(got) != 3 {
		t.Errorf("objects = %q, want 3", got)
	}
	two := w.workspace(w.token(mayRead))
	two.git("lfs", "install", "--skip-repo")
	two.clone("acme/widgets")
	if got, err := exec.CommandContext(t.Context(), "wc", "-c", two.dir+"/2.bin").Output(); err != nil || !strings.HasPrefix(string(got), "100000 ") {
		t.Errorf("size of a cloned file = %s, %v, want 100000", got, err)
	}
	two.commit("9.bin", []byte("ninth"))
	two.refused("You must have push access to upload Git LFS objects", "lfs", "push", "origin", "main")
	one.git("lfs", "lock", "0.bin")
	if out := one.git("lfs", "locks"); !strings.Contains(out, "gatepass[bot]") {
		t.Errorf("locks = %s, want the App's", out)
	}
	one.git("lfs", "unlock", "0.bin")
}
