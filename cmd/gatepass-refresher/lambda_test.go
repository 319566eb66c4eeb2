package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"

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
	if text := l.log.String(); strings.Contains(text, "ghs_") || strings.Count(text, `"msg":"pass"`) != 6 {
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
		{[]string{"GATEPASS_STORE", "s3://x"}, "there is no store s3://"},
		{[]string{"GATEPASS_STORE", "ssm:///km", "GATEPASS_MARGIN", "1h"}, "a margin is"},
	} {
		i := newInvoked(env(c.env...), new(logbook))
		body, err := i.Invoke(t.Context(), []byte("{}"))
		refused, ok := err.(messages.InvokeResponse_Error)
		if !ok || body != nil || refused.Type != badConfiguration || !strings.Contains(refused.Message, c.want) {
			t.Errorf("with %q Invoke = %s, %v, want %q", c.env, body, err, c.want)
		}
	}
}

// The run ends before the invocation does, and reports what it left.
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

// A run that fails as a whole is a failed invocation, which the alarm counts.
func TestLambdaFails(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	w.RemoveKey(w.app.ID, &testKey.PublicKey)
	_, err := (&invoked{refresher: w.refresher()}).Invoke(t.Context(), nil)
	refused, ok := errors.AsType[messages.InvokeResponse_Error](err)
	if !ok || refused.Type != passIsFailed || !strings.Contains(refused.Message, "gatepass app key check") {
		t.Errorf("Invoke = %v, want a failed pass", err)
	}
}
