package awskms

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/signertest"
)

var (
	_ mint.Signer      = (*Signer)(nil)
	_ mint.PublicKeyer = (*Signer)(nil)

	digest = sha256.Sum256([]byte("header.claims"))
)

// checkSigned checks a signature by a key.
func checkSigned(t *testing.T, s *Signer, number int) {
	t.Helper()
	signature, err := s.Sign(t.Context(), digest)
	if err != nil {
		t.Fatalf("Sign = %v, want a signature", err)
	}
	if err := mint.CheckSignature(&keys[number].PublicKey, digest, signature); err != nil {
		t.Errorf("Sign by key %d: %v", number, err)
	}
}

func TestSign(t *testing.T) {
	d := &double{}
	s := serve(t, d)
	checkSigned(t, s, 0)
	checkSigned(t, s, 0)
	if looked, signed := d.count("GetPublicKey"), d.count("Sign"); looked != 1 || signed != 2 {
		t.Errorf("two signatures took %d looks at the key and %d signatures, want 1 and 2", looked, signed)
	}
	public, err := s.PublicKey(t.Context())
	if err != nil || !public.Equal(&keys[0].PublicKey) {
		t.Errorf("PublicKey = %v, %v, want the key's", public, err)
	}
}

func TestManySignAtOnce(t *testing.T) {
	d := &double{}
	s := serve(t, d)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := s.Sign(t.Context(), digest); err != nil {
				t.Errorf("Sign = %v", err)
			}
		})
	}
	group.Wait()
	if looked := d.count("GetPublicKey"); looked != 1 {
		t.Errorf("the key was looked at %d times, want 1", looked)
	}
}

// An App's key is rotated by pointing the alias to another key.
func TestAliasThatPointsElsewhere(t *testing.T) {
	d := &double{}
	s := serve(t, d)
	checkSigned(t, s, 0)
	d.mu.Lock()
	d.key, d.spec, d.arn = keys[1], "RSA_3072", arn+"2"
	d.mu.Unlock()
	checkSigned(t, s, 1)
	checkSigned(t, s, 1)
	if looked := d.count("GetPublicKey"); looked != 2 {
		t.Errorf("two keys were looked at %d times, want 2", looked)
	}
}

func TestNamesOfKeys(t *testing.T) {
	for _, id := range []string{alias, "alias/team/gatepass", "1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab", arn, "arn:aws-cn:kms:us-east-1:123456789012:alias/gatepass"} {
		d := &double{}
		query := "?endpoint=" + start(t, d)
		if !strings.HasPrefix(id, "arn:") {
			query += "&region=us-east-1"
		}
		checkSigned(t, open(t, "awskms:///"+id+query), 0)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"awskms://alias/gatepass", "a key must follow three slashes"},
		{"awskms:///", "this is not a key"},
		{"awskms:///alias/", "this is not a key"},
		{"awskms:///alias//x", "this is not a key"},
		{"awskms:///key/1234", "this is not a key"},
		{"awskms:///alias/a%20b", "this is not a key"},
		{"awskms:///arn:aws:s3:us-east-1:123456789012:key/x", "this is not a key"},
		{"awskms:///arn:aws:kms:us-east-1:123456789012:alias", "this is not a key"},
		{"awskms:///arn:aws:kms:us-east-1:123456789012:arn:aws:kms:us-east-1:1:key/x", "this is not a key"},
		{"awskms:///" + strings.Repeat("a", maxID+1), "this is not a key"},
		{"awskms:///alias/x#y", "fragment"},
		{"awskms:///alias/x?regoin=us-east-1", "unknown key regoin"},
		{"awskms:///alias/x?region=evil.example/", "not an AWS region"},
		{"awskms:///alias/x?endpoint=http://kms.example", "must be an https URL, or http on this machine"},
		{"awskms:///" + arn + "?region=eu-west-1", "the key is in us-east-1, but the URL has region=eu-west-1"},
		{"vault:///alias/x", "scheme is not awskms"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(u); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%.80s) = %v, want an error with %q", c.url, err, c.want)
		}
	}
}

