package vaultstore

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

const form = "write vault://MOUNT/PATH?field=token&addr=https://host[:port]&auth=METHOD"

// defaultField is the field of the token in secrets of the issuing side and of engines
// for GitHub Apps.
const defaultField = "token"

// Open reads a source's URL. The first call of Token reads the environment and calls
// Vault.
func Open(u *url.URL, workspace string) (*Source, error) {
	what := "source vault://" + u.Host + u.Path
	switch {
	case u.Scheme != "vault":
		return nil, usererr.New("source", "its scheme is not vault", form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("source vault://"+u.Host, "a secret's URL must not have a user, password or fragment", form)
	case u.Port() != "":
		return nil, usererr.New(what, "the part after vault:// must be the mount, not the address", form)
	case u.Host == "":
		return nil, usererr.New(what, "it names no mount", form)
	}
	path, err := credential.ParseTemplate(strings.TrimPrefix(u.Path, "/"), workspace)
	if err != nil {
		return nil, err
	}
	if err := checkPath(what, u.Host, path); err != nil {
		return nil, err
	}
	client, own, err := vaultclient.Open(what, u.RawQuery, workspace, "field", "kv")
	if err != nil {
		return nil, err
	}
	s := &Source{mount: u.Host, path: path, field: own["field"], workspace: workspace, client: client}
	if s.field == "" {
		s.field = defaultField
	}
	s.version, err = parseVersion(what, own["kv"])
	return s, err
}

// checkPath expands the path for a sample request and checks it.
func checkPath(what, mount string, path credential.Template) error {
	full, err := path.Expand(credential.Request{Host: "github.com", Path: "owner/repo"})
	if err != nil {
		return err
	}
	if !vaultclient.IsPath(mount + "/" + full) {
		return usererr.New(what, "it names no secret below the mount", form)
	}
	return nil
}

func parseVersion(what, text string) (version, error) {
	switch text {
	case "":
		return unknown, nil
	case "1":
		return plain, nil
	case "2":
		return versioned, nil
	}
	return unknown, usererr.New(what, "kv must be 1 or 2", "remove it: gatepass then asks Vault")
}
