package config

import "regexp/syntax"

// isWhole reports whether a pattern matches whole texts only. Anchors that stand
// at its two ends need not be of all of it: "^a|b$" is content with a beginning.
func isWhole(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && isAt(re, syntax.OpBeginText, 0) && isAt(re, syntax.OpEndText, -1)
}

// isAt reports whether every text that re matches has an anchor at that end: at the
// first part, or where part is less than 0 at the last.
func isAt(re *syntax.Regexp, anchor syntax.Op, part int) bool {
	switch re.Op {
	case anchor:
		return true
	case syntax.OpCapture:
		return isAt(re.Sub[0], anchor, part)
	case syntax.OpConcat:
		if part < 0 {
			return isAt(re.Sub[len(re.Sub)-1], anchor, part)
		}
		return isAt(re.Sub[0], anchor, part)
	case syntax.OpAlternate:
		for _, one := range re.Sub {
			if !isAt(one, anchor, part) {
				return false
			}
		}
		return true
	}
	return false
}
