// Package awsclient is the common part of the clients of AWS services: settings and
// credentials, waits that end with the caller's deadline, and one error line for
// failures of any service.
//
// Settings that a URL's query omits (region, endpoint, profile) come from where the AWS
// SDK looks: AWS_REGION, AWS_ENDPOINT_URL, profiles, container and instance roles.
package awsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/gatepass/gatepass/internal/httpclient"
)

// MaxWait limits one request with all its attempts, for callers without a deadline.
const MaxWait = httpclient.MaxWait

// A Client is one service in one region, with its credentials.
type Client[S any] struct {
	Region      string
	Credentials aws.CredentialsProvider
	Service     S
}

// Authenticate gets the credentials, so that their errors can be distinguished from
// those of the service.
func (c *Client[S]) Authenticate(ctx context.Context) error {
	if _, err := c.Credentials.Retrieve(ctx); err != nil {
		return &credentialsError{err}
	}
	return nil
}

// A Lazy makes its client when it is first needed, and keeps it while its credentials
// work. Before that it reads no file and sends no request.
type Lazy[S any] struct {
	Settings Settings
	// Make makes the service's client. endpoint is empty unless Settings names one,
	// which overrides the environment's.
	Make func(cfg aws.Config, endpoint string) S

	lazy httpclient.Lazy[Client[S]]
}

// Client returns the client. Pass its error to [Call.Unconfigured].
func (l *Lazy[S]) Client(ctx context.Context) (*Client[S], error) {
	return l.lazy.Get(ctx, l.open)
}

func (l *Lazy[S]) open(ctx context.Context) (*Client[S], error) {
	cfg, err := l.Settings.load(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, &aws.MissingRegionError{}
	}
	if h, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = h.WithTimeout(httpclient.AttemptWait)
	}
	retryer := NewRetryer(cfg.RetryMaxAttempts)
	cfg.Retryer = func() aws.Retryer { return retryer }
	return &Client[S]{Region: cfg.Region, Credentials: cfg.Credentials, Service: l.Make(cfg, l.Settings.Endpoint)}, nil
}

// Use makes Client return c; for tests.
func (l *Lazy[S]) Use(c *Client[S]) { l.lazy.Use(c) }

// Failed records that a call by c ended in err. If other credentials may help, the next
// Client reads the configuration anew: a profile's file may have fresh credentials by
// then.
func (l *Lazy[S]) Failed(c *Client[S], err error) {
	if isStale(err) {
		l.lazy.Drop(c)
	}
}
