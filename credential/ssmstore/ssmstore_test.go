package ssmstore

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

const (
	secret = "ghs_0123456789abcdefghijABCDEFGHIJ012345"
	path   = "/sandbox/sb-1/github-token"
)

var (
	_ credential.Source = (*Source)(nil)
	_ credential.Keyer  = (*Source)(nil)

	widgets = credential.Request{Protocol: "https", Host: "github.com", Path: "Acme/widgets.git"}
)

func TestToken(t *testing.T) {
	written := time.Now().Add(-10 * time.Minute).Truncate(time.Millisecond)
	stated := time.Now().Add(40 * time.Minute).Truncate(time.Second)
	d := &double{parameters: map[string]parameter{
		path:                               {secret + "\n", written},
		"/json":                            {`{"token":"` + secret + `","expires_at":"` + stated.Format(time.RFC3339) + `"}`, written},
		"/undated":                         {`{"token":"` + secret + `","expires_at":"` + stated.Format(time.RFC3339) + `"}`, time.Time{}},
		"/sandbox/sb-1/github-tokens/acme": {secret, written},
	}}
	endpoint := start(t, d)
	for _, c := range []struct {
		name, url string
		expiry    time.Time
	}{
		{"a bare token ends an hour after it was written", "ssm:///sandbox/{workspace}/github-token", written.Add(time.Hour)},
		{"JSON states its expiry", "ssm:///json", stated},
		{"and needs no date", "ssm:///undated", stated},
		{"a token for each owner", "ssm:///sandbox/{workspace}/github-tokens/{owner}", written.Add(time.Hour)},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := open(t, c.url+"?region=us-east-1&endpoint="+endpoint).Token(t.Context(), widgets)
			if err != nil {
				t.Fatal(err)
			}
			if token.Secret() != secret || !token.Expiry.Equal(c.expiry) {
				t.Errorf("Token until %v, want %v", token.Expiry, c.expiry)
			}
		})
	}
}

func TestClientIsReused(t *testing.T) {
	d := &double{parameters: map[string]parameter{path: {secret, time.Now()}}}
	s := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+start(t, d))
	for range 2 {
		if _, err := s.Token(t.Context(), widgets); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_ACCESS_KEY_ID", "") // is not read again
	}
}

