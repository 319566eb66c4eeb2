package lfs

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestAnObjectGoesUpAndDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	const content = "a large file"
	offered := w.batch("upload", content)
	w.checkHidden("the batch", offered.raw)
	put := w.call("PUT", offered.href(t, "upload"), content)
	done := w.verify(offered, fmt.Sprintf(`{"oid":%q,"size":%d}`, oidOf(content), len(content)))
	if put.status != 200 || done.status != 200 {
		t.Fatalf("upload = %d %s, verify = %d %s, want 200", put.status, put.raw, done.status, done.raw)
	}
	if got := w.LFSObjects("acme", "widgets"); len(got) != 1 || got[0] != oidOf(content) {
		t.Errorf("objects at GitHub = %q, want the one", got)
	}
	offered = w.batch("download", content, "missing")
	w.checkHidden("the batch", offered.raw)
	if !strings.Contains(string(offered.raw), "Object does not exist on the server") {
		t.Errorf("batch = %s, want GitHub's error for the object that is missing", offered.raw)
	}
	got := w.call("GET", offered.href(t, "download"), "")
	if got.status != 200 || string(got.raw) != content {
		t.Errorf("download = %d %q, want the object", got.status, got.raw)
	}
	part := w.request("GET", offered.href(t, "download"), nil)
	part.Header.Set("Range", fmt.Sprintf("bytes=2-%d", len(content)-1))
	if got := w.send(part); got.status != 206 || string(got.raw) != content[2:] || got.header.Get("Content-Range") != fmt.Sprintf("bytes 2-%d/%d", len(content)-1, len(content)) {
		t.Errorf("the rest of a download = %d %q %q", got.status, got.raw, got.header.Get("Content-Range"))
	}
	w.checkHidden("the headers", fmt.Append(nil, got.header))
}

// Tokens for reading and for writing are never mixed up, and the storage gets none.
func TestTokensAreForTheOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.store("stored")
	w.call("GET", w.batch("download", "stored").href(t, "download"), "")
	for _, token := range w.Tokens() {
		if token.Permissions["contents"] != "read" || len(token.Repositories) != 1 {
			t.Errorf("a download used a token with %v for %v", token.Permissions, token.Repositories)
		}
	}
	w.call("PUT", w.batch("upload", "new").href(t, "upload"), "new")
	if n := len(w.Tokens()); n != 2 {
		t.Errorf("tokens = %d, want one to read and one to write", n)
	}
	for _, r := range w.Requests() {
		if "https://"+r.Host == w.StorageURL() && (r.Auth == "basic" || r.Auth == "bearer") {
			t.Errorf("the storage was shown a token: %+v", r)
		}
	}
}

func TestTheProfileDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, cloner)
	w.store("stored")
	uploaded := w.batch("upload", "new")
	if uploaded.status != 403 || !strings.Contains(uploaded.message(), "gatepass: ") || !strings.Contains(uploaded.message(), "contents") || uploaded.header.Get("Gatepass-Decision") == "" {
		t.Errorf("upload of a workspace that may clone = %d %s, want 403 in our words", uploaded.status, uploaded.raw)
	}
	if got := w.batch("download", "stored"); got.status != 200 {
		t.Errorf("download = %d %s, want 200", got.status, got.raw)
	}
	if got := w.call("POST", w.url("octo/widgets", "objects/batch"), batchOf("download", "x")); got.status != 403 {
		t.Errorf("another repository = %d %s, want 403", got.status, got.raw)
	}
	for _, path := range []string{"POST locks/verify", "POST locks", "GET locks", "POST locks/1/unlock"} {
		method, rest, _ := strings.Cut(path, " ")
		if got := w.call(method, w.url("acme/widgets", rest), `{"path":"a"}`); got.status != 501 || got.header.Get("Content-Type") != MediaType {
			t.Errorf("%s = %d %s, want 501", path, got.status, got.raw)
		}
	}
	if n := len(w.LFSLocks("acme", "widgets")); n != 0 {
		t.Errorf("locks = %d, want none", n)
	}
	w.SetProfile(`{allowedRepos: [acme/widgets], allowedRefs: [{ref: "agent/**", allow: [delete]}], permissions: [push]}`)
	w.session = w.Session("")
	if got := w.batch("upload", "new"); got.status != 403 || !strings.Contains(got.message(), "no push") {
		t.Errorf("upload where refs may be deleted only = %d %s, want 403", got.status, got.raw)
	}
	w.SetProfile(`{allowedRepos: [acme/widgets, acme/other], allowedRefs: ["agent/**"], permissions: [push]}`)
	w.session = w.Session("acme/other")
	if got := w.batch("upload", "new"); got.status != 403 || !strings.Contains(got.message(), "this session is for acme/other only") {
		t.Errorf("upload with a session of another repository = %d %s, want 403", got.status, got.raw)
	}
}

