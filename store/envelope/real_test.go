package envelope

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
)

func TestRealAWS(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (make test-real sets GATEPASS_TEST_AWS_ENDPOINT)")
	}
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_KMS": endpoint} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made, err := kms.NewFromConfig(cfg).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(id string) Wrapper {
		w, err := Open("awskms:///" + id)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	id := aws.ToString(made.KeyMetadata.KeyId)
	roundTrip(t, open(id), open(aws.ToString(made.KeyMetadata.Arn)))
	_, _, err = NewDataKey(t.Context(), open("alias/none"))
	if err == nil || !strings.Contains(err.Error(), "there is no such key in us-east-1") {
		t.Errorf("NewDataKey with a key that is not there = %v, want that said", err)
	}
}

// What KMS refuses is said with what to do.
func TestAWSRefusals(t *testing.T) {
	for code, want := range map[string]string{
		"AccessDeniedException": "allow kms:Decrypt on the key", "InvalidKeyUsageException": "make a symmetric one",
		"IncorrectKeyException": "set key=", "InvalidCiphertextException": "set key=", "NotFoundException": "no such key in r-1",
	} {
		if err := explainAWS("unwrap", "kms:Decrypt", "r-1", &smithy.GenericAPIError{Code: code}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want %q", code, err, want)
		}
	}
	if err := explainAWS("unwrap", "kms:Decrypt", "r-1", &smithy.GenericAPIError{Code: "ThrottlingException"}); err != nil {
		t.Errorf("a throttle = %v, want it left to what all services have", err)
	}
}

func TestRealVault(t *testing.T) {
	address, root := os.Getenv("GATEPASS_TEST_VAULT_ADDR"), os.Getenv("GATEPASS_TEST_VAULT_TOKEN")
	if address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", root)
	mount := "t" + strconv.FormatInt(time.Now().UnixNano(), 36) + "/transit"
	call := func(path string, body any) {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequest(http.MethodPost, address+"/v1/"+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Vault-Token", root)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode/100 != 2 {
			t.Fatalf("POST %s = %s", path, response.Status)
		}
	}
	open := func(key string) Wrapper {
		w, err := Open("vault+transit://" + mount + "/" + key)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	call("sys/mounts/"+mount, map[string]any{"type": "transit"})
	call(mount+"/keys/store", map[string]any{"type": "aes256-gcm96"})
	roundTrip(t, open("store"), open("store"))
	key, wrapped, err := NewDataKey(t.Context(), open("store"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := key.Seal("a", []byte("x"))
	call(mount+"/keys/store/rotate", map[string]any{})
	if again, err := UnwrapDataKey(t.Context(), open("store"), wrapped); err != nil {
		t.Errorf("UnwrapDataKey after a rotation = %v", err)
	} else if value, err := again.Open("a", sealed); err != nil || string(value) != "x" {
		t.Errorf("Open after a rotation = %q, %v, want the value", value, err)
	}
	call(mount+"/keys/signing", map[string]any{"type": "ecdsa-p256"})
	if _, _, err := NewDataKey(t.Context(), open("signing")); err == nil || !strings.Contains(err.Error(), "check that the key exists and is symmetric") {
		t.Errorf("NewDataKey with a key that signs = %v, want that said", err)
	}
}
