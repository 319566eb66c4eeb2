package rest

import (
	"bytes"
	"container/list"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Limits of a cache, in bytes of bodies as GitHub sends them, usually compressed.
const (
	maxCached          = 16 << 20 // of all workspaces, answers being read included
	maxCachedWorkspace = 2 << 20
	maxCachedAnswer    = 256 << 10
	cachedOverhead     = 2 << 10 // what an answer counts besides its body: headers and key
)

// A cache holds answers of GitHub to GET requests that have an ETag. Each is for one
// token, one workspace and one form of request. It is given only after GitHub, asked
// with the ETag and that token, has confirmed it with a 304, which does not count
// against the installation's hourly limit. So a client that polls without a cache of
// its own costs as little as one with a cache.
//
// The zero cache is ready for use.
type cache struct {
	mu      sync.Mutex // guards the rest
	entries map[cacheKey]*list.Element
	order   list.List      // of *cached, most recently used first
	sizes   map[string]int // by workspace
	size    int            // of all answers, and pending
	pending int            // bytes of answers that are being read
}

// A cacheKey is different for requests whose answers may differ.
type cacheKey struct{ workspace, token, url, headers string }

// cached is one answer.
type cached struct {
	key    cacheKey
	etag   string
	header http.Header
	body   []byte
}

func (a *cached) size() int { return len(a.body) + cachedOverhead }

// get returns the answer for a key, or nil.
func (c *cache) get(key cacheKey) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached)
}

// put adds an answer. It removes the least recently used ones, first of the same
// workspace if that is over its share.
func (c *cache) put(a *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries, c.sizes = map[cacheKey]*list.Element{}, map[string]int{}
	}
	if e := c.entries[a.key]; e != nil {
		c.remove(e)
	}
	c.entries[a.key] = c.order.PushFront(a)
	c.sizes[a.key.workspace] += a.size()
	c.size += a.size()
	for e := c.order.Back(); e != nil && c.sizes[a.key.workspace] > maxCachedWorkspace; {
		previous := e.Prev()
		if e.Value.(*cached).key.workspace == a.key.workspace {
			c.remove(e)
		}
		e = previous
	}
	c.shrink()
}

// shrink removes answers until the cache is within its limit. The caller holds mu.
func (c *cache) shrink() {
	for c.size > maxCached && c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}

// remove removes an answer. The caller holds mu.
func (c *cache) remove(e *list.Element) {
	a := c.order.Remove(e).(*cached)
	delete(c.entries, a.key)
	c.size -= a.size()
	if c.sizes[a.key.workspace] -= a.size(); c.sizes[a.key.workspace] <= 0 {
		delete(c.sizes, a.key.workspace)
	}
}

// reserve takes n bytes for an answer that is being read, and reports whether they were
// free: these answers may have half of the cache.
func (c *cache) reserve(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending+n > maxCached/2 {
		return false
	}
	c.pending += n
	c.size += n
	c.shrink()
	return true
}

func (c *cache) release(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending -= n
	c.size -= n
}

// conditions are the headers of clients that have a cached answer, or want a part.
var conditions = []string{"If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "If-Range", "Range"}

// cacheKey returns the key of the request to a GitHub URL. ok is false if its answer is
// not cached: for example, a client that sends a condition has its own cache.
func (c *call) cacheKey(to string) (key cacheKey, ok bool) {
	if c.r.Method != http.MethodGet || c.target.area != restArea {
		return key, false
	}
	var headers strings.Builder
	for _, name := range forwardedHeaders {
		headers.WriteString(strings.Join(c.r.Header.Values(name), "\n") + "\n\n")
	}
	for _, name := range conditions {
		if c.r.Header.Get(name) != "" {
			return key, false
		}
	}
	return cacheKey{c.caller.ID, c.grant.Token.Hash(), to, headers.String()}, true
}

// unchanged returns a cached answer as GitHub would have sent it, with the newer
// headers of GitHub's 304, which say what is left of the rate limit.
func (a *cached) unchanged(notModified *http.Response) *http.Response {
	notModified.Body.Close()
	header := maps.Clone(a.header)
	for _, name := range answered {
		if values := notModified.Header.Values(name); len(values) > 0 {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: header, Request: notModified.Request,
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)),
	}
}

// cacheAnswer caches an answer, if allowed, once its body was read to the end.
func (c *call) cacheAnswer(resp *http.Response, key cacheKey) {
	etag := resp.Header.Get("ETag")
	isKept := resp.StatusCode == http.StatusOK && isHeader(etag) && resp.Header.Get("Location") == "" && resp.ContentLength <= maxCachedAnswer &&
		!strings.Contains(strings.ToLower(resp.Header.Get("Cache-Control")), "no-store")
	if !isKept {
		return
	}
	a := &cached{key: key, etag: etag, header: http.Header{}}
	copyHeaders(a.header, resp.Header, append([]string{"Content-Encoding", "Link"}, answered...))
	resp.Body = &recorded{ReadCloser: resp.Body, to: &c.cache, answer: a}
}

// A recorded is a body that is collected for the cache while it is read.
type recorded struct {
	io.ReadCloser
	to       *cache
	answer   *cached // nil once the answer is no longer collected
	reserved int
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.answer == nil {
		return n, err
	}
	if n > 0 && (len(r.answer.body)+n > maxCachedAnswer || !r.to.reserve(n)) {
		r.drop()
		return n, err
	}
	r.reserved += n
	r.answer.body = append(r.answer.body, p[:n]...)
	if err == io.EOF { //nolint:errorlint // a reader's end is io.EOF itself
		whole := r.answer
		r.drop()
		r.to.put(whole)
	}
	return n, err
}

// drop ends the collecting.
func (r *recorded) drop() {
	r.to.release(r.reserved)
	r.answer, r.reserved = nil, 0
}

func (r *recorded) Close() error {
	if r.answer != nil { // it ended early
		r.drop()
	}
	return r.ReadCloser.Close()
}
