package hub

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A label of a repository.
type label struct{ name, color string }

// firstLabels are the labels that GitHub gives a new repository.
var firstLabels = []label{
	{"bug", "d73a4a"},
	{"documentation", "0075ca"},
	{"duplicate", "cfd3d7"},
	{"enhancement", "a2eeef"},
	{"good first issue", "7057ff"},
	{"help wanted", "008672"},
	{"invalid", "e4e669"},
	{"question", "d876e3"},
	{"wontfix", "ffffff"},
}

func (h *Hub) labelRoutes() {
	const either = "|pull_requests:"
	h.in("GET", "/labels", "issues:read"+either+"read", func(r request) fakegithub.Answer {
		return listed(r, r.st.labels, func(l label) object { return r.showLabel(l.name) })
	})
	h.in("POST", "/labels", "issues:write"+either+"write", postLabel)
	h.in("GET", "/issues/{number}/labels", "issues:read"+either+"read", func(r request) fakegithub.Answer {
		i := r.st.find(r.number())
		if i == nil {
			return r.notFound()
		}
		return listed(r, i.labels, r.showLabel)
	})
}

func postLabel(r request) fakegithub.Answer {
	in := struct{ Name, Color, Description string }{Color: "ededed"}
	if no := r.Decode(&in); no != nil {
		return *no
	}
	switch {
	case in.Name == "":
		return r.failed(invalid("Label", "name", "missing_field", ""))
	case r.st.label(in.Name) != (label{}):
		return r.failed(invalid("Label", "name", "already_exists", ""))
	}
	r.st.labels = append(r.st.labels, label{in.Name, in.Color})
	return created(r.showLabel(in.Name))
}

// label finds a label by its name, whatever its case.
func (st *repository) label(name string) label {
	for _, l := range st.labels {
		if strings.EqualFold(l.name, name) {
			return l
		}
	}
	return label{}
}

// mark puts labels on an issue or pull request. As in GitHub's REST API, a label that
// the repository lacks is created.
func (r request) mark(i *issue, names []string) {
	for _, name := range names {
		if r.st.label(name) == (label{}) {
			r.st.labels = append(r.st.labels, label{name, "ededed"})
		}
		if name = r.st.label(name).name; !slices.Contains(i.labels, name) {
			i.labels = append(i.labels, name)
		}
	}
}

func (r request) showLabel(name string) object {
	return object{
		"id": 1, "node_id": nodeID("LA", r.repo.ID, name), "url": r.api("/labels/%s", name), "name": name,
		"description": nil, "color": r.st.label(name).color, "default": slices.Contains(firstLabels, r.st.label(name)),
	}
}

func (r request) labelEntity(name string) entity {
	return entity{"Label", object{
		"id": nodeID("LA", r.repo.ID, name), "name": name, "description": nil, "color": r.st.label(name).color, "url": r.html("/labels/%s", name),
	}}
}

// labelsMutation returns a mutation that adds labels by their IDs, or removes them.
func labelsMutation(remove bool) mutation {
	return func(g graph, in object) (object, *failure) {
		r, i, f := g.find(text(in, "labelableId"), "")
		if f == nil && !allowed(g.Call, r.repo, "issues:write|pull_requests:write") {
			f = forbidden
		}
		if f != nil {
			return nil, f
		}
		ids, _ := in["labelIds"].([]any)
		for _, id := range ids {
			text, _ := id.(string)
			kind, repo, name, is := parseNodeID(text)
			if !is || kind != "LA" || repo != r.repo.ID || r.st.label(name) == (label{}) {
				return nil, notFound("Could not resolve to a node with the global id of '%s'", text)
			}
			if remove {
				i.labels = slices.DeleteFunc(i.labels, func(have string) bool { return have == name })
			} else {
				r.mark(i, []string{name})
			}
		}
		return object{"labelable": r.either(i)}, nil
	}
}

// either returns the entity of an issue or a pull request.
func (r request) either(i *issue) entity {
	if i.pull != nil {
		return r.pullEntity(i)
	}
	return r.issueEntity(i)
}
