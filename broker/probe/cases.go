package probe

import (
	"errors"
	"fmt"
	"io"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/yamlfile"
)

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
