package main

import (
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/brokerclient"
	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/credential/vaultstore"
	"github.com/gatepass/gatepass/internal/config"
	"github.com/gatepass/gatepass/internal/oneline"
)

const knownSources = "ssm://, vault://, file://, broker+https:// and broker+unix://"

// open makes the source that a workspace file names. Nothing is asked yet.
func open(w *config.Workspace) (credential.Source, error) {
	switch w.Source.Scheme {
	case "ssm":
		return ssmstore.Open(w.Source, w.ID)
	case "vault":
		return vaultstore.Open(w.Source, w.ID)
	case "file":
		return filestore.Open(w.Source, w.ID)
	case "broker+https", "broker+unix":
		return brokerclient.Open(w.Source, w.ID)
	}
	return nil, oneline.New("open the source of "+w.Path, "this agent has no source "+w.Source.Scheme+"://", "use one of "+knownSources)
}
