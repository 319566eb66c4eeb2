package awskms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// Import imports a key from memory into KMS: into a key of origin EXTERNAL that is
// pending import or, if an alias has no key, into a new key with this alias. The caller
// can then forget the key. Import never replaces existing key material; it is not an
// error if that is the same key.
//
// The identity needs kms:GetPublicKey, kms:DescribeKey,
// kms:GetParametersForImport and kms:ImportKeyMaterial; for a new key
// kms:CreateKey and kms:CreateAlias.
func (s *Signer) Import(ctx context.Context, key *mint.KeySigner) error {
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	switch there, err := s.hasKey(ctx, key); {
	case there:
		return nil
	case errors.Is(err, errState):
		return s.fill(ctx, s.id, key)
	case errors.Is(err, errAbsent) && strings.HasPrefix(s.id, "alias/"):
		return s.create(ctx, key)
	default:
		return err
	}
}

// hasKey reports whether KMS has the key already. Another key is an error.
func (s *Signer) hasKey(ctx context.Context, key *mint.KeySigner) (bool, error) {
	there, err := s.PublicKey(ctx)
	if err != nil {
		return false, err
	}
	if !there.Equal(key.Public()) {
		return false, usererr.New(s.what("import into"), "it has another key, "+mint.Fingerprint(there), "choose another alias; gatepass never replaces a key")
	}
	return true, nil
}

// create makes a key and finally the alias, so that the alias never has a key that
// cannot sign.
func (s *Signer) create(ctx context.Context, key *mint.KeySigner) error {
	out, err := call(ctx, s, s.what("make"), "kms:CreateKey", func(c *kms.Client, o func(*kms.Options)) (*kms.CreateKeyOutput, error) {
		return c.CreateKey(ctx, &kms.CreateKeyInput{
			KeySpec: spec(key), KeyUsage: types.KeyUsageTypeSignVerify, Origin: types.OriginTypeExternal,
			Description: aws.String("private key of a GitHub App, imported by gatepass"),
		}, o)
	})
	if err != nil {
		return err
	}
	if out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.Arn) == "" {
		return usererr.New(s.what("make"), "the answer does not name the new key", "find it: aws kms list-keys")
	}
	arn := aws.ToString(out.KeyMetadata.Arn)
	err = s.fill(ctx, arn, key)
	if err == nil {
		_, err = call(ctx, s, s.what("name"), "kms:CreateAlias", func(c *kms.Client, o func(*kms.Options)) (*kms.CreateAliasOutput, error) {
			return c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(s.id), TargetKeyId: aws.String(arn)}, o)
		})
	}
	if err != nil {
		return fmt.Errorf("%w; the key %s was created for it: continue with awskms:///%s, or schedule its deletion", err, arn, arn)
	}
	return nil
}

func spec(key *mint.KeySigner) types.KeySpec {
	return types.KeySpec(fmt.Sprintf("RSA_%d", key.Public().N.BitLen()))
}

// fill imports the key into id, which is pending import.
func (s *Signer) fill(ctx context.Context, id string, key *mint.KeySigner) error {
	what := "import into the KMS key " + id
	// The two calls of an import accept no alias.
	described, err := patiently(ctx, func() (*kms.DescribeKeyOutput, error) {
		return call(ctx, s, what, "kms:DescribeKey", func(c *kms.Client, o func(*kms.Options)) (*kms.DescribeKeyOutput, error) {
			return c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(id)}, o)
		})
	})
	if err != nil {
		return err
	}
	if err := fits(described.KeyMetadata, spec(key)); err != nil {
		return usererr.Wrap(what, err, "create one with --origin EXTERNAL, --key-usage SIGN_VERIFY and --key-spec "+string(spec(key)))
	}
	arn := aws.ToString(described.KeyMetadata.Arn)
	if err := s.load(ctx, what, arn, key); err != nil {
		return err
	}
	return s.await(ctx, arn, key)
}

