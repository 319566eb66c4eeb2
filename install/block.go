package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/shell"
)

// Names in the configuration. The friendly name of the hook must not be that of an
// event, because git then refuses to run any hook.
const (
	hookSection  = "hook.gatepass"
	hooksPathKey = "core.hooksPath"
	chainKey     = "gatepass.chainHooksPath" // the core.hooksPath that ours overrides
	hostKey      = "gatepass.host"           // a host that the block configures
	beforeKey    = "gatepass.fileBefore"     // the state of the file before the block was added, if it cannot be seen any more
	madeKey      = "gatepass.madeDirectory"  // the outermost directory that New made for a file of ours

	beforeAbsent       = "absent"       // there was no file
	beforeUnterminated = "unterminated" // its last line had no line break
)

// A setting is one variable. Its key is as git lists it, or as we write it.
type setting struct {
	key, value string
	noValue    bool // a key without "=", which git reads as true
}

// is compares keys as git does: section and name ignoring case, subsection exactly.
func (s setting) is(key string) bool { return canonical(s.key) == canonical(key) }

func (s setting) same(t setting) bool {
	return s.is(t.key) && s.value == t.value && s.noValue == t.noValue
}

// canonical returns the key with its first and last part in lower case.
func canonical(key string) string {
	first, last := strings.IndexByte(key, '.'), strings.LastIndexByte(key, '.')
	if first < 0 {
		return strings.ToLower(key)
	}
	return strings.ToLower(key[:first]) + key[first:last] + strings.ToLower(key[last:])
}

// section returns the key without its last part.
func (s setting) section() string {
	k := canonical(s.key)
	return k[:max(strings.LastIndexByte(k, '.'), 0)]
}

// A block is the list of sections that gatepass adds to one file. In hook.gatepass the
// command comes first: an event without a command makes every push fail.
type block [][]setting

func (b block) flat() []setting { return slices.Concat(b...) }

// A wantedBlock is the content of the block in one file.
type wantedBlock struct {
	hosts     []string
	proactive []string // URLs for proactive authentication
	helper    string
	guard     string
	kind      Guard

	gateway           gateway
	author, authorOwn []setting // from planner.author

	hooksDir, chain string
	before          string   // one of the before constants, or empty
	madeDirs        []string // the values of madeKey
}

// block returns the sections of the block.
func (w wantedBlock) block() block {
	var b block
	for _, host := range w.hosts {
		b = append(b, credentials(https+host, w.gateway.command(w.helper)))
	}
	for _, url := range w.proactive {
		b = append(b, []setting{proactive(url)})
	}
	b = append(b, w.gateway.sections(w.hosts, w.helper)...)
	b = appendSection(b, w.author)
	if w.kind.hook() {
		b = append(b, []setting{
			{key: hookSection + ".command", value: shell.Quote(w.guard) + " --configured"},
			{key: hookSection + ".event", value: "pre-push"},
			{key: hookSection + ".parallel", value: "true"}, // otherwise git runs all hooks of a push one after another
		})
	}
	if w.kind.hooksPath() {
		b = append(b, []setting{{key: hooksPathKey, value: w.hooksDir}})
	}
	return appendSection(b, w.record())
}

// record returns the section gatepass.
func (w wantedBlock) record() (own []setting) {
	for _, host := range w.hosts {
		own = append(own, setting{key: hostKey, value: host})
	}
	own = append(append(own, w.gateway.own()...), w.authorOwn...)
	if w.kind.hooksPath() && w.chain != "" {
		own = append(own, setting{key: chainKey, value: w.chain})
	}
	if w.before != "" {
		own = append(own, setting{key: beforeKey, value: w.before})
	}
	for _, dir := range w.madeDirs {
		own = append(own, setting{key: madeKey, value: dir})
	}
	return own
}

const (
	https            = "https://"
	credentialPrefix = "credential."
)

// credentials returns the section of one URL. The empty helper resets the list of all
// earlier helpers, in every file.
func credentials(url, command string) []setting {
	section := credentialPrefix + url
	return []setting{
		{key: section + ".helper"},
		{key: section + ".helper", value: command},
		{key: section + ".useHttpPath", value: "true"},
	}
}

// owned returns those of a file's settings that gatepass wrote. isShimDir reports whether
// a core.hooksPath is a directory of our shims.
func owned(list []setting, ourDir func(string) bool) block {
	var b block
	var hook, own, paths []setting
	var ahead, gateways block
	for _, s := range list {
		s.key = withCase(s.key)
		switch {
		case ourHelper(s):
			c := credentials(strings.TrimPrefix(s.section(), credentialPrefix), s.value)
			if slices.Contains(valuesOf(list, gatewayKey), strings.TrimPrefix(s.section(), credentialPrefix)) {
				gateways = append(gateways, c)
				break
			}
			b = append(b, c)
		case ourProactive(s, list):
			ahead = append(ahead, []setting{proactive(strings.TrimPrefix(s.section(), "http."))})
		case s.section() == hookSection:
			hook = append(hook, s)
		case isOwn(s):
			own = append(own, s)
			switch url := https + s.value; {
			case s.is(hostKey) && !hasHelper(list, url):
				b = append(b, leftBehind(list, url)...)
			case s.is(gatewayKey) && !hasHelper(list, s.value):
				gateways = append(gateways, leftBehind(list, s.value)...)
			}
		case s.is(hooksPathKey) && ourDir(s.value):
			paths = append(paths, s)
		}
	}
	urls, reached := gatewayOwned(list)
	b = slices.Concat(b, ahead, gateways, urls, reached, authorOwned(list))
	for _, section := range [][]setting{hook, paths, own} {
		b = appendSection(b, section)
	}
	return b
}