func TestStandardVariablesHold(t *testing.T) {
	parameters := map[string]parameter{path: {secret, time.Now()}}
	config := writeFile(t, "[profile dev]\nregion = eu-north-1\naws_access_key_id = AKIDDEV\naws_secret_access_key = x\n")
	for _, c := range []struct {
		name, query string
		variables   []string // except AWS_ENDPOINT_URL_SSM
		region      string
	}{
		{"AWS_REGION", "", []string{"AWS_REGION", "eu-west-1"}, "eu-west-1"},
		{"AWS_DEFAULT_REGION", "", []string{"AWS_DEFAULT_REGION", "eu-west-2"}, "eu-west-2"},
		{"the query is stronger", "?region=us-west-2", []string{"AWS_REGION", "eu-west-1"}, "us-west-2"},
		{"AWS_PROFILE", "", []string{"AWS_CONFIG_FILE", config, "AWS_PROFILE", "dev", "AWS_ACCESS_KEY_ID", ""}, "eu-north-1"},
		{"the profile of the query", "?profile=dev", []string{"AWS_CONFIG_FILE", config, "AWS_ACCESS_KEY_ID", ""}, "eu-north-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{region: c.region, parameters: parameters}
			t.Setenv("AWS_ENDPOINT_URL_SSM", "")
			endpoint := start(t, d)
			t.Setenv("AWS_ENDPOINT_URL_SSM", endpoint)
			for i := 0; i < len(c.variables); i += 2 {
				t.Setenv(c.variables[i], c.variables[i+1])
			}
			if _, err := open(t, "ssm://"+path+c.query).Token(t.Context(), widgets); err != nil {
				t.Errorf("Token = %v, want a token of %s", err, c.region)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct{ name, url, want string }{
		{"two slashes", "ssm://sandbox/token", "three slashes"},
		{"no name", "ssm:///", "this is not a parameter's name"},
		{"nothing", "ssm:", "this is not a parameter's name"},
		{"an empty level", "ssm:///a//b", "this is not a parameter's name"},
		{"a slash at the end", "ssm:///a/", "this is not a parameter's name"},
		{"a blank", "ssm:///a%20b", "letters, digits"},
		{"a selector", "ssm:///a:3", "letters, digits"},
		{"too long", "ssm:///" + strings.Repeat("a", maxName), "this is not a parameter's name"},
		{"an unknown placeholder", "ssm:///{account}/token", "unknown placeholder {account}"},
		{"an unknown key", "ssm:///a?regoin=us-east-1", "unknown key regoin"},
		{"a key twice", "ssm:///a?region=a&region=b", "given twice"},
		{"an empty key", "ssm:///a?region=", "is empty"},
		{"a placeholder in a key", "ssm:///a?profile={workspace}", "placeholders are allowed in the path only"},
		{"a region that is a host", "ssm:///a?region=evil.example/", "not an AWS region"},
		{"an endpoint that is not an address", "ssm:///a?endpoint=ssm.example", "is not an address"},
		{"a plain endpoint elsewhere", "ssm:///a?endpoint=http://ssm.example", "must be an https URL, or http on this machine"},
		{"an endpoint with a password", "ssm:///a?endpoint=https://a:b@ssm.example", "is not an address"},
		{"a fragment", "ssm:///a#b", "fragment"},
		{"another scheme", "vault:///a", "scheme is not ssm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(u, "sb-1"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open(%.80s) = %v, want an error with %q", c.url, err, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	const denied = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: ssm:GetParameter on resource: y"
	old := time.Now().Add(-2 * time.Hour)
	for _, c := range []struct {
		name   string
		script []http.HandlerFunc
		value  parameter
		want   string
		calls  int // 0 for any number
	}{
		{"ssm:GetParameter is missing", again(fail(400, "AccessDeniedException", denied), 1), parameter{}, "access denied: " + denied + "; allow ssm:GetParameter", 1},
		{"kms:Decrypt is missing", again(fail(400, "AccessDeniedException", "The ciphertext refers to a customer master key that does not exist"), 1), parameter{}, "access denied to its KMS key: The ciphertext refers to a customer master key that does not exist; allow kms:Decrypt", 1},
		{"an error of the REST kind", again(fail(403, "com.amazon.coral.service#AccessDeniedException", ""), 1), parameter{}, "access denied; allow ssm:GetParameter", 1},
		{"no parameter", again(fail(400, "ParameterNotFound", ""), 1), parameter{}, "there is no such parameter in us-east-1; check name and region in the source, or deliver it on the issuing side", 1},
		{"a disabled key", again(fail(400, "InvalidKeyId", "arn:aws:kms:x is disabled"), 1), parameter{}, "its KMS key cannot be used (InvalidKeyId): arn:aws:kms:x is disabled", 1},
		{"a KMS error of its own", again(fail(400, "KMSInvalidStateException", ""), 1), parameter{}, "its KMS key cannot be used (KMSInvalidStateException)", 1},
		{"expired credentials", again(fail(400, "ExpiredTokenException", "The security token included in the request is expired"), 1), parameter{}, "the AWS credentials have expired", 1},
		{"wrong credentials", again(fail(400, "UnrecognizedClientException", "The security token included in the request is invalid."), 1), parameter{}, "AWS does not accept the credentials (UnrecognizedClientException)", 1},
		{"a clock that is wrong", again(fail(400, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z"), 5), parameter{}, "the clock of this machine", 0},
		{"an unknown code", again(fail(400, "SomethingNew", "hello\nworld"), 1), parameter{}, `AWS refuses (SomethingNew): hello\nworld`, 1},
		{"words with a token in them", again(fail(400, "SomethingNew", "value "+secret), 1), parameter{}, "value [redacted]", 1},
		{"a web page of a proxy", again(raw(403, "<html>"+secret), 1), parameter{}, "incomplete or is not from SSM", 1},
		{"an empty answer", again(raw(200, "{}"), 1), parameter{}, "the answer has no value", 1},
		{"no token", nil, parameter{"null", time.Now()}, "it is a word for an empty value, such as null", 1},
		{"two lines", nil, parameter{secret + "\nx", time.Now()}, "control characters", 1},
		{"a token of two hours ago", nil, parameter{secret, old}, "gatepass workspace refresh sb-1", 1},
		{"a token without any date", nil, parameter{secret, time.Time{}}, "the token in it expired at", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{script: c.script, parameters: map[string]parameter{path: c.value}}
			s := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+start(t, d))
			token, err := s.Token(t.Context(), widgets)
			checkError(t, token, err, c.want)
			if c.calls > 0 && d.calls != c.calls {
				t.Errorf("SSM was asked %d times, want %d", d.calls, c.calls)
			}
		})
	}
}

// checkError checks that the error is one line that names the parameter and contains no
// secret, not even in the errors it wraps.
func checkError(t *testing.T, token credential.Token, err error, want string) {
	t.Helper()
	if err == nil || !token.IsZero() || !strings.Contains(err.Error(), want) {
		t.Fatalf("Token = %v, %v, want an error with %q", token, err, want)
	}
	text := err.Error()
	if !strings.HasPrefix(text, "read SSM parameter "+path+": ") || strings.ContainsAny(text, "\n\r") || len(text) > 700 {
		t.Errorf("the error %q is not one line about the parameter", text)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), secret) || strings.Contains(e.Error(), "secret-access-key") {
			t.Errorf("a secret is in the error %q", e)
		}
	}
}

func TestTroubleThatPasses(t *testing.T) {
	good := parameter{secret, time.Now()}
	value := `{"Parameter":{"Value":"` + secret
	for _, c := range []struct {
		name   string
		script []http.HandlerFunc
		calls  int
	}{
		{"throttling", again(fail(400, "ThrottlingException", "Rate exceeded"), 2), 3},
		{"trouble of SSM", again(fail(500, "InternalServerError", ""), 2), 3},
		{"a lost connection", again(drop, 2), 3},
		{"an answer cut off", again(cutOff(value), 1), 2},
		{"JSON cut off", again(raw(200, value), 1), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &double{script: c.script, parameters: map[string]parameter{path: good}}
			token, err := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+start(t, d)).Token(t.Context(), widgets)
			if err != nil || token.Secret() != secret || d.calls != c.calls {
				t.Errorf("Token = %v, %v after %d calls, want a token after %d", token, err, d.calls, c.calls)
			}
		})
	}
}

func TestTroubleThatStays(t *testing.T) {
	value := `{"Parameter":{"Value":"` + secret
	for _, c := range []struct {
		name     string
		answer   http.HandlerFunc
		deadline time.Duration
		want     string
	}{
		{"throttling", fail(400, "ThrottlingException", "Rate exceeded"), 600 * time.Millisecond, "AWS throttles this account (ThrottlingException); try again"},
		{"trouble of SSM", fail(503, "ServiceUnavailable", ""), 600 * time.Millisecond, "SSM has an internal error"},
		{"silence", hang, 300 * time.Millisecond, "AWS did not answer in time"},
		{"lost connections", drop, 600 * time.Millisecond, "SSM cannot be reached: EOF"},
		{"answers cut off", cutOff(value), 600 * time.Millisecond, "the answer is incomplete"},
		{"JSON cut off", raw(200, value), 600 * time.Millisecond, "the answer is incomplete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for deadline := c.deadline; ; deadline *= 2 { // if this machine is slow, it gets more time
				d := &double{script: again(c.answer, 20)}
				s := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+start(t, d))
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				began := time.Now()
				token, err := s.Token(ctx, widgets)
				took := time.Since(began)
				cancel()
				isLate := took > deadline+deadline/2 || err != nil && !strings.Contains(err.Error(), c.want)
				if isLate && deadline < 10*time.Second {
					continue
				}
				if took > deadline+deadline/2 {
					t.Errorf("Token took %v with a deadline of %v", took, deadline)
				}
				checkError(t, token, err, c.want)
				return
			}
		})
	}
}

