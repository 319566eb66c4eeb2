package hub

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// linkLife is how long a link to storage works. GitHub's links work for minutes.
const linkLife = 10 * time.Minute

// A storage is the other host, from which logs, artifacts and release assets are
// downloaded. Its links are signed and expire.
type storage struct {
	s   *fakegithub.Server
	url string
	key [32]byte

	mu       sync.Mutex // guards the rest
	files    map[string]stored
	requests []Download
}

// A stored file is read from its source when it is needed, so that a large one takes no
// memory.
type stored struct {
	name, kind string
	content    io.ReaderAt
	size       int64
}

// A Download is a request that the storage received.
type Download struct {
	Authorization bool // it had an Authorization header, which the storage refuses
	Range         string
	Status        int
}

func newStorage(s *fakegithub.Server) (*storage, error) {
	st := &storage{s: s, files: map[string]stored{}}
	_, _ = rand.Read(st.key[:]) // never fails
	var err error
	st.url, err = s.ServeBeside("blobs", st)
	return st, err
}

// DownloadsURL returns the address of the host that downloads are redirected to.
func (h *Hub) DownloadsURL() string { return h.storage.url }

// Downloads returns the requests that the storage received.
func (h *Hub) Downloads() []Download {
	h.storage.mu.Lock()
	defer h.storage.mu.Unlock()
	return append([]Download(nil), h.storage.requests...)
}

// put stores a file under a new ID.
func (st *storage) put(f stored) (id string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	id = randomText()
	st.files[id] = f
	return id
}

// link returns a signed URL of a file, which works for linkLife.
func (st *storage) link(id string) string {
	expires := strconv.FormatInt(st.s.Now().Add(linkLife).Unix(), 10)
	return fmt.Sprintf("%s/%s?se=%s&sig=%s", st.url, id, expires, st.sign(id, expires))
}

func (st *storage) sign(id, expires string) string {
	mac := hmac.New(sha256.New, st.key[:])
	fmt.Fprintf(mac, "%s\n%s", id, expires)
	return hex.EncodeToString(mac.Sum(nil))
}

// redirect answers with a link to the file. At an Enterprise Server, the server itself
// is the storage.
func (r request) redirect(id string) fakegithub.Answer {
	link := r.h.storage.link(id)
	if r.h.enterprise != "" {
		link = r.HTML(ownStorage) + strings.TrimPrefix(link, r.h.storage.url)
	}
	return fakegithub.Answer{Status: http.StatusFound, Header: http.Header{"Location": {link}}}
}

const ownStorage = "/_services/storage"

func (h *Hub) storageRoutes() {
	h.s.Handle("GET "+ownStorage+"/{id}", func(c fakegithub.Call) fakegithub.Answer {
		f, status := h.storage.find(c.PathValue("id"), c.URL.Query())
		if status != http.StatusOK {
			return *c.Refuse(status, "Not Found")
		}
		text, err := io.ReadAll(io.NewSectionReader(f.content, 0, f.size))
		if err != nil {
			return *c.Refuse(http.StatusInternalServerError, "Server Error")
		}
		return ok(fakegithub.Text{Type: f.kind, Text: text})
	})
}

// find returns the file of a link, if the link is signed and has not expired.
func (st *storage) find(id string, q url.Values) (stored, int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	f, there := st.files[id]
	until, err := strconv.ParseInt(q.Get("se"), 10, 64)
	if !there || err != nil || !hmac.Equal([]byte(q.Get("sig")), []byte(st.sign(id, q.Get("se")))) || !st.s.Now().Before(time.Unix(until, 0)) {
		return stored{}, http.StatusForbidden
	}
	return f, http.StatusOK
}

// ServeHTTP sends a file to every caller with its link. Like Azure's storage, it
// refuses a request that also has an Authorization header.
func (st *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, status := st.find(strings.TrimPrefix(r.URL.Path, "/"), r.URL.Query())
	seen := Download{Authorization: r.Header.Get("Authorization") != "", Range: r.Header.Get("Range"), Status: status}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		seen.Status = http.StatusMethodNotAllowed
	case seen.Authorization:
		seen.Status = http.StatusBadRequest
	}
	st.mu.Lock()
	st.requests = append(st.requests, seen)
	st.mu.Unlock()
	if seen.Status != http.StatusOK {
		http.Error(w, "<Error><Code>AuthenticationFailed</Code></Error>", seen.Status)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.name))
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f.content, 0, f.size))
}
