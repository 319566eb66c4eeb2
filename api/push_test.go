package api

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// pushOf returns a report of one update, from JSON texts.
func pushOf(ref, action, reason string) string {
	return `{"host":"github.com","repo":"acme/widgets","updates":[{"ref":` + ref + `,"action":` + action + `,"reason":` + reason + `}]}`
}

func TestDecodeRefusedPush(t *testing.T) {
	good := pushOf(`"refs/heads/main"`, `"force"`, `"no rule allows it"`)
	update := `{"ref":"refs/heads/a","action":"create","reason":"no"}`
	for _, c := range []struct{ name, in, want string }{ // want is part of the error; "" means none
		{"as the agent sends it", good, ""},
		{"a shell's and a page's characters", pushOf(`"refs/heads/$(x)<script>"`, `"create"`, `"<b>&"`), ""},
		{"letters of other scripts", pushOf(`"refs/heads/größe-分支"`, `"delete"`, `"nein"`), ""},
		{"as many updates as may be", `{"host":"github.com","repo":"acme/widgets","updates":[` + strings.Repeat(update+",", MaxPushUpdates-1) + update + `]}`, ""},
		{"one more", `{"host":"github.com","repo":"acme/widgets","updates":[` + strings.Repeat(update+",", MaxPushUpdates) + update + `]}`, `"updates" must have from 1 to 32`},
		{"no updates", `{"host":"github.com","repo":"acme/widgets","updates":[]}`, `"updates" must have from 1 to 32`},
		{"updates left out", `{"host":"github.com","repo":"acme/widgets"}`, `"updates" must have from 1 to 32`},
		{"updates that are an object", `{"updates":{}}`, `the value of "updates" is not a list`},
		{"updates that are texts", `{"updates":["refs/heads/a"]}`, "not the JSON object"},
		{"a list that does not end", `{"updates":[` + update, "not the JSON object"},
		{"an unknown key", `{"host":"github.com","repo":"acme/widgets","workspace":"sb-2"}`, `unknown key "workspace"`},
		{"an unknown key of an update", `{"updates":[{"ref":"refs/heads/a","decision":"granted"}]}`, `unknown key "decision"`},
		{"an unknown key that is long", `{"` + strings.Repeat("\u202e", 9000) + `":1}`, "unknown key"},
		{"a key twice", `{"updates":[{"ref":"refs/heads/a","ref":"refs/heads/b"}]}`, `"ref" is given twice`},
		{"a host in upper case", `{"host":"GitHub.com","repo":"acme/widgets","updates":[` + update + `]}`, `"host" must be`},
		{"a repository that climbs", `{"host":"github.com","repo":"../widgets","updates":[` + update + `]}`, `"repo" must be`},
		{"a short ref", pushOf(`"main"`, `"update"`, `"no"`), `"ref" must begin with refs/`},
		{"a ref with a line break", pushOf(`"refs/heads/a\nb"`, `"update"`, `"no"`), `"ref" must begin with refs/`},
		{"a ref that drives a terminal", pushOf(`"refs/heads/\u001b[31m"`, `"update"`, `"no"`), `"ref" must begin with refs/`},
		{"a ref with a C1 control", pushOf(`"refs/heads/\u009b31m"`, `"update"`, `"no"`), `"ref" must begin with refs/`},
		{"a long ref", pushOf(`"refs/heads/`+strings.Repeat("a", MaxPushRef)+`"`, `"update"`, `"no"`), `"ref" must begin with refs/`},
		{"another action", pushOf(`"refs/heads/a"`, `"grant"`, `"no"`), `"action" must be one of`},
		{"no reason", pushOf(`"refs/heads/a"`, `"update"`, `""`), `"reason" must be a string`},
		{"a reason of two lines", pushOf(`"refs/heads/a"`, `"update"`, `"a\u0000b"`), `"reason" must be a string`},
		{"a long reason", pushOf(`"refs/heads/a"`, `"update"`, `"`+strings.Repeat("ü", MaxPushReason/2+1)+`"`), `"reason" must be a string`},
		{"a number", pushOf("1", `"update"`, `"no"`), `value of "ref" is not a string`},
		{"two objects", good + good, "text after its JSON"},
		{"nothing", "", "not the JSON object"},
		{"not UTF-8", "{\"host\":\"\xff\"}", "not UTF-8"},
		{"too large", `{"host":"` + strings.Repeat("a", MaxRefusedPush) + `"}`, "over 65536"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeRefusedPush([]byte(c.in))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
					t.Errorf("DecodeRefusedPush = %v, want one line with %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("DecodeRefusedPush = %v, want it taken", err)
			}
			data, err := EncodeRefusedPush(got)
			if again, decodeErr := DecodeRefusedPush(data); err != nil || decodeErr != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("DecodeRefusedPush(%s) = %+v, %v, want %+v", data, again, decodeErr, got)
			}
		})
	}
}

