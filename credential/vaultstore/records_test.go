package vaultstore

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// A shelf is a Vault that has records of workspaces, and counts simultaneous readers.
type shelf struct {
	*httptest.Server
	workspaces int

	mu         sync.Mutex // guards the fields below
	here, most int        // readers now, and their maximum
	full       *sync.Cond // broadcast when a reader comes
	refuses    bool       // all reads of records
}

func newShelf(t *testing.T, workspaces int) *shelf {
	t.Helper()
	s := &shelf{workspaces: workspaces}
	s.full = sync.NewCond(&s.mu)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Setenv("VAULT_TOKEN", "test")
	return s
}

func (s *shelf) open(t *testing.T) *Store {
	t.Helper()
	return openStore(t, "vault://kv/team?addr="+s.URL)
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case strings.HasPrefix(path, "sys/internal/ui/mounts/"):
		fmt.Fprint(w, `{"data": {"path": "kv/", "type": "kv", "options": {"version": "2"}}}`)
	case path == "kv/metadata/team/sandbox":
		var keys []string
		for n := range s.workspaces {
			keys = append(keys, fmt.Sprintf(`"w%d/"`, n))
		}
		fmt.Fprintf(w, `{"data": {"keys": [%s, "no workspace!/"]}}`, strings.Join(keys, ","))
	case strings.HasSuffix(path, "/w1/workspace"):
		w.WriteHeader(http.StatusNotFound) // destroyed since
		fmt.Fprint(w, `{"errors": []}`)
	default:
		s.read(w, path)
	}
}

func (s *shelf) reading() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.here
}

// read answers when as many readers as possible have come.
func (s *shelf) read(w http.ResponseWriter, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.here++
	s.most = max(s.most, s.here)
	s.full.Broadcast()
	for s.most < min(readers, s.workspaces-1) {
		s.full.Wait()
	}
	s.here--
	if s.refuses {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors": ["permission denied"]}`)
		return
	}
	field := valueField
	if strings.HasSuffix(path, "/w2/workspace") {
		field = "other"
	}
	fmt.Fprintf(w, `{"data": {"data": {%q: %q}, "metadata": {"version": 1, "created_time": "2031-05-05T12:00:00Z"}}}`, field, path)
}

// Several records are read at a time, but not all at once.
func TestRecordsAreReadTogether(t *testing.T) {
	s := newShelf(t, 3*readers)
	found, damaged := map[string]string{}, 0
	for e, err := range s.open(t).Records(t.Context()) {
		switch {
		case errors.Is(err, store.ErrDamaged) && e.Name.String() == "sandbox/w2/workspace":
			damaged++
		case err != nil:
			t.Fatal(err)
		default:
			found[e.Name.String()] = e.Value.Reveal()
		}
	}
	if len(found) != s.workspaces-2 || damaged != 1 {
		t.Errorf("Records yields %d records and %d that are damaged, want %d and one", len(found), damaged, s.workspaces-2)
	}
	for name, value := range found {
		if value != "kv/data/team/"+name {
			t.Errorf("%s has the value of %s", name, value)
		}
	}
	if s.most != readers {
		t.Errorf("%d records are read at once, want %d", s.most, readers)
	}
}

// An error ends it, and so does a caller that stops. No reader continues afterwards.
func TestRecordsEnd(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		s := newShelf(t, 3*readers)
		s.refuses = refuses
		n := 0
		for e, err := range s.open(t).Records(t.Context()) {
			if n++; (err != nil) != refuses && !errors.Is(err, store.ErrDamaged) || refuses && !e.Name.IsZero() {
				t.Errorf("Records yields %s, %v", e.Name, err)
			}
			if !refuses {
				break
			}
		}
		if n != 1 {
			t.Errorf("Records yields %d times, want once", n)
		}
		// The server notices a moment later that a client has left.
		for deadline := time.Now().Add(10 * time.Second); s.reading() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d still read, want none", s.reading())
			}
		}
	}
}
