package gitsafety

import (
	"strings"

	"github.com/gatepass/gatepass/internal/gitconfig"
)

// Rewritten returns where git goes for a URL of a remote, by url.*.insteadOf and, for a
// push, url.*.pushInsteadOf, and the setting that leads there; nil where none does. Of the
// beginnings that fit, git takes the longest, and of those that are as long the one whose base it
// read first.
func Rewritten(list []gitconfig.Setting, url string, push bool) (string, *gitconfig.Setting) {
	if push { // what pushInsteadOf makes of it is not looked at again
		if to, by := rewrittenBy(list, url, "pushinsteadof"); by != nil && to != url {
			return to, by
		}
	}
	return rewrittenBy(list, url, "insteadof")
}

func rewrittenBy(list []gitconfig.Setting, url, variable string) (string, *gitconfig.Setting) {
	order := map[string]int{} // of bases, as they are read
	best, to := -1, url
	for i, s := range list {
		section, base, name := s.Parts()
		if section != "url" || name != variable || s.Bare {
			continue
		}
		if _, known := order[base]; !known {
			order[base] = len(order)
		}
		if !strings.HasPrefix(url, s.Value) {
			continue
		}
		if best >= 0 {
			_, bestBase, _ := list[best].Parts()
			if n := len(list[best].Value); len(s.Value) < n || len(s.Value) == n && order[base] >= order[bestBase] {
				continue
			}
		}
		best, to = i, base+url[len(s.Value):]
	}
	if best < 0 {
		return url, nil
	}
	return to, &list[best]
}
