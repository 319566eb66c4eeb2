package rest

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// versioned answers with the current version, its ETag, and compressed, and counts
// answers of 304.
func versioned(version *atomic.Int64, notModified *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf(`W/"%d %s"`, version.Load(), r.Header.Get("Authorization")[:14])
		w.Header().Set("ETag", etag)
		w.Header().Set("X-RateLimit-Remaining", "4000")
		w.Header().Set("X-GitHub-Request-Id", strconv.FormatInt(time.Now().UnixNano(), 36))
		w.Header().Set("Link", `<https://`+r.Host+`/api/v3/repositories/1/issues?page=2>; rel="next"`)
		if r.Header.Get("If-None-Match") == etag {
			notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		to := gzip.NewWriter(w)
		fmt.Fprintf(to, `{"version":%d,"url":"https://%s/api/v3/x","accept":%q}`, version.Load(), r.Host, r.Header.Get("Accept"))
		_ = to.Close()
	}
}

// gh and octokit do not cache. So the broker asks GitHub whether an answer changed,
// which costs nothing of the installation's hourly limit or the workspace's.
func TestAnAnswerThatStillHoldsIsFree(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	var version, notModified atomic.Int64
	seen := g.script(versioned(&version, &notModified))
	session := g.Session("acme/widgets")
	const path = "/api/v3/repos/acme/widgets/issues"
	first := g.ask(session, http.MethodGet, path, "")
	second := g.ask(session, http.MethodGet, path, "")
	if first.body != second.body || second.status != http.StatusOK || notModified.Load() != 1 || !strings.Contains(second.body, `"url":"http://127.0.0.1`) {
		t.Errorf("the second answer is %d %s after %s, and GitHub said 304 %d times, want the same and once", second.status, second.body, first.body, notModified.Load())
	}
	for name, got := range map[string]answer{"the first": first, "the second": second} {
		if got.header.Get("X-RateLimit-Remaining") != "1999" || got.header.Get("ETag") == "" || !strings.Contains(got.header.Get("Link"), "<http://127.0.0.1") || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s answer has the headers %v", name, got.header)
		}
	}
	if a, b := first.header.Get("X-GitHub-Request-Id"), second.header.Get("X-GitHub-Request-Id"); a == b || b == "" {
		t.Errorf("the second answer names the request %q, and the first %q", b, a)
	}
	version.Add(1)
	if third := g.ask(session, http.MethodGet, path, ""); !strings.Contains(third.body, `"version":1`) || notModified.Load() != 1 || third.header.Get("X-RateLimit-Remaining") != "1998" {
		t.Errorf("after a change: %s with %s left", third.body, third.header.Get("X-RateLimit-Remaining"))
	}
	if all := seen(); len(all) != 3 || all[0].Header.Get("If-None-Match") != "" || all[2].Header.Get("If-None-Match") == "" {
		t.Errorf("GitHub saw %d requests", len(all))
	}
}

