// Package awskms signs with a key in AWS KMS, which never leaves it:
//
//	awskms:///alias/NAME[?region=…][&endpoint=…][&profile=…]
//
// Instead of the alias a key's id, or the ARN of a key or alias, can stand in
// the path. What the URL does not say comes from where the AWS SDK looks:
// AWS_REGION, AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL, profiles, container and
// instance roles. An ARN brings its region.
//
// The identity needs kms:GetPublicKey and kms:Sign on the key.
package awskms

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/mint"
)

// A Signer is one key, or what an alias points to.
type Signer struct {
	id     string
	client awsclient.Lazy[*kms.Client]

	mu     sync.Mutex // guards public; held while it is asked for
	public *public
}

// public is the public half of the key with that ARN.
type public struct {
	arn string
	key *rsa.PublicKey
}

func newService(cfg aws.Config, endpoint string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}

// PublicKey implements [mint.PublicKeyer]. It asks KMS and returns an error
// unless the key can sign for a GitHub App.
func (s *Signer) PublicKey(ctx context.Context) (*rsa.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	p, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	return p.key, nil
}

// Sign implements [mint.Signer]. The key is looked at once, before the first
// signature; each signature is checked with its public half. Throttling and lost
// connections are tried again, never beyond ctx's deadline.
func (s *Signer) Sign(ctx context.Context, digest [sha256.Size]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	if _, err := s.known(ctx, ""); err != nil {
		return nil, err
	}
	out, err := call(ctx, s, s.what("sign with"), signAction, func(c *kms.Client, o func(*kms.Options)) (*kms.SignOutput, error) {
		return c.Sign(ctx, &kms.SignInput{
			KeyId: aws.String(s.id), Message: digest[:], MessageType: types.MessageTypeDigest,
			SigningAlgorithm: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
		}, o)
	})
	if err != nil {
		return nil, err
	}
	p, err := s.known(ctx, aws.ToString(out.KeyId))
	if err != nil {
		return nil, err
	}
	if err := mint.CheckSignature(p.key, digest, out.Signature); err != nil {
		return nil, oneline.Wrap(s.what("sign with"), err, "check the endpoint that the URL or AWS_ENDPOINT_URL names")
	}
	return out.Signature, nil
}

// known returns the public half of the key with that ARN, or of any when arn is
// empty. An alias may have been given another key since the last look.
func (s *Signer) known(ctx context.Context, arn string) (*public, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.public != nil && (arn == "" || arn == s.public.arn) {
		return s.public, nil
	}
	p, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	s.public = p
	return p, nil
}

func (s *Signer) fetch(ctx context.Context) (*public, error) {
	what := s.what("look at")
	out, err := call(ctx, s, what, lookAction, func(c *kms.Client, o func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
		return c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(s.id)}, o)
	})
	if err != nil {
		return nil, err
	}
	if err := check(out); err != nil {
		return nil, oneline.Wrap(what, err, "make one with key spec RSA_2048 (or more) and key usage SIGN_VERIFY")
	}
	key, err := mint.ParsePublicKey(out.PublicKey)
	if err != nil {
		return nil, oneline.Wrap(what, err, "check the endpoint that the URL or AWS_ENDPOINT_URL names")
	}
	return &public{aws.ToString(out.KeyId), key}, nil
}

// check reports why a key cannot sign for a GitHub App. How long it is, the key
// itself says.
func check(out *kms.GetPublicKeyOutput) error {
	if spec := string(out.KeySpec); spec != "" && !strings.HasPrefix(spec, "RSA_") {
		return fmt.Errorf("its key spec is %s; GitHub Apps have RSA keys", spec)
	}
	if out.KeyUsage != types.KeyUsageTypeSignVerify {
		return fmt.Errorf("its key usage is %q, which is not to sign", out.KeyUsage)
	}
	return nil
}

// call makes one call, for which the identity needs to be allowed action.
func call[Out any](ctx context.Context, s *Signer, what, action string, do func(*kms.Client, func(*kms.Options)) (Out, error)) (Out, error) {
	var none Out
	c, err := s.client.Client(ctx)
	if err != nil {
		return none, s.failure(what, action, "").Unconfigured(ctx, err)
	}
	var out Out
	if err = c.Authenticate(ctx); err == nil {
		out, err = do(c.Service, func(o *kms.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) })
	}
	if err != nil {
		s.client.Failed(c, err)
		return none, s.failure(what, action, c.Region).Failed(ctx, err)
	}
	return out, nil
}
