package ssmstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

func openStore(t *testing.T, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func emulator(t *testing.T) {
	t.Helper()
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL_SSM", endpoint)
}

var prefixes atomic.Int64

func newPrefix() string {
	return fmt.Sprintf("/gp-%s-%d", time.Now().Format("150405.000000000"), prefixes.Add(1))
}

func TestStoreConforms(t *testing.T) {
	emulator(t)
	storetest.Run(t, func(t *testing.T) func() store.Store {
		prefix := newPrefix()
		return func() store.Store { return openStore(t, "ssm://"+prefix) }
	})
}

func TestListsPause(t *testing.T) {
	emulator(t)
	storetest.PausesBetweenPages(t, openStore(t, "ssm://"+newPrefix()))
}

// Each parameter is encrypted by the right key, and has the tier that it needs.
func TestStoreChoosesKeyAndTier(t *testing.T) {
	emulator(t)
	prefix := newPrefix()
	s := openStore(t, "ssm://"+prefix+"/?kms_key=alias/gatepass-{workspace}")
	token, _ := store.OnlyToken("sb-1")
	for name, value := range map[store.Name]string{token: "small", store.PrivateKey(): strings.Repeat("k", 5000)} {
		if err := s.Put(t.Context(), name, store.NewSecret(value), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[store.Name]string{
		token:              "alias/gatepass-sb-1 SecureString, advanced false",
		store.PrivateKey(): "alias/aws/ssm SecureString, advanced true",
	} {
		p := metadata(t, prefix+"/"+name.String())
		if got := fmt.Sprintf("%s %s, advanced %v", aws.ToString(p.KeyId), p.Type, p.Tier == types.ParameterTierAdvanced); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func metadata(t *testing.T, name string) types.ParameterMetadata {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := ssm.NewFromConfig(cfg).DescribeParameters(t.Context(), &ssm.DescribeParametersInput{
		ParameterFilters: []types.ParameterStringFilter{{Key: aws.String("Name"), Values: []string{name}}},
	})
	if err != nil || len(out.Parameters) != 1 {
		t.Fatalf("DescribeParameters(%s) = %v, %v, want one", name, out, err)
	}
	return out.Parameters[0]
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, bad := range []string{
		"ssm://km", "ssm:km", "file:///km", "ssm:///a//b", "ssm:///a/../b", "ssm:///a b", "ssm:///aws/x", "ssm:///SSMx",
		"ssm:///km?kms_key=", "ssm:///km?kms_key=a&kms_key=b", "ssm:///km?kms_key=a%20b", "ssm:///km?kms_key={owner}",
		"ssm:///km?kms_key=create:", "ssm:///km?kms_key=create:alias/one", "ssm:///km?kms_key=create:{workspace}", "ssm:///km?kms_key=create:alias/{workspace}",
		"ssm:///km?kms_key=create:alias/{workspace}-{workspace}-key", "ssm:///km?kms_key=create:alias/aws/{workspace}", "ssm:///km?kms_key=create:arn:aws:kms:us-east-1:1:alias/gp-{workspace}",
		"ssm:///km?kms_key=create:create:alias/gp-{workspace}", "ssm:///km?kms_key=Create:alias/gp.{workspace}",
		"ssm:///km?unknown=x", "ssm:///km?region={workspace}", "ssm:///km?endpoint=http://far.example", "ssm:///km#f", "ssm:///" + strings.Repeat("x", 400),
	} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(u); err == nil {
			t.Errorf("OpenStore(%s) = %+v, want an error", bad, s)
		}
	}
	for _, good := range []string{"ssm:///", "ssm:///km", "ssm:///a/b/?region=us-east-1&kms_key=arn:aws:kms:us-east-1:1:key/x", "ssm:///km?kms_key=create:alias/gp-{workspace}"} {
		openStore(t, good)
	}
}

// A parameter that was once long keeps the tier that costs money; the emulator does not
// know that.
func TestAShortValueFollowsALongOne(t *testing.T) {
	isolate(t)
	var tiers []string
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Tier string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		if tiers = append(tiers, body.Tier); body.Tier != "Advanced" {
			fail(400, "ValidationException", "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.")(w, r)
			return
		}
		reply(w, 200, map[string]any{"Version": 2})
	}))
	defer aws.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	s := openStore(t, "ssm:///km?region=us-east-1&endpoint="+aws.URL)
	if err := s.Put(t.Context(), store.PrivateKey(), store.NewSecret("short"), store.Replace); err != nil || len(tiers) != 2 {
		t.Errorf("Put = %v after tiers %q, want it to be done at the second", err, tiers)
	}
}

func TestStoreSaysWhatIsMissing(t *testing.T) {
	isolate(t)
	aws := httptest.NewServer(fail(400, "AccessDeniedException", "User is not authorized"))
	defer aws.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	s := openStore(t, "ssm:///km?region=us-east-1&endpoint="+aws.URL)
	err := s.Put(t.Context(), store.PrivateKey(), store.NewSecret(secret), store.CreateOnly)
	if err == nil || !strings.Contains(err.Error(), "ssm:PutParameter") || strings.Contains(err.Error(), secret) || errors.Is(err, store.ErrExists) {
		t.Errorf("Put = %v, want an error that names the permission", err)
	}
}

// Programs of the first system read /sandbox/ID/github-token; the App may be elsewhere.
func TestStoreKeepsWorkspacesUnderAnotherPrefix(t *testing.T) {
	emulator(t)
	app, workspaces := newPrefix(), newPrefix()
	storetest.Run(t, func(t *testing.T) func() store.Store {
		app, workspaces := newPrefix(), newPrefix()
		return func() store.Store { return openStore(t, "ssm://"+app+"?workspaces="+workspaces) }
	})
	s := openStore(t, "ssm://"+app+"?workspaces="+workspaces)
	token, _ := store.OnlyToken("sb-1")
	record, _ := store.Record("sb-1")
	for name, want := range map[store.Name]string{
		token:               workspaces + "/sandbox/sb-1/github-token",
		record:              workspaces + "/sandbox/sb-1/workspace",
		store.AppClientID(): app + "/config/github/app-client-id",
	} {
		if got := s.full(name); got != want {
			t.Errorf("%s is in %s, want %s", name, got, want)
		}
	}
	if got := openStore(t, "ssm:///km?workspaces=/").full(token); got != "/sandbox/sb-1/github-token" {
		t.Errorf("with workspaces=/ the token is in %s, want /sandbox/sb-1/github-token", got)
	}
}

func TestStoreRefusesOddWorkspaces(t *testing.T) {
	for _, query := range []string{"workspaces=", "workspaces=km", "workspaces=/a&workspaces=/b", "workspaces=/a//b", "workspaces=/aws/x", "workspaces=/a%20b"} {
		u, err := url.Parse("ssm:///km?" + query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(u); err == nil {
			t.Errorf("OpenStore(%s) succeeds, want an error", u)
		}
	}
}

// The ledger is read without a call to KMS.
func TestStoreKeepsRecordsPlain(t *testing.T) {
	emulator(t)
	prefix := newPrefix()
	s := openStore(t, "ssm://"+prefix+"?kms_key=alias/x")
	record, _ := store.Record("sb-1")
	for range 2 {
		if err := s.Put(t.Context(), record, store.NewSecret("{}"), store.Replace); err != nil {
			t.Fatal(err)
		}
	}
	if p := metadata(t, prefix+"/"+record.String()); p.Type != types.ParameterTypeString {
		t.Errorf("the record is a %s, want a String", p.Type)
	}
	if err := s.Put(t.Context(), store.PrivateKey(), store.NewSecret("k"), store.Replace); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[store.Name]bool{record: false, store.PrivateKey(): true} {
		if isEncrypted, err := s.IsEncrypted(t.Context(), name); err != nil || isEncrypted != want {
			t.Errorf("IsEncrypted(%s) = %t, %v, want %t", name, isEncrypted, err, want)
		}
	}
	if _, err := s.IsEncrypted(t.Context(), store.AppClientID()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("IsEncrypted of an entry that is not there = %v, want ErrNotFound", err)
	}
}

// If the issuing side makes the keys, an entry that is written before a key exists is
// not encrypted with it.
func TestKeysThatAreMade(t *testing.T) {
	s := openStore(t, "ssm:///km?kms_key=create:alias/gp-{workspace}")
	if !s.MakesKeys() || s.kmsKey != "alias/gp-{workspace}" {
		t.Errorf("MakesKeys = %t, the key is %s, want the form alone", s.MakesKeys(), s.kmsKey)
	}
	for text, want := range map[string]string{
		"sandbox/sb-1/github-token": "alias/gp-sb-1", "sandbox/sb-1/github-tokens/acme": "alias/gp-sb-1", "sandbox/sb-1/superseded/00": "alias/gp-sb-1",
		"sandbox/sb-1/vended/00": "alias/gp-sb-1", "sandbox/sb-1/lock": "", "sandbox/sb-1/workspace": "", "sandbox/sb-1/key-being-made": "", "config/github/private-key": "",
	} {
		name, err := store.ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.KeyOf(name); got != want {
			t.Errorf("KeyOf(%s) = %q, want %q", text, got, want)
		}
	}
}
