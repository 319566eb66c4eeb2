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
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one key, or what an alias points to. Its [signer.Key] has Sign and
// PublicKey. An alias may be given another key: the version of a key is its ARN.
type Signer struct {
	signer.Key
	id     string
	client awsclient.Lazy[*kms.Client]
}

func newSigner(id string, settings awsclient.Settings) *Signer {
	s := &Signer{id: id}
	s.client.Settings, s.client.Make = settings, newService
	s.Key = signer.Key{Look: s.look, Ask: s.sign, Name: s.name, Check: wrongServer}
	return s
}

func newService(cfg aws.Config, endpoint string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}

const wrongServer = "check the endpoint that the URL or AWS_ENDPOINT_URL names"

// name is how errors name the key.
func (s *Signer) name(string) string { return "the KMS key " + s.id }

func (s *Signer) sign(ctx context.Context, _ string, digest [sha256.Size]byte) (signature []byte, by string, err error) {
	out, err := call(ctx, s, s.what("sign with"), signAction, func(c *kms.Client, o func(*kms.Options)) (*kms.SignOutput, error) {
		return c.Sign(ctx, &kms.SignInput{
			KeyId: aws.String(s.id), Message: digest[:], MessageType: types.MessageTypeDigest,
			SigningAlgorithm: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
		}, o)
	})
	if err != nil {
		return nil, "", err
	}
	return out.Signature, aws.ToString(out.KeyId), nil
}

func (s *Signer) look(ctx context.Context, _ string) (*signer.Versions, error) {
	what := s.what("look at")
	out, err := call(ctx, s, what, lookAction, func(c *kms.Client, o func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
		return c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(s.id)}, o)
	})
	if err != nil {
		return nil, err
	}
	if err := check(out); err != nil {
		return nil, usererr.Wrap(what, err, "make one with key spec RSA_2048 (or more) and key usage SIGN_VERIFY")
	}
	key, err := mint.ParsePublicKey(out.PublicKey)
	if err != nil {
		return nil, usererr.Wrap(what, err, wrongServer)
	}
	return signer.One(aws.ToString(out.KeyId), key), nil
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
