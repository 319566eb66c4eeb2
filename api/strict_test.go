package api

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// encoding/json takes {"workspace":"a","Workspace":"b"} for b, and {"APP":true} for the
// switch that revokes everything. The broker must do what an operator's program, or a
// filter before the broker, reads in the request.
func TestOperatorsKeysAreOnceAndLetterForLetter(t *testing.T) {
	for body, want := range map[string]string{
		`{"workspace":"sb-1"}`:                      "",
		`{"workspace":"sb-1","workspace":"sb-2"}`:   "given twice",
		`{"workspace":"sb-1","Workspace":"sb-2"}`:   "given twice",
		`{"workspace":"sb-1","wor\u212aspace":"x"}`: "given twice",
		`{"Workspace":"sb-1"}`:                      "Workspace",
		`{"APP":true}`:                              "APP",
		`{"app":true,"extra":1}`:                    "extra",
		`{"app":"true"}`:                            "a value has the wrong type",
		`{"app":true}{}`:                            "text after its JSON",
		`{"app":true`:                               "not JSON",
		`[]`:                                        "not JSON",
		`null`:                                      "not JSON",
		``:                                          "not JSON",
		"{\"owner\":\"\xff\"}":                      "UTF-8",
	} {
		r := httptest.NewRequest("POST", KillPath, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		var got Target
		err := ReadJSON(httptest.NewRecorder(), r, 4<<10, &got)
		switch {
		case want == "" && (err != nil || got.Workspace != "sb-1"):
			t.Errorf("%s: %+v, %v, want sb-1", body, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %+v, %v, want an error with %q", body, got, err, want)
		}
	}
}

// Also keys inside claims and permissions are checked.
func TestOperatorsKeysAreOnceAtEveryDepth(t *testing.T) {
	for body, isGood := range map[string]bool{
		`{"host":"h","repo":"a/b","claims":{"sub":"x","list":[{"a":1},{"a":2}]},"permissions":{"contents":"read"}}`: true,
		`{"host":"h","repo":"a/b","claims":{"sub":"x","sub":"y"}}`:                                                  false,
		`{"host":"h","repo":"a/b","claims":{"sub":"x","Sub":"y"}}`:                                                  false,
		`{"host":"h","repo":"a/b","claims":{"list":[{"a":1,"a":2}]}}`:                                               false,
		`{"host":"h","repo":"a/b","permissions":{"contents":"read","contents":"write"}}`:                            false,
		`{"host":"h","repo":"a/b","claims":{"deep":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`:   false,
	} {
		var got ExplainRequest
		if err := decodeStrict([]byte(body), &got); (err == nil) != isGood {
			t.Errorf("%.80s: %v, want it read: %v", body, err, isGood)
		}
	}
}

// Requests of workspaces are parsed as strictly.
func TestWorkspacesKeysAreOnceAndLetterForLetter(t *testing.T) {
	const good = `"host":"github.com","repo":"acme/widgets","operation":"read"`
	for _, more := range []string{`,"Host":"gitlab.com"`, `,"host":"gitlab.com"`, `,"permissions":{"contents":"read","contents":"write"}`} {
		if r, err := DecodeRequest([]byte("{" + good + more + "}")); err == nil {
			t.Errorf("DecodeRequest of %s = %+v, want an error", more, r)
		}
	}
	for _, body := range []string{`{"join_token":"a","join_token":"b"}`, `{"Join_token":"a"}`} {
		if r, err := DecodeExchange([]byte(body)); err == nil {
			t.Errorf("DecodeExchange(%s) = %+v, want an error", body, r)
		}
	}
	update := `{"ref":"refs/heads/x","action":"force","reason":"r"`
	for _, more := range []string{`,"ref":"refs/heads/y"}`, `,"Ref":"refs/heads/y"}`} {
		if r, err := DecodeRefusedPush([]byte(`{"host":"github.com","repo":"acme/widgets","updates":[` + update + more + `]}`)); err == nil {
			t.Errorf("DecodeRefusedPush of %s = %+v, want an error", more, r)
		}
	}
}