func TestReadRefusedPush(t *testing.T) {
	good := pushOf(`"refs/heads/main"`, `"force"`, `"no rule allows it"`)
	for _, c := range []struct {
		method, contentType, body string
		want                      int // status of the problem; 0 for none
	}{
		{"POST", MediaType, good, 0},
		{"POST", MediaType, strings.Repeat(" ", MaxRequest) + good, 0},
		{"PUT", MediaType, good, 405},
		{"POST", "text/plain", good, 415},
		{"POST", MediaType, strings.Repeat(" ", MaxRefusedPush+1), 413},
		{"POST", MediaType, "{}", 400},
	} {
		r := httptest.NewRequest(c.method, RefusedPushesPath, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		_, err := RefusedPushCall.Read(httptest.NewRecorder(), r)
		problem, _ := err.(Problem)
		if (err == nil) != (c.want == 0) || problem.Status != c.want {
			t.Errorf("RefusedPushCall.Read(%s %s %.40s) = %v, want %d", c.method, c.contentType, c.body, err, c.want)
		}
	}
	r := httptest.NewRequest(http.MethodPost, RefusedPushesPath, bytes.NewReader(fmt.Appendf(nil, "%s{}", good)))
	r.Header.Set("Content-Type", MediaType)
	if _, err := RefusedPushCall.Read(httptest.NewRecorder(), r); err == nil {
		t.Error("ReadRefusedPush of two objects = nil, want a problem")
	}
}

// However long its texts are in JSON, a report that was sent is accepted.
func TestEncodeRefusedPushFits(t *testing.T) {
	p := RefusedPush{Host: "github.com", Repo: Repo{Owner: "acme", Name: "widgets"}}
	for range MaxPushUpdates {
		p.Updates = append(p.Updates, RefusedUpdate{"refs/" + strings.Repeat("\"", MaxPushRef-5), "force", strings.Repeat("<", MaxPushReason)})
	}
	data, err := EncodeRefusedPush(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeRefusedPush(data)
	if err != nil || len(got.Updates) < MaxPushUpdates/2 || len(got.Updates) == MaxPushUpdates {
		t.Errorf("DecodeRefusedPush = %d updates, %v, want as many as fit", len(got.Updates), err)
	}
}

// An accepted report is within all limits, and is unchanged by encoding and decoding.
func FuzzDecodeRefusedPush(f *testing.F) {
	f.Add([]byte(pushOf(`"refs/heads/main"`, `"force"`, `"no rule allows it"`)))
	f.Add([]byte(pushOf(`"refs/heads/\ud800"`, `"create"`, `"\u202e"`)))
	f.Add([]byte(`{"updates":[{},{"ref":[]}]}`))
	f.Add([]byte(`{"updates":[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodeRefusedPush(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
				t.Errorf("the error %q is more than a line", err)
			}
			return
		}
		if len(data) > MaxRefusedPush || len(p.Updates) == 0 || len(p.Updates) > MaxPushUpdates {
			t.Errorf("DecodeRefusedPush took %d bytes and %d updates", len(data), len(p.Updates))
		}
		for _, u := range p.Updates {
			if len(u.Ref) > MaxPushRef || len(u.Reason) > MaxPushReason || !isText(u.Ref) || !isText(u.Reason) {
				t.Errorf("DecodeRefusedPush took %+q", u)
			}
		}
		again, err := EncodeRefusedPush(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeRefusedPush(again)
		if err != nil || !reflect.DeepEqual(got.Updates, p.Updates[:len(got.Updates)]) || len(got.Updates) < len(p.Updates) && len(again) < MaxRefusedPush/2 {
			t.Errorf("DecodeRefusedPush(%s) = %+v, %v, want %+v", again, got, err, p)
		}
	})
}
