package rest

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// withStorage adds a storage host to the scripted API. The API redirects to the URL in
// to; at first this is the storage's file.
func (g *gate) withStorage(store http.HandlerFunc) (to *atomic.Value, storage *url.URL) {
	g.t.Helper()
	server := httptest.NewTLSServer(store)
	g.t.Cleanup(server.Close)
	to = new(atomic.Value)
	to.Store(server.URL + "/file?sig=SIGNATURE")
	g.script(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to.Load().(string), http.StatusFound)
	})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate()) // the certificate of every httptest server
	g.Access.Upstream.Trust(roots)
	storage, err := url.Parse(server.URL)
	if err != nil {
		g.t.Fatal(err)
	}
	g.settings.Storage = []string{storage.Host}
	return to, storage
}

const logs = "/api/v3/repos/acme/widgets/actions/runs/1/logs"

func TestDownloadsAreFetchedByTheBroker(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	file := []byte("the text of a log, which is long enough for a range")
	var asked atomic.Value
	to, storage := g.withStorage(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("X-Ms-Request-Id", "account")
		w.Header().Set("Content-Disposition", "attachment; filename=logs.zip")
		switch r.URL.Path {
		case "/again":
			http.Redirect(w, r, "/file?sig=SECOND", http.StatusTemporaryRedirect)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "https://elsewhere.example/x?sig=SIGNATURE", http.StatusFound)
		case "/gone":
			http.Error(w, "<Error>account productionresultssa1</Error>", http.StatusNotFound)
		case "/down":
			http.Error(w, "down", http.StatusServiceUnavailable)
		default:
			http.ServeContent(w, r, "logs.zip", time.Time{}, bytes.NewReader(file))
		}
	})
	session := g.Session("acme/widgets")
	got := g.ask(session, http.MethodGet, logs, "")
	if got.status != http.StatusOK || got.body != string(file) || got.header.Get("Content-Disposition") == "" || got.header.Get("Location") != "" || got.header.Get("Set-Cookie") != "" || got.header.Get("X-Ms-Request-Id") != "" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	up := asked.Load().(*http.Request)
	if up.Header.Get("Authorization") != "" || up.Header.Get("Cookie") != "" || up.URL.RawQuery != "sig=SIGNATURE" {
		t.Errorf("the storage is asked %s with %v", up.URL, up.Header)
	}
	r, err := http.NewRequest(http.MethodGet, g.url+logs, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+session)
	r.Header.Set("Range", "bytes=4-7")
	if got := g.do(r); got.status != http.StatusPartialContent || got.body != "text" || got.header.Get("Content-Range") == "" {
		t.Errorf("a range: %d %v %q", got.status, got.header, got.body)
	}
	r.Method = http.MethodHead
	r.Header.Del("Range")
	if got := g.do(r); got.status != http.StatusOK || got.body != "" || got.header.Get("Content-Length") != fmt.Sprint(len(file)) {
		t.Errorf("HEAD: %d %v", got.status, got.header)
	}
	for _, c := range []struct {
		name, to string
		status   int
		text     string // part of the refusal; "" means none
	}{
		{"a redirect within the storage", storage.String() + "/again", 200, ""},
		{"a circle", storage.String() + "/loop", 502, "too often"},
		{"from the storage to elsewhere", storage.String() + "/away", 502, "elsewhere.example"},
		{"a file that is gone", storage.String() + "/gone", 404, "any more"},
		{"a storage that is down", storage.String() + "/down", 502, "503"},
		{"to elsewhere", "https://elsewhere.example/x?sig=SIGNATURE", 502, "elsewhere.example"},
		{"without TLS", "http://" + storage.Host + "/file", 502, "GitHub redirects this download to a host that is not one of its known storage hosts"},
		{"with a password", "https://u:p@" + storage.Host + "/file", 502, "GitHub redirects this download to a host that is not one of its known storage hosts"},
		{"another port", "https://" + storage.Hostname() + ":1/file", 502, "GitHub redirects this download to a host that is not one of its known storage hosts"},
		{"no URL", "https://[", 502, "without a Location"},
		{"within the API", "https://" + g.Access.Upstream.API.Host + "/api/v3/repositories/7/x", 302, ""},
	} {
		to.Store(c.to)
		got := g.ask(session, http.MethodGet, logs, "")
		if c.text != "" {
			g.checkRefused(c.name, got, c.status, c.text)
		} else if got.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, got.status, got.body, c.status)
		}
		if all := fmt.Sprint(got.header, got.body); strings.Contains(all, "SIGNATURE") || strings.Contains(all, "productionresults") {
			t.Errorf("%s: the answer tells of the storage: %s", c.name, all)
		}
		if location := got.header.Get("Location"); c.status == 302 && location != g.url+"/api/v3/repositories/7/x" {
			t.Errorf("%s: Location %q", c.name, location)
		}
	}
	to.Store(storage.String() + "/file")
	g.checkRefused("of a change", g.ask(session, http.MethodPost, logs, "{}"), http.StatusBadGateway, "out of its API")
}