// flipped changes one character of a text.
func flipped(text string, at int) string {
	other := "A"
	if text[at] == 'A' {
		other = "B"
	}
	return text[:at] + other + text[at+1:]
}

// The policy of now decides, not the one when the address was made.
func TestAnAddressDoesNotOutliveThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.store("stored")
	up, down := w.batch("upload", "new").href(t, "upload"), w.batch("download", "stored").href(t, "download")
	w.SetProfile(cloner)
	w.session = w.Session("")
	if got := w.call("PUT", up, "new"); got.status != 403 {
		t.Errorf("upload after the profile lost push = %d %s, want 403", got.status, got.raw)
	}
	if got := w.call("GET", down, ""); got.status != 200 {
		t.Errorf("download = %d %s, want 200", got.status, got.raw)
	}
	if err := w.Access.Broker.Blocklist.Add(t.Context(), blocklist.Target{Owner: "acme"}); err != nil {
		t.Fatal(err)
	}
	if got := w.call("GET", down, ""); got.status != 403 {
		t.Errorf("download after the owner was blocked = %d %s, want 403", got.status, got.raw)
	}
}

func TestAddressesAreOfOneWorkspaceOneObjectAndAFewMinutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.store("stored")
	w.store("other!")
	down := w.batch("download", "stored").href(t, "download")
	_, seal, _ := strings.Cut(down, "?")
	mine := transfer{
		Kind: download, Workspace: "sb-agent", Repository: "acme/widgets", OID: oidOf("stored"), Size: 6,
		Href: w.StorageURL() + "/x", Expires: w.Now().Add(time.Minute).Unix(),
	}
	changed := func(change func(*transfer)) string {
		one := mine
		change(&one)
		return w.sealed(one)
	}
	anonymous := w.request("GET", down, nil)
	anonymous.Header.Del("Authorization")
	verification := w.request("POST", w.url("acme/widgets", "objects/verify"), strings.NewReader("{}"))
	verification.Header.Set(headerKey, strings.TrimPrefix(seal, queryKey+"="))
	for name, test := range map[string]struct {
		got  answered
		want int
	}{
		"without an identity":     {w.send(anonymous), 401},
		"of another workspace":    {w.call("GET", changed(func(t *transfer) { t.Workspace = "sb-other" }), ""), 403},
		"of another repository":   {w.call("GET", changed(func(t *transfer) { t.Repository = "acme/other" }), ""), 403},
		"for another object":      {w.call("GET", w.url("acme/widgets", "objects/"+oidOf("other!")+"?"+seal), ""), 403},
		"for another method":      {w.call("PUT", down, "stored"), 403},
		"as a verification":       {w.send(verification), 403},
		"that has ended":          {w.call("GET", changed(func(t *transfer) { t.Expires = w.Now().Unix() }), ""), 403},
		"that was changed":        {w.call("GET", flipped(down, len(down)-20), ""), 403},
		"without its action":      {w.call("GET", strings.Split(down, "?")[0], ""), 403},
		"with another query":      {w.call("GET", down+"&x=1", ""), 403},
		"over http":               {w.call("GET", changed(func(t *transfer) { t.Href = "http://storage.invalid/x" }), ""), 502},
		"the one that was handed": {w.call("GET", down, ""), 200},
	} {
		if test.got.status != test.want {
			t.Errorf("an address %s = %d %s, want %d", name, test.got.status, test.got.raw, test.want)
		}
		w.checkHidden("the answer to an address "+name, test.got.raw)
	}
	w.Advance(maxLife)
	w.session = w.Session("")
	if got := w.call("GET", down, ""); got.status != 403 {
		t.Errorf("an address after %s = %d %s, want 403", maxLife, got.status, got.raw)
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	good := batchOf("upload", "x")
	with := func(old, text string) string { return strings.Replace(good, old, text, 1) }
	many := batchOf("download", strings.Split(strings.Repeat("x,", maxObjects), ",")...)
	for name, test := range map[string]struct {
		call, body string
		status     int
		why        string
	}{
		"an unknown operation":     {"POST objects/batch", with(`"upload"`, `"erase"`), 422, "operation"},
		"no operation":             {"POST objects/batch", with(`"operation":"upload",`, ``), 422, "operation"},
		"an unknown transfer":      {"POST objects/batch", with(`"lfs-standalone-file","basic","ssh"`, `"tus"`), 422, "basic"},
		"another hash":             {"POST objects/batch", with("sha256", "sha512"), 409, "sha256"},
		"a short id":               {"POST objects/batch", with(oidOf("x"), "abc"), 422, "object"},
		"an id in capitals":        {"POST objects/batch", with(oidOf("x"), strings.ToUpper(oidOf("x"))), 422, "object"},
		"a negative size":          {"POST objects/batch", with(`"size":1`, `"size":-1`), 422, "object"},
		"a size that is a text":    {"POST objects/batch", with(`"size":1`, `"size":"1"`), 400, "message"},
		"no objects":               {"POST objects/batch", batchOf("upload"), 422, "no objects"},
		"too many objects":         {"POST objects/batch", many, 413, "1000"},
		"not a ref":                {"POST objects/batch", with("refs/heads/agent/x", "refs/heads/..\\u0007"), 422, "ref"},
		"two messages":             {"POST objects/batch", good + good, 400, "message"},
		"nothing":                  {"POST objects/batch", "", 400, "message"},
		"a large one":              {"POST objects/batch", strings.Repeat(" ", maxBatch) + good, 413, "large"},
		"a GET of a batch":         {"GET objects/batch", "", 405, "POST"},
		"a query":                  {"POST objects/batch?x=1", good, 400, "query"},
		"an unknown address":       {"POST objects", good, 404, "the gateway has no such Git LFS address"},
		"an unlock by force":       {"POST locks/1/unlock", `{"force":true}`, 403, "forced"},
		"a lock with a strange id": {"POST locks/../unlock", `{}`, 404, "the gateway has no such Git LFS address"},
		"locks by a key twice":     {"GET locks?path=a&path=b", "", 400, "twice"},
	} {
		method, path, _ := strings.Cut(test.call, " ")
		got := w.call(method, w.url("acme/widgets", path), test.body)
		if got.status != test.status || !strings.Contains(got.message(), test.why) || !strings.HasPrefix(got.message(), "gatepass: ") || got.header.Get("Content-Type") != MediaType {
			t.Errorf("%s = %d %s, want %d and %q", name, got.status, got.raw, test.status, test.why)
		}
	}
	r := w.request("POST", w.url("acme/widgets", "objects/batch"), strings.NewReader(good))
	r.Header.Set("Content-Type", "application/json")
	if got := w.send(r); got.status != 415 {
		t.Errorf("a batch of another type = %d %s, want 415", got.status, got.raw)
	}
	if n := w.Count(isLFS); n != 0 {
		t.Errorf("GitHub was asked %d times, want never", n)
	}
}

