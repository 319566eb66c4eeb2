package config

import "regexp/syntax"

// A shape is what the syntax of a pattern shows.
type shape struct {
	anchors  bool // ^ or $, which say nothing
	anyOne   bool // a dot that stands for one character: probably a dot was meant
	crossing bool // a repetition that goes over colons
}

func shapeOf(pattern string) shape {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return shape{} // was compiled before
	}
	var s shape
	s.look(re, false)
	return s
}

func (s *shape) look(re *syntax.Regexp, isRepeated bool) {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		s.anchors = true
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		s.anyOne = s.anyOne || !isRepeated
		s.crossing = s.crossing || isRepeated
	case syntax.OpCharClass:
		s.crossing = s.crossing || isRepeated && hasRune(re.Rune, ':')
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		isRepeated = isRepeated || re.Op != syntax.OpQuest
	}
	for _, sub := range re.Sub {
		s.look(sub, isRepeated)
	}
}

// hasRune reports whether a class, which is pairs of ends, has a rune.
func hasRune(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}
