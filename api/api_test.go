package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

const token = "ghs_0123456789abcdefghijABCDEFGHIJ012345"

func TestDecodeRequest(t *testing.T) {
	want := TokenRequest{Host: "github.com", Repo: Repo{Owner: "acme", Name: "widgets"}, Operation: Read}
	for _, c := range []struct{ name, in, want string }{ // want is part of the error; "" means none
		{"as the client sends it", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`, ""},
		{"blanks around", " {\n\"operation\":\"read\", \"host\":\"github.com\",\"repo\":\"acme/widgets\"}\n", ""},
		{"not a number of seconds", `{"min_ttl":"1"}`, `"min_ttl" must be a number of seconds`},
		{"half a second", `{"min_ttl":0.5}`, `"min_ttl" must be a number of seconds`},
		{"a day", `{"min_ttl":86400}`, `"min_ttl" must be a number of seconds`},
		{"less than nothing", `{"host":"github.com","repo":"acme/widgets","operation":"read","min_ttl":-1}`, `"min_ttl" must be from 0 to`},
		{"not an id", `{"repository_id":0}`, `"repository_id" is not an ID`},
		{"an id below none", `{"repository_id":-5}`, `"repository_id" is not an ID`},
		{"half an id", `{"repository_id":1.5}`, `"repository_id" is not an ID`},
		{"an id that is text", `{"repository_id":"1"}`, `"repository_id" is not an ID`},
		{"an id that readers disagree on", `{"repository_id":9007199254740993}`, `"repository_id" is not an ID`},
		{"permissions that are a list", `{"permissions":["contents"]}`, `"permissions" is not an object`},
		{"no permissions", `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{}}`, `"permissions" must not be empty; leave it out for what the operation needs`},
		{"a permission twice", `{"permissions":{"a":"read","a":"write"}}`, `permission "a" is given twice`},
		{"a level that is no text", `{"permissions":{"a":1}}`, `value of "a" is not a string`},
		{"an unknown key", `{"host":"github.com","repo":"acme/widgets","operation":"read","ref":"x"}`, `unknown key "ref"`},
		{"a key in another case", `{"Host":"github.com","repo":"acme/widgets","operation":"read"}`, `unknown key "Host"`},
		{"a key twice", `{"host":"github.com","host":"github.com","repo":"acme/widgets","operation":"read"}`, `"host" is given twice`},
		{"a number", `{"host":1}`, `value of "host" is not a string`},
		{"null", `{"host":null}`, `value of "host" is not a string`},
		{"an object inside", `{"host":{"a":"b"}}`, `value of "host" is not a string`},
		{"a list", `["github.com"]`, "not the JSON object"},
		{"two objects", `{"host":"github.com","repo":"acme/widgets","operation":"read"}{}`, "text after its JSON"},
		{"cut off", `{"host":"github.com","repo":"acme`, "not the JSON object"},
		{"nothing", ``, "not the JSON object"},
		{"no host", `{"repo":"acme/widgets","operation":"read"}`, `"host" must be`},
		{"a host with a scheme", `{"host":"https://github.com","repo":"acme/widgets","operation":"read"}`, `"host" must be`},
		{"a host in upper case", `{"host":"GitHub.com","repo":"acme/widgets","operation":"read"}`, `"host" must be`},
		{"no repository", `{"host":"github.com","operation":"read"}`, `"repo" must be`},
		{"a repository with .git", `{"host":"github.com","repo":"acme/widgets.git","operation":"read"}`, `"repo" must be`},
		{"a path that climbs", `{"host":"github.com","repo":"acme/..","operation":"read"}`, `"repo" must be`},
		{"no operation", `{"host":"github.com","repo":"acme/widgets"}`, `"operation" must be "read" or "write"`},
		{"another operation", `{"host":"github.com","repo":"acme/widgets","operation":"admin"}`, `"operation" must be "read" or "write"`},
		{"not UTF-8", "{\"host\":\"\xff\"}", "not UTF-8"},
		{"too large", `{"host":"` + strings.Repeat("a", MaxRequest) + `"}`, "over 4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeRequest([]byte(c.in))
			if c.want == "" && (err != nil || !reflect.DeepEqual(got, want)) {
				t.Errorf("DecodeRequest = %+v, %v, want %+v", got, err, want)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("DecodeRequest = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestDecodeRequestReadsWhatIsOptional(t *testing.T) {
	in := `{"host":"github.com","repo":"acme/widgets","operation":"read","repository_id":123456,"permissions":{"checks":"write"},"min_ttl":1800}`
	got, err := DecodeRequest([]byte(in))
	want := TokenRequest{Host: "github.com", Repo: Repo{Owner: "acme", Name: "widgets"}, Operation: Read, RepositoryID: 123456, Permissions: map[string]string{"checks": "write"}, MinTTL: 1800}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("DecodeRequest = %+v, %v, want %+v", got, err, want)
	}
	if again, err := EncodeRequest(got); err != nil || string(again) != in {
		t.Errorf("EncodeRequest = %s, %v, want %s", again, err, in)
	}
}

func answer() TokenAnswer {
	return TokenAnswer{
		Username: "x-access-token", Token: NewSecret(token), ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Repositories: []string{"acme/widgets"}, RepositoryIDs: []int64{7}, Permissions: map[string]string{"contents": "write"},
	}
}

func TestAnswerRoundTrip(t *testing.T) {
	data, err := EncodeAnswer(answer())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"username":"x-access-token","token":"` + token + `","expires_at":"2026-01-02T03:04:05Z","repositories":["acme/widgets"],"repository_ids":[7],"permissions":{"contents":"write"}}`
	if string(data) != want {
		t.Errorf("EncodeAnswer = %s, want %s", data, want)
	}
	got, err := DecodeAnswer(append(data[:len(data)-1], `,"later":{"x":1}}`...))
	if err != nil || !reflect.DeepEqual(got, answer()) {
		t.Errorf("DecodeAnswer = %+v, %v, want %+v", got, err, answer())
	}
}

func TestDecodeAnswerRefuses(t *testing.T) {
	for _, in := range []string{
		"", "null", "[]", "<html>", `{"token":"` + token + `"}`, `{"expires_at":"2026-01-02T03:04:05Z"}`,
		`{"token":"` + token + `","expires_at":"soon"}`, `{"token":"` + token + `","expires_at":"2026-01-02T03:04:05Z"`,
		`{"token":"` + token + `","expires_at":"2026-01-02T03:04:05Z"}{}`,
		`{"token":"` + strings.Repeat("a", MaxAnswer) + `","expires_at":"2026-01-02T03:04:05Z"}`,
	} {
		got, err := DecodeAnswer([]byte(in))
		if err == nil || got.Token.Reveal() != "" || strings.Contains(err.Error(), token) {
			t.Errorf("DecodeAnswer(%.60q) = %v, want an error without the token", in, err)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		name string
		have []string
		want bool
	}{
		{"the broker does not say", nil, true},
		{"none", []string{}, false},
		{"this one, in another case", []string{"x/y", "ACME/Widgets"}, true},
		{"others", []string{"acme/widgets2", "acme/widget"}, false},
		{"a Kelvin sign is no k", []string{"acme/wid\u212aets"}, false},
	} {
		if got := (TokenAnswer{Repositories: c.have}).Covers("acme/widgets"); got != c.want {
			t.Errorf("%s: Covers = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	type nested struct{ answer TokenAnswer }
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "answer", answer(), "token", answer().Token)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "answer", answer(), "token", answer().Token)
	asJSON, err := json.Marshal(map[string]any{"answer": answer(), "token": answer().Token})
	if err != nil {
		t.Fatal(err)
	}
	a := answer()
	for _, text := range []string{
		log.String(), string(asJSON),
		fmt.Sprint(a, &a, nested{a}), fmt.Sprintf("%v %+v %#v %s %q %x %d", a, a, a, a.Token, a.Token, a.Token, a.Token),
		fmt.Sprintf("%v %+v %#v", nested{a}, &nested{a}, nested{a}),
	} {
		if strings.Contains(text, token) || strings.Contains(text, fmt.Sprintf("%x", token)) {
			t.Errorf("the token is in %q", text)
		}
	}
}

func TestReadRequest(t *testing.T) {
	body := `{"host":"github.com","repo":"acme/widgets","operation":"read"}`
	for _, c := range []struct {
		name, method, contentType, body string
		want                            int // 0 for none
	}{
		{"as the client sends it", "POST", "application/json", body, 0},
		{"with a charset", "POST", "application/json; charset=utf-8", body, 0},
		{"with GET", "GET", "application/json", body, http.StatusMethodNotAllowed},
		{"as a form", "POST", "application/x-www-form-urlencoded", body, http.StatusUnsupportedMediaType},
		{"without a type", "POST", "", body, http.StatusUnsupportedMediaType},
		{"malformed", "POST", "application/json", body + "x", http.StatusBadRequest},
		{"too large", "POST", "application/json", strings.Repeat(" ", MaxRequest) + body, http.StatusRequestEntityTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, TokenPath, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.contentType)
			_, err := TokenCall.Read(httptest.NewRecorder(), r)
			p, _ := errors.AsType[Problem](err)
			if p.Status != c.want || (c.want != 0) != (err != nil) {
				t.Errorf("ReadRequest = %v with status %d, want %d", err, p.Status, c.want)
			}
		})
	}
}

func TestReadRequestOfACoding(t *testing.T) {
	for coding, want := range map[string]int{"": 0, "identity": 0, "gzip": http.StatusUnsupportedMediaType} {
		r := httptest.NewRequest("POST", TokenPath, strings.NewReader(`{"host":"github.com","repo":"acme/widgets","operation":"read"}`))
		r.Header.Set("Content-Type", MediaType)
		r.Header.Set("Content-Encoding", coding)
		_, err := TokenCall.Read(httptest.NewRecorder(), r)
		if p, _ := errors.AsType[Problem](err); p.Status != want {
			t.Errorf("ReadRequest with Content-Encoding %q = %v, want status %d", coding, err, want)
		}
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.ErrUnexpectedEOF
}

func TestReadRequestThatSaysItIsTooLarge(t *testing.T) {
	r := httptest.NewRequest("POST", TokenPath, unread{t})
	r.Header.Set("Content-Type", MediaType)
	r.ContentLength = MaxRequest + 1
	_, err := TokenCall.Read(httptest.NewRecorder(), r)
	if p, _ := errors.AsType[Problem](err); p.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("ReadRequest = %v, want status 413", err)
	}
}

func TestBearer(t *testing.T) {
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{"Bearer abc"}, "abc"},
		{[]string{"bearer  abc"}, "abc"},
		{[]string{"Basic abc"}, ""},
		{[]string{"Bearer"}, ""},
		{[]string{"Bearer a", "Bearer b"}, ""},
	} {
		r := &http.Request{Header: http.Header{"Authorization": c.headers}}
		if got := Bearer(r); got != c.want {
			t.Errorf("Bearer(%q) = %q, want %q", c.headers, got, c.want)
		}
	}
}

func TestWriteProblem(t *testing.T) {
	w := httptest.NewRecorder()
	if err := WriteProblem(w, NewProblem(403, "not yours")); err != nil {
		t.Fatal(err)
	}
	if w.Code != 403 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("WriteProblem answered %d with %v", w.Code, w.Header())
	}
	got := DecodeProblem(w.Header().Get("Content-Type"), w.Body.Bytes())
	if want := NewProblem(403, "not yours"); got != want {
		t.Errorf("DecodeProblem = %+v, want %+v", got, want)
	}
	if got := DecodeProblem("text/html", w.Body.Bytes()); got != (Problem{}) {
		t.Errorf("DecodeProblem of text/html = %+v, want none", got)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"host":"github.com","repo":"acme/widgets","operation":"read"}`))
	f.Add([]byte(`{"host":"github.com","HOST":"evil.example"}`))
	f.Add([]byte(`{"a":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRequest(data)
		if err != nil {
			return
		}
		again, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeRequest(again); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("DecodeRequest(EncodeRequest(%+v)) = %+v, %v", r, got, err)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	data, _ := EncodeAnswer(answer())
	f.Add(data)
	f.Add([]byte(`{"token":"a","expires_at":"9999-12-31T23:59:59Z","repositories":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeAnswer(data)
		if err == nil && (a.Token.Reveal() == "" || a.ExpiresAt.IsZero()) {
			t.Errorf("DecodeAnswer(%q) = %+v without a token or an expiry", data, a)
		}
		DecodeProblem(ProblemMediaType, data)
	})
}
