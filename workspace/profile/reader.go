package profile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/suggest"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"go.yaml.in/yaml/v3"
)

// maxProblems is the largest number of mistakes that are reported for one file.
const maxProblems = 50

// at adds a mistake.
func (p *Problems) at(node *yaml.Node, format string, args ...any) {
	*p = append(*p, Problem{node.Line, node.Column, fmt.Sprintf(format, args...)})
}

func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(p) > maxProblems {
		p = append(p[:maxProblems:maxProblems], Problem{p[maxProblems].Line, p[maxProblems].Column, "and more"})
	}
	return p
}

// A reader walks a file's nodes, so that it finds every mistake with its place.
type reader struct {
	problems Problems
	profile  Profile

	isSandbox  bool            // the file is a profile of the first system
	isSecond   bool            // of the second version of its format
	sourceMode string          // its sourceAccess mode
	ignored    []string        // its keys that are not about GitHub
	isGiven    map[string]bool // the keys of github
}

// keys calls the reader of each key of a mapping. A null is a mapping without keys.
func (r *reader) keys(node *yaml.Node, what string, known map[string]func(*yaml.Node)) (seen map[string]*yaml.Node) {
	return r.read(node, what, known, false)
}

// someKeys is like keys, for a mapping in which a sandbox profile may have keys to
// ignore.
func (r *reader) someKeys(node *yaml.Node, what string, known map[string]func(*yaml.Node)) (seen map[string]*yaml.Node) {
	return r.read(node, what, known, r.isSandbox)
}

func (r *reader) read(node *yaml.Node, what string, known map[string]func(*yaml.Node), ignores bool) (seen map[string]*yaml.Node) {
	node = resolve(node)
	seen = map[string]*yaml.Node{}
	if isNull(node) {
		return seen
	}
	if node.Kind != yaml.MappingNode {
		r.problems.at(node, "%s must be a mapping", what)
		return seen
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read, ok := known[key.Value]
		isOther := !ok && ignores && r.mayIgnore(key, known)
		switch {
		case key.Kind != yaml.ScalarNode || !ok && !isOther:
			r.problems.at(key, "%s", suggest.Unknown("key", key.Value, " in "+what, slices.Collect(maps.Keys(known))))
		case seen[key.Value] != nil:
			r.problems.at(key, "%s is given twice, first on line %d", key.Value, seen[key.Value].Line)
		default:
			seen[key.Value] = key
			if isOther {
				r.ignored = append(r.ignored, fmt.Sprintf("%s.%.60s", what, key.Value))
				continue
			}
			read(value)
		}
	}
	return seen
}

func (r *reader) document(node *yaml.Node) {
	ignore := func(*yaml.Node) {}
	known := map[string]func(*yaml.Node){
		"apiVersion": r.exactly("apiVersion", apiVersion),
		"kind":       r.exactly("kind", kind),
		"metadata": func(n *yaml.Node) {
			r.someKeys(n, "metadata", map[string]func(*yaml.Node){"name": r.name, "labels": ignore, "annotations": ignore})
		},
		"spec": func(n *yaml.Node) {
			r.someKeys(n, "spec", map[string]func(*yaml.Node){"sourceAccess": r.sourceAccess})
		},
	}
	var extends *yaml.Node
	sandbox := sandboxVersion(node)
	r.isSandbox, r.isSecond = sandbox != "", sandbox == sandboxV2
	if r.isSandbox {
		known["apiVersion"], known["kind"] = ignore, r.exactly("kind", sandboxKind)
		known["extends"] = func(n *yaml.Node) { extends = resolve(n) }
	}
	seen := r.keys(node, "a profile", known)
	if r.isSandbox {
		r.inherited(extends)
		r.narrow()
	}
	if seen["spec"] == nil {
		r.problems.at(node, "spec is missing")
	}
	version, kind := seen["apiVersion"], seen["kind"]
	if (version == nil) != (kind == nil) {
		r.problems.at(cmp.Or(version, kind), "apiVersion and kind must be given together or not at all")
	}
}

func (r *reader) exactly(key, want string) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if got := resolve(node); got.Kind != yaml.ScalarNode || got.Value != want {
			r.problems.at(node, "%s must be %s here, not %q", key, want, got.Value)
		}
	}
}

func (r *reader) name(node *yaml.Node) {
	text, ok := r.text(node, "a name")
	if ok && store.CheckWorkspace(text) != nil {
		r.problems.at(node, "%q is not a name; a name must consist of letters, digits, dots, hyphens and underscores", text)
		return
	}
	r.profile.Name = text
}

