// Package awsdebris finds and removes what workspaces that are gone have left in
// AWS beside a store in Parameter Store: their KMS keys, and the schedules by which
// another system wrote their tokens.
//
// It looks at what is in the account and region of the store's own parameters, and
// is named or filled in exactly as for a workspace of this store; all else is
// somebody else's.
package awsdebris

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

// An Account is the one that a store is in. It implements [doctor.Cloud].
type Account struct {
	store *ssmstore.Store
	now   func() time.Time // nil means time.Now

	parameters awsclient.Lazy[*ssm.Client]
	kms        awsclient.Lazy[*kms.Client]
	scheduler  awsclient.Lazy[*scheduler.Client]

	mu   sync.Mutex // guards home; held while it is asked for
	home *home
}

// Open reads a store's URL, as [ssmstore.OpenStore] does. AWS is asked by the first
// call of a method only.
func Open(u *url.URL) (*Account, error) {
	s, err := ssmstore.OpenStore(u)
	if err != nil {
		return nil, err
	}
	a := &Account{store: s}
	a.parameters.Settings, a.parameters.Make = s.Settings(), newParameters
	others := s.Settings()
	if !strings.HasPrefix(others.Endpoint, "http://") { // which is of an emulator on this machine, and speaks for all services
		others.Endpoint = ""
	}
	a.kms.Settings, a.kms.Make = others, newKMS
	a.scheduler.Settings, a.scheduler.Make = others, newScheduler
	return a, nil
}

func newParameters(cfg aws.Config, endpoint string) *ssm.Client {
	return ssm.NewFromConfig(cfg, func(o *ssm.Options) { o.BaseEndpoint = given(endpoint, o.BaseEndpoint) })
}

func newKMS(cfg aws.Config, endpoint string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) { o.BaseEndpoint = given(endpoint, o.BaseEndpoint) })
}

func newScheduler(cfg aws.Config, endpoint string) *scheduler.Client {
	return scheduler.NewFromConfig(cfg, func(o *scheduler.Options) { o.BaseEndpoint = given(endpoint, o.BaseEndpoint) })
}

func given(endpoint string, otherwise *string) *string {
	if endpoint == "" {
		return otherwise
	}
	return aws.String(endpoint)
}

func (a *Account) time() time.Time {
	if a.now == nil {
		return time.Now()
	}
	return a.now()
}

// Exposed implements [doctor.Cloud]: the App's private key is to be encrypted.
func (a *Account) Exposed(ctx context.Context) ([]string, error) {
	p, err := a.parameter(ctx, store.PrivateKey())
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil || p.Type == types.ParameterTypeSecureString {
		return nil, err
	}
	return []string{"the parameter " + a.store.Parameter(store.PrivateKey())}, nil
}

// parameter is read without its text: it is not decrypted.
func (a *Account) parameter(ctx context.Context, name store.Name) (types.Parameter, error) {
	full := a.store.Parameter(name)
	what := "look at SSM parameter " + full
	out, err := call(ctx, &a.parameters, operation{what, "SSM", "ssm:GetParameter"}, func(ctx context.Context, c *ssm.Client) (*ssm.GetParameterOutput, error) {
		return c.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(full)}, inTimeSSM(ctx))
	})
	if err != nil {
		return types.Parameter{}, err
	}
	if out.Parameter == nil {
		return types.Parameter{}, oneline.New(what, "the answer holds no parameter", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	return *out.Parameter, nil
}

// A home is the account and region that a store's parameters are in. An endpoint
// or credentials for one service alone would otherwise have one account's keys
// judged by another's store.
type home struct{ partition, region, account string }

// where returns the home. It wraps [store.ErrNotFound] where no App is set up: a
// store without one says nothing about what is gone.
func (a *Account) where(ctx context.Context) (home, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home != nil {
		return *a.home, nil
	}
	p, err := a.parameter(ctx, store.AppClientID())
	if err != nil {
		return home{}, err
	}
	part := strings.SplitN(aws.ToString(p.ARN), ":", 6)
	if len(part) != 6 || part[2] != "ssm" || part[4] == "" {
		return home{}, oneline.New("look at SSM parameter "+a.store.Parameter(store.AppClientID()), "AWS does not say which account it is in", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	a.home = &home{part[1], part[3], part[4]}
	return *a.home, nil
}

// arn is that of something there.
func (h home) arn(service, what string) string {
	return strings.Join([]string{"arn", h.partition, service, h.region, h.account, what}, ":")
}

// has reports whether an ARN is of something there.
func (h home) has(service, arn string) bool { return strings.HasPrefix(arn, h.arn(service, "")) }

// isFirstSystems reports whether the store keeps tokens where the first system
// does, so that what that system made may be for the same sandboxes.
func (a *Account) isFirstSystems() bool {
	name, err := store.OnlyToken("x")
	return err == nil && a.store.Parameter(name) == "/sandbox/x/github-token"
}

var _ doctor.Cloud = (*Account)(nil)
