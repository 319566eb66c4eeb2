package gcpkms

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

// checkError checks that the error is one line that names the key and what was done
// with it.
func checkError(t *testing.T, signature []byte, err error, want string) {
	t.Helper()
	if err == nil || signature != nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("Sign = %x, %v, want an error with %q", signature, err, want)
	}
	if text := err.Error(); !strings.Contains(text, " the Google Cloud KMS key "+appKey) || strings.ContainsAny(text, "\n\r") || len(text) > 900 {
		t.Errorf("the error %q is not one line about the key", text)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), "PRIVATE KEY") || strings.Contains(e.Error(), "eyJ") {
			t.Errorf("a secret is in the error %q", e)
		}
	}
}

func TestErrors(t *testing.T) {
	off := &errdetails.ErrorInfo{Reason: "SERVICE_DISABLED", Domain: "googleapis.com"}
	for _, c := range []struct {
		name, method string
		fault        func(context.Context) error
		want         string
	}{
		{"no permission to list", list, refuse(codes.PermissionDenied, "Permission 'cloudkms.cryptoKeyVersions.list' denied on resource 'x' (or it may not exist)."), "choose a version of the Google Cloud KMS key " + appKey + ": permission denied: Permission 'cloudkms.cryptoKeyVersions.list' denied on resource 'x' (or it may not exist).; grant roles/cloudkms.viewer on the key to this identity; it needs cloudkms.cryptoKeyVersions.list"},
		{"no permission to look", look, refuse(codes.PermissionDenied, ""), "look at the Google Cloud KMS key " + one + ": permission denied; grant roles/cloudkms.signerVerifier on the key to this identity; it needs cloudkms.cryptoKeyVersions.viewPublicKey"},
		{"no permission to sign", sign, refuse(codes.PermissionDenied, ""), "sign with the Google Cloud KMS key " + one + ": permission denied; grant roles/cloudkms.signerVerifier on the key to this identity; it needs cloudkms.cryptoKeyVersions.useToSign"},
		{"an API that is off", look, refuse(codes.PermissionDenied, "Cloud Key Management Service (KMS) API has not been used in project 1 before or it is disabled.", off), "the Cloud KMS API is not enabled: Cloud Key"},
		{"an API that is off, formerly", look, refuse(codes.FailedPrecondition, "Google Cloud KMS API has not been used in this project before"), "the Cloud KMS API is not enabled"},
		{"no such key", list, refuse(codes.NotFound, "CryptoKey x not found."), "there is no such key: CryptoKey x not found.; check project, location, key ring, key and version in the URL"},
		{"wrong credentials", sign, refuse(codes.Unauthenticated, "Request had invalid authentication credentials."), "Google does not accept the credentials: Request had invalid"},
		{"no key to sign with", sign, refuse(codes.InvalidArgument, "digest is of another length"), "Google does not accept this as a signing key: digest is of another length; create one with purpose asymmetric-signing"},
		{"a state of another kind", sign, refuse(codes.FailedPrecondition, "external key manager says no"), "the key cannot be used: external key manager says no"},
		{"a page of a proxy", look, refuse(codes.PermissionDenied, "unexpected HTTP status code received from server: 403 (Forbidden)"), "the answer is not from Cloud KMS"},
		{"an unknown refusal", sign, refuse(codes.OutOfRange, "hello\nworld"), `Google refuses (OutOfRange): hello\nworld`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{failing: map[string]func(context.Context) error{c.method: c.fault}}
			signature, err := serve(t, d, appKey).Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
			if n := d.count(c.method); n != 1 {
				t.Errorf("%s was called %d times, want 1", c.method, n)
			}
		})
	}
}

