//go:build linux

package cmd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// lfsServer implements as much of the git-lfs API as a push and a clone need: the batch
// call and the transfer of objects, each with a live token of github only.
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
type lfsServer struct {
	github *fakegithub.Server

	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

type lfsObject struct {
	OID     string               `json:"oid"`
	Size    int64                `json:"size"`
	Actions map[string]lfsAction `json:"actions,omitempty"`
}

type lfsAction struct {
	Href string `json:"href"`
}

type lfsBatch struct {
	Operation string      `json:"operation,omitempty"`
	Transfer  string      `json:"transfer,omitempty"`
	Objects   []lfsObject `json:"objects"`
}

func (s *lfsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.allowed(r):
		w.Header().Set("LFS-Authenticate", `Basic realm="GitHub"`)
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(r.URL.Path, "/objects/batch"):
		s.batch(w, r)
	case strings.HasPrefix(r.URL.Path, "/lfs/"):
		s.transfer(w, r, strings.TrimPrefix(r.URL.Path, "/lfs/"))
	default:
		http.NotFound(w, r) // the locking API, which a server need not have
	}
}

func (s *lfsServer) allowed(r *http.Request) bool {
	_, token, _ := r.BasicAuth()
	for _, live := range s.github.Tokens() {
		if live.Hash == fakegithub.Hash(token) {
			return true
		}
	}
	return false
}

func (s *lfsServer) batch(w http.ResponseWriter, r *http.Request) {
	var batch lfsBatch
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		http.Error(w, "malformed batch", http.StatusUnprocessableEntity)
		return
	}
	answer := lfsBatch{Transfer: "basic"}
	for _, o := range batch.Objects {
		o.Actions = map[string]lfsAction{batch.Operation: {Href: "https://" + r.Host + "/lfs/" + o.OID}}
		answer.Objects = append(answer.Objects, o)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *lfsServer) transfer(w http.ResponseWriter, r *http.Request, oid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPut {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			s.objects[oid] = data
		}
		return
	}
	data, ok := s.objects[oid]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data)
}