// An artifact of 300 MB is passed on without being held in memory.
func TestLargeDownloadsTakeNoMemory(t *testing.T) { // not in parallel: it measures the heap of the whole process
	if testing.Short() {
		t.Skip("moves large files")
	}
	const size = 300 << 20
	g := newGate(t, working)
	piece := make([]byte, 1<<20)
	g.withStorage(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	r, err := http.NewRequest(http.MethodGet, g.url+logs, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+g.Session("acme/widgets"))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	n, buffer, peak := 0, make([]byte, 64<<10), uint64(0)
	for next := 0; ; {
		got, err := resp.Body.Read(buffer)
		if n += got; n > next {
			next += 32 << 20
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapInuse)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != size || peak > before.HeapInuse+32<<20 {
		t.Errorf("%d bytes, want %d; the heap grew from %d to %d", n, size, before.HeapInuse, peak)
	}
}

func TestStorageHosts(t *testing.T) {
	for _, c := range []struct {
		api, host string
		want      bool
	}{
		{"https://api.github.com", "productionresultssa0.blob.core.windows.net", true},
		{"https://api.github.com", "productionresultssa19.blob.core.windows.net", true},
		{"https://api.github.com", "prodweu01resultssa2.blob.core.windows.net", true},
		{"https://api.github.com", "release-assets.githubusercontent.com", true},
		{"https://api.github.com", "objects.githubusercontent.com", true},
		{"https://api.github.com", "codeload.github.com", true},
		{"https://api.github.com", "Codeload.GitHub.com", true},
		{"https://api.github.com", "pipelinesghubeus1.actions.githubusercontent.com", true},
		{"https://api.github.com", "evil.blob.core.windows.net", false},
		{"https://api.github.com", "resultssa1.blob.core.windows.net", false},
		{"https://api.github.com", "prodresultssaevil.blob.core.windows.net", false},
		{"https://api.github.com", "prod.x.resultssa1.blob.core.windows.net", false},
		{"https://api.github.com", "productionresultssa0.blob.core.windows.net.evil.example", false},
		{"https://api.github.com", "actions.githubusercontent.com.evil.example", false},
		{"https://api.github.com", ".actions.githubusercontent.com", false},
		{"https://api.github.com", "github.com", false},
		{"https://api.github.com", "gist.github.com", false},
		{"https://api.github.com", "codeload.github.com:444", false},
		{"https://api.github.com", "169.254.169.254", false},
		{"https://api.acme.ghe.com", "codeload.acme.ghe.com", true},
		{"https://api.acme.ghe.com", "codeload.other.ghe.com", false},
		{"https://api.acme.ghe.com", "codeload.github.com", false},
		{"https://github.acme.example/api/v3", "minio.acme.example:9000", true},
		{"https://github.acme.example/api/v3", "a_b c", false},
		{"https://github.acme.example/api/v3", "", false},
	} {
		api, err := url.Parse(c.api)
		if err != nil {
			t.Fatal(err)
		}
		if got := isStorage(&url.URL{Scheme: "https", Host: c.host, Path: "/x"}, DefaultStorage(api)); got != c.want {
			t.Errorf("%s before %s: %v, want %v", c.host, c.api, got, c.want)
		}
	}
}
