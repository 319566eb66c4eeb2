// Package awskms signs with a key in AWS KMS. The key never leaves KMS:
//
//	awskms:///alias/NAME[?region=…][&endpoint=…][&profile=…]
//
// The path may also have a key's id, or the ARN of a key or alias. Settings that the
// URL omits come from where the AWS SDK looks: AWS_REGION, AWS_ENDPOINT_URL_KMS,
// AWS_ENDPOINT_URL, profiles, container and instance roles. An ARN contains its region.
//
// The identity needs kms:GetPublicKey and kms:Sign on the key.
package awskms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
)

// A Signer is one key, or the key of an alias. Its [signer.Key] has Sign and PublicKey.
// An alias may change to another key: the version of a key is its ARN.
type Signer struct {
	signer.Key
	id     string
	client awsclient.Lazy[*kms.Client]
}

func newSigner(id string, settings awsclient.Settings) *Signer {
	s := &Signer{id: id}
	s.client.Settings, s.client.Make = settings, newService
	s.Key = signer.Key{PublicKeys: s.publicKeys, SignWith: s.sign, Name: s.name, Check: wrongServer}
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

// name returns the key's name for errors.
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

func (s *Signer) publicKeys(ctx context.Context, _ string) (*signer.Versions, error) {
	what := s.what("look at")
	out, err := call(ctx, s, what, publicKeyAction, func(c *kms.Client, o func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
		return c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String(s.id)}, o)
	})
	if err != nil {
		return nil, err
	}
	if err := check(out); err != nil {
		return nil, usererr.Wrap(what, err, "create one with key spec RSA_2048 (or more) and key usage SIGN_VERIFY")
	}
	key, err := mint.ParsePublicKey(out.PublicKey)
	if err != nil {
		return nil, usererr.Wrap(what, err, wrongServer)
	}
	return signer.One(aws.ToString(out.KeyId), key), nil
}

// check returns an error if a key cannot sign for a GitHub App. The key itself states
// its length.
func check(out *kms.GetPublicKeyOutput) error {
	if spec := string(out.KeySpec); spec != "" && !strings.HasPrefix(spec, "RSA_") {
		return fmt.Errorf("its key spec is %s; a GitHub App needs an RSA key", spec)
	}
	if out.KeyUsage != types.KeyUsageTypeSignVerify {
		return fmt.Errorf("its key usage is %q; it must be SIGN_VERIFY", out.KeyUsage)
	}
	return nil
}

// call makes one call. action is the permission that the identity needs for it.
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

const form = "write awskms:///alias/NAME?region=REGION, or a key's id or ARN for alias/NAME"

// maxID is the longest identifier of a key (KeyId of Sign in the AWS KMS API
// reference).
const maxID = 2048

