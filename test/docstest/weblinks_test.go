package docstest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

var (
	webAddress = regexp.MustCompile("https://[^][\\s\"'<>`)\\\\|{}]+")
	hostName   = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	ourFiles   = "https://github.com/gatepass/gatepass/blob/main/"
)

// madeUp are the beginnings of addresses that examples and comments use and that no reader
// opens: accounts, identities and forms of addresses.
var madeUp = []string{
	"https://github.com/acme", "https://github.com/x@", "https://api.github.com/", "https://login.microsoftonline.com/TENANT",
	"https://sts.amazonaws.com/", // claims and an XML namespace
}

// isPage reports whether an address is a page on the web, and not an example or the address
// of a service. Names of examples are those of RFC 2606.
func isPage(address string) bool {
	u, err := url.Parse(address)
	if err != nil || !hostName.MatchString(u.Host) || strings.Trim(u.Path, "/") == "" || strings.ContainsAny(address, "…*%") {
		return false
	}
	for _, end := range []string{".example", ".test", ".invalid", ".localhost", ".local", ".svc", "example.com"} {
		if strings.HasSuffix(u.Host, end) {
			return false
		}
	}
	return !slices.ContainsFunc(madeUp, func(start string) bool { return strings.HasPrefix(address, start) })
}

// webLinks returns the web pages that the project's pages, programs and examples name, each
// with a file that does.
func webLinks(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(file), root+"/")
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || name == "bin" || name == "dist" || name == "test") {
			return fs.SkipDir
		}
		if !slices.Contains([]string{".md", ".go", ".html", ".yaml", ".sh"}, path.Ext(name)) || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, address := range webAddress.FindAllString(string(text), -1) {
			if address = strings.TrimRight(address, ".,;:!?"); isPage(address) {
				found[address] = name
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 50 {
		t.Fatalf("%d links to the web are found, want all of them", len(found))
	}
	return found
}

// A link to the web on a page can be opened as it is written: it has a host with a dot, and
// neither the sentence's punctuation nor an empty anchor at its end.
func TestWebLinksAreWellFormed(t *testing.T) {
	for _, page := range pages(t) {
		_, prose := blocks(read(t, page))
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if !strings.Contains(m[1], "://") {
				continue
			}
			if u, err := url.Parse(m[1]); err != nil || u.Scheme != "https" || !hostName.MatchString(u.Host) || u.User != nil || strings.ContainsAny(m[1][len(m[1])-1:], ".,;:!?#") {
				t.Errorf("%s links to %s, want https://HOST.NAME/PATH", page, m[1])
			}
		}
	}
}

// Programs name pages of this project by their address at GitHub; the pages and their
// headings are in the tree.
func TestLinksToThisProjectLeadSomewhere(t *testing.T) {
	for address, from := range webLinks(t) {
		to, ours := strings.CutPrefix(address, ourFiles)
		if !ours {
			continue
		}
		page, name, _ := strings.Cut(to, "#")
		if _, err := os.Stat(filepath.Join(root, page)); err != nil {
			t.Errorf("%s leads to %s, which is not there", from, page)
			continue
		}
		if _, prose := blocks(read(t, page)); name != "" && !anchors(prose)[name] {
			t.Errorf("%s leads to %s, which has no heading %s", from, page, name)
		}
	}
}

// Every web page that is named is there. "make test-real" opens them, as far as it reaches
// their hosts.
func TestWebLinksAreThere(t *testing.T) {
	if os.Getenv("GATEPASS_TEST_WEB") == "" {
		t.Skip("missing: the web (make test-real sets GATEPASS_TEST_WEB)")
	}
	links := webLinks(t)
	maps.DeleteFunc(links, func(address, _ string) bool { return strings.HasPrefix(address, "https://github.com/gatepass/") })
	absent, unknown := lookUp(t.Context(), &http.Client{Timeout: 20 * time.Second}, links)
	for _, text := range absent {
		t.Error(text)
	}
	if len(unknown) > 0 {
		hosts := slices.Compact(slices.Sorted(slices.Values(unknown)))
		t.Skipf("missing: %d of %d web pages could not be opened, at %s", len(unknown), len(links), strings.Join(hosts, ", "))
	}
}

// lookUp opens all links. It returns a text for each page that is not there, and the host of
// each page of which this is not known.
func lookUp(ctx context.Context, client *http.Client, links map[string]string) (absent, unknown []string) {
	var mu sync.Mutex // guards both
	var running errgroup.Group
	running.SetLimit(16)
	for address, from := range links {
		running.Go(func() error {
			status, err := open(ctx, client, address)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && (status == http.StatusNotFound || status == http.StatusGone):
				absent = append(absent, fmt.Sprintf("%s leads to %s, which answers %d", from, address, status))
			case err != nil || status >= 400:
				unknown = append(unknown, strings.Split(address, "/")[2])
			}
			return nil
		})
	}
	_ = running.Wait() // returns no error
	return absent, unknown
}

// A page that is gone is found, and is told from one that only refuses HEAD, and from a host
// that is out of reach.
func TestLookUp(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/gone":
			w.WriteHeader(http.StatusGone)
		case r.URL.Path == "/down":
			w.WriteHeader(http.StatusBadGateway)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	at := web.URL
	absent, unknown := lookUp(t.Context(), web.Client(), map[string]string{at + "/page": "a.md", at + "/gone": "b.md", at + "/down": "c.md"})
	if want := "b.md leads to " + at + "/gone, which answers 410"; !slices.Equal(absent, []string{want}) || len(unknown) != 1 {
		t.Errorf("absent %q, unknown %q, want %q and one unknown", absent, unknown, want)
	}
	web.Close()
	if absent, unknown := lookUp(t.Context(), http.DefaultClient, map[string]string{at + "/gone": "b.md"}); len(absent) != 0 || len(unknown) != 1 {
		t.Errorf("out of reach: absent %q, unknown %q, want one unknown", absent, unknown)
	}
}

// open asks for a page without its text; many sites refuse HEAD.
func open(ctx context.Context, client *http.Client, address string) (status int, err error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		request, err := http.NewRequestWithContext(ctx, method, address, nil)
		if err != nil {
			return 0, err
		}
		request.Header.Set("User-Agent", "gatepass-docstest (+https://github.com/gatepass/gatepass)")
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<10))
		response.Body.Close()
		if status = response.StatusCode; status < 400 {
			return status, nil
		}
	}
	return status, nil
}
