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

// NewBlocks returns what entries of the block list block. Add can add to it.
func NewBlocks(entries ...Name) Blocks {
	b := Blocks{Owners: map[string]bool{}, Workspaces: map[string]bool{}, Tokens: map[string]bool{}}
	for _, name := range entries {
		b.Add(name)
	}
	return b
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
// and what was blocked and unblocked most recently. The zero BlockLog has no version.
type BlockLog struct {
	Steps   []BlockStep
	Changed time.Time // when the last step was written, by the store's clock
}

// A BlockStep is one change of the block list.
type BlockStep struct {
	Version string   `json:"version"`           // after it
	Set     []string `json:"set,omitempty"`     // the names that are written
	Deleted []string `json:"deleted,omitempty"` // the names that were deleted; older versions do not record them
}

// Version returns a text that differs after every change of the list.
func (l BlockLog) Version() string {
	if len(l.Steps) == 0 {
		return ""
	}
	return l.Steps[len(l.Steps)-1].Version
}

// Since returns which entries were written, and which were deleted, after a version. A
// written entry may not be in the store yet. ok is false if the log does not reach back
// that far; then the caller reads the list.
func (l BlockLog) Since(version string) (set, deleted []Name, ok bool) {
	at := slices.IndexFunc(l.Steps, func(s BlockStep) bool { return s.Version == version })
	if at < 0 {
		return nil, nil, false
	}
	return changes(l.Steps[at+1:])
}

// Recent returns the entries that were written last and not deleted since, as far as the
// log reaches back.
func (l BlockLog) Recent() []Name {
	set, _, _ := changes(l.Steps)
	return set
}

// changes returns which entries were written, and which were deleted, last. ok is false if
// a step has other names than those of entries.
func changes(steps []BlockStep) (set, deleted []Name, ok bool) {
	ok = true
	isDeleted := map[Name]bool{}
	note := func(texts []string, is bool) {
		for _, text := range texts {
			if name, err := ParseName(text); err == nil && AllBlocks().Has(name) {
				isDeleted[name] = is
			} else {
				ok = false
			}
		}
	}
	for _, s := range steps {
		note(s.Deleted, true)
		note(s.Set, false) // a name that is in both may be blocked again
	}
	for name, is := range isDeleted {
		if is {
			deleted = append(deleted, name)
		} else {
			set = append(set, name)
		}
	}
	return set, deleted, ok
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
			steps[0].Set, steps[0].Deleted = nil, nil
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

// Block announces an entry of the block list, and writes it. Brokers learn of it from
// the announcement, so a slow store delays the block by one write, not two. due is when
// the entry may be deleted; zero means never. After an error the entry may exist or be
// announced: the caller must block again.
func Block(ctx context.Context, s Store, name Name, value Secret, due time.Time) error {
	announceErr := Announce(ctx, s, BlockStep{Set: []string{name.String()}})
	if err := PutBlock(ctx, s, name, value, due); err != nil {
		return err
	}
	return announceErr
}

// PutBlock writes an entry of the block list. The caller must have announced it with
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
		err = Announce(ctx, s, BlockStep{Deleted: []string{name.String()}})
	}
	return err
}

// Announce adds a step to the log of the block list, and gives it a new version. Call it
// before entries are written, and after entries are deleted: readers of the log then
// never miss a block.
func Announce(ctx context.Context, s Store, step BlockStep) error {
	step.Version = rand.Text()
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
	_, _, isIn = now.Since(version)
	return isIn, nil
}
