// Package config reads the broker's configuration file and compiles it into a policy.
// It also helps the people who write it: [Lint] finds probable mistakes, and a [Tester]
// tries the rules on cases.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
	"github.com/gatepass/gatepass/broker/identity/oidc"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/yamlfile"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace/profile"
)

// DefaultPath is the configuration file if no option names another.
const DefaultPath = "/etc/gatepass/broker.yaml"

const maxFile = 1 << 20 // bytes

// A File is the configuration as written. See docs/broker.md.
type File struct {
	Listen    Texts      `yaml:"listen"` // https://HOST:PORT, unix:///PATH, or http:// of a loopback address
	TLS       TLS        `yaml:"tls"`
	Store     string     `yaml:"store"`
	GitHubURL string     `yaml:"github_url"`
	Hosts     []string   `yaml:"hosts"` // the host names by which git calls GitHub; none means the host of github_url
	Audit     Audit      `yaml:"audit"`
	Profiles  []string   `yaml:"profiles"`
	Callers   []Caller   `yaml:"callers"`
	Operators []Operator `yaml:"operators"` // none means that no caller can list or revoke
	Webhook   Webhook    `yaml:"webhook"`
	Gateway   *Gateway   `yaml:"gateway"` // nil means that the broker has no git gateway
	Upstream  `yaml:",inline"`

	SocketMode Mode   `yaml:"socket_mode"` // of the unix sockets in listen; 0 means 0660
	Metrics    string `yaml:"metrics"`     // HOST:PORT or unix:///PATH; "" means no metrics page
	Pprof      string `yaml:"pprof"`       // unix:///PATH; "" means no pprof page
	Log        Log    `yaml:"log"`
	Limits     Limits `yaml:"limits"` // defaults are filled in by Load

	text   []byte                      // the file's bytes
	Hash   string                      `yaml:"-"` // of the file and the profiles
	ByName map[string]*profile.Profile `yaml:"-"` // profiles by metadata.name
}

// TLS is the broker's own certificate and key.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// A Caller is a rule: how callers prove their identity, which of them match, and what
// they get. Exactly one method is set.
type Caller struct {
	Name   string                   `yaml:"name"` // for audit and messages; "" means its position in the list
	Socket *identity.SocketSettings `yaml:"socket"`
	OIDC   *oidc.Settings           `yaml:"oidc"`
	AWS    *aws.Settings            `yaml:"aws"`
	MTLS   *identity.MTLSSettings   `yaml:"mtls"`
	Join   *identity.JoinSettings   `yaml:"join"`

	Claims    map[string]Claim `yaml:"claims"`
	CEL       string           `yaml:"cel"` // a condition besides the claims; "" means none
	Workspace string           `yaml:"workspace"`
	Profile   string           `yaml:"profile"`
	Tokens    string           `yaml:"tokens"` // none, read or write; "" means write
}

// A Claim is the required value of a claim: a text, or {pattern: EXPRESSION}.
type Claim struct {
	Text    string
	Pattern string
}

// UnmarshalYAML reads a text, a number, a boolean, or {pattern: …}.
func (c *Claim) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.ShortTag() != "!!null" && node.Value != "" {
		c.Text = node.Value
		return nil
	}
	var p struct {
		Pattern string `yaml:"pattern"`
	}
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 || node.Decode(&p) != nil || p.Pattern == "" {
		return yamlfile.At(node, "a claim must be a string or {pattern: EXPRESSION}")
	}
	c.Pattern = p.Pattern
	return nil
}

// Texts is a text or a list of them.
type Texts []string

// UnmarshalYAML reads a text or a list of texts.
func (t *Texts) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*t = Texts{node.Value}
		return nil
	}
	var list []string
	if err := node.Decode(&list); err != nil {
		return yamlfile.At(node, "want a string or a list of strings")
	}
	*t = list
	return nil
}

// An opener opens a file; kind names it in errors.
type opener func(kind, path string) (*os.File, error)

func openTrusted(kind, path string) (*os.File, error) {
	return trustedfile.Open(kind, path, trustedfile.Writing)
}

