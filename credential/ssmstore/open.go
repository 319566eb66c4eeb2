package ssmstore

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxName is the longest name of a parameter (PutParameter in the Systems
// Manager API reference).
const maxName = 1011

const form = "write ssm:///name/of/parameter?region=REGION"

// Open reads a source's URL. The first call of Token reads AWS's configuration and
// calls AWS.
func Open(u *url.URL, workspace string) (*Source, error) {
	switch {
	case u.Scheme != "ssm":
		return nil, usererr.New("source", "its scheme is not ssm", form)
	case u.Host != "" || u.Opaque != "" || u.User != nil:
		return nil, usererr.New("source ssm://"+u.Host, "a parameter's name must follow three slashes", form)
	case u.Fragment != "":
		return nil, usererr.New("source ssm://"+u.Path, "it has a fragment", form)
	}
	name, err := credential.ParseTemplate(u.Path, workspace)
	if err != nil {
		return nil, err
	}
	if err := checkName(u.Path, name); err != nil {
		return nil, err
	}
	settings, err := awsclient.ParseSettings("source ssm://"+u.Path, u.RawQuery)
	if err != nil {
		return nil, err
	}
	s := &Source{name: name, workspace: workspace}
	s.client.Settings, s.client.Make = settings, newService
	return s, nil
}

// checkName expands the name for a sample request and checks its characters.
func checkName(path string, name credential.Template) error {
	full, err := name.Expand(credential.Request{Host: "github.com", Path: "owner/repo"})
	if err != nil {
		return err
	}
	if len(full) < 2 || len(full) > maxName || strings.HasSuffix(full, "/") || strings.Contains(full, "//") {
		return usererr.New("source ssm://"+path, "this is not a parameter's name", form)
	}
	for i := 0; i < len(full); i++ {
		if c := full[i]; !awsclient.IsAlnum(c) && strings.IndexByte("_.-/", c) < 0 {
			return usererr.New("source ssm://"+path, "a parameter's name must consist of letters, digits, dots, hyphens, underscores and slashes", form)
		}
	}
	return nil
}
