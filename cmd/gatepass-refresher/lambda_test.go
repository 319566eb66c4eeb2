package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// The Runtime API drives the program, which reads its whole configuration from the
// environment.
func TestLambda(t *testing.T) {
	w, cmd := process(t)
	l := startLambda(t, cmd.Path, cmd.Env...)
	if made := l.report("{}"); made.Minted != 1 || made.Workspaces != 1 {
		t.Errorf("the first invocation = %+v, want one minted", made)
	}
	if made := l.report(scheduled); made.Minted != 0 || made.Due != 0 {
		t.Errorf("the second = %+v, want nothing due", made)
	}
	before := w.token("sb-1")
	if made := l.report(`{"workspace": "sb-1", "force": true}`); made.Minted != 1 || w.token("sb-1") == before {
		t.Errorf("one by force = %+v, want another token", made)
	}
	l.refuses(`{"workspace": "sb-9"}`, workspaceUnknown, "gatepass workspace create")
	l.refuses(`{"workspace": "sb-1", "x": "\u001b[2J"}`, badPayload, "read the payload: unknown key")
	w.renameRepository()
	l.refuses(`{"workspace": "sb-1", "force": true}`, workspaceFailed, "find acme/widgets")
	if made := l.report(""); made.Failed != 0 {
		t.Errorf("after the failures = %+v, want the program alive", made)
	}
	l.stop()
	if text := l.log.String(); strings.Contains(text, "ghs_") || strings.Count(text, `"msg":"round"`) != 6 {
		t.Errorf("the log:\n%s", text)
	}
}

// A wrong configuration is reported to the caller of the function.
func TestLambdaSaysWhatIsConfiguredWrongly(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "GATEPASS_STORE is not set"},
		{[]string{"GATEPASS_STORE", "s3://x"}, "unknown store s3://"},
		{[]string{"GATEPASS_STORE", "ssm:///km", "GATEPASS_MARGIN", "1h"}, "a margin must be"},
	} {
		i := newInvoked(env(c.env...), new(logbook))
		body, err := i.Invoke(t.Context(), []byte("{}"))
		refused, ok := err.(messages.InvokeResponse_Error)
		if !ok || body != nil || refused.Type != badConfiguration || !strings.Contains(refused.Message, c.want) {
			t.Errorf("with %q Invoke = %s, %v, want %q", c.env, body, err, c.want)
		}
	}
}

// The round ends before the invocation does, and reports what it left.
func TestLambdaKeepsItsDeadline(t *testing.T) {
	for _, c := range []struct {
		name                string
		has, mint           time.Duration
		refreshed, deferred int
		client              *http.Client
	}{
		{"each workspace takes 20 s of 2 minutes", 2 * time.Minute, 20 * time.Second, 5, 3, nil},
		{"each takes 20 s of 30", 30 * time.Second, 20 * time.Second, 1, 7, nil},
		{"GitHub never answers", time.Minute, 0, 0, 8, &http.Client{Transport: silent{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.settle("sb-1", "sb-2", "sb-3", "sb-4", "sb-5", "sb-6", "sb-7", "sb-8")
				w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Slow(c.mint), -1)
				i := &invoked{refresher: w.refresher("--workers", "1")}
				if c.client != nil {
					i.refresher.client = c.client
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.has)
				defer cancel()
				begun := time.Now()
				body, err := i.Invoke(ctx, nil)
				var made report
				if took := time.Since(begun); err != nil || json.Unmarshal(body, &made) != nil || took > c.has-time.Second {
					t.Fatalf("Invoke = %s, %v after %s, want a summary in time", body, err, took)
				}
				if made.Refreshed != c.refreshed || made.Deferred != c.deferred || made.Failed != 0 {
					t.Errorf("the summary is %+v, want %d refreshed and %d deferred", made, c.refreshed, c.deferred)
				}
			})
		})
	}
}

// A round that fails as a whole is a failed invocation, which the alarm counts.
func TestLambdaFails(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	w.RemoveKey(w.app.ID, &testKey.PublicKey)
	_, err := (&invoked{refresher: w.refresher()}).Invoke(t.Context(), nil)
	refused, ok := errors.AsType[messages.InvokeResponse_Error](err)
	if !ok || refused.Type != roundIsFailed || !strings.Contains(refused.Message, "gatepass app key check") {
		t.Errorf("Invoke = %v, want a failed pass", err)
	}
}