func TestDeadlineCanBeTold(t *testing.T) {
	d := &double{script: again(hang, 1)}
	s := open(t, "ssm://"+path+"?region=us-east-1&endpoint="+start(t, d))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Token(ctx, widgets); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Token = %v, want context.DeadlineExceeded", err)
	}
}

func TestEndpointThatIsDown(t *testing.T) {
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")
	const address = "127.0.0.1:1" // where no server listens
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	token, err := open(t, "ssm://"+path+"?region=us-east-1&endpoint=http://"+address).Token(ctx, widgets)
	checkError(t, token, err, "SSM cannot be reached: dial tcp "+address+": connect: connection refused")
}

func TestUnknownHost(t *testing.T) {
	err := reading(path, "us-east-9").Failed(t.Context(), &url.Error{Op: "Post", URL: "https://x", Err: &net.DNSError{Err: "no such host", Name: "ssm.us-east-9.amazonaws.com", IsNotFound: true}})
	checkError(t, credential.Token{}, err, "the host ssm.us-east-9.amazonaws.com cannot be found; check region us-east-9")
}

func TestNoRegion(t *testing.T) {
	endpoint := start(t, &double{})
	token, err := open(t, "ssm://"+path+"?endpoint="+endpoint).Token(t.Context(), widgets)
	checkError(t, token, err, "the AWS region is not set; add ?region=REGION to the URL")
}

func TestNoSuchProfile(t *testing.T) {
	endpoint := start(t, &double{})
	token, err := open(t, "ssm://"+path+"?region=us-east-1&profile=dev&endpoint="+endpoint).Token(t.Context(), widgets)
	checkError(t, token, err, "there is no AWS profile dev")
}

func TestKey(t *testing.T) {
	s := open(t, "ssm:///sandbox/{workspace}/github-tokens/{owner}")
	if got, want := s.Key(widgets), "/sandbox/sb-1/github-tokens/acme"; got != want {
		t.Errorf("Key = %q, want %q", got, want)
	}
}
