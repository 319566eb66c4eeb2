package apps

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A wish is what an object or the operator's configuration says of an App. Two that are
// equal wish for the same.
type wish struct {
	id           string // "" is for the Secret to say
	installation int64
	provider     v1.Provider
	key          string // of a KMS; a path for ProviderFile
	secret       v1.KeyReference
	github       string // "" is for the Secret to say, else the operator's
	operator     string // the operator's GitHub
	vault        string // the query of the URLs of Vault's keys
	validate     bool
}

// isPEM reports whether the private key itself is read.
func (w wish) isPEM() bool { return w.provider == v1.ProviderSecret || w.provider == ProviderFile }

func wishOfConfig(c Config, github string) wish {
	return wish{
		id: c.id(), installation: int64(c.InstallationID), provider: cmp.Or(v1.Provider(c.Provider), ProviderFile), key: c.Key,
		github: github, operator: github, vault: c.Vault.query(), validate: c.ValidateKey,
	}
}

// wishOfSpec refuses what would send a signature of the operator's to another server:
// its cloud identity signs for the operator's own GitHub only.
func (r *Registry) wishOfSpec(s v1.AppSpec, c Config) (wish, error) {
	w := wish{
		id: s.ClientID, installation: s.InstallationID, provider: s.Provider, key: s.Key,
		github: s.GitHubURL, operator: r.GitHub, vault: c.Vault.query(), validate: s.ValidateKey,
	}
	if s.AppID != 0 {
		w.id = strconv.FormatInt(s.AppID, 10)
	}
	if s.KeyRef != nil {
		w.secret = *s.KeyRef
	}
	if w.isPEM() != (s.Provider == v1.ProviderSecret) || w.isPEM() != (s.KeyRef != nil) || w.isPEM() == (s.Key != "") {
		return w, notReady(0, "provider %s: it goes with keyRef where it is secret, and with key where it is aws, gcp, azure or vault; correct provider, key and keyRef", s.Provider)
	}
	if !w.isPEM() && s.GitHubURL != "" && !isSameGitHub(s.GitHubURL, r.GitHub) {
		return w, notReady(0, "githubURL %s: provider %s signs with the operator's identity, for %s only; remove githubURL, or use provider: secret", s.GitHubURL, s.Provider, r.GitHub)
	}
	return w, nil
}

func isSameGitHub(one, other string) bool {
	a, err := mint.APIURL(one)
	b, err2 := mint.APIURL(other)
	return err == nil && err2 == nil && a == b
}

// notReady is an App that cannot be used as it is.
func notReady(after time.Duration, format string, args ...any) *NotReady {
	return &NotReady{Reason: v1.ReasonAppNotReady, Message: fmt.Sprintf(format, args...), RetryAfter: after}
}