const scheduled = `{"version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event", "source": "aws.events",
	"account": "123456789012", "time": "2026-11-25T10:00:00Z", "region": "us-east-1",
	"resources": ["arn:aws:events:us-east-1:123456789012:rule/gatepass"], "detail": {}}`

func TestParsePayload(t *testing.T) {
	for _, c := range []struct {
		name, payload, workspace string
		force                    bool
	}{
		{"nothing is everybody", "", "", false},
		{"so is an empty object", " {}\n", "", false},
		{"and EventBridge's clock", scheduled, "", false},
		{"and the Scheduler's, whose detail is a text", `{"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}`, "", false},
		{"one workspace", `{"workspace": "sb-1"}`, "sb-1", false},
		{"and all its tokens", `{"workspace": "sb-1", "force": true}`, "sb-1", true},
		{"a schedule's", `{"sandbox_id": "sb-1"}`, "sb-1", false},
	} {
		q, err := parsePayload([]byte(c.payload))
		if err != nil || q.workspace != c.workspace || q.force != c.force {
			t.Errorf("%s: parsePayload = %+v, %v, want %q, force %v", c.name, q, err, c.workspace, c.force)
		}
	}
}

// The first system sent permissions as a list and read them as a map, and crashed for
// weeks. Both forms are read, and both kinds of installation ids.
func TestParsePayloadOfSchedules(t *testing.T) {
	for _, c := range []struct{ permissions, installation, want string }{
		{`["clone", "push"]`, `12345`, "contents: write"},
		{`["clone"]`, `"12345"`, "contents: read"},
		{`{"contents": "write", "issues": "read"}`, `"12345"`, "contents: write, issues: read"},
		{`["fetch", "comment"]`, `""`, "contents: read, issues: write"},
		{`["fetch"]`, `null`, "contents: read"},
	} {
		payload := `{"sandbox_id": "sb-1", "installation_id": ` + c.installation + `, "ssm_parameter_name": "/sandbox/sb-1/github-token",
			"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/1", "allowed_repos": ["acme/widgets", "Acme/Widgets", "globex/*"], "permissions": ` + c.permissions + `}`
		q, err := parsePayload([]byte(payload))
		if err != nil || q.workspace != "sb-1" || q.frozen == nil || q.frozen.parameter != "/sandbox/sb-1/github-token" {
			t.Errorf("parsePayload(%s) = %+v, %v", payload, q, err)
			continue
		}
		p, err := q.frozen.profile()
		if err != nil {
			t.Errorf("profile of %s: %v", payload, err)
			continue
		}
		levels := p.Permissions.Levels()
		var texts []string
		for _, name := range slices.Sorted(maps.Keys(levels)) {
			texts = append(texts, name+": "+levels[name])
		}
		if got := strings.Join(texts, ", "); got != c.want || len(p.Repositories) != 2 {
			t.Errorf("permissions %s are %q with %d repositories, want %q with 2", c.permissions, got, len(p.Repositories), c.want)
		}
	}
}

// A payload from which a record is made must be complete: GitHub reads an empty list as
// everything.
func TestFrozenRefuses(t *testing.T) {
	for _, c := range []struct{ payload, want string }{
		{`{"sandbox_id": "sb-1", "permissions": ["clone"]}`, "the payload has no allowed_repos"},
		{`{"sandbox_id": "sb-1", "allowed_repos": [], "permissions": ["clone"]}`, "the payload has no allowed_repos"},
		{`{"sandbox_id": "sb-1", "allowed_repos": ["acme"], "permissions": ["clone"]}`, "repository pattern"},
		{`{"sandbox_id": "sb-1", "allowed_repos": ["acme/x"]}`, "the list of permission verbs must not be empty"},
		{`{"sandbox_id": "sb-1", "allowed_repos": ["acme/x"], "permissions": []}`, "the list of permission verbs must not be empty"},
		{`{"sandbox_id": "sb-1", "allowed_repos": ["acme/x"], "permissions": {}}`, "the permissions are not decided, and GitHub would read that as all of them"},
		{`{"sandbox_id": "sb-1", "allowed_repos": ["acme/x"], "permissions": ["own"]}`, "unknown permission verb"},
		{`{"sandbox_id": "sb-1", "allowed_repos": ["acme/x"], "permissions": {"contents": "all"}}`, "the level"},
	} {
		q, err := parsePayload([]byte(c.payload))
		if err != nil {
			t.Errorf("parsePayload(%s): %v", c.payload, err)
			continue
		}
		if p, err := q.frozen.profile(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("profile of %s = %+v, %v, want an error with %q", c.payload, p, err, c.want)
		}
	}
}

