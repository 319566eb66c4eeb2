package awskms

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/mint"
)

// The emulator is an independent implementation of AWS's protocol. It hashes a digest a
// second time, so our signer reads only its key, and the SDK's client alone signs; that
// our signer then refuses the signature is part of the test.
func TestAgainstTheEmulator(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL_KMS", endpoint)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := kms.NewFromConfig(cfg)
	made, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify})
	if err != nil {
		t.Fatal(err)
	}
	arn := aws.ToString(made.KeyMetadata.Arn)
	s := open(t, "awskms:///"+arn)
	public, err := s.PublicKey(t.Context())
	if err != nil {
		t.Fatalf("PublicKey = %v, want the emulator's", err)
	}
	signed, err := c.Sign(t.Context(), &kms.SignInput{
		KeyId: &arn, Message: []byte("header.claims"), MessageType: types.MessageTypeRaw,
		SigningAlgorithm: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := mint.CheckSignature(public, digest, signed.Signature); err != nil {
		t.Errorf("the emulator's signature of the message: %v", err)
	}
	signature, err := s.Sign(t.Context(), digest)
	if err == nil {
		err = mint.CheckSignature(public, digest, signature) // an emulator that no longer hashes
	} else if strings.Contains(err.Error(), "the signature does not fit the key and the signed data") {
		err = nil
	}
	if err != nil {
		t.Errorf("Sign = %v, want the emulator's signature refused, or a good one", err)
	}

	made, err = c.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		aws.ToString(made.KeyMetadata.Arn): "it must be SIGN_VERIFY",
		"alias/nobody":                     "there is no such key or alias in us-east-1",
	} {
		if _, err := open(t, "awskms:///"+key).PublicKey(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("PublicKey of %s = %v, want an error with %q", key, err, want)
		}
	}
}
