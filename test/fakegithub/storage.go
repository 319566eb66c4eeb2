package fakegithub

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A storageHost has the objects of Git LFS. Its address differs from GitHub's, and it
// accepts only signatures, as github-cloud.githubusercontent.com,
// github-cloud.s3.amazonaws.com and lfs.github.com do.
type storageHost struct {
	url string // https://HOST
	key []byte // key for its signatures
}

func newStorageHost() *storageHost {
	h := &storageHost{url: "https://storage.invalid", key: make([]byte, 32)}
	_, _ = rand.Read(h.key) // never fails
	return h
}

// isForStorage distinguishes requests to the storage host from those to GitHub.
func (s *Server) isForStorage(r *http.Request) bool {
	return "https://"+r.Host == s.storage.url
}

// lfsState is the LFS state of a repository.
type lfsState struct {
	objects map[string]storedObject // by OID
	locks   []LFSLock               // by ID
}

// A storedObject has been uploaded; it belongs to the repository once it is verified.
type storedObject struct {
	size     int64
	verified bool
}

func (st *state) lfsOf(repository int64) *lfsState {
	if st.lfs[repository] == nil {
		st.lfs[repository] = &lfsState{objects: map[string]storedObject{}}
	}
	return st.lfs[repository]
}

// StorageURL returns the address of the host with the LFS objects, which differs from
// URL.
func (s *Server) StorageURL() string { return s.storage.url }

// LFSObjects returns the OIDs of the objects of a repository that were uploaded and
// verified.
func (s *Server) LFSObjects(owner, name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.state.repository(owner, name)
	if repo == nil {
		return nil
	}
	var oids []string
	for oid, o := range s.state.lfsOf(repo.ID).objects {
		if o.verified {
			oids = append(oids, oid)
		}
	}
	slices.Sort(oids)
	return oids
}

// AddLFSObject stores an object in a repository and returns its OID.
func (s *Server) AddLFSObject(owner, name string, content io.Reader) (oid string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.state.repository(owner, name)
	if repo == nil {
		return "", errUnknownRepository
	}
	oid, size, err := s.keep(repo.ID, content)
	if err == nil {
		s.state.lfsOf(repo.ID).objects[oid] = storedObject{size: size, verified: true}
	}
	return oid, err
}

func (s *Server) objectFile(repository int64, oid string) string {
	return filepath.Join(s.opts.Root, "lfs", strconv.FormatInt(repository, 10), oid)
}

// keep stores an object on disk.
func (s *Server) keep(repository int64, content io.Reader) (oid string, size int64, err error) {
	dir := filepath.Join(s.opts.Root, "lfs", strconv.FormatInt(repository, 10))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", 0, err
	}
	f, err := os.CreateTemp(dir, "upload-")
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(f.Name()) // gone after the rename
	hash := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, hash), content)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", 0, err
	}
	oid = hex.EncodeToString(hash.Sum(nil))
	return oid, size, os.Rename(f.Name(), s.objectFile(repository, oid))
}

// serveStorage answers requests to the storage host.
func (s *Server) serveStorage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "AmazonS3")
	h.Set("X-Amz-Request-Id", strings.ToUpper(randomBase62(16)))
	path := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	switch {
	case len(path) == 6 && path[0] == "alambic" && path[1] == "media":
		s.serveMedia(w, r, path)
	case len(path) == 5 && path[2] == "objects" && path[4] == "verify":
		s.verifyObject(w, r, path)
	default:
		refuseStorage(w, r, refuse(http.StatusForbidden, "AccessDenied"))
	}
}

// refuseStorage answers like S3, after reading the body.
func refuseStorage(w http.ResponseWriter, r *http.Request, no *refusal) {
	_, _ = io.Copy(io.Discard, r.Body)
	maps.Copy(w.Header(), no.header)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(no.status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code></Error>", no.message)
}

// serveMedia reads or writes /alambic/media/REPOSITORY/ab/cd/OID.
func (s *Server) serveMedia(w http.ResponseWriter, r *http.Request, path []string) {
	id, err := strconv.ParseInt(path[2], 10, 64)
	oid := path[5]
	if err != nil || !isOID256(oid) || path[3] != oid[:2] || path[4] != oid[2:4] {
		refuseStorage(w, r, refuse(http.StatusForbidden, "AccessDenied"))
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.sendObject(w, r, id, oid)
	case http.MethodPut:
		s.receiveObject(w, r, id, oid)
	default:
		refuseStorage(w, r, refuse(http.StatusMethodNotAllowed, "MethodNotAllowed"))
	}
}

func (s *Server) sendObject(w http.ResponseWriter, r *http.Request, id int64, oid string) {
	if no := s.checkSignedURL(r); no != nil {
		refuseStorage(w, r, no)
		return
	}
	f, err := os.Open(s.objectFile(id, oid))
	if err != nil {
		refuseStorage(w, r, refuse(http.StatusNotFound, "NoSuchKey"))
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		refuseStorage(w, r, refuse(http.StatusInternalServerError, "InternalError"))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+oid[:32]+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

func (s *Server) receiveObject(w http.ResponseWriter, r *http.Request, id int64, oid string) {
	if no := s.checkSignedUpload(r, id, oid); no != nil {
		refuseStorage(w, r, no)
		return
	}
	got, size, err := s.keep(id, r.Body)
	switch {
	case err != nil:
		refuseStorage(w, r, refuse(http.StatusBadRequest, "IncompleteBody"))
		return
	case got != oid:
		refuseStorage(w, r, refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch"))
		return
	}
	s.mu.Lock()
	objects := s.state.lfsOf(id).objects
	objects[oid] = storedObject{size: size, verified: objects[oid].verified}
	s.mu.Unlock()
	w.Header().Set("ETag", `"`+oid[:32]+`"`)
	w.WriteHeader(http.StatusOK)
}

// verifyObject adds an uploaded object to the repository: POST
// /OWNER/NAME/objects/OID/verify.
func (s *Server) verifyObject(w http.ResponseWriter, r *http.Request, path []string) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var in struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	if err != nil || json.Unmarshal(body, &in) != nil || r.Method != http.MethodPost {
		s.writeLFS(w, refuse(http.StatusBadRequest, "Problems parsing JSON").lfsAnswer())
		return
	}
	s.mu.Lock()
	a := s.verified(r, path, in.OID, in.Size)
	s.mu.Unlock()
	s.writeLFS(w, a)
}

func (s *Server) verified(r *http.Request, path []string, oid string, size int64) answer {
	repo := s.state.repository(path[0], path[1])
	if repo == nil || !s.isRemoteAuth(r, repo.ID, path[3]) {
		return refuse(http.StatusUnauthorized, msgBadCredentials).lfsAnswer()
	}
	objects := s.state.lfsOf(repo.ID).objects
	known, uploaded := objects[path[3]]
	switch {
	case !isLFSMedia(r.Header.Values("Accept")) || !isLFSMedia(r.Header.Values("Content-Type")):
		return refuse(http.StatusNotAcceptable, "The Accept and Content-Type headers must be "+lfsMedia).lfsAnswer()
	case oid != path[3] || !uploaded:
		return refuse(http.StatusNotFound, msgLFSNoObject).lfsAnswer()
	case size != known.size:
		return refuse(http.StatusUnprocessableEntity, "Size does not match").lfsAnswer()
	}
	known.verified = true
	objects[oid] = known
	return ok(object{})
}
