package install

import (
	"slices"
	"strings"
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
	bare       bool // a key without "=", which git reads as true
}

// is compares keys as git does: section and name ignoring case, subsection exactly.
func (s setting) is(key string) bool { return canonical(s.key) == canonical(key) }

func (s setting) same(t setting) bool { return s.is(t.key) && s.value == t.value && s.bare == t.bare }

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

// A wish is the content wanted in one file.
type wish struct {
	hosts  []string
	ahead  []string // URLs for proactive authentication
	helper string
	guard  string
	kind   Guard

	gateway           gateway
	author, authorOwn []setting // from planner.author

	hooksDir, chain string
	before          string   // one of the before constants, or empty
	made            []string // the values of madeKey
}

// block returns the sections of a wish.
func (w wish) block() block {
	var b block
	for _, host := range w.hosts {
		b = append(b, credentials(https+host, w.gateway.command(w.helper)))
	}
	for _, url := range w.ahead {
		b = append(b, []setting{proactive(url)})
	}
	b = append(b, w.gateway.sections(w.hosts, w.helper)...)
	b = appendSection(b, w.author)
	if w.kind.hook() {
		b = append(b, []setting{
			{key: hookSection + ".command", value: shellQuote(w.guard) + " --configured"},
			{key: hookSection + ".event", value: "pre-push"},
			{key: hookSection + ".parallel", value: "true"}, // otherwise git runs all hooks of a push one after another
		})
	}
	if w.kind.hooksPath() {
		b = append(b, []setting{{key: hooksPathKey, value: w.hooksDir}})
	}
	return appendSection(b, w.own())
}

// own returns the section gatepass.
func (w wish) own() (own []setting) {
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
	for _, dir := range w.made {
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

// owned returns those of a file's settings that gatepass wrote. ourDir reports whether
// a core.hooksPath is a directory of our shims.
func owned(list []setting, ourDir func(string) bool) block {
	var b block
	var hook, own, paths []setting
	var ahead, gateways block
	for _, s := range list {
		s.key = spelled(s.key)
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
				b = append(b, remains(list, url)...)
			case s.is(gatewayKey) && !hasHelper(list, s.value):
				gateways = append(gateways, remains(list, s.value)...)
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

// remains returns what another program, such as gh auth setup-git, left of a URL's
// section when it removed our helper. A reset of the helpers is ours if no helper
// follows it: gh adds its own after one.
func remains(list []setting, url string) (b block) {
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

// spelled returns our key as we write it; git lists keys in lower case.
func spelled(key string) string {
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

// overrides reports whether a setting after our block would undo part of it.
func overrides(s setting) bool {
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

// inPlace reports whether list has exactly the wanted settings, in one run, with no
// setting after them that would undo them.
func inPlace(list []setting, want []setting, ourDir func(string) bool) bool {
	ours := owned(list, ourDir).flat()
	if len(ours) == 0 || len(want) == 0 {
		return len(ours) == len(want)
	}
	start := slices.IndexFunc(list, want[0].same)
	for start >= 0 && start+len(want) <= len(list) {
		if slices.EqualFunc(list[start:start+len(want)], want, setting.same) {
			rest := list[start+len(want):]
			return len(ours) == len(want) && !slices.ContainsFunc(rest, overrides)
		}
		next := slices.IndexFunc(list[start+1:], want[0].same)
		if next < 0 {
			break
		}
		start += 1 + next
	}
	return false
}
