package lfs

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
)

// An endpoint is a path of the LFS API, or of a transfer.
type endpoint int

const (
	batchEndpoint       endpoint = iota + 1 // objects/batch
	objectEndpoint                          // objects/OID
	verifyEndpoint                          // objects/verify
	locksEndpoint                           // locks
	verifyLocksEndpoint                     // locks/verify
	unlockEndpoint                          // locks/ID/unlock
)

// methods are the methods of each endpoint.
var methods = map[endpoint][]string{
	batchEndpoint:       {http.MethodPost},
	objectEndpoint:      {http.MethodGet, http.MethodPut},
	verifyEndpoint:      {http.MethodPost},
	locksEndpoint:       {http.MethodGet, http.MethodPost},
	verifyLocksEndpoint: {http.MethodPost},
	unlockEndpoint:      {http.MethodPost},
}

// A route is the parsed path.
type route struct {
	endpoint endpoint
	oid      string // for objectEndpoint
	lock     string // for unlockEndpoint
}

// parseRoute parses the part of a path after /info/lfs. It decodes nothing.
func parseRoute(path string) (route, bool) {
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return route{}, false
	}
	segments := strings.Split(path, "/")
	switch {
	case path == "objects/batch":
		return route{endpoint: batchEndpoint}, true
	case path == "locks":
		return route{endpoint: locksEndpoint}, true
	case path == "locks/verify":
		return route{endpoint: verifyLocksEndpoint}, true
	case len(segments) == 2 && segments[0] == "objects" && isOID(segments[1]):
		return route{endpoint: objectEndpoint, oid: segments[1]}, true
	case path == "objects/verify":
		return route{endpoint: verifyEndpoint}, true
	case len(segments) == 3 && segments[0] == "locks" && isLockID(segments[1]) && segments[2] == "unlock":
		return route{endpoint: unlockEndpoint, lock: segments[1]}, true
	}
	return route{}, false
}

const lowerHex = "0123456789abcdef"

// isOID reports whether text is the SHA-256 of an object, in git-lfs's form.
func isOID(text string) bool { return len(text) == 64 && strings.Trim(text, lowerHex) == "" }

const maxLockID = 64

func isLockID(text string) bool {
	if text == "" || len(text) > maxLockID {
		return false
	}
	for _, b := range []byte(text) {
		isAlnum := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if !isAlnum && b != '-' && b != '_' {
			return false
		}
	}
	return true
}

// checkMethod refuses a method that the endpoint does not have, and a query where the
// call has none.
func (rt route) checkMethod(w http.ResponseWriter, r *http.Request) error {
	allowed := methods[rt.endpoint]
	if !slices.Contains(allowed, r.Method) {
		return broker.NotAllowed(w, allowed...)
	}
	mayQuery := rt.endpoint == objectEndpoint || rt.endpoint == locksEndpoint && r.Method == http.MethodGet
	if r.URL.RawQuery != "" && !mayQuery {
		return broker.BadRequest("this call must not have a query")
	}
	return nil
}
