// Package config reads the workspace file, which tells the helper, the agent
// and the guard what this workspace may do.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/workspacefile"
	"github.com/gatepass/gatepass/internal/yamlfile"
	"go.yaml.in/yaml/v3"
)

const (
	// DefaultPath is the workspace file of an image, where root owns it.
	DefaultPath = workspacefile.Default
	// PathVariable is the environment variable that names another workspace file.
	PathVariable = workspacefile.Variable
	// DefaultHost is the only host if the file lists none.
	DefaultHost = "github.com"

	maxFile = 1 << 20
)

// The ways to cache tokens.
const (
	CacheMemory  = "memory"  // in the agent
	CacheKeyring = "keyring" // in the OS keyring
	CacheNone    = "none"    // nowhere: no agent stays in memory
)

// What happens to pushes to hosts that the file does not list.
const (
	ElsewhereDeny  = "deny"
	ElsewhereAllow = "allow"
)

// A Workspace is the content of a workspace file, checked.
type Workspace struct {
	Path         string   // the path of the file, absolute
	ID           string   // the workspace's id; "" if the file names none
	Hosts        []string // canonical, never empty
	Source       *url.URL // nil if the file names none; its placeholders are not filled in yet
	Repositories credential.Repositories
	Refs         []refs.Entry // empty allows nothing
	Cache        string       // one of the Cache constants
	Elsewhere    string       // one of the Elsewhere constants
	Strict       bool         // refuse tokens when git's configuration weakens the connection to the host
	Gateway      Gateway      // the zero Gateway means that git talks to the hosts, with tokens
	Author       Author       // the author that install sets in git if git's configuration has none
}

// file is the YAML as written. Repos, Gateway and Author are nodes, to distinguish an
// absent key (any repository, no gateway, no author) from an empty one (a mistake).
type file struct {
	Workspace string    `yaml:"workspace"`
	Hosts     []string  `yaml:"hosts"`
	Source    string    `yaml:"source"`
	Repos     yaml.Node `yaml:"repos"`
	Refs      refList   `yaml:"refs"`
	Cache     string    `yaml:"cache"`
	Elsewhere string    `yaml:"elsewhere"`
	Strict    bool      `yaml:"strict"`
	Gateway   yaml.Node `yaml:"gateway"`
	Author    yaml.Node `yaml:"author"`
}

// refList is a list that, unlike a plain slice, does not drop null entries.
type refList []refs.Entry

func (r *refList) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode {
		return yamlfile.At(node, "refs must be a list")
	}
	for _, item := range node.Content {
		var e refs.Entry
		if err := e.UnmarshalYAML(item); err != nil {
			return err
		}
		*r = append(*r, e)
	}
	return nil
}

// isWorkspaceID reports whether an id is safe in paths of parameters, files and
// secrets. It uses no regular expression: the guard starts for every push, and
// compiling one takes half a millisecond.
func isWorkspaceID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return id != "" && len(id) <= 128 && strings.Contains(letters, id[:1]) && strings.Trim(id, letters+"._-") == ""
}

// Path returns the absolute path of the workspace file: the one that the environment
// names, or else DefaultPath. If DefaultPath does not exist, it is
// ~/.config/gatepass/workspace.yaml, if that exists.
func Path(getenv func(string) string) (string, error) {
	p := getenv(PathVariable)
	if p == "" {
		return workspacefile.Path(getenv), nil
	}
	return filepath.Abs(p)
}

// Load reads and checks a workspace file. It refuses a file that any user other than
// root and this user can change or replace. The error is one line with the file's name
// and, if known, the line in it.
func Load(path string) (*Workspace, error) {
	return load(path, func(path string) (*os.File, error) {
		return trustedfile.Open("the workspace file", path, trustedfile.Writing)
	})
}

// LoadDraft is like Load, but the file may belong to any user. Use it only to inspect a
// file.
func LoadDraft(path string) (*Workspace, error) { return load(path, os.Open) }

// load reads only a regular file: opening a pipe or a terminal could wait forever.
func load(path string, open func(string) (*os.File, error)) (*Workspace, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, usererr.New("read the workspace file "+path, "it is not a regular file", "name one with "+PathVariable)
	}
	f, err := open(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, unread(path, err, "make it readable for this user, or name another with "+PathVariable)
	case err != nil:
		return nil, unread(path, err, "create it or name another with "+PathVariable)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unread(path, err, "")
	}
	w, err := Parse(data)
	if err != nil {
		return nil, usererr.Wrap("read the workspace file "+path, err, "correct the file")
	}
	w.Path = path
	return w, nil
}

// unread wraps an error of the operating system. It returns a complete error unchanged.
func unread(path string, err error, do string) error {
	if _, ok := errors.AsType[*usererr.Error](err); ok {
		return err
	}
	return &usererr.Error{Op: "read the workspace file " + path, Reason: withoutPath(err), Hint: do, Err: err}
}

