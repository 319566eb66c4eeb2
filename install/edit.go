package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// add returns content with the block at its end.
func (g git) add(ctx context.Context, content []byte, b block) ([]byte, error) {
	out := bytes.NewBuffer(slices.Clone(content))
	if unterminated(content) {
		out.WriteByte('\n')
	}
	for _, section := range b {
		text, err := g.render(ctx, section)
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
	}
	return out.Bytes(), nil
}

func unterminated(content []byte) bool {
	return len(content) > 0 && !bytes.HasSuffix(content, []byte("\n"))
}

// remove returns content without anything of gatepass. made reports whether New made
// the file and nothing else was added since.
func (g git) remove(ctx context.Context, content []byte, ourDir func(string) bool) (rest []byte, made bool, err error) {
	for {
		list, err := g.list(ctx, content)
		if err != nil {
			return nil, false, err
		}
		b := owned(list, ourDir)
		if len(b) == 0 {
			return content, made && len(content) == 0, nil
		}
		before := valueOf(list, beforeKey)
		made = made || before == beforeAbsent
		next, err := g.removeOnce(ctx, content, b, before)
		if err != nil {
			return nil, false, err
		}
		if bytes.Equal(next, content) {
			return nil, false, errors.New("a section of gatepass's cannot be taken out")
		}
		content = next
	}
}

func (g git) removeOnce(ctx context.Context, content []byte, b block, before string) ([]byte, error) {
	whole, err := g.add(ctx, nil, b)
	if err != nil {
		return nil, err
	}
	if rest, ok := bytes.CutSuffix(content, whole); ok {
		if before == beforeUnterminated {
			rest = bytes.TrimSuffix(rest, []byte("\n"))
		}
		return rest, nil
	}
	for _, section := range b {
		if content, err = g.removeSection(ctx, content, section); err != nil {
			return nil, err
		}
	}
	return content, nil
}

// removeSection removes one section: first as the text that git would write for it, or
// else without its heading, or else, if someone edited it, variable by variable.
func (g git) removeSection(ctx context.Context, content []byte, section []setting) ([]byte, error) {
	text, err := g.render(ctx, section)
	if err != nil {
		return nil, err
	}
	list, err := g.list(ctx, content)
	if err != nil {
		return nil, err
	}
	_, body, _ := strings.Cut(text, "\n")
	for _, try := range []struct {
		text  string
		whole bool
	}{{text, true}, {body, false}} {
		for rest := range cuts(content, try.text, try.whole) {
			if g.lacks(ctx, rest, list, section) {
				return rest, nil
			}
		}
	}
	var commands [][]string
	for _, s := range slices.Backward(section) { // remove the event before the command
		if count(list, s) == 1 || !shared(s) {
			commands = append(commands, unset(s))
		}
	}
	return g.edit(ctx, content, commands...)
}

// lacks reports whether git reads from content what was in list, without section: the
// lines of its body may belong to another section.
func (g git) lacks(ctx context.Context, content []byte, list, section []setting) bool {
	is, err := g.list(ctx, content)
	return err == nil && slices.Equal(sorted(append(is, section...)), sorted(list))
}

func sorted(list []setting) []string {
	var texts []string
	for _, s := range list {
		texts = append(texts, fmt.Sprintf("%q %q %t", canonical(s.key), s.value, s.bare))
	}
	slices.Sort(texts)
	return texts
}

// shared reports whether a user might have written the same setting in the same
// section; it is then removed only if it occurs once.
func shared(s setting) bool {
	section, _, _ := strings.Cut(s.section(), ".")
	return section == "credential" && !ourHelper(s) || section == "http" || section == "url" || section == "lfs" || section == "user"
}

func count(list []setting, s setting) int {
	n := 0
	for _, t := range list {
		if t.same(s) {
			n++
		}
	}
	return n
}

func unset(s setting) []string {
	if s.bare {
		return []string{"--unset-all", s.key}
	}
	return []string{"--fixed-value", "--unset-all", s.key, s.value}
}

// cuts yields content with one occurrence of text removed, the last occurrence first.
// An occurrence must start a line and, if whole is set, must not be followed by further
// variables.
func cuts(content []byte, text string, whole bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for end := len(content); text != ""; {
			at := bytes.LastIndex(content[:end], []byte(text))
			if at < 0 {
				return
			}
			after := content[at+len(text):]
			fits := (at == 0 || content[at-1] == '\n') && (!whole || len(after) == 0 || after[0] == '[')
			if fits && !yield(slices.Concat(content[:at], after)) {
				return
			}
			end = at + len(text) - 1
		}
	}
}

func valueOf(list []setting, key string) string {
	value := ""
	for _, s := range list {
		if s.is(key) {
			value = s.value
		}
	}
	return value
}