// A cached answer is never given to another workspace, or for another request.
func TestAnAnswerIsOfOneTokenAndOneQuestion(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	var version, notModified atomic.Int64
	seen := g.script(versioned(&version, &notModified))
	ask := func(session, method, path string, headers ...string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "token "+session)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return g.do(r)
	}
	const path = "/api/v3/repos/acme/widgets/issues"
	mine := g.Session("acme/widgets")
	ask(mine, http.MethodGet, path)
	for name, got := range map[string]func() answer{
		"another workspace": func() answer { return ask(g.SessionOf("other", "acme/widgets"), http.MethodGet, path) },
		"another repository": func() answer {
			return ask(g.Session("octo/widgets"), http.MethodGet, "/api/v3/repos/octo/widgets/issues")
		},
		"another query":              func() answer { return ask(mine, http.MethodGet, path+"?page=2") },
		"another form of the answer": func() answer { return ask(mine, http.MethodGet, path, "Accept", "application/vnd.github.raw+json") },
		"another version of the API": func() answer { return ask(mine, http.MethodGet, path, "X-GitHub-Api-Version", "2022-11-28") },
		"a part":                     func() answer { return ask(mine, http.MethodGet, path, "Range", "bytes=0-3") },
		"HEAD":                       func() answer { return ask(mine, http.MethodHead, path) },
		"a client with an ETag":      func() answer { return ask(mine, http.MethodGet, path, "If-None-Match", `"its own"`) },
		"a change":                   func() answer { return ask(mine, http.MethodPost, path) },
	} {
		before := len(seen())
		got()
		if all := seen(); len(all) != before+1 || all[before].Header.Get("If-None-Match") != "" && name != "a client with an ETag" {
			t.Errorf("%s: GitHub was asked with If-None-Match %q, %d times", name, all[len(all)-1].Header.Get("If-None-Match"), len(all)-before)
		}
	}
	if notModified.Load() != 0 {
		t.Errorf("%d answers were taken for others", notModified.Load())
	}
	// A new token may give less access.
	g.SetProfile("{allowedRepos: [acme/widgets], permissions: {issues: read}}")
	before := len(seen())
	ask(g.Session("acme/widgets"), http.MethodGet, path)
	if all := seen(); all[before].Header.Get("If-None-Match") != "" || all[before].Header.Get("Authorization") == all[0].Header.Get("Authorization") {
		t.Error("what another token was answered is asked for with a new one")
	}
	if got := ask(g.Session("acme/widgets"), http.MethodGet, path); got.status != http.StatusOK || notModified.Load() != 1 {
		t.Errorf("with the new token again: %d, 304 %d times, want it kept", got.status, notModified.Load())
	}
}

// An answer that is incomplete, too long, or has no-store is not cached.
func TestWhatIsNotKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header, value string
		status, size  int
		cut           bool
	}{
		"no ETag":      {"ETag", "", 200, 10, false},
		"no-store":     {"Cache-Control", "private, no-store", 200, 10, false},
		"not found":    {"X-Nothing", "x", 404, 10, false},
		"too long":     {"X-Nothing", "x", 200, maxCachedAnswer + 1, false},
		"broken off":   {"X-Nothing", "x", 200, 10, true},
		"a small page": {"X-Nothing", "x", 200, 10, false},
	} {
		g := newGate(t, working)
		seen := g.script(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("ETag", `"1"`)
			w.Header().Set(c.header, c.value)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, strings.Repeat("x", c.size))
			if c.cut {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		})
		session := g.Session("acme/widgets")
		for range 2 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/api/v3/repos/acme/widgets/readme", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "token "+session)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		isKept := name == "a small page"
		if all := seen(); len(all) != 2 || (all[1].Header.Get("If-None-Match") != "") != isKept {
			t.Errorf("%s: GitHub was asked %d times, the last with If-None-Match %q, want it kept: %v", name, len(all), all[len(all)-1].Header.Get("If-None-Match"), isKept)
		}
		reserved := func() int {
			g.api.cache.mu.Lock()
			defer g.api.cache.mu.Unlock()
			return g.api.cache.pending
		}
		for deadline := time.Now().Add(10 * time.Second); reserved() != 0 && time.Now().Before(deadline); { // the broker sees the end last
			time.Sleep(time.Millisecond)
		}
		if n := reserved(); n != 0 {
			t.Errorf("%s: %d bytes are still reserved", name, n)
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c cache
	add := func(workspace string, i, size int) {
		c.put(&cached{key: cacheKey{workspace: workspace, url: strconv.Itoa(i)}, body: make([]byte, size)})
	}
	add("quiet", 0, 1000)
	for i := range 1000 {
		add("busy", i, 100<<10)
	}
	if c.sizes["busy"] > maxCachedWorkspace || c.get(cacheKey{workspace: "quiet", url: "0"}) == nil || c.get(cacheKey{workspace: "busy", url: "999"}) == nil || c.get(cacheKey{workspace: "busy", url: "0"}) != nil {
		t.Errorf("a busy workspace has %d bytes, and a quiet one lost its answer: %v", c.sizes["busy"], c.get(cacheKey{workspace: "quiet", url: "0"}) == nil)
	}
	for i := range 1000 {
		add(strconv.Itoa(i), i, 100<<10)
	}
	if c.size > maxCached || len(c.entries) != c.order.Len() || len(c.sizes) > len(c.entries) {
		t.Errorf("the cache has %d bytes in %d entries of %d workspaces", c.size, len(c.entries), len(c.sizes))
	}
	for c.reserve(100 << 10) {
	}
	if c.size > maxCached || c.pending > maxCached/2 {
		t.Errorf("with answers being read there are %d bytes, %d of them pending", c.size, c.pending)
	}
	c.release(c.pending)
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		c.remove(e)
	}
	if c.size != 0 || c.pending != 0 || len(c.entries)+len(c.sizes) != 0 {
		t.Errorf("an empty cache has %d bytes, %d pending, %d entries", c.size, c.pending, len(c.entries))
	}
}

