// Package ststest is a double of AWS STS that supports GetCallerIdentity and verifies
// every signature, by signing the request again with the caller's secret.
package ststest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// A Principal is the owner of an access key.
type Principal struct {
	Secret, SessionToken string
	ARN, UserID, Account string
}

// A Server is STS in every region. It is a transport: every request through it reaches
// it, and it refuses hosts that are not STS's.
type Server struct {
	Principals map[string]Principal // by access key ID
	Now        func() time.Time     // nil means time.Now
	// Answer, if set, answers instead.
	Answer http.Handler

	mu    sync.Mutex // guards calls
	calls []*http.Request
}

// Calls returns the requests so far, without their bodies.
func (s *Server) Calls() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// RoundTrip implements [http.RoundTripper].
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !hostForm.MatchString(r.URL.Host) {
		return nil, errors.New("there is no STS at " + r.URL.String())
	}
	s.mu.Lock()
	s.calls = append(s.calls, r.Clone(r.Context()))
	s.mu.Unlock()
	w := httptest.NewRecorder()
	if s.Answer != nil {
		s.Answer.ServeHTTP(w, r)
	} else {
		s.ServeHTTP(w, r)
	}
	return w.Result(), nil
}

var (
	hostForm = regexp.MustCompile(`\Asts(?:\.([a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?\z`)
	authForm = regexp.MustCompile(`\AAWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/([0-9]{8})/([a-z0-9-]+)/sts/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})\z`)
)

// refusal is an AWS error.
type refusal struct {
	status     int
	code, text string
}

func (r *refusal) Error() string { return r.code }

// ServeHTTP answers a call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, err := s.verify(r)
	w.Header().Set("Content-Type", "text/xml")
	if refused, ok := errors.AsType[*refusal](err); ok {
		w.WriteHeader(refused.status)
		fmt.Fprintf(w, "<ErrorResponse xmlns=%q><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>x</RequestId></ErrorResponse>\n", namespace, refused.code, escape(refused.text))
		return
	}
	_, _ = io.WriteString(w, Answer(p))
}

const namespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// Answer returns the answer of STS to a principal.
func Answer(p Principal) string {
	return fmt.Sprintf(`<GetCallerIdentityResponse xmlns="%s">
  <GetCallerIdentityResult>
    <Arn>%s</Arn>
    <UserId>%s</UserId>
    <Account>%s</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>
`, namespace, escape(p.ARN), escape(p.UserID), escape(p.Account))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder never fails
	return b.String()
}

func (s *Server) verify(r *http.Request) (Principal, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return Principal{}, err
	}
	auth := authForm.FindStringSubmatch(r.Header.Get("Authorization"))
	if auth == nil {
		return Principal{}, &refusal{403, "IncompleteSignature", r.Header.Get("Authorization")}
	}
	p, ok := s.Principals[auth[1]]
	if !ok || r.Header.Get("X-Amz-Security-Token") != p.SessionToken {
		return Principal{}, &refusal{403, "InvalidClientTokenId", "The security token included in the request is invalid."}
	}
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || s.now().Sub(signed).Abs() > 5*time.Minute {
		return Principal{}, &refusal{403, "SignatureDoesNotMatch", "Signature expired"}
	}
	region := hostForm.FindStringSubmatch(r.URL.Host)[1]
	if region == "" {
		region = "us-east-1"
	}
	if auth[3] != region || !isSigned(r, p, auth, body, signed) {
		return Principal{}, &refusal{403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("Action") != "GetCallerIdentity" || form.Get("Version") != "2011-06-15" || r.URL.RawQuery != "" || r.Method != http.MethodPost {
		return Principal{}, &refusal{400, "InvalidAction", string(body)}
	}
	return p, nil
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// isSigned signs the request again, with the headers that the caller signed, and
// compares.
func isSigned(r *http.Request, p Principal, auth []string, body []byte, at time.Time) bool {
	again, err := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	if err != nil {
		return false
	}
	names := strings.Split(auth[4], ";")
	for _, name := range names {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if !slices.Contains(names, "content-length") {
		again.ContentLength = 0
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: auth[1], SecretAccessKey: p.Secret, SessionToken: p.SessionToken}
	err = v4.NewSigner().SignHTTP(r.Context(), credentials, again, hex.EncodeToString(sum[:]), "sts", auth[3], at)
	return err == nil && again.Header.Get("Authorization") == r.Header.Get("Authorization")
}
