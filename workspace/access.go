package workspace

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/mint"
)

// Access is what the tokens of a workspace open. The profile says it, and the ledger
// keeps it in this form. The zero Access is none.
//
// Patterns are resolved anew for each token: installations and repositories change.
type Access struct {
	Repositories []mint.Pattern   `json:"repositories"` // none means no access to GitHub at all
	Permissions  mint.Permissions `json:"permissions"`
	// Optional are permissions that a token has where the installation grants
	// them, and lacks where it does not. The zero value is none.
	Optional mint.Permissions `json:"optional_permissions,omitzero"`
}

// HasAccess reports whether a workspace gets any token.
func (a Access) HasAccess() bool { return len(a.Repositories) > 0 }

// Most returns the permissions with the optional ones.
func (a Access) Most() mint.Permissions { return a.Permissions.With(a.Optional) }

// Grant is a digest of what the owner's token is for.
func (a Access) Grant(owner string) string {
	var texts []string
	for _, p := range a.Repositories {
		if p.Everything() || p.Owner() == owner {
			texts = append(texts, strings.ToLower(p.String()))
		}
	}
	slices.Sort(texts)
	said, err := json.Marshal([]any{texts, a.Permissions.Levels(), a.Optional.Levels()}) // a map's keys are sorted
	if err != nil {
		return "" // never: there are only texts
	}
	sum := sha256.Sum256(said)
	return base64.RawStdEncoding.EncodeToString(sum[:9])
}

func (a Access) check() (bad []error) {
	if a.HasAccess() {
		// Levels is empty for "all", too, which no profile can say.
		bad = append(bad, mint.PermissionLevels(a.Permissions.Levels()).Validate())
	}
	if !a.Optional.IsZero() {
		bad = append(bad, a.Optional.Validate())
	}
	return bad
}