// checkError checks that the error is one line that names the key and what was done
// with it.
func checkError(t *testing.T, signature []byte, err error, want string) {
	t.Helper()
	if err == nil || signature != nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("Sign = %x, %v, want an error with %q", signature, err, want)
	}
	if text := err.Error(); !strings.Contains(text, "the KMS key "+alias+": ") || strings.ContainsAny(text, "\n\r") || len(text) > 700 {
		t.Errorf("the error %q is not one line about the key", text)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), "secret-access-key") {
			t.Errorf("a secret is in the error %q", e)
		}
	}
}

func TestErrors(t *testing.T) {
	const denied = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: kms:Sign on resource: y"
	for _, c := range []struct {
		name, action string
		answer       http.HandlerFunc
		want         string
	}{
		{"kms:GetPublicKey is missing", "GetPublicKey", fail(400, "AccessDeniedException", ""), "look at the KMS key " + alias + ": access denied; allow kms:GetPublicKey on it"},
		{"kms:Sign is missing", "Sign", fail(400, "AccessDeniedException", denied), "sign with the KMS key " + alias + ": access denied: " + denied + "; allow kms:Sign on it"},
		{"no such key", "GetPublicKey", fail(400, "NotFoundException", "Alias arn:aws:kms:x is not found."), "there is no such key or alias in us-east-1"},
		{"disabled", "Sign", fail(400, "DisabledException", arn+" is disabled."), "the key is disabled; enable it: aws kms enable-key"},
		{"pending deletion", "Sign", fail(400, "KMSInvalidStateException", arn+" is pending deletion."), "the key is pending deletion; if it is still wanted: aws kms cancel-key-deletion"},
		{"pending import", "GetPublicKey", fail(400, "KMSInvalidStateException", arn+" is pending import."), "the key is pending import and has no key material"},
		{"disabled, as a state", "Sign", fail(400, "KMSInvalidStateException", arn+" is disabled."), "the key is disabled"},
		{"a state of another kind", "Sign", fail(400, "KMSInvalidStateException", "custom key store"), "cannot be used in its state: custom key store"},
		{"a symmetric key", "GetPublicKey", fail(400, "UnsupportedOperationException", ""), "this key cannot sign (UnsupportedOperationException); create one with key spec RSA_2048"},
		{"an encryption key", "Sign", fail(400, "InvalidKeyUsageException", ""), "this key cannot sign (InvalidKeyUsageException)"},
		{"no key at all", "GetPublicKey", fail(400, "ValidationException", "1 validation error"), "AWS does not accept this as a key (ValidationException): 1 validation error"},
		{"expired credentials", "GetPublicKey", fail(400, "ExpiredTokenException", ""), "the AWS credentials have expired"},
		{"wrong credentials", "Sign", fail(400, "UnrecognizedClientException", "The security token included in the request is invalid."), "AWS does not accept the credentials"},
		{"a web page of a proxy", "Sign", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusForbidden) }, "not from KMS"},
		{"an unknown code", "Sign", fail(400, "SomethingNew", "hello\nworld"), `AWS refuses (SomethingNew): hello\nworld`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{failing: map[string]http.HandlerFunc{c.action: c.answer}}
			signature, err := serve(t, d).Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
			if n := d.count(c.action); n != 1 {
				t.Errorf("%s was called %d times, want 1", c.action, n)
			}
		})
	}
}

func TestKeysThatCannotSignForAnApp(t *testing.T) {
	for _, c := range []struct{ spec, usage, want string }{
		{"ECC_NIST_P256", "SIGN_VERIFY", "its key spec is ECC_NIST_P256; a GitHub App needs an RSA key; create one with key spec RSA_2048"},
		{"RSA_2048", "ENCRYPT_DECRYPT", `its key usage is "ENCRYPT_DECRYPT"; it must be SIGN_VERIFY`},
		{"HMAC_256", "GENERATE_VERIFY_MAC", "its key spec is HMAC_256"},
	} {
		d := &double{spec: c.spec, usage: c.usage}
		s := serve(t, d)
		signature, err := s.Sign(t.Context(), digest)
		checkError(t, signature, err, c.want)
		if d.count("Sign") != 0 {
			t.Errorf("a key of %s for %s was signed with, want it refused before", c.spec, c.usage)
		}
	}
	d := &double{key: newKey(1024)}
	signature, err := serve(t, d).Sign(t.Context(), digest)
	checkError(t, signature, err, "the key has 1024 bits, fewer than 2048")
}

