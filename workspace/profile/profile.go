// Package profile reads the files that say what the workspaces of one kind may access
// and push.
package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"go.yaml.in/yaml/v3"
)

const (
	apiVersion = "gatepass.dev/v1"
	kind       = "Profile"

	maxProfile = 1 << 20 // bytes of a file
)

// A Profile says what the workspaces of one kind may access and push. The zero Profile
// gives no access to GitHub.
type Profile struct {
	Path string // the file it was loaded from; "" if parsed
	Name string // metadata.name; "" if the file has none
	Access
	// Refs may be pushed, with [refs.WorkspacePlaceholder] as written; empty allows
	// nothing. See RefsOf.
	Refs []refs.Entry
	// PublicRead are public repositories, in addition to those of Access, that the git
	// gateway lets the workspace fetch. The gateway reads them without a token. An
	// empty list allows none.
	PublicRead []mint.Pattern
	// Verify is how the git gateway detects forced pushes; "" means that it does not.
	Verify Verification
	// Sharing says which workspaces a broker may give the same token; "" means
	// [ShareInProfile].
	Sharing Sharing
	// Version distinguishes profiles of the same name with different content; "" if it
	// was not parsed.
	Version string
	// Warnings are about content that is allowed and probably not intended.
	Warnings []string
}

// RefsOf returns the refs that the workspace of that id may push.
func (p *Profile) RefsOf(id string) []refs.Entry { return refs.ForWorkspace(p.Refs, id) }

// Load reads a profile's file. The error is one line with the file's name and
// all its mistakes.
func Load(path string) (*Profile, error) {
	what := "read the profile " + path
	f, err := os.Open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err // the path is named already
		}
		return nil, usererr.Wrap(what, err, "name a profile's file")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	p, err := Parse(data)
	if err != nil {
		return nil, usererr.Wrap(what, err, "correct the file")
	}
	p.Path = path
	return p, nil
}

// Parse parses a profile: with apiVersion, kind, metadata and spec, or spec
// alone. Unknown and repeated keys, bad patterns, and entries that repeat or contradict
// others are errors. It reports them together, as [Problems].
//
// Without permissions, a workspace may clone and, if refs may be pushed, push.
func Parse(data []byte) (*Profile, error) {
	if len(data) > maxProfile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxProfile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := dec.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one YAML document")
	}
	var r reader
	r.document(document.Content[0])
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	r.profile.Version = hex.EncodeToString(sum[:])
	return &r.profile, nil
}

// Access is what the tokens of a workspace open, as stated in the profile and stored in
// the ledger. The zero Access opens nothing.
//
// Patterns are resolved anew for each token, because installations and repositories
// change.
type Access struct {
	Repositories []mint.Pattern   `json:"repositories"` // empty means no access to GitHub at all
	Permissions  mint.Permissions `json:"permissions"`
	// Optional are permissions that a token gets only if the installation grants them.
	// The zero value is none.
	Optional mint.Permissions `json:"optional_permissions,omitzero"`
}

// HasAccess reports whether a workspace gets any token.
func (a Access) HasAccess() bool { return len(a.Repositories) > 0 }

// Maximum returns the permissions including the optional ones.
func (a Access) Maximum() mint.Permissions { return a.Permissions.With(a.Optional) }

// Check returns an error for access that no profile can give.
func (a Access) Check() error {
	var bad []error
	if len(a.Repositories) > 0 {
		// Levels is also empty for "all", which a profile cannot have.
		bad = append(bad, mint.PermissionLevels(a.Permissions.Levels()).Validate())
	}
	if !a.Optional.IsZero() {
		bad = append(bad, a.Optional.Validate())
	}
	return usererr.Join(bad...)
}

// Verification is how a forced push is distinguished from a fast-forward, which a
// push's list of refs does not show.
type Verification string

// VerifyAncestry lets GitHub move each branch that may be updated but not forced, so
// that GitHub refuses a change that is not a fast-forward.
const VerifyAncestry Verification = "ancestry"

// Sharing says which workspaces may get the same token from a broker. Revoking such a
// token for one of them cuts off the others too.
type Sharing string

// The values of Sharing.
const (
	ShareInProfile Sharing = "profile"   // all workspaces of one version of the profile
	ShareNothing   Sharing = "workspace" // each workspace has its own tokens
)

// Problems are all mistakes in a file, in the file's order.
type Problems []Problem

// A Problem is one mistake and its place.
type Problem struct {
	Line, Column int // from 1
	Text         string
}

func (p Problem) String() string {
	return fmt.Sprintf("line %d column %d: %s", p.Line, p.Column, p.Text)
}

func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, problem := range p {
		texts[i] = problem.String()
	}
	return usererr.Escape(strings.Join(texts, " / "))
}
