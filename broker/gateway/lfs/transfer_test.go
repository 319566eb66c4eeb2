package lfs

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func isLFS(r fakegithub.Request) bool {
	return strings.Contains(r.Path, "/info/lfs/") || strings.Contains(r.Path, "/alambic/") || strings.HasSuffix(r.Path, "/verify")
}

// A chunked is a reader without a known length, so that its body is sent chunked.
type chunked struct{ io.Reader }

func TestUploadsHaveTheSizeOfTheBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	href := w.batch("upload", "0123456789").href(t, "upload")
	for name, test := range map[string]struct {
		body   io.Reader
		status int
	}{
		"a longer one":             {strings.NewReader("0123456789a"), 422},
		"a shorter one":            {strings.NewReader("012345678"), 422},
		"a longer one in chunks":   {chunked{strings.NewReader("0123456789a")}, 422},
		"an endless one in chunks": {chunked{io.LimitReader(rand.Reader, 1<<20)}, 422},
		"a shorter one in chunks":  {chunked{strings.NewReader("012345678")}, 422},
		"another content":          {strings.NewReader("9876543210"), 502},
	} {
		if got := w.send(w.request("PUT", href, test.body)); got.status != test.status {
			t.Errorf("%s = %d %s, want %d", name, got.status, got.raw, test.status)
		}
	}
	if got := w.send(w.request("PUT", href, chunked{strings.NewReader("0123456789")})); got.status != 200 {
		t.Errorf("the right one in chunks = %d %s, want 200", got.status, got.raw)
	}
	if got := w.verify(w.batch("upload", "0123456789"), fmt.Sprintf(`{"oid":%q,"size":9}`, oidOf("0123456789"))); got.status != 422 {
		t.Errorf("a verification of another size = %d %s, want 422", got.status, got.raw)
	}
	r := w.request("PUT", href, strings.NewReader("0123456789"))
	r.Header.Set("Content-Encoding", "gzip")
	if got := w.send(r); got.status != 415 {
		t.Errorf("a compressed upload = %d %s, want 415", got.status, got.raw)
	}
}

// unlimited returns a meter that does not end a transfer.
func unlimited() *meter { return &meter{idle: time.Hour, timer: time.NewTimer(time.Hour)} }

// The storage could take an object for complete if it got all its bytes and the client sent
// more.
func TestABodyOfAnotherSizeIsNeverComplete(t *testing.T) {
	const want = "0123456789"
	for body, isGood := range map[string]bool{want: true, want + "a": false, want + want: false, want[:9]: false, "": false} {
		for name, in := range map[string]io.Reader{
			"whole": strings.NewReader(body), "byte by byte": iotest.OneByteReader(strings.NewReader(body)),
			"with its end": iotest.DataErrReader(strings.NewReader(body)),
		} {
			got, err := io.ReadAll(&measured{m: unlimited(), body: in, left: int64(len(want))})
			if isGood && (err != nil || string(got) != want) || !isGood && (!errors.Is(err, errSize) || len(got) >= len(want)) {
				t.Errorf("%s %q is read as %q, %v", name, body, got, err)
			}
		}
	}
	if got, err := io.ReadAll(&measured{m: unlimited(), body: strings.NewReader("")}); err != nil || len(got) > 0 {
		t.Errorf("an empty object is read as %q, %v", got, err)
	}
	if _, err := io.ReadAll(&measured{m: unlimited(), body: strings.NewReader("a")}); !errors.Is(err, errSize) {
		t.Errorf("a body for an empty object is read with %v, want errSize", err)
	}
	cut := io.MultiReader(strings.NewReader(want), iotest.ErrReader(errors.New("reset")))
	if got, err := io.ReadAll(&measured{m: unlimited(), body: cut, left: int64(len(want))}); err == nil || len(got) >= len(want) {
		t.Errorf("a body that is cut before its end is read as %q, %v", got, err)
	}
}

func TestTheStorageCannotMisleadTheWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.store("stored")
	href := w.batch("download", "stored").href(t, "download")
	for status, want := range map[int]int{301: 502, 400: 502, 401: 403, 403: 403, 404: 404, 429: 429, 500: 502, 503: 503} {
		w.Fail(fakegithub.To("GET", oidOf("stored")), fakegithub.Status(status), 1)
		got := w.call("GET", href, "")
		if got.status != want || !strings.HasPrefix(got.message(), "gatepass: ") || got.header.Get("Location") != "" {
			t.Errorf("a download that the storage answers %d = %d %s, want %d", status, got.status, got.raw, want)
		}
		w.checkHidden("a download", got.raw)
	}
	heal := w.Fail(fakegithub.To("GET", oidOf("stored")), fakegithub.Truncate(3), -1)
	answer, err := w.server.Client().Do(w.request("GET", href, nil))
	isWhole := err == nil && answer.StatusCode == 200
	if err == nil {
		_, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	if isWhole && err == nil {
		t.Error("half an object came as a whole one")
	}
	heal()
	wrong := w.sealed(transfer{
		Kind: download, Workspace: "sb-agent", Repository: "acme/widgets", OID: oidOf("stored"), Size: 5,
		Href: w.storageURL(t, "stored"), Expires: w.Now().Add(time.Minute).Unix(),
	})
	if got := w.call("GET", wrong, ""); got.status != 502 {
		t.Errorf("an object of another size than the batch says = %d %s, want 502", got.status, got.raw)
	}
}

// storageURL returns the address at GitHub's storage for an object.
func (w *world) storageURL(t *testing.T, content string) string {
	t.Helper()
	href := w.batch("download", content).href(t, "download")
	_, text, _ := strings.Cut(href, "?"+queryKey+"=")
	payload, err := w.Access.Sessions.Keys.Decrypt(t.Context(), purpose, text)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(payload), `"u":"`)
	rest, _, _ = strings.Cut(rest, `"`)
	return strings.ReplaceAll(rest, `\u0026`, "&")
}

func TestGitHubsRefusalsOfABatchReachTheWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	isBatch := fakegithub.To("POST", "/objects/batch")
	for status, want := range map[int]int{403: 403, 413: 413, 422: 422, 429: 429, 500: 500, 507: 507, 301: 403} {
		w.Fail(isBatch, fakegithub.Status(status), 1)
		if got := w.batch("download", "x"); got.status != want || got.message() == "" || got.header.Get("Content-Type") != MediaType {
			t.Errorf("a batch that GitHub answers %d = %d %s, want %d", status, got.status, got.raw, want)
		}
	}
	w.Fail(isBatch, fakegithub.Truncate(10), 1)
	if got := w.batch("download", "x"); got.status != 502 {
		t.Errorf("a batch whose answer breaks off = %d %s, want 502", got.status, got.raw)
	}
	w.Advance(2 * time.Minute) // so that the token is no longer new
	w.session = w.Session("")
	w.Fail(isBatch, fakegithub.Status(401), 1)
	if got := w.batch("download", "x"); got.status != 503 || got.header.Get("WWW-Authenticate") != "" {
		t.Errorf("a batch whose token GitHub refuses = %d %s, want 503 and no question", got.status, got.raw)
	}
}

// Some of GitHub's servers learn of a new token late.
func TestANewTokenIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.store("stored")
	w.Fail(fakegithub.To("POST", "/objects/batch"), fakegithub.Status(401), 1)
	if got := w.batch("download", "stored"); got.status != 200 {
		t.Errorf("a batch whose token is new = %d %s, want 200 after another try", got.status, got.raw)
	}
}

func TestARenamedRepositoryIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.batch("download", "x")
	if err := w.RenameRepository("acme", "widgets", "things"); err != nil {
		t.Fatal(err)
	}
	if got := w.batch("download", "x"); got.status != 403 || !strings.Contains(got.message(), "another name") || got.header.Get("Location") != "" {
		t.Errorf("a batch of a renamed repository = %d %s, want 403", got.status, got.raw)
	}
}

func TestUploadsAreWrittenDownBeforeAndAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.call("PUT", w.batch("upload", "one", "three").href(t, "upload"), "one")
	entries := w.Journal.Of(broker.KindLFS)
	if len(entries) != 3 {
		t.Fatalf("entries = %+v, want 3", entries)
	}
	before, after, put := entries[0], entries[1], entries[2]
	if before.Operation != "upload" || before.Objects != 2 || before.Bytes != 8 || before.Outcome != "" || before.RepositoryID == 0 || before.Workspace != "sb-agent" {
		t.Errorf("the intent = %+v", before)
	}
	if after.Objects != 2 || after.Outcome != broker.OutcomeOK || put.Objects != 1 || put.Bytes != 3 || put.Outcome != broker.OutcomeOK || !strings.Contains(put.Detail, oidOf("one")) {
		t.Errorf("the outcomes = %+v and %+v", after, put)
	}
	for _, e := range entries {
		w.checkHidden("the audit log", fmt.Appendf(nil, "%+v", e))
	}
	asked := w.Count(isLFS)
	w.Journal.Fail(errors.New("disk full"))
	if got := w.batch("upload", "two"); got.status != 503 || !strings.Contains(got.message(), "audit") {
		t.Errorf("upload without an audit log = %d %s, want 503", got.status, got.raw)
	}
	if n := w.Count(isLFS); n != asked {
		t.Error("GitHub was asked for what is not in the audit log")
	}
}

func TestRefusalsAreWrittenDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, cloner)
	w.batch("upload", "x")
	entries := w.Journal.Of(broker.KindLFS)
	if len(entries) != 1 || entries[0].Decision != broker.Refused || entries[0].Outcome != broker.OutcomeRefused {
		t.Errorf("entries = %+v, want the refusal", entries)
	}
}

// stalled sends the beginning of an upload, and then nothing.
func (w *world) stalled(href string, size int) net.Conn {
	w.t.Helper()
	r := w.request("PUT", href, strings.NewReader(strings.Repeat("x", size)))
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		w.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.server.URL, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Write(text.Bytes()[:text.Len()-10]); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func TestATransferEndsWhenItIsCutOrIdle(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world){
		"cut":  func(w *world) { w.cut[0](errors.New("blocked")) },
		"idle": func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, pusher)
			if name == "idle" {
				w.handler.Idle = func() time.Duration { return 100 * time.Millisecond }
			}
			conn := w.stalled(w.batch("upload", strings.Repeat("x", 1000)).href(t, "upload"), 1000)
			defer conn.Close()
			waitFor(t, func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.cut) == 1
			})
			w.mu.Lock()
			end(w)
			w.mu.Unlock()
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); err != nil || len(got) != 0 {
				t.Errorf("the connection ended with %q, %v, want it closed without an answer", got, err)
			}
			waitFor(t, func() bool { return len(w.Journal.Of(broker.KindLFS)) == 3 })
			if last := w.Journal.Of(broker.KindLFS)[2]; last.Outcome != broker.OutcomeFailed {
				t.Errorf("the outcome = %+v, want it failed", last)
			}
			if got := w.LFSObjects("acme", "widgets"); len(got) != 0 {
				t.Errorf("objects = %q, want none", got)
			}
		})
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within ten seconds")
		}
	}
}

func TestTransfersAreCountedAndLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pusher)
	w.store("stored")
	href := w.batch("download", "stored").href(t, "download")
	w.call("GET", href, "")
	waitFor(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.moved) == 1 })
	if w.moved[0] != 6 {
		t.Errorf("moved = %d, want 6 bytes", w.moved[0])
	}
	w.mu.Lock()
	w.full = &broker.Refusal{Status: http.StatusTooManyRequests, Reason: broker.ReasonLimit, RetryAfter: time.Second, Detail: "too many"}
	w.mu.Unlock()
	if got := w.call("GET", href, ""); got.status != 429 || got.header.Get("Retry-After") != "1" {
		t.Errorf("one transfer too many = %d %s, want 429", got.status, got.raw)
	}
	up := w.batch("upload", strings.Repeat("x", 1<<20)).href(t, "upload")
	if got := w.call("PUT", up, strings.Repeat("x", 1<<20)); got.status != 429 {
		t.Errorf("one upload too many = %d %s, want 429 after its body", got.status, got.raw)
	}
}

// zeros is an endless content.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestLargeObjectsAreNotInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves large objects")
	}
	const size = 64 << 20
	w := newWorld(t, pusher)
	oid, err := w.AddLFSObject("acme", "widgets", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	batch := w.call("POST", w.url("acme/widgets", "objects/batch"), fmt.Sprintf(`{"operation":"download","objects":[{"oid":%q,"size":%d}]}`, oid, size))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	answer, err := w.server.Client().Do(w.request("GET", batch.href(t, "download"), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	runtime.ReadMemStats(&after)
	if err != nil || n != size {
		t.Errorf("download = %d bytes, %v, want %d", n, err, size)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size/4 {
		t.Errorf("a download of %d bytes allocated %d", size, grown)
	}
}
