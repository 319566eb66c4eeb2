package workspace

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace/profile"
)

func record(t *testing.T) *Record {
	t.Helper()
	p, err := profile.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	return &Record{
		ID: "sb-1", Profile: p.Name, Access: p.Access, Created: noon,
		Tokens:    []Token{token("acme", Delivered, "h", time.Hour), token("octo", Planned, "", 0)},
		LastError: &LastError{At: noon, Why: "GitHub is down", Owners: []string{"octo"}},
	}
}

const whole = `apiVersion: gatepass.dev/v1
kind: Profile
metadata: {name: my-profile}
spec:
  sourceAccess:
    github:
      allowedRepos: [my-user/my-repo, "my-org/*", "my-org/api-*"]
      allowedRefs: [main, "release/*", {ref: "agent/**", allow: [create, force]}]
      permissions: [clone, push, comment]
`

func TestRecordComesBack(t *testing.T) {
	r := record(t)
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRecord(data)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("ParseRecord(%s) = %+v, %v, want %+v", data, back, err, r)
	}
}

func TestRecordRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Record)
	}{
		{"an id that climbs", func(r *Record) { r.ID = "../x" }},
		{"an unknown state", func(r *Record) { r.Tokens[0].State = "made" }},
		{"no owner", func(r *Record) { r.Tokens[0].Owner = "" }},
		{"a live token without a hash", func(r *Record) { r.Tokens[0].Hash = "" }},
		{"a live token without an expiry", func(r *Record) { r.Tokens[0].Expires = time.Time{} }},
		{"undecided permissions", func(r *Record) { r.Permissions = mint.Permissions{} }},
	} {
		r := record(t)
		c.change(r)
		if data, err := r.Encode(); err == nil {
			t.Errorf("%s: Encode = %s, want an error", c.name, data)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "not JSON"},
		{"{}", "version 0"},
		{`{"schema":2,"id":"sb-1","new":1}`, "version 2"},
		{`{"schema":1,"id":"sb-1","unknown":1}`, "unknown"},
		{`{"schema":1,"id":"sb-1","repositories":["a/*b"]}`, "repository pattern"},
		{`{"schema":1,"id":"sb-1","repositories":["a/b"]}`, "the permissions are not decided"},
		{`{"schema":1,"id":"sb-1","tokens":[{"owner":"a","state":"minted","changed":"2026-01-01T00:00:00Z"}]}`, "no hash"},
	} {
		if r, err := ParseRecord([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ParseRecord(%s) = %+v, %v, want an error with %q", c.text, r, err, c.want)
		}
	}
}

func TestDiesBy(t *testing.T) {
	for _, c := range []struct {
		token Token
		want  time.Time
	}{
		{token("a", Planned, "", 0), noon.Add(-time.Minute)},
		{token("a", Minting, "", 0), noon.Add(64 * time.Minute)},
		{token("a", Minted, "h", time.Hour), noon.Add(time.Hour)},
		{token("a", Revoked, "h", time.Hour), noon.Add(-time.Minute)},
	} {
		if got := c.token.ExpiresBy(); !got.Equal(c.want) {
			t.Errorf("%s: ExpiresBy = %v, want %v", c.token.State, got, c.want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"schema":1,"id":"sb-1","repositories":["a/b"],"permissions":{"contents":"read"},"created":"2026-01-01T00:00:00Z","tokens":[]}`))
	f.Add([]byte(`{"schema":1,"schema":2}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`gzip:H4sIAAAAAAAA/6rmUlBQKk7OSM1NVLJSMKjlAgQAAP//`))
	f.Add([]byte(`gzip:`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("ParseRecord(%q) takes what Encode refuses: %v", data, err)
		}
		if _, err := ParseRecord(again); err != nil {
			t.Errorf("ParseRecord refuses %s: %v", again, err)
		}
	})
}
