package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestDecodeExchange(t *testing.T) {
	for _, c := range []struct{ in, token, want string }{ // want is part of the error
		{`{"join_token":"gpj_x"}`, "gpj_x", ""},
		{`{}`, "", ""},
		{` {} `, "", ""},
		{`{"join_token":""}`, "", "leave it out"},
		{`{"join_token":null}`, "", "is not a string"},
		{`{"join_token":"gpj_x","join_token":"gpj_y"}`, "", "given twice"},
		{`{"Join_Token":"gpj_x"}`, "", "unknown key"},
		{`{"join_token":"gpj_x"}{}`, "", "text after its JSON"},
		{`[]`, "", "not the JSON object"},
		{``, "", "not the JSON object"},
		{`{"join_token":"` + strings.Repeat("a", MaxRequest) + `"}`, "", "over 4096"},
	} {
		got, err := DecodeExchange([]byte(c.in))
		if (err == nil) != (c.want == "") || got.JoinToken.Reveal() != c.token {
			t.Errorf("DecodeExchange(%.60s) = %q, %v, want %q", c.in, got.JoinToken.Reveal(), err, c.token)
		}
		if err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "gpj_")) {
			t.Errorf("DecodeExchange(%.60s) = %v, want %q and no token", c.in, err, c.want)
		}
	}
	for _, token := range []string{"gpj_x", ""} {
		data, err := EncodeExchange(ExchangeRequest{NewSecret(token)})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeExchange(data); err != nil || again.JoinToken.Reveal() != token {
			t.Errorf("DecodeExchange(%s) = %v, want what was encoded", data, err)
		}
	}
}

func TestSessionsAndNonces(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := httptest.NewRecorder()
	answer := SessionAnswer{NewSecret("gps_x"), at, "sb-1"}
	if err := WriteSession(w, answer); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeSession(w.Body.Bytes()); err != nil || got.Session.Reveal() != "gps_x" || !got.ExpiresAt.Equal(at) || got.Workspace != "sb-1" {
		t.Errorf("DecodeSession = %+v, %v, want what was written", got, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", answer, answer, answer); strings.Contains(text, "gps_x") {
		t.Errorf("the session is in %s", text)
	}
	for _, bad := range []string{"", "null", `{"session":"gps_x"}`, `{"expires_at":"2026-01-02T03:04:05Z"}`} {
		if _, err := DecodeSession([]byte(bad)); err == nil || strings.Contains(err.Error(), "gps_") {
			t.Errorf("DecodeSession(%s) = %v, want an error without the session", bad, err)
		}
	}
	w = httptest.NewRecorder()
	if err := WriteNonce(w, NonceAnswer{"a.b-c_d", at}); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeNonce(w.Body.Bytes()); err != nil || got.Nonce != "a.b-c_d" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("DecodeNonce = %+v, %v, want what was written", got, err)
	}
	for _, bad := range []string{"", "null", `{"nonce":""}`, `{"nonce":"a\r\nb"}`, `{"nonce":"` + strings.Repeat("a", MaxNonce+1) + `"}`} {
		if _, err := DecodeNonce([]byte(bad)); err == nil {
			t.Errorf("DecodeNonce(%.40s) = nil, want an error", bad)
		}
	}
}

func proof() AWSProof {
	return AWSProof{
		Region: "us-east-1", AccessKey: "AKIAIOSFODNN7EXAMPLE", Date: "20260102T030405Z", Nonce: "n", SecurityToken: "a+/=",
		Signature: strings.Repeat("0", 64),
	}
}

func TestAWSProofRoundTrip(t *testing.T) {
	header, err := proof().Authorization()
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := ReadAWSProof(&http.Request{Header: http.Header{"Authorization": {header}}})
	if !ok || err != nil || got != proof() {
		t.Errorf("ReadAWSProof = %+v, %v, %v, want what was written", got, ok, err)
	}
	long := proof()
	long.SecurityToken = strings.Repeat("a", 4000)
	if _, err := long.Authorization(); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("Authorization = %v, want that it is too long", err)
	}
}

// AWS and other clients rely on the documented form of the call.
func TestAWSCall(t *testing.T) {
	call, err := proof().Call(t.Context(), "broker.example")
	if err != nil {
		t.Fatal(err)
	}
	const want = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/sts/aws4_request, " +
		"SignedHeaders=accept;content-length;content-type;host;x-amz-date;x-amz-security-token;x-gatepass-nonce;x-gatepass-server-id, Signature="
	if got := call.Header.Get("Authorization"); !strings.HasPrefix(got, want) || call.URL.String() != "https://sts.us-east-1.amazonaws.com/" {
		t.Errorf("the call to %s has %q, want %q", call.URL, got, want)
	}
	for _, bad := range []string{"", "a b", "a\r\nb", "ä", strings.Repeat("a", 129)} {
		if _, err := proof().Call(t.Context(), bad); err == nil {
			t.Errorf("Call(%q) = nil, want an error", bad)
		}
	}
}

func FuzzDecodeExchange(f *testing.F) {
	f.Add([]byte(`{"join_token":"gpj_x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeExchange(data)
		if err != nil {
			return
		}
		again, err := EncodeExchange(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeExchange(again); err != nil || got.JoinToken.Reveal() != r.JoinToken.Reveal() {
			t.Errorf("DecodeExchange(%s) = %v, want what it was", again, err)
		}
	})
}

func FuzzDecodeAnswers(f *testing.F) {
	f.Add([]byte(`{"session":"gps_x","expires_at":"2026-01-02T03:04:05Z","nonce":"n"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := DecodeSession(data); err == nil && (a.Session.Reveal() == "" || a.ExpiresAt.IsZero()) {
			t.Errorf("DecodeSession(%q) = %+v", data, a)
		}
		if a, err := DecodeNonce(data); err == nil && strings.ContainsAny(a.Nonce, "\r\n ;") {
			t.Errorf("DecodeNonce(%q) = %+v", data, a)
		}
	})
}
