// Package probe asks a broker as a workspace does, and looks whether it gives what
// it should and, above all, refuses what it should: a policy that came to give too
// much does not show otherwise, since everybody is content.
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

// A State is what came of a case.
type State string

// The states.
const (
	Passed   State = "passed"
	Failed   State = "failed"   // what should be given is not, or it cannot be told
	Violated State = "violated" // something is given that should not be
)

// A Result is what came of one case. It holds no secret.
type Result struct {
	Case   string        `json:"case"`
	State  State         `json:"state"`
	Detail string        `json:"detail,omitempty"`
	Took   time.Duration `json:"-"`
}

const (
	nobodysCase = "nobody is given anything"
	caseTime    = time.Minute
	least       = time.Minute // what a token has to have left
)

// A Prober asks. Source and Opened must be set.
type Prober struct {
	// Source is the broker, asked as the workspace of the cases.
	Source credential.Source
	// Nobody is the same broker, asked without an identity; nil where the
	// connection itself is one.
	Nobody credential.Source
	// Opened lists the repositories that a token opens, as GitHub says; two are enough.
	Opened func(context.Context, credential.Token) ([]string, error)
	Now    func() time.Time // nil means time.Now
}

func (p *Prober) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// Run tries all cases, one after another. Where nobody can ask, that is tried as
// well, with the first case that is granted.
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
	if p.Nobody != nil && at >= 0 {
		results = append(results, p.try(ctx, nobodysCase, func(ctx context.Context) (State, string) {
			t, err := p.Nobody.Token(ctx, cases[at].request())
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

// refused wants that answer, or none for a host that is not served. Any other may
// have its reason elsewhere, and tells nothing of the policy.
func refused(c Case, t credential.Token, err error, status int) (State, string) {
	if err == nil {
		return Violated, "a token to " + c.Operation + " " + c.Repo + " was given: " + t.String()
	}
	problem, ok := errors.AsType[api.Problem](err)
	if errors.Is(err, credential.ErrNoCredential) && status == http.StatusForbidden || ok && problem.Status == status {
		return Passed, ""
	}
	return Failed, "it cannot be told: " + err.Error()
}

// granted wants a token that opens what was asked and no more.
func (p *Prober) granted(ctx context.Context, c Case, t credential.Token, err error) (State, string) {
	if err != nil {
		return Failed, err.Error()
	}
	if more := wider(c, t.Permissions); more != "" {
		return Violated, "the token may do more than was asked: " + more
	}
	if lacks := narrower(c, t.Permissions); lacks != "" {
		return Failed, lacks
	}
	if left := t.Expiry.Sub(p.now()); left < least {
		return Failed, fmt.Sprintf("the token has %s left", left.Round(time.Second))
	}
	opened, err := p.Opened(ctx, t)
	if err != nil {
		return Failed, "what the token opens cannot be told: " + err.Error()
	}
	others := slices.DeleteFunc(slices.Clone(opened), func(repo string) bool { return gitname.Fold(repo) == gitname.Fold(c.Repo) })
	switch {
	case len(others) > 0:
		return Violated, "the token opens others, " + others[0] + " among them"
	case len(opened) == 0:
		return Failed, "the token does not open " + c.Repo
	}
	return Passed, ""
}

// wider names a permission that the operation does not need.
func wider(c Case, permissions map[string]string) string {
	for name, level := range permissions {
		isNeeded := name == "metadata" && level == "read" || name == "contents" && (level == "read" || c.Operation == api.Write)
		if !isNeeded {
			return strings.Join([]string{name, level}, ": ")
		}
	}
	return ""
}

// narrower says why a token may not do what was asked, or why that cannot be told.
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

// MaxCases bounds a file of cases, in bytes.
const MaxCases = 1 << 20

// A Case is what one workspace asks for, and whether it should be given that.
type Case struct {
	Name      string `yaml:"name"`      // "" means what it asks for
	Host      string `yaml:"host"`      // "" means github.com
	Repo      string `yaml:"repo"`      // owner/name
	Operation string `yaml:"operation"` // read or write; "" means read
	Refused   bool   `yaml:"refused"`   // it should not be given
}

// ParseCases reads a list of cases in YAML. Unknown and repeated keys are errors,
// and so is a list without a case that is granted and one that is refused: a
// broker that is down refuses everybody, and one that is broken may give to all.
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
			return nil, fmt.Errorf("case %d: there is another one with the name %q", i+1, cases[i].Name)
		}
		names[cases[i].Name] = true
		if cases[i].Refused {
			refused++
		}
	}
	if refused == 0 || refused == len(cases) {
		return nil, errors.New("it needs a case that is granted and one with refused: true")
	}
	return cases, nil
}

// complete fills in what may be left out, and checks the rest.
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
	repo, _ := api.ParseRepo(c.Repo) // Check refuses one that is none
	return api.TokenRequest{Host: c.Host, Repo: repo, Operation: c.Operation}.Check()
}

const maxName = 100
