package hub

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// linkLife is how long a link to storage works. GitHub's are of minutes.
const linkLife = 10 * time.Minute

// A storage is the other host that logs, artifacts and release assets are downloaded
// from, by links that are signed and expire.
type storage struct {
	s   *fakegithub.Server
	url string
	key [32]byte

	mu       sync.Mutex // guards the rest
	files    map[string]stored
	requests []Download
}

// A stored file is read from where it lies, so that a large one takes no memory.
type stored struct {
	name, kind string
	content    io.ReaderAt
	size       int64
}

// A Download is a request that storage saw.
type Download struct {
	Authorization bool // it had such a header, which storage refuses
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

// DownloadsURL is the address of the host that downloads are redirected to.
func (h *Hub) DownloadsURL() string { return h.storage.url }

// Downloads lists the requests that storage has seen.
func (h *Hub) Downloads() []Download {
	h.storage.mu.Lock()
	defer h.storage.mu.Unlock()
	return append([]Download(nil), h.storage.requests...)
}

// put keeps a file under a name of its own.
func (st *storage) put(f stored) (id string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	id = randomText()
	st.files[id] = f
	return id
}

// link signs a URL of a file, as long as it works.
func (st *storage) link(id string) string {
	expires := strconv.FormatInt(st.s.Now().Add(linkLife).Unix(), 10)
	return fmt.Sprintf("%s/%s?se=%s&sig=%s", st.url, id, expires, st.sign(id, expires))
}

func (st *storage) sign(id, expires string) string {
	mac := hmac.New(sha256.New, st.key[:])
	fmt.Fprintf(mac, "%s\n%s", id, expires)
	return hex.EncodeToString(mac.Sum(nil))
}

// redirect answers with a link to the file.
func (st *storage) redirect(id string) fakegithub.Answer {
	return fakegithub.Answer{Status: http.StatusFound, Header: http.Header{"Location": {st.link(id)}}}
}

// ServeHTTP gives a file to whom has its link. As Azure's storage does, it refuses a
// request that also has an Authorization header.
func (st *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Path[min(1, len(r.URL.Path)):]
	seen := Download{Authorization: r.Header.Get("Authorization") != "", Range: r.Header.Get("Range"), Status: http.StatusOK}
	st.mu.Lock()
	f, there := st.files[id]
	expires, sig := r.URL.Query().Get("se"), r.URL.Query().Get("sig")
	until, _ := strconv.ParseInt(expires, 10, 64)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		seen.Status = http.StatusMethodNotAllowed
	case seen.Authorization:
		seen.Status = http.StatusBadRequest
	case !there || !hmac.Equal([]byte(sig), []byte(st.sign(id, expires))):
		seen.Status = http.StatusForbidden
	case !st.s.Now().Before(time.Unix(until, 0)):
		seen.Status = http.StatusForbidden
	}
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
