// Package probe asks a broker for tokens as a workspace does. It checks that the broker
// gives what it should and, above all, refuses what it should. A policy that allows too
// much would otherwise go unnoticed, because no one complains.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/yamlfile"
)

// A State is the result of a case.
type State string

// The states.
const (
	Passed   State = "passed"
	Failed   State = "failed"   // a token that should be given was not, or the result is unclear
	Violated State = "violated" // a token was given that should not be
)

// A Result is the result of one case. It contains no secret.
type Result struct {
	Case   string        `json:"case"`
	State  State         `json:"state"`
	Detail string        `json:"detail,omitempty"`
	Took   time.Duration `json:"-"`
}

const (
	unauthenticatedCase = "a caller without an identity is refused"
	caseTime            = time.Minute
	minLife             = time.Minute // how long a token must last
)

// A Prober runs cases against a broker. Source and Opened must be set.
type Prober struct {
	// Source asks the broker as the workspace of the cases.
	Source credential.Source
	// Unauthenticated asks the same broker without an identity; nil if the connection itself is
	// an identity.
	Unauthenticated credential.Source
	// Opened lists the repositories that a token gives access to, according to GitHub;
	// two are enough.
	Opened func(context.Context, credential.Token) ([]string, error)
	Now    func() time.Time // nil means time.Now
}

func (p *Prober) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// Run runs all cases, one after another. If Unauthenticated is set, it also asks without an
// identity for the first case that should be granted.
func (p *Prober) Run(ctx context.Context, cases []Case) []Result {
	var results []Result
	for _, c := range cases {
		results = append(results, p.try(ctx, c.Name, func(ctx context.Context) (State, string) {
			t, err := p.Source.Token(ctx, c.request())
			if c.Refused {
				return refused(c, t, err, http.StatusForbidden)
			}
			return p.granted(ctx, c, t, err)
		}))
	}
	at := slices.IndexFunc(cases, func(c Case) bool { return !c.Refused })
	if p.Unauthenticated != nil && at >= 0 {
		results = append(results, p.try(ctx, unauthenticatedCase, func(ctx context.Context) (State, string) {
			t, err := p.Unauthenticated.Token(ctx, cases[at].request())
			return refused(cases[at], t, err, http.StatusUnauthorized)
		}))
	}
	return results
}

func (p *Prober) try(ctx context.Context, name string, one func(context.Context) (State, string)) Result {
	ctx, cancel := context.WithTimeout(ctx, caseTime)
	defer cancel()
	begun := time.Now()
	state, detail := one(ctx)
	return Result{Case: name, State: state, Detail: detail, Took: time.Since(begun)}
}

func (c Case) request() credential.Request {
	return credential.Request{Protocol: "https", Host: c.Host, Path: c.Repo, Operation: c.Operation}
}

// refused expects this status, or no answer for a host that the broker does not serve.
// Any other error may have another reason, so it says nothing about the policy.
func refused(c Case, t credential.Token, err error, status int) (State, string) {
	if err == nil {
		return Violated, "a token to " + c.Operation + " " + c.Repo + " was vended: " + t.String()
	}
	problem, ok := errors.AsType[api.Problem](err)
	if errors.Is(err, credential.ErrNoCredential) && status == http.StatusForbidden || ok && problem.Status == status {
		return Passed, ""
	}
	return Failed, "it cannot be told: " + err.Error()
}

// granted expects a token that gives access to what was asked, and to no more.
func (p *Prober) granted(ctx context.Context, c Case, t credential.Token, err error) (State, string) {
	if err != nil {
		return Failed, err.Error()
	}
	if more := wider(c, t.Permissions); more != "" {
		return Violated, "the token may do more than requested: " + more
	}
	if lacks := narrower(c, t.Permissions); lacks != "" {
		return Failed, lacks
	}
	if left := t.Expiry.Sub(p.now()); left < minLife {
		return Failed, fmt.Sprintf("the token has %s left", left.Round(time.Second))
	}
	opened, err := p.Opened(ctx, t)
	if err != nil {
		return Failed, "the probe could not find out what the token opens: " + err.Error()
	}
	others := slices.DeleteFunc(slices.Clone(opened), func(repo string) bool { return gitname.Fold(repo) == gitname.Fold(c.Repo) })
	switch {
	case len(others) > 0:
		return Violated, "the token opens other repositories, such as " + others[0]
	case len(opened) == 0:
		return Failed, "the token does not open " + c.Repo
	}
	return Passed, ""
}

// wider returns a permission that the operation does not need, or "".
func wider(c Case, permissions map[string]string) string {
	for name, level := range permissions {
		isNeeded := name == "metadata" && level == "read" || name == "contents" && (level == "read" || c.Operation == api.Write)
		if !isNeeded {
			return strings.Join([]string{name, level}, ": ")
		}
	}
	return ""
}

// narrower returns why a token may not do what was asked, or why that is unknown; "" if
// it may.
func narrower(c Case, permissions map[string]string) string {
	level := permissions["contents"]
	switch {
	case permissions == nil:
		return "the broker does not say what the token may do"
	case level == "" || c.Operation == api.Write && level == "read":
		return "the token may not " + c.Operation + " " + c.Repo
	}
	return ""
}

// MaxCases is the maximum size of a file of cases, in bytes.
const MaxCases = 1 << 20

// A Case is what a workspace asks for, and whether it should get it.
type Case struct {
	Name      string `yaml:"name"`      // "" means Operation and Repo
	Host      string `yaml:"host"`      // "" means github.com
	Repo      string `yaml:"repo"`      // owner/name
	Operation string `yaml:"operation"` // read or write; "" means read
	Refused   bool   `yaml:"refused"`   // true if the broker should refuse it
}

// ParseCases parses a list of cases in YAML. It returns an error for unknown and
// repeated keys, and for a list without a granted case or without a refused one: a
// broker that is down refuses everything, and a broken one may allow everything.
func ParseCases(data []byte) ([]Case, error) {
	if len(data) > MaxCases {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxCases)
	}
	var cases []Case
	if err := yamlfile.Decode(data, &cases); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(usererr.Escape(err.Error()))
	}
	names, refused := map[string]bool{}, 0
	for i := range cases {
		if err := cases[i].complete(); err != nil {
			return nil, fmt.Errorf("case %d: %w", i+1, err)
		}
		if names[cases[i].Name] {
			return nil, fmt.Errorf("case %d: another case has the name %q", i+1, cases[i].Name)
		}
		names[cases[i].Name] = true
		if cases[i].Refused {
			refused++
		}
	}
	if refused == 0 || refused == len(cases) {
		return nil, errors.New("it needs one case without refused and one with refused: true")
	}
	return cases, nil
}

// complete fills in the defaults, and checks the case.
func (c *Case) complete() error {
	if c.Host == "" {
		c.Host = "github.com"
	}
	if c.Operation == "" {
		c.Operation = api.Read
	}
	if c.Name == "" {
		c.Name = c.Operation + " " + c.Repo
	}
	if len(c.Name) > maxName {
		return fmt.Errorf("its name is longer than %d bytes", maxName)
	}
	repo, _ := api.ParseRepo(c.Repo) // Check refuses a malformed name
	return api.TokenRequest{Host: c.Host, Repo: repo, Operation: c.Operation}.Check()
}

const maxName = 100
