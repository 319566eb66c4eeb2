package ssmstore

import (
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// The emulator is an independent implementation of AWS's protocol.
func TestAgainstTheEmulator(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL_SSM", endpoint)
	name := "/sandbox/test-" + time.Now().Format("150405.000000000") + "/github-token"
	put(t, name, secret)

	token, err := open(t, "ssm://"+name).Token(t.Context(), widgets)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(token.Expiry); token.Secret() != secret || left < 55*time.Minute || left > 61*time.Minute {
		t.Errorf("Token ends in %v, want about an hour", left)
	}
	put(t, name, secret+"2")
	if token, err = open(t, "ssm://"+name).Token(t.Context(), widgets); err != nil || token.Secret() != secret+"2" {
		t.Errorf("Token after a refresh = %v, %v, want the second", token, err)
	}
	token, err = open(t, "ssm://"+path).Token(t.Context(), widgets)
	checkError(t, token, err, "there is no such parameter in us-east-1")
}

func put(t *testing.T, name, value string) {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = ssm.NewFromConfig(cfg).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String(value), Type: types.ParameterTypeSecureString, Overwrite: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
}
