package awskms

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/internal/keywrap"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/testkey"
)

var wrapping = testkey.RSA(4096, 0)

// empty is a strict double of a KMS into which one key can be imported. It unwraps what
// it receives.
type empty struct {
	t *testing.T

	mu      sync.Mutex // guards the fields below
	arn     string     // "" before CreateKey
	alias   string     // that points to arn
	spec    string
	origin  string
	key     *rsa.PrivateKey // nil while pending import
	calls   []string
	failing map[string]http.HandlerFunc
	state   string
	shy     int // how often a new key is not visible yet
}

type importRequest struct {
	KeyId, AliasName, TargetKeyId                       string
	KeySpec, KeyUsage, Origin, Description              string
	WrappingAlgorithm, WrappingKeySpec, ExpirationModel string
	EncryptedKeyMaterial, ImportToken                   []byte
}

func (e *empty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	e.calls = append(e.calls, action)
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var body importRequest
	if err := dec.Decode(&body); err != nil {
		e.t.Errorf("%s: %v", action, err)
	}
	if h := e.failing[action]; h != nil {
		h(w, r)
		return
	}
	if action != "CreateKey" && action != "CreateAlias" && !e.names(body.KeyId, action) {
		fail(400, "NotFoundException", "")(w, r)
		return
	}
	status, answer := e.answer(action, body)
	reply(w, status, answer)
}

// names reports whether id is the key. The calls of an import accept no alias.
func (e *empty) names(id, action string) bool {
	byAlias := action == "GetPublicKey" || action == "DescribeKey"
	if e.shy > 0 && id == e.arn && e.arn != "" {
		e.shy--
		return false
	}
	return e.arn != "" && (id == e.arn || byAlias && id == e.alias)
}

func (e *empty) answer(action string, b importRequest) (status int, answer map[string]any) {
	switch action {
	case "CreateKey":
		if b.Origin != "EXTERNAL" || b.KeyUsage != "SIGN_VERIFY" {
			e.t.Errorf("CreateKey of %+v, want one to sign of origin EXTERNAL", b)
		}
		e.arn, e.spec, e.origin = arn, b.KeySpec, b.Origin
		return 200, map[string]any{"KeyMetadata": e.metadata()}
	case "CreateAlias":
		if e.key == nil || b.TargetKeyId != e.arn {
			e.t.Error("an alias was made for a key that cannot sign")
		}
		e.alias = b.AliasName
		return 200, map[string]any{}
	case "DescribeKey":
		return 200, map[string]any{"KeyMetadata": e.metadata()}
	case "GetParametersForImport":
		if b.WrappingAlgorithm != "RSA_AES_KEY_WRAP_SHA_256" || b.WrappingKeySpec != "RSA_4096" {
			e.t.Errorf("GetParametersForImport of %+v", b)
		}
		der, _ := x509.MarshalPKIXPublicKey(&wrapping.PublicKey)
		return 200, map[string]any{"KeyId": e.arn, "PublicKey": der, "ImportToken": []byte("import-token")}
	case "ImportKeyMaterial":
		e.take(b)
		return 200, map[string]any{}
	case "GetPublicKey":
		if e.key == nil {
			return 400, map[string]any{"__type": "KMSInvalidStateException"}
		}
		der, _ := x509.MarshalPKIXPublicKey(&e.key.PublicKey)
		return 200, map[string]any{"KeyId": e.arn, "PublicKey": der, "KeySpec": e.spec, "KeyUsage": "SIGN_VERIFY"}
	}
	e.t.Errorf("KMS was asked for %s", action)
	return 400, map[string]any{"__type": "ValidationException"}
}

func (e *empty) metadata() map[string]any {
	if e.state == "" {
		e.state = "PendingImport"
	}
	return map[string]any{"KeyId": "1234abcd", "Arn": e.arn, "KeySpec": e.spec, "KeyUsage": "SIGN_VERIFY", "Origin": e.origin, "KeyState": e.state}
}

func (e *empty) take(b importRequest) {
	der, err := keywrap.Unwrap(wrapping, b.EncryptedKeyMaterial)
	if err != nil || string(b.ImportToken) != "import-token" || b.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" {
		e.t.Errorf("ImportKeyMaterial of %+v: %v", b, err)
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		e.t.Errorf("what was wrapped is no PKCS#8: %v", err)
		return
	}
	e.key = key.(*rsa.PrivateKey)
}

// serveEmpty opens a key of e, by its alias or ARN.
func serveEmpty(t *testing.T, e *empty, id string) *Signer {
	t.Helper()
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")
	t.Setenv("AWS_REGION", "us-east-1")
	e.t = t
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return open(t, "awskms:///"+id+"?endpoint="+server.URL)
}