// hasHelper reports whether our helper is set for a URL.
func hasHelper(list []setting, url string) bool {
	return slices.ContainsFunc(list, func(s setting) bool { return ourHelper(s) && s.section() == credentialPrefix+url })
}

// leftBehind returns what another program, such as gh auth setup-git, left of a URL's
// section when it removed our helper. A reset of the helpers is ours if no helper
// follows it: gh adds its own after one.
func leftBehind(list []setting, url string) (b block) {
	section := credentials(url, "")
	reset, path := section[0], section[len(section)-1]
	last := -1
	for i, s := range list {
		if s.is(reset.key) {
			last = i
		}
	}
	if last >= 0 && list[last].same(reset) {
		b = append(b, []setting{reset})
	}
	if count(list, path) > 0 {
		b = append(b, []setting{path})
	}
	return b
}

// withCase returns our key as we write it; git lists keys in lower case.
func withCase(key string) string {
	for _, ours := range []string{hooksPathKey, chainKey, hostKey, gatewayKey, gatewayCAKey, authorKey, beforeKey, madeKey} {
		if canonical(key) == canonical(ours) {
			return ours
		}
	}
	return key
}

// isOwn reports whether New wrote a variable of the section gatepass. Other variables
// there are the user's.
func isOwn(s setting) bool {
	return s.is(chainKey) || s.is(hostKey) || s.is(beforeKey) || s.is(madeKey) || s.is(gatewayKey) || s.is(gatewayCAKey) || s.is(authorKey)
}

func ourHelper(s setting) bool {
	url, ok := strings.CutPrefix(s.section(), credentialPrefix)
	return ok && strings.HasPrefix(url, "http") && strings.Contains(url, "://") && strings.HasSuffix(canonical(s.key), ".helper") &&
		isCommand(s.value, helperName)
}

// undoesBlock reports whether a setting after our block would undo part of it.
func undoesBlock(s setting) bool {
	section, _, _ := strings.Cut(canonical(s.key), ".")
	switch section {
	case "credential":
		k := canonical(s.key)
		return strings.HasSuffix(k, ".helper") || strings.HasSuffix(k, ".usehttppath")
	case "include", "includeif":
		return true
	}
	return s.is(hooksPathKey) || s.section() == hookSection || isOwn(s)
}

// isCurrent reports whether list has exactly the wanted settings, in one run, with no
// setting after them that would undo them.
func isCurrent(list []setting, want []setting, ourDir func(string) bool) bool {
	ours := owned(list, ourDir).flat()
	if len(ours) == 0 || len(want) == 0 {
		return len(ours) == len(want)
	}
	start := slices.IndexFunc(list, want[0].same)
	for start >= 0 && start+len(want) <= len(list) {
		if slices.EqualFunc(list[start:start+len(want)], want, setting.same) {
			rest := list[start+len(want):]
			return len(ours) == len(want) && !slices.ContainsFunc(rest, undoesBlock)
		}
		next := slices.IndexFunc(list[start+1:], want[0].same)
		if next < 0 {
			break
		}
		start += 1 + next
	}
	return false
}

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
			return nil, false, errors.New("a section of gatepass cannot be removed")
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
		for rest := range withoutOne(content, try.text, try.whole) {
			if g.lacks(ctx, rest, list, section) {
				return rest, nil
			}
		}
	}
	var commands [][]string
	for _, s := range slices.Backward(section) { // remove the event before the command
		if count(list, s) == 1 || !mayBeUsers(s) {
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
		texts = append(texts, fmt.Sprintf("%q %q %t", canonical(s.key), s.value, s.noValue))
	}
	slices.Sort(texts)
	return texts
}

// mayBeUsers reports whether a user might have written the same setting in the same
// section; it is then removed only if it occurs once.
func mayBeUsers(s setting) bool {
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
	if s.noValue {
		return []string{"--unset-all", s.key}
	}
	return []string{"--fixed-value", "--unset-all", s.key, s.value}
}

// withoutOne yields content with one occurrence of text removed, the last occurrence first.
// An occurrence must start a line and, if whole is set, must not be followed by further
// variables.
func withoutOne(content []byte, text string, whole bool) iter.Seq[[]byte] {
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
