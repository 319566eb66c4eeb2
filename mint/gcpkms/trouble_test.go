package gcpkms

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/gatepass/gatepass/test/signertest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestTroubleThatPasses(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(context.Context) error
	}{
		{"an unavailable service", refuse(codes.Unavailable, "try again")},
		{"trouble of Cloud KMS", refuse(codes.Internal, "")},
		{"a used up quota", refuse(codes.ResourceExhausted, "Quota exceeded", &errdetails.RetryInfo{RetryDelay: durationpb.New(10 * time.Millisecond)})},
		{"an abandoned call", refuse(codes.Canceled, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{script: []func(context.Context) error{c.fault}}
			checkSigned(t, serve(t, d, one), keys[0])
			checkCalls(t, d, 0, 2, 1)
		})
	}
}

func TestLostConnection(t *testing.T) {
	d := &double{}
	w := start(t, d)
	d.script = []func(context.Context) error{w.cut}
	s := open(t, one)
	s.client.options = w.options()
	checkSigned(t, s, keys[0])
	checkCalls(t, d, 0, 2, 1)
}

// once returns a function that calls f only the first time.
func once[T any](f func(T)) func(T) {
	done := false
	return func(v T) {
		if !done {
			f(v)
		}
		done = true
	}
}

var damages = []struct {
	name string
	make func(once bool) *double
	want string
}{
	{"the digest, on its way", func(o bool) *double { return &double{damage: repeat(o, func(b []byte) { b[0] ^= 1 })} }, "the digest arrived damaged: The checksum in field digest_crc32c"},
	{"a digest that was not verified", func(o bool) *double {
		return &double{signed: repeat(o, func(r *kmspb.AsymmetricSignResponse) { r.VerifiedDigestCrc32C = false })}
	}, "Cloud KMS did not verify the checksum of the digest"},
	{"the signature", func(o bool) *double {
		return &double{signed: repeat(o, func(r *kmspb.AsymmetricSignResponse) { r.Signature[0] ^= 1 })}
	}, "the signature does not match its checksum"},
	{"the signature's checksum", func(o bool) *double {
		return &double{signed: repeat(o, func(r *kmspb.AsymmetricSignResponse) { r.SignatureCrc32C = wrapperspb.Int64(1) })}
	}, "the signature does not match its checksum"},
	{"no checksum of the signature", func(o bool) *double {
		return &double{signed: repeat(o, func(r *kmspb.AsymmetricSignResponse) { r.SignatureCrc32C = nil })}
	}, "the signature does not match its checksum"},
	{"the public key", func(o bool) *double {
		return &double{shown: repeat(o, func(p *kmspb.PublicKey) { p.Pem = strings.Replace(p.Pem, "A", "B", 1) })}
	}, "the public key does not match its checksum"},
	{"no checksum of the public key", func(o bool) *double {
		return &double{shown: repeat(o, func(p *kmspb.PublicKey) { p.PemCrc32C = nil })}
	}, "the public key does not match its checksum"},
}

func repeat[T any](first bool, f func(T)) func(T) {
	if first {
		return once(f)
	}
	return f
}

// If a request or answer was damaged, the call is repeated.
func TestDamageThatPasses(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			d := c.make(true)
			checkSigned(t, serve(t, d, one), keys[0])
			if n := d.count(look) + d.count(sign); n != 3 {
				t.Errorf("%d calls, want 3: one of them twice", n)
			}
		})
	}
}

func TestTroubleThatStays(t *testing.T) {
	failing := func(fault func(context.Context) error) *double {
		return &double{failing: map[string]func(context.Context) error{sign: fault}}
	}
	for _, c := range []struct {
		name string
		d    *double
		want string
	}{
		{"a used up quota", failing(refuse(codes.ResourceExhausted, "Quota exceeded for quota metric")), "the quota is used up: Quota exceeded for quota metric; try again in a moment, or raise the quota"},
		{"an unavailable service", failing(refuse(codes.Unavailable, "The service is currently unavailable.")), "Cloud KMS has an internal error (Unavailable): The service is currently unavailable.; try again in a moment"},
		{"silence", failing(hang), "Google did not answer in time; check that cloudkms.googleapis.com can be reached from here"},
	} {
		t.Run(c.name, func(t *testing.T) { checkNotSigned(t, serve(t, c.d, one), c.want) })
	}
	for _, c := range damages {
		t.Run("damage of "+c.name, func(t *testing.T) { checkNotSigned(t, serve(t, c.make(false), one), c.want) })
	}
	t.Run("lost connections", func(t *testing.T) {
		d := &double{}
		w := start(t, d)
		d.failing = map[string]func(context.Context) error{look: w.cut}
		s := open(t, one)
		s.client.options = w.options()
		checkNotSigned(t, s, "Cloud KMS cannot be reached: ")
	})
}

