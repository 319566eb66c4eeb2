package awskms

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// Vacant returns nil where Import can put a key that GitHub is still to make,
// which has 2048 bits: an alias that points nowhere, or a key that is pending
// import. It changes nothing, and cannot tell whether importing is allowed.
func (s *Signer) Vacant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	switch there, err := s.PublicKey(ctx); {
	case err == nil:
		return usererr.New(s.what("import into"), "a key is there already, "+mint.Fingerprint(there), "choose another alias; this key is never replaced")
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
		return usererr.Wrap(what, err, "make one with --origin EXTERNAL, --key-usage SIGN_VERIFY and --key-spec RSA_2048")
	}
	return nil
}
