package main

import (
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/brokerclient"
	"github.com/gatepass/gatepass/credential/brokerclient/awsproof"
	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/credential/oskeyring"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/credential/vaultstore"
	"github.com/gatepass/gatepass/internal/usererr"
)

const knownSources = "ssm://, vault://, file://, keyring://, broker+https:// and broker+unix://"

const keyringScheme = "keyring"

// brokers keeps the sessions of join tokens when the workspace file changes.
var brokers = &brokerclient.Opener{Methods: []brokerclient.Method{awsproof.Method}}

// open makes the source that a workspace file names, behind a keyring cache if the file
// asks for one. It sends no request yet.
func open(w *config.Workspace) (credential.Source, error) {
	if !w.Gateway.IsZero() {
		return openSessions(w)
	}
	src, err := openSource(w)
	if err != nil || w.Cache != config.CacheKeyring || w.Source.Scheme == keyringScheme {
		return src, err
	}
	return &oskeyring.Cache{Source: src, Scope: w.Path + "\n" + w.ID + "\n" + w.Source.String()}, nil
}

// openSessions makes a source of sessions at the broker that the workspace file names.
func openSessions(w *config.Workspace) (credential.Source, error) {
	if err := w.CheckGatewaySource(); err != nil {
		return nil, usererr.Wrap("open the source of "+w.Path, err, "")
	}
	src, err := brokers.Open(w.Source, w.ID)
	if err != nil {
		return nil, err
	}
	return src.Sessions(), nil
}

func openSource(w *config.Workspace) (credential.Source, error) {
	switch w.Source.Scheme {
	case "ssm":
		return ssmstore.Open(w.Source, w.ID)
	case "vault":
		return vaultstore.Open(w.Source, w.ID)
	case "file":
		return filestore.Open(w.Source, w.ID)
	case keyringScheme:
		return oskeyring.Open(w.Source, w.ID)
	case "broker+https", "broker+unix":
		return brokers.Open(w.Source, w.ID)
	}
	return nil, usererr.New("open the source of "+w.Path, "this agent has no source "+w.Source.Scheme+"://", "use one of "+knownSources)
}
