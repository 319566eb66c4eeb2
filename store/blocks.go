package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Blocks are what operators have blocked. The zero Blocks block nothing.
type Blocks struct {
	App        bool            // everything is blocked
	Owners     map[string]bool // accounts in lower case
	Workspaces map[string]bool // by id
	// Tokens are the IDs, in hex as BlockedToken takes them, of tokens that were
	// revoked before they expired.
	Tokens map[string]bool
}

// ReadBlocks reads the whole block list.
func ReadBlocks(ctx context.Context, s Store) (Blocks, error) {
	b := NewBlocks()
	for name, err := range s.List(ctx, AllBlocks()) {
		if err != nil {
			return Blocks{}, err
		}
		b.Add(name)
	}
	return b, nil
}

// NewBlocks returns empty Blocks to which Add can add.
func NewBlocks() Blocks {
	return Blocks{Owners: map[string]bool{}, Workspaces: map[string]bool{}, Tokens: map[string]bool{}}
}

// Add adds what an entry of the block list blocks. It ignores other names.
func (b *Blocks) Add(n Name) {
	if n == BlockedApp() {
		b.App = true
	}
	for folder, set := range map[string]map[string]bool{blockedOwners: b.Owners, blockedWorkspaces: b.Workspaces} {
		if last, ok := strings.CutPrefix(n.path, folder+"/"); ok {
			set[last] = true
		}
	}
	if n.IsBlockedToken() {
		b.Tokens[idIn(n.last())] = true
	}
}

// Clone returns a copy.
func (b Blocks) Clone() Blocks {
	c := NewBlocks()
	c.App = b.App
	maps.Copy(c.Owners, b.Owners)
	maps.Copy(c.Workspaces, b.Workspaces)
	maps.Copy(c.Tokens, b.Tokens)
	return c
}

// Has reports whether a workspace is blocked for an account. With the owner "" it reports
// whether the workspace is blocked for all accounts.
func (b Blocks) Has(workspace, owner string) bool {
	return b.App || b.Workspaces[workspace] || b.Owners[strings.ToLower(owner)]
}

// Without returns the blocks that are not among others.
func (b Blocks) Without(others Blocks) Blocks {
	return Blocks{
		App: b.App && !others.App, Owners: without(b.Owners, others.Owners),
		Workspaces: without(b.Workspaces, others.Workspaces), Tokens: without(b.Tokens, others.Tokens),
	}
}

func without(set, others map[string]bool) map[string]bool {
	rest := map[string]bool{}
	for key := range set {
		if !others[key] {
			rest[key] = true
		}
	}
	return rest
}

// IsEmpty reports whether nothing is blocked.
func (b Blocks) IsEmpty() bool {
	return !b.App && len(b.Owners)+len(b.Workspaces)+len(b.Tokens) == 0
}

// BlocksVersion names an entry that changes with every change of the block list, so
// that a reader notices a change with one read.
func BlocksVersion() Name { return Name{blockedFolder + "/version"} }

const (
	// maxBlockLog bounds the text of a [BlockLog] in bytes: what the smaller tier of AWS's
	// Parameter Store takes.
	maxBlockLog = 4000
	// blockLogTries is how often Announce writes while others write at the same moment.
	blockLogTries = 5
)

// A BlockLog is the content of the entry BlocksVersion: the version of the block list,
// and what was blocked most recently. It does not record what was unblocked; then a
// reader lists the blocks. The zero BlockLog has no version.
type BlockLog struct {
	Steps   []BlockStep
	Changed time.Time // when the last step was written, by the store's clock
}

// A BlockStep is one change of the block list.
type BlockStep struct {
	Version string   `json:"version"`       // after it
	Set     []string `json:"set,omitempty"` // the names that were written; deleted names are not recorded
}

// Version returns a text that differs after every change of the list.
func (l BlockLog) Version() string {
	if len(l.Steps) == 0 {
		return ""
	}
	return l.Steps[len(l.Steps)-1].Version
}

// Since returns what was blocked after a version. ok is false if the log does not reach
// back that far; then the caller reads the list.
func (l BlockLog) Since(version string) (set Blocks, ok bool) {
	set = NewBlocks()
	at := slices.IndexFunc(l.Steps, func(s BlockStep) bool { return s.Version == version })
	if at < 0 {
		return set, false
	}
	for _, s := range l.Steps[at+1:] {
		for _, text := range s.Set {
			name, err := ParseName(text)
			if err != nil || !AllBlocks().Has(name) {
				return set, false
			}
			set.Add(name)
		}
	}
	return set, true
}

