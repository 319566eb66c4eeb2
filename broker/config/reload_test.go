package config

import (
	"strings"
	"testing"
	"time"
)

func TestHowTheBrokerRuns(t *testing.T) {
	f, err := loadFile(t, strings.Replace(whole, "audit: /var/log/gatepass/audit.jsonl", `audit: {file: /a, max_size: 100MB, otlp: "https://c/v1/logs"}
socket_mode: 0666
metrics: 127.0.0.1:9465
log: {format: json, level: debug}
limits: {requests: 7, read_timeout: 5s, header_size: 8KiB}`, 1))
	if err != nil {
		t.Fatal(err)
	}
	if f.Audit.File != "/a" || f.Audit.MaxSize != 100e6 || f.SocketMode != 0o666 || f.Log.Level != "debug" {
		t.Errorf("Load = %+v", f)
	}
	l := f.Limits
	if l.Requests != 7 || l.Read != 5*time.Second || l.HeaderSize != 8<<10 || l.WorkspaceRate != 20 || l.Drain != 20*time.Second {
		t.Errorf("the limits are %+v, want what is said and the defaults", l)
	}
	if f, err := loadFile(t, whole); err != nil || f.Audit.File != "/var/log/gatepass/audit.jsonl" || f.Audit.MaxSize != 0 || f.Limits.Requests != 512 {
		t.Errorf("without any of it: %+v, %v", f, err)
	}
}

func TestHowTheBrokerDoesNotRun(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"a key of the audit log that there is not", "audit: {file: /a, size: 1}", `unknown key "size"`},
		{"not a size", "audit: {file: /a, max_size: big}", "want a size"},
		{"a size below nothing", "audit: {file: /a, max_size: -1}", "want a size"},
		{"an audit log somewhere", "audit: audit.jsonl", "is not absolute"},
		{"copies to a file", "audit: {file: /a, otlp: file:///x}", "audit: a copy must go to https://HOST/PATH"},
		{"a list of audit logs", "audit: [/a, /b]", "want a string or a mapping"},
		{"not a mode", "audit: /a\nsocket_mode: rw", "want a mode"},
		{"a mode beyond rights", "audit: /a\nsocket_mode: 07777", "want a mode"},
		{"an unknown level", "audit: /a\nlog: {level: loud}", "log: level must be debug, info, warn or error"},
		{"a limit below nothing", "audit: /a\nlimits: {requests: -1}", "limits: they must not be below 0"},
		{"not a time", "audit: /a\nlimits: {read_timeout: soon}", "line"},
		{"a limit that there is not", "audit: /a\nlimits: {tokens: 1}", `unknown key "tokens"`},
		{"metrics below a path", "audit: /a\nmetrics: unix://metrics.sock", "is not a socket; write unix:///PATH of up to 107 bytes"},
	} {
		f, err := loadFile(t, strings.Replace(whole, "audit: /var/log/gatepass/audit.jsonl", c.line, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load = %+v, %v, want one line with %q", c.name, f, err, c.want)
		}
	}
}

func TestCheckListen(t *testing.T) {
	for address, isGood := range map[string]bool{
		"https://0.0.0.0:8443": true, "https://[::1]:8443": true, "https://:8443": true, "unix:///run/x.sock": true,
		"https://0.0.0.0": false, "http://127.0.0.1:80": true, "http://[::1]:80": true, "http://localhost:80": false, "http://0.0.0.0:80": false, "http://10.0.0.1:80": false, "http://127.0.0.1": false, "unix://run/x.sock": false, "unix:///run/../x": false, "unix:///": false,
		"https://a:1/path": false, "https://u@a:1": false, "tcp://a:1": false, "": false, "unix:///" + strings.Repeat("x", 120): false, "https://a:1?x=1": false,
	} {
		if err := CheckListen(address); (err == nil) != isGood {
			t.Errorf("CheckListen(%q) = %v, want it good: %v", address, err, isGood)
		}
	}
}