// checkNotSigned checks that an error comes in time although the service does not
// answer properly.
func checkNotSigned(t *testing.T, s *Signer, want string) {
	t.Helper()
	signature, err := signertest.Late(t, s, digest, want)
	checkError(t, signature, err, want)
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := &double{failing: map[string]func(context.Context) error{sign: func(ctx context.Context) error { cancel(); return hang(ctx) }}}
	signature, err := serve(t, d, one).Sign(ctx, digest)
	checkError(t, signature, err, "the request was cancelled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Sign = %v, want context.Canceled below", err)
	}
}

func TestCredentialsThatCannotBeRead(t *testing.T) {
	s := serve(t, &double{}, one)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/does/not/exist.json")
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the Google credentials cannot be read: open /does/not/exist.json: no such file or directory; run gcloud auth")
	path := filepath.Join(t.TempDir(), "account.json")
	for _, text := range []string{"{}", "-----BEGIN PRIVATE KEY-----", `{"type":"service_account","private_key":"eyJhbGciOiJub25l"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
		signature, err = s.Sign(t.Context(), digest)
		checkError(t, signature, err, "redentials ")
	}
}

func TestNoCredentials(t *testing.T) {
	s := serve(t, &double{}, one)
	s.client.detect = func(*credentials.DetectOptions) (*auth.Credentials, error) {
		return nil, errors.New("credentials: could not find default credentials. See https://cloud.google.com/docs/authentication/external/set-up-adc for more information")
	}
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "there are no Google credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud, service account of this machine); run gcloud auth application-default login")
}

// The client does not wait beyond the deadline for a metadata server that does not
// answer.
func TestDetectionThatHangs(t *testing.T) {
	s := serve(t, &double{}, one)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	s.client.detect = func(*credentials.DetectOptions) (*auth.Credentials, error) {
		<-stop
		return nil, errors.New("stopped")
	}
	checkNotSigned(t, s, "Google did not answer in time")
}

// The service account of a machine at Google, whose metadata server gives the token.
func TestMetadataServer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"no service account", http.NotFound, "this machine has no service account; run gcloud auth"},
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no\nscope", http.StatusForbidden) }, `the metadata server gives no access token: 403 no\nscope`},
		{"a token that Cloud KMS does not know", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"eyJ0.eyJ1.c2ln","expires_in":3600,"token_type":"Bearer"}`))
		}, "Google does not accept the credentials"},
		{"no token", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }, "the credentials give no access token: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{accounts: accounts{}}
			s := serve(t, d, one)
			server := httptest.NewServer(c.answer)
			t.Cleanup(server.Close)
			t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
			signature, err := s.Sign(t.Context(), digest)
			checkError(t, signature, err, c.want)
			d.invalid = nil
		})
	}
	t.Run("no server listens", func(t *testing.T) {
		signature, err := serve(t, &double{accounts: accounts{}}, one).Sign(t.Context(), digest)
		checkError(t, signature, err, "the server of the credentials cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused")
	})
	t.Run("silence", func(t *testing.T) {
		s := serve(t, &double{accounts: accounts{}}, one)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		t.Cleanup(server.Close)
		t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
		checkNotSigned(t, s, "the access token did not arrive in time; check that the server of the credentials can be reached from here")
	})
}

// The output of a user's program is not repeated.
func TestProgramThatPrintsATokenAndMore(t *testing.T) {
	s := serve(t, &double{}, one)
	dir := t.TempDir()
	if strings.Contains(dir, " ") {
		t.Skip("the client library splits the command at blanks: ", dir)
	}
	program, path := filepath.Join(dir, "tokens"), filepath.Join(dir, "account.json")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho 'warning: {\"id_token\":\"eyJ0.eyJ1.c2ln\"}'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := `{"type":"external_account","audience":"//iam.googleapis.com/x","subject_token_type":"urn:ietf:params:oauth:token-type:id_token",
		"token_url":"https://127.0.0.1:1/token","credential_source":{"executable":{"command":"` + program + `","timeout_millis":5000}}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	t.Setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "the program of the credentials printed no credentials; run it by hand")
}

// The error for a token server's refusal has its code and description.
func TestTokenThatIsRefused(t *testing.T) {
	s := serve(t, &double{}, one)
	provider := &fails{&auth.Error{Response: &http.Response{Status: "400 Bad Request", StatusCode: 400}, Body: []byte(`{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`)}}
	s.client.detect = func(*credentials.DetectOptions) (*auth.Credentials, error) {
		return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: provider}), nil
	}
	signature, err := s.Sign(t.Context(), digest)
	checkError(t, signature, err, "Google does not accept the credentials: invalid_grant: Token has been expired or revoked.; run gcloud auth application-default login")
	provider.err = &auth.Error{Response: &http.Response{Status: "503 Service Unavailable", StatusCode: 503}, Body: []byte("<html>")}
	checkNotSigned(t, s, "Google does not accept the credentials: 503 Service Unavailable")
}

type fails struct{ err error }

func (f *fails) Token(context.Context) (*auth.Token, error) { return nil, f.err }