// A KMS that hashes a second time, or answers for another key, is not believed.
func TestWrongSignatureIsRefused(t *testing.T) {
	s := serve(t, &double{tamper: func(b []byte) []byte { b[7] ^= 1; return b }})
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the signature does not fit the key and the signed data")
	s = serve(t, &double{tamper: func([]byte) []byte { return nil }})
	signature, err = s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the signature does not fit the key and the signed data")
}

func TestTroubleThatPasses(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"throttling", fail(400, "ThrottlingException", "Rate exceeded")},
		{"trouble of KMS", fail(500, "KMSInternalException", "")},
		{"an unavailable key", fail(500, "KeyUnavailableException", "")},
		{"a lost connection", drop},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkSigned(t, serve(t, &double{script: []http.HandlerFunc{c.answer}}), 0)
		})
	}
}

func TestTroubleThatStays(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"throttling", fail(400, "ThrottlingException", "Rate exceeded"), "AWS throttles this account (ThrottlingException); try again in a moment, or raise the request quota of KMS in us-east-1"},
		{"trouble of KMS", fail(500, "KMSInternalException", ""), "KMS has an internal error (KMSInternalException)"},
		{"silence", hang, "AWS did not answer in time; check that KMS can be reached from here"},
		{"lost connections", drop, "KMS cannot be reached: EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &double{failing: map[string]http.HandlerFunc{"Sign": c.answer}})
			checkNotSigned(t, s, c.want)
		})
	}
}

// checkNotSigned checks that an error comes in time although the service does not
// answer properly.
func checkNotSigned(t *testing.T, s *Signer, want string) {
	t.Helper()
	signature, err := signertest.Late(t, s, digest, want)
	checkError(t, signature, err, want)
}

func TestNoRegionAndNoCredentials(t *testing.T) {
	endpoint := start(t, &double{})
	signature, err := open(t, "awskms:///"+alias+"?endpoint="+endpoint).Sign(t.Context(), digest)
	checkError(t, signature, err, "the AWS region is not set; add ?region=REGION to the URL or set AWS_REGION")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	signature, err = open(t, "awskms:///"+alias+"?region=us-east-1&endpoint="+endpoint).Sign(t.Context(), digest)
	checkError(t, signature, err, "there are no AWS credentials")
	signature, err = open(t, "awskms:///"+alias+"?region=us-east-1&profile=nope&endpoint="+endpoint).Sign(t.Context(), digest)
	checkError(t, signature, err, "there is no AWS profile nope")
}

// A long-lived refresher uses credentials that were renewed since it started.
func TestFreshCredentialsAreFound(t *testing.T) {
	d := &double{script: []http.HandlerFunc{fail(400, "ExpiredTokenException", "")}}
	s := serve(t, d)
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "expired")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFRESH")
	checkSigned(t, s, 0)
	if !strings.Contains(d.identity, "AKIDFRESH") {
		t.Errorf("KMS was asked by %.60s, want AKIDFRESH", d.identity)
	}
}

func TestStandardVariablesHold(t *testing.T) {
	d := &double{region: "eu-west-1"}
	t.Setenv("AWS_REGION", "")
	endpoint := start(t, d)
	t.Setenv("AWS_ENDPOINT_URL_KMS", endpoint)
	t.Setenv("AWS_REGION", "eu-west-1")
	checkSigned(t, open(t, "awskms:///"+alias), 0)
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{"awskms:///" + alias + "?region=us-east-1", "awskms:///" + arn, "awskms:///arn:aws:kms:::alias/x", "awskms://a", "awskms:a", "awskms:///%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		if s, err := Open(u); err == nil && (s.id == "" || strings.ContainsAny(s.id, " \n%{}?#\\")) {
			t.Errorf("Open(%q) reads the key %q", raw, s.id)
		}
	})
}

// A thousand tokens cost one signature: KMS bills and throttles each.
func TestAThousandMintsSignOnce(t *testing.T) {
	d := &double{}
	signertest.MintThousand(t, &keys[0].PublicKey, serve(t, d))
	if signed, looked := d.count("Sign"), d.count("GetPublicKey"); signed != 1 || looked != 1 {
		t.Errorf("1000 tokens took %d signatures and %d looks at the key, want 1 and 1", signed, looked)
	}
}
