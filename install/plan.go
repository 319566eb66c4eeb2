package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A Plan is the complete list of what will be written. Its JSON form has only
// gatepass's own lines: the rest of a configuration file may be secret.
type Plan struct {
	Action      string       `json:"action"` // install or uninstall
	Scope       Scope        `json:"scope"`
	Root        string       `json:"root,omitempty"`
	Hosts       []string     `json:"hosts,omitempty"`
	Gateway     string       `json:"gateway,omitempty"`
	Helper      string       `json:"helper,omitempty"`
	GuardBinary string       `json:"guard_binary,omitempty"`
	Guard       []Choice     `json:"guard,omitempty"`       // one for each configuration file
	Files       []FileChange `json:"files"`                 // those that change
	Hooks       []Shims      `json:"hooks"`                 // those that change
	Copies      []Copy       `json:"copies,omitempty"`      // files that are wholly ours
	Directories []string     `json:"directories,omitempty"` // those that New made, as git sees them; they are removed if they are empty
	Notes       []string     `json:"notes,omitempty"`       // what a person should know

	directories []place.Place
	noted       []string  // paths of directories to mention if they stay
	stamp       time.Time // the time of written files; zero means the current time
	keepTimes   bool      // directories keep their old times
	gits        []git
}

// A FileChange is the old and new text of one configuration file.
type FileChange struct {
	Path    string   `json:"path"`
	Change  string   `json:"change"` // create, edit or remove
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`

	place    place.Place
	old, new []byte
	time     time.Time // of the file afterwards; zero means the plan's stamp
}

// The changes of a configuration file.
const (
	create  = "create"
	edit    = "edit"
	replace = "replace"
	remove  = "remove"
)

// Shims are the changes in one directory of shims, as file names.
type Shims struct {
	Dir     string   `json:"dir"` // as git will see it
	Create  []string `json:"create,omitempty"`
	Replace []string `json:"replace,omitempty"`
	Remove  []string `json:"remove,omitempty"`
	Keep    []string `json:"keep,omitempty"` // files of others, which are left alone

	place place.Place
	want  map[string]program
}

func (s Shims) changes() bool { return len(s.Create)+len(s.Replace)+len(s.Remove) > 0 }

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Files)+len(p.Hooks)+len(p.Copies) == 0 }

// addFile plans the change of one configuration file that New makes.
func (pl *planner) addFile(ctx context.Context, t target) error {
	content, exists, list, err := pl.readConfig(ctx, t.file)
	if err != nil {
		return err
	}
	base, made, err := pl.git.remove(ctx, content, pl.isShimDir)
	if err != nil {
		return wrapError("change ", t.file.Shown, err)
	}
	before := ""
	if !exists || made {
		before = beforeAbsent
	} else if unterminated(base) {
		before = beforeUnterminated
	}
	b, err := pl.wantBlock(ctx, t, base, list, before)
	if err != nil {
		return wrapRead(t.file.Shown, err)
	}
	if isCurrent(withoutRecord(list), withoutRecord(b.flat()), pl.isShimDir) {
		return nil
	}
	text, err := pl.git.add(ctx, base, b)
	if err == nil {
		err = pl.check(ctx, base, text, b.flat())
	}
	if err != nil {
		return wrapError("change ", t.file.Shown, err)
	}
	change := edit
	if !exists {
		change = create
	}
	pl.change(t.file, change, content, text)
	return nil
}

// wantBlock returns the block that New adds to a configuration file, and adds to the
// plan what the block replaces. base is the file's text without our block, list are the
// settings in the file, and before is the value of beforeKey.
func (pl *planner) wantBlock(ctx context.Context, t target, base []byte, list []setting, before string) (block, error) {
	kind := pl.plan.guardOf(t.file.Shown)
	w := wantedBlock{
		hosts: pl.plan.Hosts, proactive: pl.proactive, helper: pl.helper, guard: pl.guard, kind: kind, gateway: pl.gateway,
		hooksDir: pl.hooksDir, before: before, madeDirs: pl.directories(t, list, kind),
	}
	var err error
	if kind.hooksPath() {
		if w.chain, err = pl.foreignHooksPath(ctx, t, list); err != nil {
			return nil, err
		}
		pl.replacedHooksPaths = append(pl.replacedHooksPaths, w.chain)
	}
	if w.author, w.authorOwn, err = pl.author(ctx, t, base, list); err != nil {
		return nil, err
	}
	if w.chain != "" {
		pl.plan.Notes = append(pl.plan.Notes, fmt.Sprintf("core.hooksPath %s is kept: its hooks run after the guard", w.chain))
	}
	pl.keptDirs = append(pl.keptDirs, w.madeDirs...)
	return w.block(), nil
}

// clearFile plans to remove everything of ours from one configuration file.
func (pl *planner) clearFile(ctx context.Context, t target) error {
	content, exists, _, err := pl.readConfig(ctx, t.file)
	if err != nil || !exists {
		return err
	}
	base, made, err := pl.git.remove(ctx, content, pl.isShimDir)
	if err == nil {
		err = pl.check(ctx, base, base, nil)
	}
	switch {
	case err != nil:
		return wrapError("change ", t.file.Shown, err)
	case made:
		pl.change(t.file, remove, content, nil)
	case !bytes.Equal(base, content):
		pl.change(t.file, edit, content, base)
	}
	return nil
}

// readConfig reads one configuration file and records the directories that it names:
// those of shims, and those that New made.
func (pl *planner) readConfig(ctx context.Context, file place.Place) (content []byte, exists bool, list []setting, err error) {
	content, exists, err = file.Read()
	if err != nil {
		return nil, false, nil, wrapRead(file.Shown, err)
	}
	if list, err = pl.git.list(ctx, content); err != nil {
		err = usererr.Wrap("read "+file.Shown, err, "correct the file")
	}
	if exists && !file.IsTrusted() { // a file of another user names no directories to remove
		return content, exists, list, err
	}
	for _, s := range list {
		if s.is(hooksPathKey) && s.value != pl.hooksDir && pl.isShimDir(s.value) {
			pl.oldDirs = append(pl.oldDirs, s.value)
		}
	}
	pl.madeDirs = append(pl.madeDirs, recorded(list)...)
	return content, exists, list, err
}

func (pl *planner) change(file place.Place, kind string, old, text []byte) {
	f := FileChange{Path: file.Shown, Change: kind, place: file, old: old, new: text}
	for _, h := range lineDiff(old, text) {
		f.Removed = append(f.Removed, h.removed...)
		f.Added = append(f.Added, h.added...)
	}
	pl.plan.Files = append(pl.plan.Files, f)
}

// withoutRecord returns list without settings that only record the earlier state.
func withoutRecord(list []setting) []setting {
	return slices.DeleteFunc(slices.Clone(list), func(s setting) bool { return s.is(beforeKey) || s.is(madeKey) })
}

// check makes sure that git reads from text the settings of base, then the added ones,
// and nothing else.
func (pl *planner) check(ctx context.Context, base, text []byte, added []setting) error {
	was, err := pl.git.list(ctx, base)
	if err != nil {
		return err
	}
	is, err := pl.git.list(ctx, text)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(is, append(was, added...), setting.same) {
		return errors.New("git could not read the new file; check that its last line is complete")
	}
	return checkWithGoGit(base, text, added)
}

// foreignHooksPath returns the core.hooksPath that now applies to this file's gits,
// apart from our own directories; ours will override it. It does not follow the
// includes of an image: their paths mean other files on this machine.
func (pl *planner) foreignHooksPath(ctx context.Context, t target, list []setting) (string, error) {
	var values []string
	if pl.Scope == Image {
		for _, s := range list {
			if s.is(hooksPathKey) {
				values = append(values, s.value)
			}
		}
	} else {
		for _, file := range pl.filesBelow(ctx, t) {
			found, err := pl.git.hooksPaths(ctx, file)
			if err != nil {
				return "", err
			}
			values = append(values, found...)
		}
	}
	for _, v := range slices.Backward(values) {
		if !pl.isShimDir(v) {
			return v, nil
		}
	}
	return "", nil
}

// filesBelow returns the files whose core.hooksPath ours would override, in git's
// order, the file itself last.
func (l *layout) filesBelow(ctx context.Context, t target) []string {
	var files []string
	if l.scope == Global {
		if file, err := l.gits[0].systemFile(ctx); err == nil {
			files = append(files, file)
		}
		if l.getenv("GIT_CONFIG_GLOBAL") == "" {
			files = append(files, l.xdg("XDG_CONFIG_HOME", ".config", "git/config"))
		}
	}
	own := t.file.Path()
	return append(slices.DeleteFunc(files, func(f string) bool { return f == own }), own)
}

// complete plans the shims and returns the plan.
func (pl *planner) complete(want map[string]program) (*Plan, error) {
	if err := pl.addShims(pl.hooks, pl.hooksDir, want); err != nil {
		return nil, err
	}
	shims := []place.Place{pl.hooks}
	slices.Sort(pl.oldDirs)
	for _, dir := range slices.Compact(pl.oldDirs) {
		p, err := pl.placeOf(dir)
		if err != nil {
			return nil, wrapUse(dir, err)
		}
		if err := pl.addShims(p, filepath.Clean(dir), nil); err != nil {
			return nil, err
		}
		shims = append(shims, p)
	}
	pl.removeDirectories(shims)
	pl.plan.gits = pl.gits
	if pl.plan.Action == "install" {
		return pl.plan, pl.bundle.add()
	}
	return pl.plan, pl.bundle.remove()
}

func (pl *planner) addShims(dir place.Place, seenAs string, want map[string]program) error {
	s, err := planShims(dir, seenAs, want)
	if err != nil {
		return err
	}
	if len(s.Keep) > 0 && pl.plan.Action == "uninstall" {
		pl.plan.Notes = append(pl.plan.Notes, dir.Shown+" is kept: it has files that do not belong to gatepass")
	}
	if s.changes() {
		pl.plan.Hooks = append(pl.plan.Hooks, s)
	}
	return nil
}

// WriteDiff prints the plan: for each configuration file the removed and added lines,
// as a unified diff without context (the lines around them may be secret), for each
// directory of shims the files, and the directories that are removed.
func (p *Plan) WriteDiff(w io.Writer) error {
	var b strings.Builder
	for _, f := range p.Files {
		f.writeDiff(&b)
	}
	for _, s := range p.Hooks {
		for _, list := range []struct {
			verb  string
			names []string
		}{{create, s.Create}, {"replace", s.Replace}, {remove, s.Remove}} {
			for _, name := range list.names {
				fmt.Fprintf(&b, "%s %s\n", list.verb, usererr.Escape(s.place.Child(name).Shown))
			}
		}
	}
	for _, c := range p.Copies {
		fmt.Fprintf(&b, "%s %s\n", c.Change, usererr.Escape(c.Path))
	}
	for _, dir := range p.directories {
		fmt.Fprintf(&b, "remove %s if it is then empty\n", usererr.Escape(dir.Path()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f FileChange) writeDiff(b *strings.Builder) {
	from, to := usererr.Escape(f.Path), usererr.Escape(f.Path)
	switch f.Change {
	case create:
		from = "/dev/null"
	case remove:
		to = "/dev/null"
	}
	fmt.Fprintf(b, "--- %s\n+++ %s\n", from, to)
	for _, h := range lineDiff(f.old, f.new) {
		fmt.Fprintf(b, "@@ -%s +%s @@\n", span(h.oldLine, h.removed), span(h.newLine, h.added))
		writeLines(b, "-", h.removed)
		writeLines(b, "+", h.added)
	}
}

func writeLines(b *strings.Builder, sign string, lines []string) {
	for _, l := range lines {
		b.WriteString(sign + strings.ReplaceAll(usererr.Escape(l), `\t`, "\t") + "\n")
	}
}

// span formats one side of a hunk's heading. A side without lines names the line before
// it.
func span(first int, lines []string) string {
	if len(lines) == 0 {
		first--
	}
	return fmt.Sprintf("%d,%d", first, len(lines))
}

// A hunk is a run of lines that differ. Lines count from 1.
type hunk struct {
	oldLine, newLine int
	removed, added   []string
}

// lineDiff compares by the longest common subsequence of lines. A missing line break at
// the end is not a difference: showing it would show the line.
func lineDiff(a, b []byte) []hunk {
	x, y := split(a), split(b)
	start := 0
	for start < len(x) && start < len(y) && x[start] == y[start] {
		start++
	}
	x, y = x[start:], y[start:]
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	common := lcs(x, y)
	var hunks []hunk
	together := true // the lines before these are equal
	for i, j := 0, 0; i < len(x) || j < len(y); {
		if i < len(x) && j < len(y) && x[i] == y[j] {
			i, j, together = i+1, j+1, true
			continue
		}
		if together {
			hunks = append(hunks, hunk{oldLine: start + i + 1, newLine: start + j + 1})
			together = false
		}
		h := &hunks[len(hunks)-1]
		if j == len(y) || i < len(x) && (common == nil || common[i+1][j] >= common[i][j+1]) {
			h.removed = append(h.removed, x[i])
			i++
		} else {
			h.added = append(h.added, y[j])
			j++
		}
	}
	return hunks
}

func split(content []byte) []string {
	if len(content) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

// maxTable limits the entries of a table: the file may belong to another user.
const maxTable = 1 << 22

// lcs returns the table of lengths: entry [i][j] is for x[i:] and y[j:]. It returns nil
// if the table would be too large. The diff then removes lines first, which is right if
// the other lines did not change.
func lcs(x, y []string) [][]int {
	if len(x) > maxTable/(len(y)+1) {
		return nil
	}
	table := make([][]int, len(x)+1)
	for i := range table {
		table[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}
