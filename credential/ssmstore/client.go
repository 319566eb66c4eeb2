package ssmstore

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go/logging"
)

// attemptWait bounds one attempt, so that one lost packet does not use up the
// caller's deadline.
const attemptWait = 10 * time.Second

// client is an SSM client and where its credentials come from.
type client struct {
	region      string
	credentials aws.CredentialsProvider
	ssm         *ssm.Client
}

// read gets the credentials first, so that their errors are told apart from
// those of the parameter.
func (c *client) read(ctx context.Context, name string) (*ssm.GetParameterOutput, error) {
	if _, err := c.credentials.Retrieve(ctx); err != nil {
		return nil, &credentialsError{err}
	}
	input := &ssm.GetParameterInput{Name: aws.String(name), WithDecryption: aws.Bool(true)}
	return c.ssm.GetParameter(ctx, input, func(o *ssm.Options) {
		o.Retryer = &inTime{Retryer: o.Retryer, ctx: ctx}
	})
}

// lazyClient is made by the first call and kept while its credentials work.
type lazyClient struct {
	mu     sync.Mutex // guards client
	client *client
}

func (l *lazyClient) get(ctx context.Context, s settings) (*client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		return l.client, nil
	}
	c, err := newClient(ctx, s)
	if err != nil {
		return nil, err
	}
	l.client = c
	return c, nil
}

// forget makes the next call read the configuration anew: a profile's file may
// hold fresh credentials by then.
func (l *lazyClient) forget(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == c {
		l.client = nil
	}
}

func newClient(ctx context.Context, s settings) (*client, error) {
	cfg, err := loadConfig(ctx, s)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, &aws.MissingRegionError{}
	}
	retryer := newRetryer(cfg.RetryMaxAttempts)
	return &client{region: cfg.Region, credentials: cfg.Credentials, ssm: ssm.NewFromConfig(cfg, func(o *ssm.Options) {
		if s.endpoint != "" {
			o.BaseEndpoint = aws.String(s.endpoint)
		}
		if h, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
			o.HTTPClient = h.WithTimeout(attemptWait)
		}
		o.Retryer = retryer
	})}, nil
}

// loadConfig loads twice: the client of the instance metadata service is made
// from one configuration and is an option of the other. Loading reads a few
// small files; the network is not used.
func loadConfig(ctx context.Context, s settings) (aws.Config, error) {
	// The SDK's warnings go to standard error by default, which is the user's.
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})}
	if s.region != "" {
		options = append(options, config.WithRegion(s.region))
	}
	if s.profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	metadata := config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) {
		o.Client = impatient{imds.NewFromConfig(cfg)}
	})
	return config.LoadDefaultConfig(ctx, append(options, metadata)...)
}

// impatient bounds each question to the instance metadata service: it is on the
// same machine or not there at all, and a machine without credentials is to be
// told so soon. The SDK by itself
// gives up after five seconds.
type impatient struct {
	ec2rolecreds.GetMetadataAPIClient
}

const (
	metadataWait = 1500 * time.Millisecond
	maxMetadata  = 64 << 10 // bytes; credentials are about two thousand
)

// GetMetadata reads the whole answer before its deadline is taken away.
func (i impatient) GetMetadata(ctx context.Context, in *imds.GetMetadataInput, options ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataWait)
	defer cancel()
	out, err := i.GetMetadataAPIClient.GetMetadata(ctx, in, options...)
	if err != nil {
		return nil, err
	}
	defer out.Content.Close()
	body, err := io.ReadAll(io.LimitReader(out.Content, maxMetadata))
	if err != nil {
		return nil, err
	}
	out.Content = io.NopCloser(bytes.NewReader(body))
	return out, nil
}