func TestVersionsThatCannotBeUsed(t *testing.T) {
	in := func(state kmspb.CryptoKeyVersion_CryptoKeyVersionState) version {
		v := usable(keys[0])
		v.state = state
		return v
	}
	of := func(algorithm kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm) version {
		v := usable(keys[0])
		v.algorithm = algorithm
		return v
	}
	for _, c := range []struct {
		name string
		v    version
		want string
	}{
		{"disabled", in(kmspb.CryptoKeyVersion_DISABLED), "the version is disabled; enable it: gcloud kms keys versions enable"},
		{"destroyed", in(kmspb.CryptoKeyVersion_DESTROYED), "the version is destroyed; name another version, or import the App's key as a new version"},
		{"about to be destroyed", in(kmspb.CryptoKeyVersion_DESTROY_SCHEDULED), "the version is about to be destroyed; if it is still wanted: gcloud kms keys versions restore"},
		{"being made", in(kmspb.CryptoKeyVersion_PENDING_GENERATION), "the version has no key (PENDING_GENERATION)"},
		{"an import that failed", in(kmspb.CryptoKeyVersion_IMPORT_FAILED), "the version has no key (IMPORT_FAILED)"},
		{"a key to encrypt with", of(kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION), "this key cannot sign: Operation requested for Key " + one + " has incorrect key purpose: ENCRYPT_DECRYPT; create one with purpose asymmetric-signing"},
		{"RSA with SHA-512", of(kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA512), "its algorithm is RSA_SIGN_PKCS1_4096_SHA512; a GitHub App needs RSA_SIGN_PKCS1_2048_SHA256"},
		{"RSA-PSS", of(kmspb.CryptoKeyVersion_RSA_SIGN_PSS_2048_SHA256), "its algorithm is RSA_SIGN_PSS_2048_SHA256"},
		{"raw RSA", of(kmspb.CryptoKeyVersion_RSA_SIGN_RAW_PKCS1_2048), "its algorithm is RSA_SIGN_RAW_PKCS1_2048"},
		{"an elliptic curve", of(kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256), "its algorithm is EC_SIGN_P256_SHA256"},
		{"an algorithm of tomorrow", of(9999), "its algorithm is 9999"},
		{"a key that is too short", usable(newKey(1024)), "the key has 1024 bits, fewer than 2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{versions: []version{c.v}}
			signature, err := serve(t, d, one).Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
			checkCalls(t, d, 0, 1, 0)
		})
	}
	d := &double{versions: []version{in(kmspb.CryptoKeyVersion_DISABLED), in(kmspb.CryptoKeyVersion_DESTROYED)}}
	signature, err := serve(t, d, appKey).Sign(t.Context(), digest)
	checkError(t, signature, err, "no version of it is enabled; import the App's key as a version, or enable one: gcloud kms keys versions enable")
}

// The chosen version is disabled; another one is not used silently.
func TestChosenVersionThatIsDisabled(t *testing.T) {
	d := &double{versions: []version{usable(keys[2]), usable(keys[0])}}
	s := serve(t, d, appKey)
	checkSigned(t, s, keys[0])
	d.mu.Lock()
	d.versions[1].state = kmspb.CryptoKeyVersion_DISABLED
	d.mu.Unlock()
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "/cryptoKeyVersions/2: the version is disabled")
}

// After an answer for another key the call is not repeated.
func TestAnswersAboutAnotherKey(t *testing.T) {
	const other = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
	for _, c := range []struct {
		method string
		double *double
	}{
		{list, &double{listed: func(r *kmspb.ListCryptoKeyVersionsResponse) { r.CryptoKeyVersions[0].Name = other }}},
		{look, &double{shown: func(p *kmspb.PublicKey) { p.Name = other }}},
		{sign, &double{signed: func(r *kmspb.AsymmetricSignResponse) { r.Name = other }}},
		{sign, &double{signed: func(r *kmspb.AsymmetricSignResponse) { r.Name += "\n2" }}},
		{sign, &double{signed: func(r *kmspb.AsymmetricSignResponse) { r.Name = "" }}},
	} {
		signature, err := serve(t, c.double, appKey).Sign(t.Context(), digest)
		checkError(t, signature, err, "the answer is for another key, ")
		if n := c.double.count(c.method); n != 1 {
			t.Errorf("%s was called %d times, want 1", c.method, n)
		}
	}
}

// A wrong signature is not believed, whatever its checksum says.
func TestWrongSignatureIsRefused(t *testing.T) {
	for _, signed := range []func(*kmspb.AsymmetricSignResponse){
		func(r *kmspb.AsymmetricSignResponse) {
			r.Signature[7] ^= 1
			r.SignatureCrc32C = checksum(r.Signature)
		},
		func(r *kmspb.AsymmetricSignResponse) { r.Signature, r.SignatureCrc32C = nil, checksum(nil) },
	} {
		signature, err := serve(t, &double{signed: signed}, one).Sign(t.Context(), digest)
		checkError(t, signature, err, "the signature does not fit the key and the signed data")
	}
}

func TestWrongPublicKeyIsRefused(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ pem, want string }{
		{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "it must be an RSA key, as all keys of GitHub Apps"},
		{"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "its public key is damaged"},
		{"", "its public key is damaged"},
	} {
		d := &double{shown: func(p *kmspb.PublicKey) { p.Pem, p.PemCrc32C = c.pem, checksum([]byte(c.pem)) }}
		signature, err := serve(t, d, one).Sign(t.Context(), digest)
		checkError(t, signature, err, c.want)
	}
}

func TestKeyThatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{
		appKey + infix + "7": "there is no such key: CryptoKeyVersion " + appKey + infix + "7 not found.",
		appKey + "-x":        "there is no such key: CryptoKey " + appKey + "-x not found.",
	} {
		signature, err := serve(t, &double{}, name).Sign(t.Context(), digest)
		checkError(t, signature, err, want)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	w := start(t, &double{})
	_, w.roots = newCertificate(t)
	s := open(t, one)
	s.client.options = w.options()
	began := time.Now()
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the certificate of Cloud KMS is not trusted")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("Sign took %v, want no second attempt", took)
	}
}
