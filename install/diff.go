package install

import (
	"fmt"
	"io"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

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
				fmt.Fprintf(&b, "%s %s\n", list.verb, usererr.Escape(s.place.child(name).shown))
			}
		}
	}
	for _, c := range p.Copies {
		fmt.Fprintf(&b, "%s %s\n", c.Change, usererr.Escape(c.Path))
	}
	for _, dir := range p.directories {
		fmt.Fprintf(&b, "remove %s when nothing else is in it\n", usererr.Escape(dir.path()))
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