// load wraps the key for KMS and imports it.
func (s *Signer) load(ctx context.Context, what, arn string, key *mint.KeySigner) error {
	parameters, err := call(ctx, s, what, "kms:GetParametersForImport", func(c *kms.Client, o func(*kms.Options)) (*kms.GetParametersForImportOutput, error) {
		return c.GetParametersForImport(ctx, &kms.GetParametersForImportInput{
			KeyId: aws.String(arn), WrappingAlgorithm: types.AlgorithmSpecRsaAesKeyWrapSha256, WrappingKeySpec: types.WrappingKeySpecRsa4096,
		}, o)
	})
	if err != nil {
		return err
	}
	wrapping, err := mint.ParsePublicKey(parameters.PublicKey)
	if err != nil {
		return usererr.Wrap(what, err, wrongServer)
	}
	wrapped, err := key.Wrap(wrapping)
	if err != nil {
		return usererr.Wrap(what, err, "")
	}
	_, err = call(ctx, s, what, "kms:ImportKeyMaterial", func(c *kms.Client, o func(*kms.Options)) (*kms.ImportKeyMaterialOutput, error) {
		return c.ImportKeyMaterial(ctx, &kms.ImportKeyMaterialInput{
			KeyId: aws.String(arn), EncryptedKeyMaterial: wrapped, ImportToken: parameters.ImportToken,
			ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
		}, o)
	})
	return err
}

// fits returns an error if a key of the wanted spec cannot be imported into what was
// found.
func fits(found *types.KeyMetadata, wanted types.KeySpec) error {
	switch {
	case found == nil || aws.ToString(found.Arn) == "":
		return errors.New("the answer does not name the key")
	case found.KeyState != types.KeyStatePendingImport:
		return fmt.Errorf("its state is %s; it must be PendingImport", found.KeyState)
	case found.Origin != types.OriginTypeExternal:
		return fmt.Errorf("its origin is %s; it must be EXTERNAL", found.Origin)
	case found.KeyUsage != types.KeyUsageTypeSignVerify:
		return fmt.Errorf("its key usage is %q; it must be SIGN_VERIFY", found.KeyUsage)
	case found.KeySpec != wanted:
		return fmt.Errorf("its key spec is %s; the App's key needs %s", found.KeySpec, wanted)
	}
	return nil
}

// await waits until KMS shows the imported key.
func (s *Signer) await(ctx context.Context, arn string, key *mint.KeySigner) error {
	imported := newSigner(arn, s.client.Settings)
	_, err := patiently(ctx, func() (bool, error) { return imported.hasKey(ctx, key) })
	return err
}

// KMS shows a change only after a moment
// (https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html).
const (
	retryWait = 500 * time.Millisecond
	maxTries  = 10
)

// patiently calls look again while a key that was just made or filled is not visible.
func patiently[T any](ctx context.Context, look func() (T, error)) (T, error) {
	for n := 1; ; n++ {
		found, err := look()
		if n == maxTries || !errors.Is(err, errAbsent) && !errors.Is(err, errState) {
			return found, err
		}
		select {
		case <-time.After(retryWait):
		case <-ctx.Done():
			return found, err
		}
	}
}

// Vacant returns nil if Import can import a key that GitHub has yet to make, which has
// 2048 bits: there is an alias without a key, or a key that is pending import. It
// changes nothing, and cannot tell whether importing is allowed.
func (s *Signer) Vacant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	switch there, err := s.PublicKey(ctx); {
	case err == nil:
		return usererr.New(s.what("import into"), "it has a key already, "+mint.Fingerprint(there), "choose another alias; gatepass never replaces a key")
	case errors.Is(err, errState):
		return s.awaitsImport(ctx)
	case errors.Is(err, errAbsent) && strings.HasPrefix(s.id, "alias/"):
		return nil
	default:
		return err
	}
}

func (s *Signer) awaitsImport(ctx context.Context) error {
	what := s.what("import into")
	described, err := call(ctx, s, what, "kms:DescribeKey", func(c *kms.Client, o func(*kms.Options)) (*kms.DescribeKeyOutput, error) {
		return c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(s.id)}, o)
	})
	if err == nil {
		err = fits(described.KeyMetadata, types.KeySpecRsa2048)
	}
	if err != nil {
		return usererr.Wrap(what, err, "create one with --origin EXTERNAL, --key-usage SIGN_VERIFY and --key-spec RSA_2048")
	}
	return nil
}