// A workspace may go on at a third of the pace that GitHub allows the whole
// installation.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b budget
		sent, begun := 0, time.Now()
		for time.Since(begun) < 10*time.Minute {
			wait, err := b.turn("busy", perMinute(DefaultPerHour), 1, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			sent++
		}
		if most := 10*minPerMinute + minPerMinute/2 + 1; sent > most || sent < most-5 {
			t.Errorf("a client at full speed sent %d requests in ten minutes, want %d", sent, most)
		}
		if wait, err := b.turn("quiet", 300, 5, time.Now()); wait != 0 || err != nil {
			t.Errorf("another workspace waits %v, %v", wait, err)
		}
		for range 50 { // at once
			_, _ = b.turn("busy", 300, 1, time.Now())
		}
		_, err := b.turn("busy", 300, 1, time.Now())
		if refusal := broker.RefusalOf(err); err == nil || refusal.Status != http.StatusTooManyRequests || refusal.RetryAfter <= maxTurn || refusal.RetryAfter > time.Minute {
			t.Errorf("one too many at once: %+v, want to come back later", refusal)
		}
	})
	if got := perMinute(20000); got != 3000 {
		t.Errorf("perMinute(20000) = %d, want 15 %% of the hour", got)
	}
}

// One agent at full speed takes nothing from another: not of the hourly limit, not of
// the limit per minute, and no time.
func TestOneCallerAtFullSpeed(t *testing.T) {
	if testing.Short() {
		t.Skip("calls for seconds")
	}
	g := newGateWith(t, working, fakegithub.Options{RESTOnly: true, Delay: 20 * time.Millisecond, RateLimit: 80, PointsPerMinute: fakegithub.SecondaryLimit})
	quiet := func() (median time.Duration) {
		var took []time.Duration
		session := g.SessionOf("other", "acme/widgets")
		for i := range 20 {
			begun := time.Now()
			if got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
				t.Fatalf("request %d of the quiet workspace: %d %s", i, got.status, got.body)
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	alone := quiet()
	var stop atomic.Bool
	var polled, failed atomic.Int64
	var all sync.WaitGroup
	session := g.Session("acme/widgets")
	for range 8 {
		all.Go(func() {
			for !stop.Load() {
				polled.Add(1)
				if got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); polled.Load() < 140 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	beside := quiet()
	stop.Store(true)
	all.Wait()
	t.Logf("a request takes %v alone and %v beside a workspace that sent %d", alone, beside, polled.Load())
	if failed.Load() != 0 || polled.Load() < 100 {
		t.Errorf("of %d requests at full speed %d failed, want them slowed down", polled.Load(), failed.Load())
	}
	if beside > alone+100*time.Millisecond {
		t.Errorf("a request takes %v beside a workspace at full speed, and %v alone", beside, alone)
	}
}