// Open reads a signer's URL. The first Sign or PublicKey reads AWS's configuration and
// calls AWS.
func Open(u *url.URL) (*Signer, error) {
	switch {
	case u.Scheme != "awskms":
		return nil, usererr.New("signer", "its scheme is not awskms", form)
	case u.Host != "" || u.Opaque != "" || u.User != nil:
		return nil, usererr.New("signer awskms://"+u.Host, "a key must follow three slashes", form)
	case u.Fragment != "":
		return nil, usererr.New("signer awskms://"+u.Path, "it has a fragment", form)
	}
	what := "signer awskms://" + u.Path
	id := strings.TrimPrefix(u.Path, "/")
	if !isKey(id) {
		return nil, usererr.New(what, "this is not a key", form)
	}
	settings, err := awsclient.ParseSettings(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	if region := regionOf(id); region != "" {
		if settings.Region != "" && settings.Region != region {
			return nil, usererr.New(what, "the key is in "+region+", but the URL has region="+settings.Region, "remove region from the URL")
		}
		settings.Region = region
	}
	return newSigner(id, settings), nil
}

// isKey accepts alias/NAME, a key's id, and the ARN of either.
func isKey(id string) bool {
	if len(id) > maxID {
		return false
	}
	if strings.HasPrefix(id, "arn:") {
		part := strings.SplitN(id, ":", 6)
		if len(part) != 6 || part[2] != "kms" || !isName(part[1]) || !isName(part[3]) || !isName(part[4]) {
			return false
		}
		if key, ok := strings.CutPrefix(part[5], "key/"); ok {
			return isName(key)
		}
		id = part[5]
		return strings.HasPrefix(id, "alias/") && isKey(id)
	}
	if alias, ok := strings.CutPrefix(id, "alias/"); ok {
		for segment := range strings.SplitSeq(alias, "/") {
			if !isName(segment) {
				return false
			}
		}
		return true
	}
	return isName(id)
}

// isName accepts the characters of names in KMS.
func isName(s string) bool { return signer.IsName(s, "-_", maxID) }

// regionOf returns the region of an ARN.
func regionOf(id string) string {
	if part := strings.SplitN(id, ":", 6); len(part) == 6 {
		return part[3]
	}
	return ""
}

// The names of the two calls in IAM and key policies.
const (
	publicKeyAction = "kms:GetPublicKey"
	signAction      = "kms:Sign"
)

// Errors that an import handles and continues after.
var (
	errAbsent = errors.New("no such key")
	errState  = errors.New("a state that forbids it")
)

// what returns the start of an error: "sign with the KMS key alias/x".
func (s *Signer) what(doing string) string { return doing + " " + s.name("") }

func (s *Signer) failure(what, action, region string) awsclient.Call {
	return awsclient.Call{What: what, Service: "KMS", Region: region, Explain: func(api smithy.APIError) error {
		return explain(what, action, region, api)
	}}
}

// explain words the errors of signing that the AWS KMS API reference lists; nil for all
// others.
func explain(what, action, region string, api smithy.APIError) error {
	line := func(why, do string) error { return usererr.New(what, why, do) }
	switch code := api.ErrorCode(); {
	case awsclient.IsThrottle(api):
		return line("AWS throttles this account ("+code+")", "try again in a moment, or raise the request quota of KMS in "+region)
	case strings.HasPrefix(code, "AccessDenied"):
		return line("access denied"+awsclient.Excerpt(api), "allow "+action+" on it for this identity, in its key policy or by IAM")
	case code == "NotFoundException":
		return &usererr.Error{Op: what, Reason: "there is no such key or alias in " + region, Hint: "check key, region and account in the URL", Err: errAbsent}
	case code == "DisabledException":
		return line("the key is disabled", "enable it: aws kms enable-key")
	case code == "KMSInvalidStateException":
		return invalidState(what, api)
	case code == "InvalidKeyUsageException" || code == "UnsupportedOperationException":
		return line("this key cannot sign ("+code+")", "create one with key spec RSA_2048 (or more) and key usage SIGN_VERIFY")
	case code == "InvalidArnException" || code == "ValidationException":
		return line("AWS does not accept this as a key ("+code+")"+awsclient.Excerpt(api), "write awskms:///alias/NAME, a key's id or its ARN")
	case code == "KeyUnavailableException" || code == "DependencyTimeoutException" || code == "KMSInternalException":
		return line("KMS has an internal error ("+code+")", "try again in a moment")
	}
	return nil
}

// invalidState distinguishes the states by KMS's text, because the answer has nothing
// else (https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html).
func invalidState(what string, api smithy.APIError) error {
	line := func(why, do string) error { return &usererr.Error{Op: what, Reason: why, Hint: do, Err: errState} }
	switch said := strings.ToLower(api.ErrorMessage()); {
	case strings.Contains(said, "pending deletion"):
		return line("the key is pending deletion", "if it is still wanted: aws kms cancel-key-deletion, then aws kms enable-key")
	case strings.Contains(said, "pending import"):
		return line("the key is pending import and has no key material", "import the App's private key: gatepass app key import")
	case strings.Contains(said, "disabled"):
		return line("the key is disabled", "enable it: aws kms enable-key")
	}
	return line("the key cannot be used in its state"+awsclient.Excerpt(api), "check it: aws kms describe-key")
}