func inMemory(t *testing.T, key *rsa.PrivateKey) *mint.KeySigner {
	t.Helper()
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestImportMakesKeyAndAlias(t *testing.T) {
	e := &empty{shy: 2}
	s := serveEmpty(t, e, alias)
	for range 2 { // the second finds it there
		if err := s.Import(t.Context(), inMemory(t, keys[1])); err != nil {
			t.Fatalf("Import = %v", err)
		}
	}
	if e.alias != alias || !keys[1].Equal(e.key) || e.spec != "RSA_3072" {
		t.Errorf("%s points to a key of %s, want %s to the imported one of RSA_3072", e.alias, e.spec, alias)
	}
	if n := strings.Count(strings.Join(e.calls, " "), "ImportKeyMaterial"); n != 1 {
		t.Errorf("%d imports, want 1", n)
	}
	err := s.Import(t.Context(), inMemory(t, keys[0]))
	checkError(t, nil, err, "it has another key, SHA256:")
}

func TestImportFillsAKey(t *testing.T) {
	e := &empty{arn: arn, alias: alias, spec: "RSA_2048", origin: "EXTERNAL"}
	if err := serveEmpty(t, e, alias).Import(t.Context(), inMemory(t, keys[0])); err != nil || !keys[0].Equal(e.key) {
		t.Errorf("Import = %v, want the key in KMS", err)
	}
}

func TestImportThatFails(t *testing.T) {
	denied := func(action string) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{action: fail(400, "AccessDeniedException", "")}
	}
	pending := func() *empty { return &empty{arn: arn, alias: alias, spec: "RSA_2048", origin: "EXTERNAL"} }
	for _, c := range []struct {
		name   string
		e      *empty
		id     string
		want   string
		orphan bool
	}{
		{"kms:CreateKey is missing", &empty{failing: denied("CreateKey")}, alias, "allow kms:CreateKey", false},
		{"kms:ImportKeyMaterial is missing", &empty{failing: denied("ImportKeyMaterial")}, alias, "allow kms:ImportKeyMaterial", true},
		{"kms:CreateAlias is missing", &empty{failing: denied("CreateAlias")}, alias, "allow kms:CreateAlias", true},
		{"kms:GetParametersForImport is missing", &empty{arn: arn, spec: "RSA_2048", origin: "EXTERNAL", failing: denied("GetParametersForImport")}, arn, "allow kms:GetParametersForImport", false},
		{"no key of that ARN", &empty{}, arn, "there is no such key or alias", false},
		{"a key of AWS's making", func() *empty { e := pending(); e.origin = "AWS_KMS"; return e }(), alias, "its origin is AWS_KMS; it must be EXTERNAL; create one with --origin EXTERNAL", false},
		{"a key of another length", func() *empty { e := pending(); e.spec = "RSA_4096"; return e }(), alias, "its key spec is RSA_4096; the App's key needs RSA_2048", false},
		{"a key that is about to go", func() *empty { e := pending(); e.state = "PendingDeletion"; return e }(), alias, "its state is PendingDeletion; it must be PendingImport", false},
		{"a damaged import", func() *empty {
			e := pending()
			e.failing = map[string]http.HandlerFunc{"ImportKeyMaterial": fail(400, "IncorrectKeyMaterialException", "")}
			return e
		}(), alias, "AWS refuses (IncorrectKeyMaterialException)", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := serveEmpty(t, c.e, c.id).Import(t.Context(), inMemory(t, keys[0]))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n") {
				t.Fatalf("Import = %v, want one line with %q", err, c.want)
			}
			if told := strings.Contains(err.Error(), "the key "+arn+" was created for it"); told != c.orphan {
				t.Errorf("Import = %v: it tells of a key that was made: %v, want %v", err, told, c.orphan)
			}
		})
	}
}

func TestVacant(t *testing.T) {
	for _, c := range []struct {
		name string
		kms  *empty
		id   string
		want string // "" means vacant
	}{
		{"an alias that points nowhere", &empty{}, "alias/app", ""},
		{"a key that is pending import", &empty{arn: arn, spec: "RSA_2048", origin: "EXTERNAL"}, arn, ""},
		{"an alias of one", &empty{arn: arn, alias: "alias/app", spec: "RSA_2048", origin: "EXTERNAL"}, "alias/app", ""},
		{"a key that is there", &empty{arn: arn, alias: "alias/app", spec: "RSA_2048", key: keys[0]}, "alias/app", "it has a key already, SHA256:"},
		{"no such key", &empty{}, arn, "there is no such key"},
		{"a longer key", &empty{arn: arn, spec: "RSA_4096", origin: "EXTERNAL"}, arn, "its key spec is RSA_4096"},
		{"a disabled key", &empty{arn: arn, spec: "RSA_2048", origin: "AWS_KMS", state: "Disabled"}, arn, "its state is Disabled"},
	} {
		c.kms.t = t
		err := serveEmpty(t, c.kms, c.id).Vacant(t.Context())
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: Vacant = %v, want %q", c.name, err, c.want)
		}
		if changed := slices.ContainsFunc(c.kms.calls, func(s string) bool { return !strings.HasPrefix(s, "Get") && s != "DescribeKey" }); changed {
			t.Errorf("%s: Vacant called %v, want only questions", c.name, c.kms.calls)
		}
	}
}