func TestWithoutAnIdentityGitLFSIsAskedForOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	r := w.request("POST", w.url("acme/widgets", "objects/batch"), strings.NewReader(batchOf("download", "x")))
	r.Header.Del("Authorization")
	got := w.send(r)
	if got.status != http.StatusUnauthorized || got.header.Get("LFS-Authenticate") != `Basic realm="gatepass"` || got.header.Get("WWW-Authenticate") == "" || got.message() == "" {
		t.Errorf("a batch without an identity = %d %v %s", got.status, got.header, got.raw)
	}
}

func TestLocksAreForwardedForWorkspacesThatPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	theirs, err := w.AddLFSLock("acme", "widgets", "b.psd", "jane")
	if err != nil {
		t.Fatal(err)
	}
	made := w.call("POST", w.url("acme/widgets", "locks"), `{"path":"a.psd","ref":{"name":"refs/heads/agent/x"}}`)
	if made.status != 201 || !strings.Contains(string(made.raw), "gatepass[bot]") {
		t.Fatalf("lock = %d %s, want 201", made.status, made.raw)
	}
	if got := w.call("POST", w.url("acme/widgets", "locks"), `{"path":"a.psd"}`); got.status != 409 || got.message() != "Lock exists" || got.body["lock"] == nil {
		t.Errorf("a second lock = %d %s, want GitHub's 409", got.status, got.raw)
	}
	verified := w.call("POST", w.url("acme/widgets", "locks/verify"), `{"ref":{"name":"agent/x"},"limit":1000}`)
	if ours, _ := verified.body["ours"].([]any); verified.status != 200 || len(ours) != 1 {
		t.Errorf("verify = %d %s, want one of ours", verified.status, verified.raw)
	}
	list := w.call("GET", w.url("acme/widgets", "locks?path=a.psd&refspec=refs%2Fheads%2Fmain&x=1"), "")
	if locks, _ := list.body["locks"].([]any); list.status != 200 || len(locks) != 1 {
		t.Errorf("locks = %d %s, want the one", list.status, list.raw)
	}
	if got := w.call("POST", w.url("acme/widgets", fmt.Sprintf("locks/%d/unlock", theirs.ID)), `{"force":false}`); got.status != 403 || got.message() != "b.psd is locked by jane" || got.header.Get("Gatepass-Decision") != "" {
		t.Errorf("unlock of another's = %d %s, want GitHub's 403", got.status, got.raw)
	}
	lock, _ := made.body["lock"].(map[string]any)
	if got := w.call("POST", w.url("acme/widgets", fmt.Sprintf("locks/%s/unlock", lock["id"])), `{}`); got.status != 200 {
		t.Errorf("unlock = %d %s, want 200", got.status, got.raw)
	}
	if got := w.call("GET", w.url("acme/widgets", "locks?path=a.psd"), ""); string(got.raw) != `{"locks":[]}` {
		t.Errorf("no locks = %s, want an empty list", got.raw)
	}
	var operations []string
	for _, e := range w.Journal.Of(broker.KindLFS) {
		operations = append(operations, e.Operation+" "+e.Outcome)
	}
	if got := strings.Join(operations[:2], ","); got != "lock ,lock ok" {
		t.Errorf("the audit log begins with %q, want the intent and the outcome", got)
	}
}

