package vaultclient

import (
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// settings says how to reach Vault, as set in a URL; empty fields come from the
// environment.
type settings struct{ addr, namespace, caFile string }

func (s settings) address() string { return orVariable(s.addr, "VAULT_ADDR") }

func orVariable(value, name string) string {
	if value != "" {
		return value
	}
	return os.Getenv(name)
}

// keys are the query keys that Open accepts.
var keys = []string{
	"addr", "namespace", "ca_file", "auth", "auth_mount", "role",
	"role_id", "role_id_file", "secret_id_file", "jwt_file", "token_file",
}

// Open reads the query of a URL; what names the URL in errors. Keys that are neither of
// this package nor in own, and keys that are empty or given twice, are errors. role,
// namespace and the names of files may contain {workspace}. It returns the values of
// the keys in own. It reads no file and does not call Vault.
func Open(what, rawQuery, workspace string, own ...string) (*Client, map[string]string, error) {
	query, err := parseQuery(what, rawQuery, append(own, keys...))
	if err != nil {
		return nil, nil, err
	}
	for _, key := range keys {
		if query[key], err = fixed(what, key, query[key], workspace); err != nil {
			return nil, nil, err
		}
	}
	s := settings{addr: query["addr"], namespace: query["namespace"], caFile: query["ca_file"]}
	if s.addr != "" {
		if _, err := parseAddress(what, "addr in the URL", s.addr); err != nil {
			return nil, nil, err
		}
	}
	l, err := newLogin(what, query)
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(query, func(key, _ string) bool { return !slices.Contains(own, key) })
	return &Client{settings: s, login: l}, query, nil
}

func parseQuery(what, raw string, known []string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, usererr.New(what, "its query is malformed", "")
	}
	query := make(map[string]string, len(values))
	for key, list := range values {
		if !slices.Contains(known, key) {
			return nil, usererr.New(what, "unknown key "+key, "known: "+strings.Join(known, ", "))
		}
		if len(list) != 1 || list[0] == "" {
			return nil, usererr.New(what, key+" is given twice or is empty", "")
		}
		query[key] = list[0]
	}
	return query, nil
}

// fixed fills in a value that may contain {workspace} but no other placeholder.
func fixed(what, key, text, workspace string) (string, error) {
	t, err := credential.ParseTemplate(text, workspace)
	if err != nil {
		return "", err
	}
	if !t.Fixed() {
		return "", usererr.New(what, "a placeholder is in "+key, "only {workspace} is allowed there; the others belong in the path")
	}
	full, err := t.Expand(credential.Request{})
	shown := full
	if strings.HasSuffix(key, "_file") { // a path may contain a blank
		shown = strings.ReplaceAll(full, " ", "")
	}
	if err == nil && !isPrintable(shown) {
		return "", usererr.New(what, key+" has spaces or control characters", "")
	}
	return full, err
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// parseAddress accepts https, and http only on this machine: otherwise the login and
// tokens could be read on the network.
func parseAddress(what, setting, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, usererr.New(what, setting+" is not an address", "write https://host[:port]")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return u, nil
	}
	return nil, usererr.New(what, setting+" must be an https URL, or http on this machine", "write https://host[:port]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
