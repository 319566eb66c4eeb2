package identity

import (
	"errors"
	"fmt"
	"strings"
)

// An ID is a SPIFFE id
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md).
type ID struct {
	TrustDomain string
	Path        string // begins with a slash
}

const (
	scheme         = "spiffe://"
	maxID          = 2048 // bytes
	maxTrustDomain = 255
)

// ParseID reads an id of a workload, letter for letter: nothing is decoded,
// folded or cleaned. An id of a trust domain, without a path, is none.
func ParseID(text string) (ID, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	domain, path, hasPath := strings.Cut(rest, "/")
	switch {
	case len(text) > maxID:
		return ID{}, fmt.Errorf("the SPIFFE id is %d bytes long, and at most %d are taken", len(text), maxID)
	case !ok:
		return ID{}, errors.New("this is no SPIFFE id, which begins with spiffe:// in lower case")
	case len(domain) > maxTrustDomain:
		return ID{}, fmt.Errorf("its trust domain is %d bytes long, and at most %d are taken", len(domain), maxTrustDomain)
	case !isTrustDomain(domain):
		return ID{}, errors.New("its trust domain has other characters than lower-case letters, digits, dots, hyphens and underscores")
	case !hasPath:
		return ID{}, errors.New("it has no path, and so names no workload")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if !isSegment(segment) {
			return ID{}, errors.New("its path has segments that are empty, dots, or of other characters than letters, digits, dots, hyphens and underscores")
		}
	}
	return ID{TrustDomain: domain, Path: "/" + path}, nil
}

func (id ID) String() string { return scheme + id.TrustDomain + id.Path }

func isTrustDomain(s string) bool {
	return s != "" && len(s) <= maxTrustDomain && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	})
}

func isSegment(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	})
}
