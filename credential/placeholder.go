package credential

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// The placeholders of a source.
const (
	PlaceholderWorkspace = "workspace"
	PlaceholderHost      = "host"
	PlaceholderOwner     = "owner"
	PlaceholderRepo      = "repo"
)

const placeholderList = "{workspace}, {host}, {owner} and {repo}"

// A Template is one part of a source's URL, such as the name of a parameter, with
// placeholders that each request fills in. The zero Template is the empty text.
type Template struct {
	text   string
	pieces []piece
}

// piece is literal text, or the name of a placeholder.
type piece struct {
	text        string
	placeholder bool
}

// ParseTemplate reads text and fills in {workspace}, which is the same for every
// request. Unknown placeholders, single braces, and {workspace} without a workspace id
// are errors, so that a source that cannot work is refused when it is opened.
func ParseTemplate(text, workspace string) (Template, error) {
	t := Template{text: text}
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return Template{}, badTemplate(text, "a } has no {", "use "+placeholderList)
		}
		t.add(piece{text: literal})
		if !found {
			break
		}
		name, after, closed := strings.Cut(after, "}")
		if !closed {
			return Template{}, badTemplate(text, "a { has no }", "use "+placeholderList)
		}
		p, err := parsePlaceholder(text, name, workspace)
		if err != nil {
			return Template{}, err
		}
		t.add(p)
		rest = after
	}
	return t, nil
}

func parsePlaceholder(text, name, workspace string) (piece, error) {
	switch name {
	case PlaceholderWorkspace:
		if workspace == "" {
			return piece{}, badTemplate(text, "it uses {workspace}, but the workspace file has no workspace", "add workspace: ID to that file")
		}
		return piece{text: workspace}, nil
	case PlaceholderHost, PlaceholderOwner, PlaceholderRepo:
		return piece{text: name, placeholder: true}, nil
	}
	return piece{}, badTemplate(text, "unknown placeholder {"+name+"}", "use "+placeholderList)
}

func badTemplate(text, why, do string) error {
	return usererr.New("source part "+text, why, do)
}

func (t *Template) add(p piece) {
	if p.text != "" {
		t.pieces = append(t.pieces, p)
	}
}

// String returns the text as it was written.
func (t Template) String() string { return t.text }

// Uses reports whether the text depends on the named placeholder of a request. It is
// false for {workspace}, which is filled in already.
func (t Template) Uses(name string) bool {
	return slices.Contains(t.pieces, piece{text: name, placeholder: true})
}

// Fixed reports whether every request expands to the same text.
func (t Template) Fixed() bool {
	return !slices.ContainsFunc(t.pieces, func(p piece) bool { return p.placeholder })
}

// Expand fills in the text for one request. Owner and repository are in lower case. A
// host with a port has "_" for the ":", and "_" is doubled, so that two hosts never
// share a place. A value that the request lacks is an error that says what to do.
func (t Template) Expand(req Request) (string, error) {
	var b strings.Builder
	for _, p := range t.pieces {
		text := p.text
		if p.placeholder {
			var err error
			if text, err = placeholderValue(p.text, req); err != nil {
				return "", err
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// Key returns the key under which requests share a token: the expanded text. Requests
// that cannot be expanded have separate keys, under which no token is ever stored.
func (t Template) Key(req Request) string {
	text, err := t.Expand(req)
	if err != nil {
		return "\x00" + req.Host + "/" + req.Path
	}
	return text
}

func placeholderValue(name string, req Request) (string, error) {
	if name == PlaceholderHost {
		return hostValue(req)
	}
	owner, repo, err := RequireRepository(req, "the source uses {"+name+"}")
	if err != nil {
		return "", err
	}
	if name == PlaceholderOwner {
		return owner, nil
	}
	return repo, nil
}

// hostValue refuses a host that cannot be a path segment in every store: SSM allows no
// brackets.
func hostValue(req Request) (string, error) {
	host, ok := gitname.Host(req.Host)
	if !ok || strings.HasPrefix(host, "[") {
		return "", usererr.New("token for https://"+req.Host, "the source uses {host}, but this host is not a plain host name",
			"remove {host} from the source")
	}
	return strings.ReplaceAll(strings.ReplaceAll(host, "_", "__"), ":", "_"), nil
}

// RequireRepository returns the owner and name that req asks for. because says why they
// are needed, such as "the source uses {owner}". For a request without a path or with
// an unusual one, it returns an error that repeats because and says what to do.
func RequireRepository(req Request, because string) (owner, name string, err error) {
	if req.Path == "" {
		return "", "", usererr.New("token for https://"+req.Host, because+", but git sent no path",
			"run git config --global credential.useHttpPath true, or gatepass install")
	}
	owner, name, ok := req.Repository()
	if !ok {
		return "", "", usererr.New("token for https://"+req.Host+"/"+req.Path, because+", but the path is not owner/repository",
			"use a URL of the form https://"+req.Host+"/owner/repository")
	}
	return owner, name, nil
}