func (r *reader) sourceAccess(node *yaml.Node) {
	known := map[string]func(*yaml.Node){"github": r.github}
	if r.isSandbox {
		known["mode"] = r.mode
	}
	r.keys(node, "sourceAccess", known)
}

func (r *reader) github(node *yaml.Node) {
	seen := r.keys(node, "github", map[string]func(*yaml.Node){
		"allowedRepos": r.repositories,
		"allowedRefs":  r.refs,
		"permissions": func(n *yaml.Node) {
			r.permissions(n, &r.profile.Permissions, "permissions", "leave it out for clone and, with allowedRefs, push")
		},
		"optionalPermissions": func(n *yaml.Node) {
			r.permissions(n, &r.profile.Optional, "optionalPermissions", "leave it out for none")
		},
		"publicRead": r.publicRead,
		"sharing":    r.sharing,
		"verify":     r.verify,
	})
	r.isGiven = map[string]bool{}
	for key := range seen {
		r.isGiven[key] = true
	}
	if len(r.problems) > 0 {
		return
	}
	if seen["permissions"] == nil {
		r.profile.Permissions = defaultPermissions(r.profile.Refs)
	}
	if len(r.profile.Refs) > 0 && r.profile.HasAccess() && r.profile.Permissions.Levels()["contents"] == "read" {
		r.profile.Warnings = append(r.profile.Warnings, "allowedRefs may be pushed by the guard's rules, but permissions do not include push")
	}
	r.warnOfForceInTwoSteps()
}

// warnOfForceInTwoSteps warns about rules that allow in two pushes what verify refuses
// in one.
func (r *reader) warnOfForceInTwoSteps() {
	for _, e := range r.profile.Refs {
		if r.profile.Verify == VerifyAncestry && slices.Contains(e.Allow, refs.Delete) && slices.Contains(e.Allow, refs.Create) && !slices.Contains(e.Allow, refs.Force) {
			r.profile.Warnings = append(r.profile.Warnings, "verify does not stop "+e.Ref+" from being deleted and created again, which has the effect of a forced push; remove delete")
		}
	}
}

// defaultPermissions returns the least permissions with which a profile works as
// written.
func defaultPermissions(refs []refs.Entry) mint.Permissions {
	level := "read"
	if len(refs) > 0 {
		level = "write"
	}
	return mint.PermissionLevels(map[string]string{"contents": level})
}

func (r *reader) sharing(node *yaml.Node) {
	text, ok := r.text(node, "a way of sharing")
	r.profile.Sharing = Sharing(text)
	if ok && r.profile.Sharing != ShareInProfile && r.profile.Sharing != ShareNothing {
		r.problems.at(node, "sharing must be %s or %s, not %q", ShareInProfile, ShareNothing, text)
	}
}

func (r *reader) verify(node *yaml.Node) {
	text, ok := r.text(node, "a way to verify pushes")
	r.profile.Verify = Verification(text)
	if ok && r.profile.Verify != VerifyAncestry {
		r.problems.at(node, "verify must be %s or left out, not %q", VerifyAncestry, text)
	}
}

func (r *reader) repositories(node *yaml.Node) {
	var places []*yaml.Node
	for _, item := range r.list(node, "allowedRepos") {
		text, ok := r.text(item, "a repository pattern")
		if !ok {
			continue
		}
		pattern := text
		if r.isSandbox {
			pattern = strings.TrimPrefix(text, "github.com/") // as in the first system
		}
		p, err := mint.ParsePattern(pattern)
		if err != nil {
			r.problems.at(item, "%s", err)
			continue
		}
		if i := slices.IndexFunc(r.profile.Repositories, p.Equal); i >= 0 {
			r.problems.at(item, "%s is given twice, first on line %d", text, places[i].Line)
			continue
		}
		r.profile.Repositories, places = append(r.profile.Repositories, p), append(places, item)
	}
	everything := slices.IndexFunc(r.profile.Repositories, mint.Pattern.Everything)
	if everything >= 0 && len(places) > 1 {
		r.problems.at(places[everything], "* matches every repository, so the other entries have no effect; remove * or the other entries")
	}
}

func (r *reader) publicRead(node *yaml.Node) {
	for _, item := range r.list(node, "publicRead") {
		text, ok := r.text(item, "a repository pattern")
		if !ok {
			continue
		}
		p, err := mint.ParsePattern(text)
		if err != nil {
			r.problems.at(item, "%s", err)
			continue
		}
		r.profile.PublicRead = append(r.profile.PublicRead, p)
	}
}

