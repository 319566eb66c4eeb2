package main

import (
	"strings"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	values := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

func TestParseOptions(t *testing.T) {
	o, err := parse(nil, env())
	if err != nil || o.margin != 20*time.Minute || o.grace != 20*time.Minute || o.workers != 20 || o.listen != defaultListen || o.adopt || o.logFormat != "json" {
		t.Errorf("parse() = %+v, %v, want the defaults", o, err)
	}
	o, err = parse([]string{"--margin", "30m", "--interval=5m"}, env(
		"GATEPASS_STORE", "ssm:///km", "GATEPASS_MARGIN", "40m", "GATEPASS_GRACE", "0s", "GATEPASS_WORKERS", "3",
		"GATEPASS_ADOPT", "true", "GATEPASS_LOG_FORMAT", "text", "GATEPASS_GITHUB_URL", "https://ghe.example"))
	if err != nil || o.margin != 30*time.Minute || o.store != "ssm:///km" || o.issuerGrace() >= 0 || o.workers != 3 || !o.adopt || o.logFormat != "text" || o.github != "https://ghe.example" {
		t.Errorf("parse = %+v, %v, want the environment where the command line is silent", o, err)
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	for _, c := range []struct {
		args, want string
		env        []string
	}{
		{"now", "unexpected argument", nil},
		{"--interval 30m", "would expire", nil},
		{"--interval 19m", "would expire", nil},
		{"--interval -5m", "at least", nil},
		{"--interval 5m --force", "--interval cannot be combined with --force, --json or --payload", nil},
		{"--interval 5m --json", "--interval cannot be combined with --force, --json or --payload", nil},
		{"--listen 127.0.0.1:1", "--listen needs --interval", nil},
		{"--payload - --workspace sb-1", "--payload cannot be combined with --workspace: the payload names the workspace", nil},
		{"--workspace a/b", "an ID must", nil},
		{"--margin 51m", "a margin must be", nil},
		{"--grace 2h", "--grace must be", nil},
		{"--grace -1s", "--grace must be", nil},
		{"--timeout 0s", "--timeout must be above 0", nil},
		{"--workers 0", "--workers must be from 1 to 1000, not", nil},
		{"--log-format xml", "json or text", nil},
		{"--github-url http://x", "want https://HOST", nil},
		{"", "GATEPASS_ADOPT is \"perhaps\"", []string{"GATEPASS_ADOPT", "perhaps"}},
		{"", "GATEPASS_MARGIN is \"20\"", []string{"GATEPASS_MARGIN", "20"}},
	} {
		o, err := parse(strings.Fields(c.args), env(c.env...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("parse(%q, %q) = %+v, %v, want an error with %q", c.args, c.env, o, err, c.want)
		}
	}
}
