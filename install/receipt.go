package install

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A receipt records what an install put into an image apart from git's configuration.
// It is in the image itself, so it is trusted only as far as install itself could have
// written it.
type receipt struct {
	prefix      string
	files, dirs []string // as seen from inside
}

func (r *receipt) has(file string) bool { return slices.Contains(r.files, file) }

func (r *receipt) encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "prefix %s\n", r.prefix)
	for _, list := range []struct {
		kind  string
		paths []string
	}{{"dir", r.dirs}, {"file", r.files}} {
		slices.Sort(list.paths)
		for _, p := range slices.Compact(list.paths) {
			fmt.Fprintf(&b, "%s %s\n", list.kind, p)
		}
	}
	return []byte(b.String())
}

// parseReceipt refuses a receipt with a line that encode could not have written.
func parseReceipt(text string) (*receipt, error) {
	r := &receipt{}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		kind, p, _ := strings.Cut(line, " ")
		bad := CheckPath(p) != nil || path.Clean(p) != p
		switch {
		case bad:
		case kind == "prefix" && n == 0:
			r.prefix = p
		case kind == "file" && installs(p):
			r.files = append(r.files, p)
		case kind == "dir":
			r.dirs = append(r.dirs, p)
		default:
			bad = true
		}
		if bad || r.prefix == "" {
			return nil, fmt.Errorf("line %d is not one that install writes: %s", n+1, usererr.Quote(line))
		}
	}
	return r, nil
}

// installs reports whether install writes a file of that path, for any prefix.
func installs(file string) bool {
	dir, name := path.Split(file)
	switch {
	case file == profilePath, file == config.DefaultPath, file == receiptPath:
		return true
	case dir == statePath+"/":
		return strings.HasPrefix(name, "time.%")
	}
	return path.Base(dir) == "bin" && slices.Contains(programs, name)
}

// readReceipt reads the receipt of an earlier install, if there is one.
func (pl *planner) readReceipt() error {
	p, err := pl.placeOf(receiptPath)
	if err != nil {
		return err
	}
	pl.receiptPlace = p
	text, exists, err := p.read()
	if err != nil || !exists {
		return cannotRead(p.shown, err)
	}
	if info, err := p.stat(); err != nil || !ours(info) || info.Mode().Perm()&0o022 != 0 {
		return usererr.New("trust the receipt "+p.shown, "another user can write to it", "run the command as its owner, or remove the file")
	}
	if pl.receipt, err = parseReceipt(string(text)); err != nil {
		return usererr.Wrap("read the receipt "+p.shown, err, doubtReceipt)
	}
	return nil
}

const doubtReceipt = "nothing was changed: see who wrote that file, and remove it"

// checkReceipt refuses a directory in the receipt that cannot contain a file of ours.
func (pl *planner) checkReceipt() error {
	if pl.receipt == nil {
		return nil
	}
	ends := pl.endsOf(pl.receipt)
	for _, dir := range pl.receipt.dirs {
		if !slices.ContainsFunc(ends, func(end place) bool { return pl.leadsTo(dir, end) }) {
			return usererr.New("read the receipt "+pl.receiptPlace.shown, "install makes no directory "+dir, doubtReceipt)
		}
	}
	return nil
}