// openAny opens any file. It does not block on a pipe that has no writer.
func openAny(_, path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// Load reads a file and the profiles that it names. It refuses files that users other
// than root and this one can change or replace, and secret files that they can read,
// including those that are only read later. The error is one line.
func Load(path string) (*File, error) {
	f, err := loadBy(openTrusted, path)
	if err == nil {
		err = f.checkFileModes()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// LoadDraft is Load for a file that is only examined: other users may own or change it.
func LoadDraft(path string) (*File, error) { return loadBy(openAny, path) }

func loadBy(open opener, path string) (*File, error) {
	what := "read the broker's configuration " + path
	data, err := open.read("the broker's configuration", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usererr.Wrap(what, err, "create it, or name another with --config")
	}
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	f, err := Parse(data)
	if err == nil {
		err = yamlfile.Locate(data, yamlfile.Key("profiles", f.loadProfiles(data, open)))
	}
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return nil, usererr.Wrap(what, err, "correct the file")
	}
	return f, nil
}

// ProfilesOf returns the profiles setting of a file, even if the rest of the file is
// wrong. ok is false if it cannot be read.
func ProfilesOf(path string) (patterns []string, ok bool) {
	data, err := opener(openTrusted).read("the broker's configuration", path)
	if err != nil {
		return nil, false
	}
	f, err := Parse(data)
	if err != nil {
		return nil, false
	}
	return f.Profiles, true
}

// read reads a file, up to a maximum size.
func (open opener) read(kind, path string) ([]byte, error) {
	f, err := open(kind, path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return data, err
}

// withoutPath removes the path from a file error; the caller's message names it.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// Parse parses a file. An unknown or repeated key is an error.
func Parse(data []byte) (*File, error) {
	var f File
	err := yamlfile.Decode(data, &f)
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it is empty")
	case err != nil:
		return nil, err
	}
	f.text = data
	return &f, nil
}

// loadProfiles reads every profile, and computes the hash of the file and the profiles.
func (f *File) loadProfiles(data []byte, open opener) error {
	sum := sha256.New()
	sum.Write(data)
	f.ByName = map[string]*profile.Profile{}
	var paths []string
	for _, pattern := range f.Profiles {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			return fmt.Errorf("profiles: no file matches %s", pattern)
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		text, err := open.read("the profile", path)
		if err != nil {
			return fmt.Errorf("profile %s: %w", path, err)
		}
		p, err := profile.Parse(text)
		if err != nil {
			return fmt.Errorf("profile %s: %w", path, err)
		}
		if p.Name == "" || f.ByName[p.Name] != nil {
			return fmt.Errorf("profile %s: its metadata.name is empty, or another profile has it", path)
		}
		fmt.Fprintf(sum, "\n%s %d\n%s", p.Name, len(text), text)
		f.ByName[p.Name] = p
	}
	f.Hash = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// Warnings returns what the profiles allow although it was probably not meant, and what
// in them is ignored. Each is a line without control characters.
func (f *File) Warnings() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(f.ByName)) {
		for _, w := range f.ByName[name].Warnings {
			all = append(all, usererr.Escape("profile "+name+": "+w))
		}
	}
	return all
}

// check returns an error with everything that is wrong with the file.
func (f *File) check() error {
	bad := []error{f.checkHosts(), f.checkGitHub(), f.Upstream.check(f.GitHubURL)}
	if len(f.Listen) == 0 {
		bad = append(bad, errors.New("listen is missing: write https://HOST:PORT or unix:///PATH"))
	}
	bad = append(bad, f.checkRunning())
	drain := drainRequests
	if f.Gateway != nil {
		drain = drainTransfers
	}
	f.Limits = f.Limits.withDefaults(drain)
	f.Gateway = f.Gateway.withDefaults()
	for i, c := range f.Callers {
		bad = append(bad, inList("callers", i, c.check(f)))
	}
	for i, o := range f.Operators {
		bad = append(bad, inList("operators", i, o.check()))
	}
	for i, err := range bad {
		bad[i] = yamlfile.Locate(f.text, err)
	}
	return usererr.Join(bad...)
}

// inList adds to an error which element of a list it is about.
func inList(list string, i int, err error) error {
	if err == nil {
		return nil
	}
	at := fmt.Sprintf("%s[%d]", list, i)
	return yamlfile.Key(at, fmt.Errorf("%s: %w", at, err))
}

func (f *File) checkGitHub() error {
	if f.GitHubURL == "" {
		return nil
	}
	if _, err := mint.APIURL(f.GitHubURL); err != nil {
		return yamlfile.Key("github_url", fmt.Errorf("github_url: %w", err))
	}
	return nil
}

func (f *File) checkHosts() error {
	for i, h := range f.Hosts {
		c, ok := gitname.Host(h)
		if !ok {
			return yamlfile.Key(fmt.Sprintf("hosts[%d]", i), fmt.Errorf("host %q: want an exact host name with an optional :port", h))
		}
		f.Hosts[i] = c
	}
	return nil
}
