// Package workspace is the issuing side's view of a workspace: the profile that
// says what it may do, the ledger record of what it has been given, and the
// Issuer that gives and takes.
package workspace

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

// A Profile says what the workspaces of one kind may reach and push. The zero
// Profile gives no access to GitHub.
type Profile struct {
	Path string // the file it was loaded from; "" when parsed
	Name string // metadata.name; "" when the file has none
	Access
	// Refs are what may be pushed, with [refs.WorkspacePlaceholder] as written; none
	// allows nothing. See RefsOf.
	Refs []refs.Entry
	// PublicRead are public repositories beside those of Access that the git gateway lets
	// the workspace fetch. The gateway reads them without a token. An empty list allows none.
	PublicRead []mint.Pattern
	// Verify is how the git gateway tells forced pushes; "" is that it does not.
	Verify Verification
	// Sharing says which workspaces a broker may give the same token; "" is
	// [ShareInProfile].
	Sharing Sharing
	// Version tells apart what profiles of one name say; "" when it was not parsed.
	Version string
	// Warnings are what is allowed and probably not meant.
	Warnings []string
}

// RefsOf are the refs that the workspace of that id may push.
func (p *Profile) RefsOf(id string) []refs.Entry { return refs.ForWorkspace(p.Refs, id) }

// Verification is how a forced push is told from a fast-forward, which a push's list of
// refs does not show.
type Verification string

// VerifyAncestry has GitHub move each branch that may be updated and not forced, and
// refuse what is not a fast-forward.
const VerifyAncestry Verification = "ancestry"

// Sharing is who may have the same token of a broker: whoever has it is cut off when
// it is revoked from one of them.
type Sharing string

// The ways of sharing.
const (
	ShareInProfile Sharing = "profile"   // all workspaces of one version of the profile
	ShareNothing   Sharing = "workspace" // each workspace has tokens of its own
)

// LoadProfile reads a profile's file. The error is one line with the file's
// name and everything that is wrong with it.
func LoadProfile(path string) (*Profile, error) {
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
	p, err := ParseProfile(data)
	if err != nil {
		return nil, usererr.Wrap(what, err, "correct the file")
	}
	p.Path = path
	return p, nil
}

// ParseProfile reads a profile: with apiVersion, kind, metadata and spec, or
// spec alone. Unknown and repeated keys, bad patterns, and entries that repeat
// or contradict others are errors. They are reported together, as a [Problems].
//
// Without permissions, a workspace may clone and, where refs may be pushed,
// push.
func ParseProfile(data []byte) (*Profile, error) {
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
		return nil, errors.New("it holds more than one YAML document")
	}
	var r profileReader
	r.document(document.Content[0])
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	r.profile.Version = hex.EncodeToString(sum[:])
	return &r.profile, nil
}

// Problems are all that is wrong with a file, in its order.
type Problems []Problem

// A Problem is one mistake and where it is.
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
