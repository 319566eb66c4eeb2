package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/oidc"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// methods counts the rule's methods of proof; it must have one.
func (c Caller) methods() int {
	n := 0
	for _, isSet := range []bool{c.Socket != nil, c.OIDC != nil, c.AWS != nil, c.MTLS != nil, c.Join != nil} {
		if isSet {
			n++
		}
	}
	return n
}

// issuer returns the iss claim of the callers that the rule matches; "" for methods
// without one.
func (c Caller) issuer() string {
	if c.OIDC != nil {
		return c.OIDC.Issuer
	}
	return ""
}

func (c Caller) check(f *File) error {
	if c.methods() != 1 {
		return errors.New("a rule must have exactly one of socket, oidc, aws, mtls and join")
	}
	if err := c.checkProof(); err != nil {
		return err
	}
	if err := broker.Template(c.Workspace).Check(); err != nil {
		return fmt.Errorf("workspace: %w", err)
	}
	if f.ByName[c.Profile] == nil {
		return fmt.Errorf("there is no profile %q", c.Profile)
	}
	if _, ok := broker.ParseTokenLimit(c.Tokens); !ok {
		return fmt.Errorf("tokens: want none, read or write, not %q", c.Tokens)
	}
	return c.checkRequirements()
}

// checkRequirements returns an error if the rule's requirements on tokens or claims are wrong.
func (c Caller) checkRequirements() error {
	if c.OIDC != nil {
		if err := c.OIDC.Check(); err != nil {
			return fmt.Errorf("oidc: %w", err)
		}
	}
	_, err := c.match()
	return err
}

// Method returns the method of the rule's callers, in the form of [broker.Caller].
func (c Caller) Method() string {
	switch {
	case c.Socket != nil:
		return "socket"
	case c.OIDC != nil:
		return oidc.Method
	}
	return c.proofMethod()
}

// match compiles what the rule requires of claims.
func (c Caller) match() (broker.All, error) {
	exact, patterns := broker.Exactly{}, broker.Patterns{}
	for path, claim := range c.Claims {
		if claim.Pattern == "" {
			exact[path] = claim.Text
			continue
		}
		compiled, err := broker.CompilePattern(claim.Pattern)
		if err != nil {
			return nil, fmt.Errorf("claim %s: %w", path, patternError(err))
		}
		patterns[path] = compiled
	}
	all := broker.All{exact, patterns, c.RequiredClaims()}
	if c.CEL != "" {
		compiled, err := Compile(c.CEL)
		if err != nil {
			return nil, fmt.Errorf("cel: %w", err)
		}
		all = append(all, compiled)
	}
	return all, nil
}

func patternError(err error) error {
	return errors.New("the pattern is not a regular expression: " + err.Error())
}

// Identifiers makes the identifier of each method once and keeps it across reloads, so
// that keys and nonces are not lost.
type Identifiers struct {
	Socket identity.SocketIdentifier
	sharedIdentifiers

	oidc map[string]*oidc.Identifier // by their settings
}

func (i *Identifiers) of(c Caller) (broker.Identifier, error) {
	if c.Socket != nil {
		return i.Socket, nil
	}
	if c.OIDC != nil {
		return i.ofIssuer(*c.OIDC)
	}
	if by := i.proof(c); by != nil {
		return by, nil
	}
	return nil, errors.New("it has no method")
}

func (i *Identifiers) ofIssuer(s oidc.Settings) (broker.Identifier, error) {
	if known, ok := i.oidc[s.Key()]; ok {
		return known, nil
	}
	made, err := oidc.New(s, i.store())
	if err != nil {
		return nil, err
	}
	if i.oidc == nil {
		i.oidc = map[string]*oidc.Identifier{}
	}
	i.oidc[s.Key()] = made
	return made, nil
}

// Policy compiles the file into a policy. [Load] must have checked the file.
func (f *File) Policy(known *Identifiers) (*broker.Policy, error) { return f.PolicyBy(known.of) }

