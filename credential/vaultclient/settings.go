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

// settings is how Vault is reached, as a URL says it; empty leaves it to the
// environment.
type settings struct{ addr, namespace, caFile string }

func (s settings) address() string { return orVariable(s.addr, "VAULT_ADDR") }

func orVariable(value, name string) string {
	if value != "" {
		return value
	}
	return os.Getenv(name)
}

// keys are the query keys of a URL that Open knows.
var keys = []string{
	"addr", "namespace", "ca_file", "auth", "auth_mount", "role",
	"role_id", "role_id_file", "secret_id_file", "jwt_file", "token_file",
}

// Open reads the query of a URL; what names the URL in errors. Keys that are
// neither of this package nor in own, and keys given twice or empty, are errors.
// {workspace} may stand in role, namespace and the names of files. It returns
// the values of own keys. Nothing is read or asked yet.
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

// fixed fills a value in which only {workspace} may stand.
func fixed(what, key, text, workspace string) (string, error) {
	t, err := credential.ParseTemplate(text, workspace)
	if err != nil {
		return "", err
	}
	if !t.Fixed() {
		return "", usererr.New(what, "a placeholder stands in "+key, "only {workspace} can stand there; the others stand in the path")
	}
	full, err := t.Expand(credential.Request{})
	shown := full
	if strings.HasSuffix(key, "_file") { // a path may hold a blank
		shown = strings.ReplaceAll(full, " ", "")
	}
	if err == nil && !isPrintable(shown) {
		return "", usererr.New(what, key+" has blanks or control characters", "")
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

// parseAddress takes https, and http on this machine: a login and tokens would
// be there for the network to read.
func parseAddress(what, setting, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, usererr.New(what, setting+" is no address", "write https://host[:port]")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return u, nil
	}
	return nil, usererr.New(what, setting+" is neither https nor on this machine", "write https://host[:port]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
