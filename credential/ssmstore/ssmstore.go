// Package ssmstore reads tokens from AWS Systems Manager Parameter Store:
//
//	ssm:///name/of/parameter[?region=…][&endpoint=…][&profile=…]
//
// Settings that the URL omits come from where the AWS SDK looks: AWS_REGION,
// AWS_ENDPOINT_URL_SSM, AWS_ENDPOINT_URL, profiles, container and instance roles.
package ssmstore

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Source is one parameter or, with placeholders, one for each workspace, host, owner
// or repository.
type Source struct {
	name      credential.Template
	workspace string
	client    awsclient.Lazy[*ssm.Client]
}

func newService(cfg aws.Config, endpoint string) *ssm.Client {
	return ssm.NewFromConfig(cfg, func(o *ssm.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}

// Key returns the same key for requests that read the same parameter, which share a
// token.
func (s *Source) Key(req credential.Request) string { return s.name.Key(req) }

// Token reads and decrypts the parameter. A bare token expires an hour after the
// parameter's last change; a JSON object {"token","expires_at"} states its expiry.
// Token retries after throttling and lost connections until ctx's deadline.
func (s *Source) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	name, err := s.name.Expand(req)
	if err != nil {
		return credential.Token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	client, err := s.client.Client(ctx)
	if err != nil {
		return credential.Token{}, reading(name, "").Unconfigured(ctx, err)
	}
	out, err := read(ctx, client, name, within(ctx))
	if err != nil {
		s.client.Failed(client, err)
		return credential.Token{}, reading(name, client.Region).Failed(ctx, err)
	}
	return s.parse(name, out)
}

func read(ctx context.Context, c *awsclient.Client[*ssm.Client], name string, options func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if err := c.Authenticate(ctx); err != nil {
		return nil, err
	}
	input := &ssm.GetParameterInput{Name: aws.String(name), WithDecryption: aws.Bool(true)}
	return c.Service.GetParameter(ctx, input, options)
}

func (s *Source) parse(name string, out *ssm.GetParameterOutput) (credential.Token, error) {
	if out.Parameter == nil || out.Parameter.Value == nil {
		return credential.Token{}, usererr.New(what(name), "the answer has no value", "check the endpoint that the source or AWS_ENDPOINT_URL names")
	}
	token, err := credential.ParseToken([]byte(*out.Parameter.Value), aws.ToTime(out.Parameter.LastModifiedDate))
	if err != nil {
		return credential.Token{}, usererr.Wrap(what(name), err, "")
	}
	if theirs, ok := middleware.GetServerTime(out.ResultMetadata); ok {
		token.Expiry = token.Expiry.Add(clock.Ahead(theirs, time.Now())) // converted to this machine's clock
	}
	if !token.Expiry.After(time.Now()) {
		return credential.Token{}, usererr.New(what(name), "the token in it expired at "+token.Expiry.UTC().Format(time.RFC3339),
			"refresh it on the issuing side: gatepass workspace refresh "+s.workspaceOr("ID"))
	}
	return token, nil
}

func (s *Source) workspaceOr(other string) string {
	if s.workspace == "" {
		return other
	}
	return s.workspace
}
