package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// An Operator is a rule for operators, who may list what workspaces got and revoke it.
// It says how they prove their identity: by a method of callers, or by a token whose
// hash is here.
type Operator struct {
	Caller      `yaml:",inline"`
	TokenSHA256 string `yaml:"token_sha256"`
}

// A Webhook says how GitHub authenticates its webhook calls.
type Webhook struct {
	SecretFile string `yaml:"secret_file"`
}

// maxSecret is the maximum size of a secret file, in bytes.
const maxSecret = 4 << 10

// Secret reads the secret from its file. The error is one line.
func (w Webhook) Secret() (string, error) {
	what := "read the webhook's secret " + w.SecretFile
	data, err := trustedfile.Read("the webhook's secret", w.SecretFile, trustedfile.ReadingAndWriting, maxSecret)
	if errors.Is(err, fs.ErrNotExist) {
		return "", usererr.Wrap(what, withoutPath(err), "write the secret of the App's settings there")
	}
	if err != nil {
		return "", usererr.Wrap(what, withoutPath(err), "")
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func (o Operator) check() error {
	methods := o.methods()
	if o.TokenSHA256 != "" {
		methods++
	}
	switch {
	case methods != 1:
		return errors.New("an operator must have exactly one method of proof: token_sha256, or a method of callers")
	case o.Workspace != "" || o.Profile != "" || o.Tokens != "":
		return errors.New("an operator must not have workspace, profile or tokens")
	}
	if o.TokenSHA256 != "" {
		if len(o.Claims) > 0 {
			return errors.New("token_sha256 must not have claims")
		}
		_, err := identity.ParseBearer(o.TokenSHA256)
		return err
	}
	if o.Join != nil {
		return errors.New("operators cannot use sessions")
	}
	if err := o.checkProof(); err != nil {
		return err
	}
	if len(o.Claims)+len(o.RequiredClaims()) == 0 {
		return errors.New("it matches every caller with a valid proof; write claims, or the uid of a socket")
	}
	return o.checkRequirements()
}

// rule compiles the rule; at is its position in the list.
func (o Operator) rule(at int, of func(Caller) (broker.Identifier, error)) (broker.OperatorRule, error) {
	r := broker.OperatorRule{Name: o.Name}
	if r.Name == "" {
		r.Name = fmt.Sprintf("operators[%d]", at)
	}
	said, err := yaml.Marshal(o)
	if err != nil {
		return r, err
	}
	sum := sha256.Sum256(said)
	r.Key = hex.EncodeToString(sum[:16])
	if o.TokenSHA256 != "" {
		r.By, err = identity.ParseBearer(o.TokenSHA256)
		return r, err
	}
	if r.By, err = of(o.Caller); err != nil {
		return r, err
	}
	r.Match, err = o.match()
	return r, err
}

// operators compiles all operator rules.
func (f *File) operators(of func(Caller) (broker.Identifier, error)) ([]broker.OperatorRule, error) {
	var rules []broker.OperatorRule
	for i, o := range f.Operators {
		r, err := o.rule(i, of)
		if err != nil {
			return nil, fmt.Errorf("operators[%d]: %w", i, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}
