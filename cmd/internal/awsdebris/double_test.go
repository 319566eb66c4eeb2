package awsdebris

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
)

// A double answers calls of SSM and KMS as a table says, by operation. The emulator
// does not know when a key was used, and refuses nobody.
type double map[string]any

// A refusal is an answer of a double: a code of AWS's.
type refusal string

func (d double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	answer, known := d[operation]
	if code, refused := answer.(refusal); refused || !known {
		if !known {
			code = "UnknownOperationException"
		}
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": string(code), "message": "no"}
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = json.NewEncoder(w).Encode(answer)
}

const (
	keyID  = "1234abcd-12ab-34cd-56ef-1234567890ab"
	keyARN = "arn:aws:kms:us-east-1:123456789012:key/" + keyID
)

func newDouble() double {
	return double{
		"GetParameter": map[string]any{"Parameter": map[string]any{
			"Name": "/gp/config/github/app-client-id", "Type": "SecureString", "Value": "x",
			"ARN": "arn:aws:ssm:us-east-1:123456789012:parameter/gp/config/github/app-client-id",
		}},
		"DescribeParameters": map[string]any{"Parameters": []any{}},
		"ListAliases": map[string]any{"Aliases": []any{map[string]any{
			"AliasName": "alias/gatepass-sb-1", "AliasArn": "arn:aws:kms:us-east-1:123456789012:alias/gatepass-sb-1", "TargetKeyId": keyID,
		}}},
		"DescribeKey": map[string]any{"KeyMetadata": map[string]any{
			"KeyId": keyID, "Arn": keyARN, "KeyManager": "CUSTOMER", "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT",
			"KeyState": "Enabled", "CreationDate": float64(time.Now().Add(-30 * 24 * time.Hour).Unix()),
		}},
		"GetKeyLastUsage": map[string]any{"KeyId": keyID},
	}
}

// open serves the double with TLS, as AWS does.
func (d double) open(t *testing.T) *Account {
	t.Helper()
	isolate(t)
	s := httptest.NewTLSServer(d)
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", ca)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AWS_ENDPOINT_URL", s.URL)
	u, err := url.Parse("ssm:///gp?region=us-east-1&kms_key=alias/gatepass-{workspace}")
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(u)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func usedAgo(d time.Duration) map[string]any {
	return map[string]any{"KeyId": keyID, "KeyLastUsage": map[string]any{"Operation": "Decrypt", "Timestamp": float64(time.Now().Add(-d).Unix())}}
}

func TestAKeyThatSomebodyUsesIsLeft(t *testing.T) {
	for _, c := range []struct {
		name  string
		usage any
		left  string // part of the verdict; "" where the key may go
	}{
		{"never used", map[string]any{"KeyId": keyID}, ""},
		{"used an hour ago", usedAgo(time.Hour), "it was used on "},
		{"used six days ago", usedAgo(6 * 24 * time.Hour), "has to be idle for seven days"},
		{"used eight days ago", usedAgo(8 * 24 * time.Hour), ""},
		{"nobody may see it", refusal("AccessDeniedException"), "without kms:GetKeyLastUsage"},
		{"a partition that keeps no books", refusal("UnknownOperationException"), ""},
	} {
		d := newDouble()
		d["GetKeyLastUsage"] = c.usage
		a := d.open(t)
		keys, err := a.Keys(t.Context())
		if err != nil || len(keys) != 1 || keys[0].Workspace != "sb-1" {
			t.Fatalf("%s: Keys = %v, %v, want one", c.name, keys, err)
		}
		got, err := a.Examine(t.Context(), keys[0])
		if err != nil || (got.Left == "") != (c.left == "") || !strings.Contains(got.Left, c.left) || got.Foreign {
			t.Errorf("%s: Examine = %+v, %v, want it left because %q", c.name, got, err, c.left)
		}
		// The double knows no call that changes anything.
		if done, err := a.RemoveKey(t.Context(), keys[0]); err == nil || c.left != "" && !strings.Contains(err.Error(), c.left) {
			t.Errorf("%s: RemoveKey = %q, %v, want an error with %q", c.name, done, err, c.left)
		}
	}
}

func TestKeysThatAreNoWorkspaces(t *testing.T) {
	for _, c := range []struct{ field, value string }{{"KeyManager", "AWS"}, {"KeySpec", "RSA_2048"}, {"KeySpec", "HMAC_256"}} {
		d := newDouble()
		d["DescribeKey"].(map[string]any)["KeyMetadata"].(map[string]any)[c.field] = c.value
		got, err := d.open(t).Examine(t.Context(), doctor.Key{Workspace: "sb-1", Name: "alias/gatepass-sb-1", ID: keyID})
		if err != nil || !got.Foreign {
			t.Errorf("%s %s: Examine = %+v, %v, want it foreign", c.field, c.value, got, err)
		}
	}
	d := newDouble()
	d["DescribeKey"].(map[string]any)["KeyMetadata"].(map[string]any)["MultiRegion"] = true
	if got, err := d.open(t).Examine(t.Context(), doctor.Key{Workspace: "sb-1", Name: "alias/gatepass-sb-1", ID: keyID}); err != nil || !strings.Contains(got.Left, "multi-Region") {
		t.Errorf("a multi-Region key: Examine = %+v, %v, want it left", got, err)
	}
}

func TestWhatIsNotAllowedIsSaid(t *testing.T) {
	for operation, action := range map[string]string{
		"ListAliases": "kms:ListAliases", "DescribeKey": "kms:DescribeKey", "DescribeParameters": "ssm:DescribeParameters", "GetParameter": "ssm:GetParameter",
	} {
		d := newDouble()
		d[operation] = refusal("AccessDeniedException")
		a := d.open(t)
		_, err := a.Keys(t.Context())
		if err == nil {
			_, err = a.Examine(t.Context(), doctor.Key{Workspace: "sb-1", Name: "alias/gatepass-sb-1", ID: keyID})
		}
		if err == nil || !strings.Contains(err.Error(), "allow "+action+" for this identity") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s is denied: %v, want one line with %s", operation, err, action)
		}
	}
}

func TestExposed(t *testing.T) {
	d := newDouble()
	a := d.open(t)
	if open, err := a.Exposed(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("Exposed = %q, %v, want none", open, err)
	}
	d["GetParameter"].(map[string]any)["Parameter"].(map[string]any)["Type"] = "String"
	if open, err := a.Exposed(t.Context()); err != nil || len(open) != 1 || !strings.Contains(open[0], "/gp/config/github/private-key") {
		t.Errorf("Exposed of a key in the clear = %q, %v, want the key", open, err)
	}
	d["GetParameter"] = refusal("ParameterNotFound")
	if open, err := a.Exposed(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("Exposed without a key = %q, %v, want none", open, err)
	}
}
