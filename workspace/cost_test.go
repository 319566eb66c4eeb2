package workspace

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// counts are calls of a store.
type counts struct{ writes, deletes, reads int }

func (c *counts) add(call string) {
	switch {
	case strings.HasPrefix(call, "put "):
		c.writes++
	case strings.HasPrefix(call, "delete "):
		c.deletes++
	default:
		c.reads++
	}
}

func (c counts) String() string { return fmt.Sprintf("| %d | %d | %d |", c.writes, c.deletes, c.reads) }

// costs are the calls that passes every five minutes make for a workspace, by what they do.
func costs(t *testing.T, repositories string, grace time.Duration, isPlain bool) (mint, end counts) {
	t.Helper()
	c, s := countedCity(t, 0)
	c.create(repositories)
	for range 40 { // at last as it is all the time
		c.Advance(5 * time.Minute)
		s.take()
		i := c.run(&mortal{isPlain: isPlain})
		i.Grace = grace
		sum, err := (&Pass{Issuer: i}).Run(t.Context())
		if err != nil || sum.Failed > 0 || sum.Expired > 0 {
			t.Fatalf("the pass = %+v, %v", sum, err)
		}
		var own counts
		isOwn := false // what is before the lock is of the pass
		for _, call := range s.take() {
			if isOwn = isOwn || strings.HasSuffix(call, "/lock"); isOwn {
				own.add(call)
			}
		}
		switch {
		case sum.Minted > 0:
			mint = own
		case sum.Due > 0:
			end = own
		}
	}
	return mint, end
}

// What docs/refresher.md says a refresh costs is what it costs, in a store that compares
// versions and in one that does not.
func TestTheDocsSayWhatARefreshCosts(t *testing.T) {
	docs, err := os.ReadFile("../docs/refresher.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, isPlain := range []bool{false, true} {
		one, ended := costs(t, "acme/widgets", 0, isPlain)
		two, _ := costs(t, "acme/widgets, octo/widgets", 0, isPlain)
		_, early := costs(t, "acme/widgets", 10*time.Minute, isPlain)
		if ended != (counts{}) {
			t.Errorf("with the default grace the end of a token that has run out makes calls: %s", ended)
		}
		for _, line := range []string{
			"| a new token, of one owner " + one.String(),
			"| new tokens of two owners " + two.String(),
			"| the end of an old token that lives longer than its grace " + early.String(),
		} {
			if !strings.Contains(string(docs), line+"\n") {
				t.Errorf("docs/refresher.md lacks the line\n%s", line)
			}
		}
	}
}
