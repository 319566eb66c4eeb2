package envelope

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

const awsForm = "write awskms:///alias/NAME?region=REGION, or a key's id for alias/NAME"

// An awsKey is a symmetric key in AWS KMS.
type awsKey struct {
	id     string
	client awsclient.Lazy[*kms.Client]
}

func openAWS(u *url.URL) (*awsKey, error) {
	what := "wrapping key awskms://" + u.Host + u.Path
	id := strings.TrimPrefix(u.Path, "/")
	if u.Host != "" || u.Opaque != "" || u.User != nil || u.Fragment != "" || id == "" || strings.ContainsAny(id, " {}%") {
		return nil, usererr.New(what, "this is not a key", awsForm)
	}
	settings, err := awsclient.ParseSettings(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	k := &awsKey{id: id}
	k.client.Settings, k.client.Make = settings, newKMS
	return k, nil
}

func newKMS(cfg aws.Config, endpoint string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}

// Wrap needs kms:Encrypt.
func (k *awsKey) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	out, err := callAWS(ctx, k, "wrap a data key with", "kms:Encrypt", func(c *kms.Client, o func(*kms.Options)) (*kms.EncryptOutput, error) {
		return c.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(k.id), Plaintext: key}, o)
	})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, nil
}

// Unwrap needs kms:Decrypt. It uses only this key, whatever the wrapped key says.
func (k *awsKey) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := callAWS(ctx, k, "unwrap a data key with", "kms:Decrypt", func(c *kms.Client, o func(*kms.Options)) (*kms.DecryptOutput, error) {
		return c.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(k.id), CiphertextBlob: wrapped}, o)
	})
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

func callAWS[Out any](ctx context.Context, k *awsKey, doing, action string, do func(*kms.Client, func(*kms.Options)) (Out, error)) (Out, error) {
	var none Out
	what := doing + " the KMS key " + k.id
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	c, err := k.client.Client(ctx)
	if err != nil {
		return none, awsclient.Call{What: what, Service: "KMS"}.Unconfigured(ctx, err)
	}
	var out Out
	if err = c.Authenticate(ctx); err == nil {
		out, err = do(c.Service, func(o *kms.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) })
	}
	if err != nil {
		k.client.Failed(c, err)
		explain := func(api smithy.APIError) error { return explainAWS(what, action, c.Region, api) }
		return none, awsclient.Call{What: what, Service: "KMS", Region: c.Region, Explain: explain}.Failed(ctx, err)
	}
	return out, nil
}

// explainAWS explains KMS's own errors. It returns nil for errors that every AWS
// service has.
func explainAWS(what, action, region string, api smithy.APIError) error {
	switch code := api.ErrorCode(); {
	case strings.HasPrefix(code, "AccessDenied"):
		return usererr.New(what, "access denied"+awsclient.Excerpt(api), "allow "+action+" on the key for this identity")
	case code == "NotFoundException":
		return usererr.New(what, "there is no such key in "+region, "correct key= in the store's URL")
	case code == "InvalidKeyUsageException":
		return usererr.New(what, "the key does not encrypt", "make a symmetric one: aws kms create-key")
	case code == "IncorrectKeyException", code == "InvalidCiphertextException":
		return usererr.New(what, "another key wrapped the data key", "set key= to the first key of the store")
	}
	return nil
}
