package aws

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/ststest"
)

// emulated sends STS calls to the emulator, which verifies no signature and says that
// its XML is a web page.
type emulated struct{ at *url.URL }

func (e emulated) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = e.at.Scheme, e.at.Host
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		response.Header.Set("Content-Type", "text/xml")
	}
	return response, err
}

// The emulator is an independent implementation of AWS's answers.
func TestAgainstTheEmulator(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	at, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	key, principal := assume(t, endpoint)
	w := newWorld(t)
	w.clock = time.Now()
	w.Transport = emulated{at}
	proof := w.sign("eu-west-1", serverID, w.nonce(), nil)
	proof.AccessKey, proof.SecurityToken = key, principal.SessionToken
	c, err := w.identify(proof)
	if err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[string]string{"arn": "arn:aws:iam::123456789012:role/agents", "account": "123456789012", "session": "sb-1"} {
		if got, _ := c.Claim(claim); got != want {
			t.Errorf("claim %s = %q, want %q", claim, got, want)
		}
	}
}

// assume makes the emulator create a session of a role.
func assume(t *testing.T, endpoint string) (key string, p ststest.Principal) {
	t.Helper()
	form := url.Values{
		"Action": {"AssumeRole"}, "Version": {"2011-06-15"},
		"RoleArn": {"arn:aws:iam::123456789012:role/agents"}, "RoleSessionName": {"sb-1"},
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=00")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Credentials struct{ AccessKeyId, SessionToken string } `xml:"AssumeRoleResult>Credentials"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil || answer.Credentials.AccessKeyId == "" {
		t.Fatalf("AssumeRole = %d %s, want credentials", response.StatusCode, body)
	}
	return answer.Credentials.AccessKeyId, ststest.Principal{SessionToken: answer.Credentials.SessionToken}
}