func TestParsePayloadRefuses(t *testing.T) {
	for _, c := range []struct{ payload, want string }{
		{`null`, "it is not a JSON object"},
		{`[]`, "it is not a JSON object"},
		{`"{}"`, "it is not a JSON object"},
		{`{`, "not JSON"},
		{`{} {}`, "it has text after the JSON object"},
		{`{"workspace": "sb-1", "workspace": "sb-2"}`, `"workspace" is given twice`},
		{`{"Workspace": "sb-1"}`, "it has an unknown form; send {} for all workspaces, or {\"workspace\": \"ID\"}"},
		{`{"force": true}`, "it has an unknown form; send {} for all workspaces, or {\"workspace\": \"ID\"}"},
		{`{"workspace": "sb-1", "owner": "acme"}`, `unknown key "owner"`},
		{`{"workspace": "sb-1", "sandbox_id": "sb-1"}`, `unknown key "sandbox_id"`},
		{`{"workspace": "../sb-1"}`, "an ID must"},
		{`{"workspace": ""}`, "an ID must"},
		{`{"workspace": null}`, "an ID must"},
		{`{"workspace": 7}`, "workspace must be a string"},
		{`{"workspace": "sb-1", "force": "yes"}`, "force must be true or false"},
		{`{"source": "aws.events"}`, "detail-type is missing"},
		{`{"detail-type": "x", "source": "y", "workspace": "sb-1"}`, `unknown key "workspace"`},
		{`{"sandbox_id": "sb-1", "installation_id": {}}`, "installation_id must be a number or a string"},
		{`{"sandbox_id": "sb-1", "permissions": "clone"}`, "permissions must be a list of verbs, or a mapping such as {\"contents\": \"write\"}"},
		{`{"sandbox_id": "sb-1", "permissions": [1]}`, "permissions must be a list of verbs, or a mapping such as {\"contents\": \"write\"}"},
		{`{"sandbox_id": "sb-1", "allowed_repos": "acme/x"}`, "allowed_repos must be a list of owner/repo"},
		{`{"sandbox_id": "sb-1", "ssm_parameter_name": []}`, "ssm_parameter_name must be"},
		{`{"sandbox_id": "sb-1", "kms_key_arn": 1}`, "kms_key_arn must be"},
		{"{\"workspace\": \"\xff\"}", "not a string"},
	} {
		q, err := parsePayload([]byte(c.payload))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("parsePayload(%s) = %+v, %v, want an error with %q", c.payload, q, err, c.want)
		}
	}
}

// A parsed payload names a valid workspace, and means what any JSON reader finds in it.
func FuzzParsePayload(f *testing.F) {
	for _, seed := range []string{
		"", "{}", scheduled, `{"workspace": "sb-1", "force": true}`, `{"sandbox_id": "sb-1", "installation_id": "1", "permissions": {"contents": "read"}}`,
		`{"sandbox_id": "sb-1", "allowed_repos": ["acme/x"], "permissions": ["clone"], "ssm_parameter_name": "/x"}`, `{"workspace": "a", "workspace": "b"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := parsePayload(data)
		if err != nil {
			if q.workspace != "" || q.force || q.frozen != nil {
				t.Errorf("parsePayload(%q) = %+v beside an error", data, q)
			}
			return
		}
		var any map[string]any
		if len(strings.TrimSpace(string(data))) > 0 && json.Unmarshal(data, &any) != nil {
			t.Fatalf("parsePayload(%q) takes what is no JSON", data)
		}
		if q.workspace == "" {
			if q.force || q.frozen != nil || any["workspace"] != nil || any["sandbox_id"] != nil {
				t.Errorf("parsePayload(%q) = %+v, want one workspace", data, q)
			}
			return
		}
		if err := store.CheckWorkspace(q.workspace); err != nil {
			t.Errorf("parsePayload(%q) names %v", data, err)
		}
		if any["workspace"] != q.workspace && any["sandbox_id"] != q.workspace {
			t.Errorf("parsePayload(%q) = %q, which it does not say", data, q.workspace)
		}
	})
}
