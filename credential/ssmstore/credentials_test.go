package ssmstore

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// The SDK asks the metadata service if nothing else gives credentials. Without such a
// service, packets to it may be dropped silently.
func TestNoCredentialsIsToldSoon(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct{ name, disabled, endpoint string }{
		{"metadata switched off", "true", ""},
		{"metadata that never answers", "false", "http://" + silent.Addr().String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := start(t, &double{})
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_EC2_METADATA_DISABLED", c.disabled)
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", c.endpoint)
			best := time.Hour
			for range 3 { // this machine may be late, too
				began := time.Now()
				token, err := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+endpoint).Token(t.Context(), widgets)
				checkError(t, token, err, "there are no AWS credentials")
				if best = min(best, time.Since(began)); best <= 4*time.Second {
					break
				}
			}
			t.Logf("told after %v", best.Round(time.Millisecond))
			if best > 4*time.Second {
				t.Errorf("Token took %v, want well under 5s", best)
			}
		})
	}
}

// Warnings of the SDK are not printed: if a metadata service refuses, the SDK would
// report the older way that it tries next.
func TestNothingElseIsPrinted(t *testing.T) {
	metadata := httptest.NewServer(http.NotFoundHandler())
	defer metadata.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refusing.Close()
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	defer func(was *os.File) { os.Stderr = was }(os.Stderr)
	os.Stderr = stderr
	for _, url := range []string{metadata.URL, refusing.URL} {
		endpoint := start(t, &double{})
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
		token, err := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+endpoint).Token(t.Context(), widgets)
		checkError(t, token, err, "there are no AWS credentials")
	}
	if text, err := os.ReadFile(stderr.Name()); err != nil || len(text) > 0 {
		t.Errorf("standard error has %q, %v, want nothing", text, err)
	}
}

// A long-lived agent uses the credentials that a user has renewed since.
func TestFreshCredentialsAreFound(t *testing.T) {
	d := &double{parameters: map[string]parameter{path: {secret, time.Now()}}}
	d.script = again(fail(400, "ExpiredTokenException", ""), 1)
	endpoint := start(t, d)
	s := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+endpoint)
	_, err := s.Token(t.Context(), widgets)
	checkError(t, credential.Token{}, err, "expired")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFRESH")
	if _, err := s.Token(t.Context(), widgets); err != nil || !strings.Contains(d.authorization, "AKIDFRESH") {
		t.Errorf("Token = %v by %.60s, want one by the fresh credentials", err, d.authorization)
	}
}

// roleCredentials is the answer of the metadata services.
func roleCredentials() map[string]string {
	return map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAROLE", "SecretAccessKey": "secret-access-key",
		"Token": "session", "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}
}

func TestInstanceRole(t *testing.T) {
	const list = "/latest/meta-data/iam/security-credentials/"
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "PUT /latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			_, _ = io.WriteString(w, "metadata-token")
		case "GET " + list:
			_, _ = io.WriteString(w, "role")
		case "GET " + list + "role":
			// In two parts: the answer is longer than its first packet.
			body, _ := json.Marshal(roleCredentials())
			_, _ = w.Write(body[:20])
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
			_, _ = w.Write(body[20:])
		default:
			http.NotFound(w, r)
		}
	}))
	defer metadata.Close()
	d := &double{parameters: map[string]parameter{path: {secret, time.Now()}}}
	endpoint := start(t, d)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	var err error
	for range 3 { // the client waits a second or two for the service, in which this machine may stall
		if _, err = open(t, "ssm://"+path+"?region=us-east-1&endpoint="+endpoint).Token(t.Context(), widgets); err == nil {
			return
		}
	}
	t.Errorf("Token = %v, want a token by the instance's role", err)
}

func TestContainerRole(t *testing.T) {
	allowed := true
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !allowed {
			http.Error(w, `{"code":"AccessDenied","message":"no role"}`, http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(roleCredentials())
	}))
	defer agent.Close()
	d := &double{parameters: map[string]parameter{path: {secret, time.Now()}}}
	endpoint := start(t, d)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL+"/credentials")
	source := "ssm://" + path + "?region=us-east-1&endpoint=" + endpoint
	if _, err := open(t, source).Token(t.Context(), widgets); err != nil {
		t.Errorf("Token = %v, want a token by the container's role", err)
	}
	allowed = false
	token, err := open(t, source).Token(t.Context(), widgets)
	checkError(t, token, err, "no AWS credentials")
}

func TestRoleThatIsNotGiven(t *testing.T) {
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>`)
	}))
	defer sts.Close()
	endpoint := start(t, &double{})
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/sandbox")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, "web.identity."+strings.Repeat("x", 40)))
	token, err := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+endpoint).Token(t.Context(), widgets)
	checkError(t, token, err, "no AWS credentials from STS: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity; check that this identity may assume the role")
}

// The SDK's error contains what the process printed: the secret key.
func TestProcessThatFails(t *testing.T) {
	for _, c := range []struct{ name, command string }{
		{"it prints half of the credentials", `printf '{"Version":1,"SecretAccessKey":"secret-access-key"'`},
		{"it prints another version", `printf '{"Version":7,"SecretAccessKey":"secret-access-key"}'`},
		{"it fails", "sh -c 'echo secret-access-key; exit 3'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := start(t, &double{})
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_CONFIG_FILE", writeFile(t, "[profile dev]\ncredential_process = "+c.command+"\n"))
			token, err := open(t, "ssm://"+path+"?region=us-east-1&profile=dev&endpoint="+endpoint).Token(t.Context(), widgets)
			checkError(t, token, err, "the credential_process of the AWS profile failed or printed no credentials")
		})
	}
}
