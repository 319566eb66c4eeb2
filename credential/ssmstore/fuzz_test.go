package ssmstore

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/awsclient"
)

func FuzzOpen(f *testing.F) {
	for _, s := range []string{
		"ssm:///sandbox/{workspace}/github-token?region=us-east-1", "ssm:///{host}/{owner}/{repo}?endpoint=https://x&profile=p",
		"ssm://a", "ssm:a", "ssm:///a?region=%00", "ssm:///{", "ssm:////",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		s, err := Open(u, "sb-1")
		if err != nil {
			return
		}
		if name, err := s.name.Expand(widgets); err != nil || !strings.HasPrefix(name, "/") || strings.ContainsAny(name, "{}%: \n") {
			t.Errorf("Open(%q) reads %q, %v", raw, name, err)
		}
	})
}

// answers is an HTTP client whose every answer has one status and body.
type answers struct {
	status int
	body   string
}

func (a answers) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"Parameter":{"Value":"`+secret+`","LastModifiedDate":4102444800}}`)
	f.Add(200, `{"Parameter":{"Value":"{\"token\":\"`+secret+`\"`)
	f.Add(200, `{"Parameter":{"LastModifiedDate":1e400}}`)
	f.Add(400, `{"__type":"AccessDeniedException","message":"`+secret+`"}`)
	f.Add(400, `{"__type":7}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		keys := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "x", "")
		s := open(t, "ssm://"+path)
		s.client.Use(&awsclient.Client[*ssm.Client]{Region: "us-east-1", Credentials: keys, Service: ssm.New(ssm.Options{
			Region: "us-east-1", Credentials: keys, HTTPClient: answers{status, body}, Retryer: awsclient.NewRetryer(1),
		})})
		token, err := s.Token(t.Context(), widgets)
		if (err == nil) == token.IsZero() {
			t.Fatalf("Token = %v, %v, want one of the two", token, err)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.ContainsAny(err.Error(), "\n\r\x1b")) {
			t.Errorf("the error %q holds the token or more than a line", err)
		}
		if err == nil && credential.CheckSecret(token.Secret()) != nil {
			t.Errorf("Token = %q, which is none", token.Secret())
		}
	})
}
