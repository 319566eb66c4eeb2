package docstest

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// namedTest is a link to the file of a test, by the test's name.
var namedTest = regexp.MustCompile(`\[(Test\w+)\]\(([^)\s]+_test\.go)\)`)

// A page that names a test names one that is in the file that it links to.
func TestNamedTestsAreThere(t *testing.T) {
	named := 0
	for _, page := range pages(t) {
		for _, m := range namedTest.FindAllStringSubmatch(read(t, page), -1) {
			named++
			if file := path.Join(path.Dir(page), m[2]); !strings.Contains(read(t, file), "\nfunc "+m[1]+"(t *testing.T) {") {
				t.Errorf("%s: %s has no %s", page, file, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("the pages name %d tests, want those of SECURITY.md", named)
	}
}

// In the table of attacks, "enforced" is the word for what a test tries to get through; "the
// same" is the cell to the left.
func TestWhatIsEnforcedNamesItsTest(t *testing.T) {
	_, table, ok := strings.Cut(read(t, "SECURITY.md"), "\n|---|---|---|---|\n")
	if !ok {
		t.Fatal("SECURITY.md has no table of attacks")
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "|\n"), " | ")
		if len(cells) != 4 {
			t.Errorf("%d cells, want an attack and three modes: %s", len(cells), line)
			continue
		}
		for i, cell := range cells[1:] {
			cell = strings.TrimSpace(cell)
			if cell == "the same" || strings.HasSuffix(cell, ": the same") {
				if before := strings.TrimSpace(cells[i]); i == 0 || !strings.HasPrefix(before, strings.TrimSuffix(cell, ": the same")) && cell != "the same" {
					t.Errorf("%s: %q is not the same as %q", cells[0], cell, before)
				}
				continue
			}
			if strings.Contains(cell, "nforced") && !namedTest.MatchString(cell) {
				t.Errorf("%s: %q names no test", cells[0], cell)
			}
		}
	}
}