// PolicyBy is Policy with other identifiers: of returns the identifier for a rule.
func (f *File) PolicyBy(of func(Caller) (broker.Identifier, error)) (*broker.Policy, error) {
	p := &broker.Policy{Hash: f.Hash, Hosts: f.Hosts}
	if len(p.Hosts) == 0 {
		p.Hosts = []string{hostOf(f.GitHubURL)}
	}
	operators, err := f.operators(of)
	if err != nil {
		return nil, err
	}
	p.Operators = operators
	for i, c := range f.Callers {
		by, err := of(c)
		if err != nil {
			return nil, fmt.Errorf("callers[%d]: %w", i, err)
		}
		match, err := c.match()
		if err != nil {
			return nil, fmt.Errorf("callers[%d]: %w", i, err)
		}
		rule := broker.Rule{Name: f.RuleName(i), By: by, Method: c.Method(), Issuer: c.issuer(), Match: match, Workspace: broker.Template(c.Workspace), Profile: f.ByName[c.Profile]}
		if c.Join != nil {
			rule.Sleep = c.Join.Sleep
		}
		rule.Tokens, _ = broker.ParseTokenLimit(c.Tokens) // checked by Load
		if rule.Hash, err = c.hash(); err != nil {
			return nil, fmt.Errorf("callers[%d]: %w", i, err)
		}
		p.Rules = append(p.Rules, rule)
	}
	return p, nil
}

// hash returns a hash of the rule's settings, which identifies it.
func (c Caller) hash() (string, error) {
	text, err := json.Marshal(c)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), err
}

// RuleName returns the name of rule i in Callers, or its position.
func (f *File) RuleName(i int) string {
	if name := f.Callers[i].Name; name != "" {
		return name
	}
	return fmt.Sprintf("callers[%d]", i)
}

// defaultHost is git's name for GitHub if the file names no other.
const defaultHost = "github.com"

func hostOf(github string) string {
	u, err := url.Parse(github)
	if err != nil || u.Host == "" {
		return defaultHost
	}
	return u.Host
}

// namedFile is a file that the configuration names.
type namedFile struct {
	kind, path string
	refused    fs.FileMode // modes that group and others must not have
}

// checkFileModes returns an error that lists the named files that another user could use
// against the broker. It ignores missing files and files that cannot be opened: the
// code that reads them reports those.
func (f *File) checkFileModes() error {
	var bad []error
	for _, one := range f.namedFiles() {
		if one.path == "" {
			continue
		}
		file, err := trustedfile.Open(one.kind, one.path, one.refused)
		if err == nil {
			err = file.Close()
		}
		if _, ok := errors.AsType[*fs.PathError](err); err != nil && !ok {
			bad = append(bad, err)
		}
	}
	return usererr.Join(bad...)
}

// UnusableFiles reads the files with which callers are verified, and returns a warning
// for each that cannot be used. The broker starts without them, because they may appear
// later.
func (f *File) UnusableFiles() (warnings []string) {
	callers := slices.Clone(f.Callers)
	for _, o := range f.Operators {
		callers = append(callers, o.Caller)
	}
	for _, c := range callers {
		if err := c.checkFiles(); err != nil && !slices.Contains(warnings, err.Error()) { // rules often name the same file
			warnings = append(warnings, err.Error())
		}
	}
	return warnings
}

func (c Caller) checkFiles() error {
	switch {
	case c.OIDC != nil:
		return c.OIDC.CheckFiles()
	case c.MTLS != nil:
		return c.MTLS.CheckFiles()
	}
	return nil
}

func (f *File) namedFiles() []namedFile {
	files := []namedFile{
		{"the certificate", f.TLS.CertFile, trustedfile.Writing},
		{"the certificate's key", f.TLS.KeyFile, trustedfile.ReadingAndWriting},
		{"upstream_ca", f.Upstream.CAFile, trustedfile.Writing},
		{"the login of upstream_proxy", f.Upstream.LoginFile, trustedfile.ReadingAndWriting},
		{"the webhook's secret", f.Webhook.SecretFile, trustedfile.ReadingAndWriting},
	}
	for _, c := range f.Callers {
		files = append(files, c.namedFiles()...)
	}
	for _, o := range f.Operators {
		files = append(files, o.Caller.namedFiles()...)
	}
	return files
}

func (c Caller) namedFiles() (files []namedFile) {
	if c.OIDC != nil {
		files = append(files, namedFile{"the issuer's keys", c.OIDC.JWKSFile, trustedfile.Writing}, namedFile{"the issuer's authorities", c.OIDC.CAFile, trustedfile.Writing})
		if r := c.OIDC.TokenReview; r != nil {
			files = append(files, namedFile{"the cluster's authorities", r.CAFile, trustedfile.Writing}, namedFile{"the broker's own token", r.TokenFile, trustedfile.ReadingAndWriting})
		}
	}
	if c.MTLS != nil {
		files = append(files, namedFile{"the authorities", c.MTLS.CAFile, trustedfile.Writing}, namedFile{"the bundle", c.MTLS.BundleFile, trustedfile.Writing})
	}
	return files
}
