package ssmstore

import (
	"net"
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/oneline"
)

// maxName is the longest name of a parameter (PutParameter in the Systems
// Manager API reference).
const maxName = 1011

const form = "write ssm:///name/of/parameter?region=REGION"

// settings are what the URL says beyond the parameter; empty leaves it to the
// SDK.
type settings struct{ region, endpoint, profile string }

// Open reads a source's URL. AWS is asked, and its configuration read, by the
// first Token only.
func Open(u *url.URL, workspace string) (*Source, error) {
	switch {
	case u.Scheme != "ssm":
		return nil, oneline.New("source", "its scheme is not ssm", form)
	case u.Host != "" || u.Opaque != "" || u.User != nil:
		return nil, oneline.New("source ssm://"+u.Host, "a parameter's name follows three slashes", form)
	case u.Fragment != "":
		return nil, oneline.New("source ssm://"+u.Path, "it has a fragment", form)
	}
	name, err := credential.ParseTemplate(u.Path, workspace)
	if err != nil {
		return nil, err
	}
	if err := checkName(u.Path, name); err != nil {
		return nil, err
	}
	settings, err := parseSettings("source ssm://"+u.Path, u.RawQuery)
	if err != nil {
		return nil, err
	}
	return &Source{name: name, workspace: workspace, settings: settings}, nil
}

// checkName fills the placeholders with some request's values, which are all of
// the letters a name may have.
func checkName(path string, name credential.Template) error {
	full, err := name.Expand(credential.Request{Host: "github.com", Path: "owner/repo"})
	if err != nil {
		return err
	}
	if len(full) < 2 || len(full) > maxName || strings.HasSuffix(full, "/") || strings.Contains(full, "//") {
		return oneline.New("source ssm://"+path, "this is no parameter's name", form)
	}
	for i := 0; i < len(full); i++ {
		if c := full[i]; !isAlnum(c) && strings.IndexByte("_.-/", c) < 0 {
			return oneline.New("source ssm://"+path, "a parameter's name has letters, digits, dots, hyphens, underscores and slashes", form)
		}
	}
	return nil
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func parseSettings(what, raw string) (settings, error) {
	var s settings
	values, err := url.ParseQuery(raw)
	if err != nil {
		return s, oneline.New(what, "its query is malformed", form)
	}
	for key, list := range values {
		if len(list) != 1 || list[0] == "" {
			return s, oneline.New(what, key+" is given twice or is empty", "")
		}
		if err := s.set(what, key, list[0]); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *settings) set(what, key, value string) error {
	if strings.ContainsAny(value, "{}") {
		return oneline.New(what, "a placeholder stands in "+key, "placeholders stand in the parameter's name only")
	}
	switch key {
	case "region":
		s.region = value
		if !isLabel(value) {
			return oneline.New(what, "region is no AWS region", "write one such as us-east-1")
		}
	case "endpoint":
		s.endpoint = value
		return checkEndpoint(what, value)
	case "profile":
		s.profile = value
	default:
		return oneline.New(what, "unknown key "+key, "known: region, endpoint, profile")
	}
	return nil
}

// isLabel keeps a region, which becomes part of a host name, to one label.
func isLabel(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return len(s) <= 63
}

// checkEndpoint takes https, and http on this machine: tokens come back in the
// answer.
func checkEndpoint(what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return oneline.New(what, "endpoint is no address", "write endpoint=https://host[:port]")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return oneline.New(what, "endpoint is neither https nor on this machine", "write endpoint=https://host[:port]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