// Recent returns what was blocked last, as far as the log reaches back.
func (l BlockLog) Recent() Blocks {
	recent := NewBlocks()
	for _, step := range l.Steps {
		for _, text := range step.Set {
			if name, err := ParseName(text); err == nil {
				recent.Add(name)
			}
		}
	}
	return recent
}

// with returns the text of the log with one more step. If the text is too long, it
// drops the oldest steps; of a single step that is too long, only the version remains.
func (l BlockLog) with(step BlockStep) (Secret, error) {
	steps := append(slices.Clone(l.Steps), step)
	for {
		text, err := json.Marshal(steps)
		switch {
		case err != nil || len(text) <= maxBlockLog:
			return NewSecret(string(text)), err
		case len(steps) == 1:
			steps[0].Set = nil
		default:
			steps = steps[1:]
		}
	}
}

// ReadBlockLog reads the log. The error wraps ErrNotFound if the list was never changed, or
// only by brokers that wrote no log. A text that is not a log is read as a log without
// steps.
func ReadBlockLog(ctx context.Context, s Store) (BlockLog, error) {
	l, _, err := readBlockLog(ctx, s)
	return l, err
}

func readBlockLog(ctx context.Context, s Store) (BlockLog, Entry, error) {
	entry, err := s.Get(ctx, BlocksVersion())
	if err != nil {
		return BlockLog{}, entry, err
	}
	var l BlockLog
	text := entry.Value.Reveal()
	if json.Unmarshal([]byte(text), &l.Steps) != nil || l.Version() == "" {
		l.Steps = []BlockStep{{Version: text}}
	}
	l.Changed = entry.Modified
	return l, entry, nil
}

// Block writes an entry of the block list, and announces it. due is when the entry may
// be deleted; zero means never. After an error the entry may exist, and other brokers
// may learn of it late: the caller must block again.
func Block(ctx context.Context, s Store, name Name, value Secret, due time.Time) error {
	err := PutBlock(ctx, s, name, value, due)
	if err == nil {
		err = Announce(ctx, s, name)
	}
	return err
}

// PutBlock writes an entry of the block list. The caller must announce it with
// [Announce].
func PutBlock(ctx context.Context, s Store, name Name, value Secret, due time.Time) error {
	if due.IsZero() {
		return s.Put(ctx, name, value, Replace)
	}
	return PutDue(ctx, s, name, value, Replace, due)
}

// Unblock deletes an entry of the block list, and announces that. Errors are as in
// Block.
func Unblock(ctx context.Context, s Store, name Name) error {
	err := s.Delete(ctx, name)
	if err == nil {
		err = Announce(ctx, s)
	}
	return err
}

// Announce gives the block list a new version after entries were written or deleted.
// set names the written entries. Readers of the list notice the change by its version.
func Announce(ctx context.Context, s Store, set ...Name) error {
	step := BlockStep{Version: rand.Text()}
	for _, name := range set {
		step.Set = append(step.Set, name.String())
	}
	for range blockLogTries {
		old, entry, err := readBlockLog(ctx, s)
		if errors.Is(err, ErrDamaged) {
			err = s.Delete(ctx, BlocksVersion())
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		text, err := old.with(step)
		if err != nil {
			return err
		}
		isIn, err := writeBlockLog(ctx, s, step.Version, text, entry.Version)
		if isIn || err != nil {
			return err
		}
	}
	return usererr.New("announce a block", "other brokers keep changing the list of blocks", "block again")
}

// writeBlockLog writes a log, and reports whether its last step is in the store. If the
// store cannot compare and swap, another writer may have read the log before this write
// and overwrite it; so the function reads the log again.
func writeBlockLog(ctx context.Context, s Store, version string, text Secret, was string) (isIn bool, err error) {
	if swapper, ok := s.(Swapper); ok {
		_, err := swapper.Swap(ctx, BlocksVersion(), text, was, time.Time{})
		if errors.Is(err, ErrChanged) {
			return false, nil
		}
		return err == nil, err
	}
	if err := s.Put(ctx, BlocksVersion(), text, Replace); err != nil {
		return false, err
	}
	now, err := ReadBlockLog(ctx, s)
	if err != nil {
		return false, err
	}
	_, isIn = now.Since(version)
	return isIn, nil
}