func (r *reader) refs(node *yaml.Node) {
	first := map[string]*yaml.Node{}
	verbs := map[string]string{}
	for _, item := range r.list(node, "allowedRefs") {
		var e refs.Entry
		if err := e.UnmarshalYAML(resolve(item)); err != nil {
			r.problems = append(r.problems, placed(item, err))
			continue
		}
		policy, err := refs.Compile(refs.ForWorkspace([]refs.Entry{e}, "x"))
		if err != nil {
			r.problems.at(item, "%s", err)
			continue
		}
		rule := policy.Rules()[0]
		allows := verbSet(rule)
		switch before := first[rule.Full]; {
		case before == nil:
			first[rule.Full], verbs[rule.Full] = item, allows
			r.profile.Refs = append(r.profile.Refs, e)
		case verbs[rule.Full] == allows:
			r.problems.at(item, "ref %s is given twice, first on line %d", e.Ref, before.Line)
		default:
			r.problems.at(item, "ref %s contradicts line %d, which allows %s and not %s", e.Ref, before.Line, verbs[rule.Full], allows)
		}
	}
}

func verbSet(rule *refs.Rule) string {
	var texts []string
	for _, v := range rule.Verbs() {
		texts = append(texts, string(v))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// placed converts an error of package refs, which contains its place, to a Problem.
func placed(node *yaml.Node, err error) Problem {
	p := Problem{node.Line, node.Column, err.Error()}
	if n, scanErr := fmt.Sscanf(err.Error(), "line %d column %d:", &p.Line, &p.Column); n == 2 && scanErr == nil {
		_, p.Text, _ = strings.Cut(err.Error(), ": ")
	}
	return p
}

func (r *reader) permissions(node *yaml.Node, into *mint.Permissions, key, otherwise string) {
	node = resolve(node)
	switch {
	case node.Kind == yaml.MappingNode && len(node.Content) > 0:
		*into = r.levels(node)
	case node.Kind == yaml.SequenceNode && len(node.Content) > 0:
		*into = r.verbs(node)
	default:
		r.problems.at(node, "%s must be a list of verbs or a mapping such as {contents: write}, and not empty; %s", key, otherwise)
	}
}

func (r *reader) verbs(node *yaml.Node) (p mint.Permissions) {
	var names []string
	for _, item := range node.Content {
		verb, ok := r.text(item, "a permission verb")
		if !ok {
			continue
		}
		if other, ok := sandboxVerbs[verb]; ok && r.isSandbox {
			verb = other
		}
		if slices.Contains(names, verb) {
			r.problems.at(item, "%s is given twice", verb)
			continue
		}
		if _, err := mint.Verbs(verb); err != nil {
			r.problems.at(item, "%s", err)
			continue
		}
		names = append(names, verb)
	}
	if len(names) > 0 {
		p, _ = mint.Verbs(names...) // each name was checked
	}
	return p
}

func (r *reader) levels(node *yaml.Node) mint.Permissions {
	levels := map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		level, ok := r.text(node.Content[i+1], "a level")
		if _, twice := levels[key.Value]; twice {
			r.problems.at(key, "%s is given twice", key.Value)
			continue
		}
		levels[key.Value] = level
		one := mint.PermissionLevels(map[string]string{key.Value: level})
		if err := one.Validate(); ok && err != nil {
			r.problems.at(key, "%s", err)
		}
	}
	return mint.PermissionLevels(levels)
}

// list returns the items of a list; null is an empty list.
func (r *reader) list(node *yaml.Node, what string) []*yaml.Node {
	node = resolve(node)
	if isNull(node) {
		return nil
	}
	if node.Kind != yaml.SequenceNode {
		r.problems.at(node, "%s must be a list", what)
		return nil
	}
	return node.Content
}

func (r *reader) text(node *yaml.Node, what string) (string, bool) {
	node = resolve(node)
	if node.Kind != yaml.ScalarNode || isNull(node) || node.Value == "" {
		r.problems.at(node, "%s must be a string that is not empty", what)
		return "", false
	}
	return node.Value, true
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// resolve follows an alias. The place of mistakes is then the anchor's.
func resolve(node *yaml.Node) *yaml.Node {
	for range 10 { // YAML refuses an alias of an alias
		if node.Kind != yaml.AliasNode {
			break
		}
		node = node.Alias
	}
	return node
}
