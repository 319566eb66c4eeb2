package identity

import (
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// The longest that the standard allows, in bytes
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md). The library does
// not look.
const (
	maxID          = 2048
	maxTrustDomain = 255
)

// ParseID reads a SPIFFE id of a workload, letter for letter: nothing is decoded,
// folded or cleaned. An id of a trust domain, without a path, is none.
func ParseID(text string) (spiffeid.ID, error) {
	if len(text) > maxID {
		return spiffeid.ID{}, fmt.Errorf("the SPIFFE id is %d bytes long, and at most %d are taken", len(text), maxID)
	}
	id, err := spiffeid.FromString(text)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("this is no SPIFFE id: %w", err)
	}
	if n := len(id.TrustDomain().Name()); n > maxTrustDomain {
		return spiffeid.ID{}, fmt.Errorf("its trust domain is %d bytes long, and at most %d are taken", n, maxTrustDomain)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, errors.New("it has no path, and so names no workload")
	}
	return id, nil
}

// isTrustDomain reports whether s is the name of a trust domain. The library takes an
// id for one, too.
func isTrustDomain(s string) bool {
	domain, err := spiffeid.TrustDomainFromString(s)
	return err == nil && domain.Name() == s && len(s) <= maxTrustDomain
}