// withoutPath returns the text of a file error without its path.
func withoutPath(err error) string {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// Parse checks the text of a workspace file. Unknown and repeated keys, bad
// hosts, patterns and verbs are errors.
func Parse(data []byte) (*Workspace, error) {
	w, err := parse(data)
	if err != nil {
		return nil, yamlfile.Locate(data, err)
	}
	return w, nil
}

// parse is Parse without line numbers in its errors.
func parse(data []byte) (*Workspace, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	var f file
	if err := yamlfile.Decode(data, &f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return f.check()
}

func (f *file) check() (*Workspace, error) {
	w := &Workspace{ID: f.Workspace, Refs: f.Refs, Cache: f.Cache, Elsewhere: f.Elsewhere, Strict: f.Strict}
	if w.ID != "" && !isWorkspaceID(w.ID) {
		return nil, yamlfile.Key("workspace", fmt.Errorf("workspace %q: an ID must consist of letters, digits, dots, hyphens and underscores", w.ID))
	}
	var err error
	if w.Hosts, err = checkHosts(f.Hosts); err != nil {
		return nil, yamlfile.Key("hosts", err)
	}
	if w.Source, err = checkSource(f.Source); err != nil {
		return nil, yamlfile.Key("source", err)
	}
	if w.Repositories, err = checkRepositories(f.Repos); err != nil {
		return nil, yamlfile.Key("repos", err)
	}
	switch w.Cache {
	case "":
		w.Cache = CacheMemory
	case CacheMemory, CacheKeyring, CacheNone:
	default:
		return nil, yamlfile.Key("cache", fmt.Errorf("cache %q: want memory, keyring or none", w.Cache))
	}
	switch w.Elsewhere {
	case "":
		w.Elsewhere = ElsewhereDeny
	case ElsewhereDeny, ElsewhereAllow:
	default:
		return nil, yamlfile.Key("elsewhere", fmt.Errorf("elsewhere %q: want deny or allow", w.Elsewhere))
	}
	if w.Author, err = checkAuthor(f.Author); err != nil {
		return nil, yamlfile.Key("author", err)
	}
	if err := w.checkGateway(f.Gateway); err != nil {
		return nil, yamlfile.Key("gateway", err)
	}
	return w, nil
}

func checkHosts(hosts []string) ([]string, error) {
	if hosts == nil {
		return []string{DefaultHost}, nil
	}
	if len(hosts) == 0 {
		return nil, errors.New("hosts must not be empty; leave it out for " + DefaultHost)
	}
	canonical := make([]string, len(hosts))
	for i, h := range hosts {
		c, ok := gitname.Host(h)
		if !ok {
			return nil, fmt.Errorf("host %q: want an exact host name with an optional :port, no scheme, no wildcard", h)
		}
		canonical[i] = c
	}
	return canonical, nil
}

func checkSource(source string) (*url.URL, error) {
	if source == "" {
		return nil, nil
	}
	u, err := url.Parse(source)
	if err != nil || u.Scheme == "" || u.User != nil {
		// The error does not repeat the text, which may hold a password.
		return nil, errors.New("source: want a URL such as ssm:///path, file:///path or broker+https://host, without user or password")
	}
	return u, nil
}

func checkRepositories(node yaml.Node) (credential.Repositories, error) {
	if node.IsZero() {
		return credential.AnyRepository(), nil
	}
	if node.Kind != yaml.SequenceNode {
		return credential.Repositories{}, errors.New("repos must be a list; [] allows none, and without repos any is allowed")
	}
	var patterns []string
	if err := node.Decode(&patterns); err != nil {
		return credential.Repositories{}, errors.New("repos must be a list of strings")
	}
	return credential.ParseRepositories(patterns)
}

// An Author is the author of a workspace's commits. The zero Author means the author in
// git's own configuration.
type Author struct{ Name, Email string }

// ParseAuthor reads "NAME <EMAIL>", the form of git's commits.
func ParseAuthor(text string) (name, email string, err error) {
	name, rest, found := strings.Cut(text, " <")
	email, closed := strings.CutSuffix(rest, ">")
	_, domain, hasAt := strings.Cut(email, "@")
	switch {
	case !found || !closed || !hasAt || domain == "" || strings.HasPrefix(email, "@"),
		strings.TrimSpace(name) != name || name == "" || strings.ContainsAny(name+email, "<>") || strings.ContainsAny(email, " \t"),
		!utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 512:
		return "", "", fmt.Errorf("author %q: want NAME <EMAIL>, such as acme-bot[bot] <1234+acme-bot[bot]@users.noreply.github.com>", text)
	}
	return name, email, nil
}

func checkAuthor(node yaml.Node) (a Author, err error) {
	if node.IsZero() {
		return a, nil
	}
	if node.Kind != yaml.ScalarNode || node.Tag != "!!str" {
		return a, errors.New("author must be NAME <EMAIL>")
	}
	a.Name, a.Email, err = ParseAuthor(node.Value)
	return a, err
}

// A Draft is the content of a workspace file that the issuing side writes.
type Draft struct {
	Workspace string
	Hosts     []string
	Source    string   // "" omits the key
	Repos     []string // empty allows no repository
	Refs      []refs.Entry
}

// draft has the keys in the order in which people read them.
type draft struct {
	Workspace string   `yaml:"workspace"`
	Hosts     []string `yaml:"hosts,flow"`
	Source    string   `yaml:"source,omitempty"`
	Repos     []string `yaml:"repos"`
	Refs      []any    `yaml:"refs"`
}

// entry is a ref and what may be done to it.
type entry struct {
	Ref   string      `yaml:"ref"`
	Allow []refs.Verb `yaml:"allow,flow"`
}

// Encode returns the file's text. It returns an error if Parse would refuse it.
func (d Draft) Encode() ([]byte, error) {
	f := draft{Workspace: d.Workspace, Hosts: d.Hosts, Source: d.Source, Repos: append([]string{}, d.Repos...), Refs: []any{}}
	for _, e := range d.Refs {
		if e.Allow == nil {
			f.Refs = append(f.Refs, e.Ref)
		} else {
			f.Refs = append(f.Refs, entry(e))
		}
	}
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, err
	}
	if _, err := parse(text.Bytes()); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