// A public repository outside of the profile is read without a token, and can only be
// read.
func TestPublicRepositoriesAreReadWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{allowedRepos: [acme/widgets], permissions: [clone], publicRead: ["*"]}`)
	if _, err := w.AddRepository(fakegithub.Repository{Owner: "octo", Name: "site", Public: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddLFSObject("octo", "site", strings.NewReader("public")); err != nil {
		t.Fatal(err)
	}
	batch := w.call("POST", w.url("octo/site", "objects/batch"), batchOf("download", "public"))
	if got := w.call("GET", batch.href(t, "download"), ""); got.status != 200 || string(got.raw) != "public" {
		t.Errorf("download = %d %s, want the object", got.status, got.raw)
	}
	for _, r := range w.Requests() {
		if r.Auth != "" {
			t.Errorf("a public repository was read with a credential: %+v", r)
		}
	}
	if got := w.call("POST", w.url("octo/site", "objects/batch"), batchOf("upload", "x")); got.status != 403 {
		t.Errorf("upload to a public repository = %d %s, want 403", got.status, got.raw)
	}
	private := w.call("POST", w.url("octo/widgets", "objects/batch"), batchOf("download", "x"))
	missing := w.call("POST", w.url("octo/nothing", "objects/batch"), batchOf("download", "x"))
	if private.status != 404 || missing.status != 404 || strings.ReplaceAll(missing.message(), "nothing", "widgets") != private.message() {
		t.Errorf("a private repository = %d %s, one that is not there = %d %s, want the same", private.status, private.raw, missing.status, missing.raw)
	}
}
