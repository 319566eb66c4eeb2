package tenant

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// defaultGitHub is the operator's GitHub if none is configured.
const defaultGitHub = "https://github.com"

// CheckApp returns nil if the App may sign. An App with provider: secret signs with its
// own key. Every other provider signs with the operator's cloud identity, so one policy
// that selects the App's namespace, in, must list the key as PROVIDER:KEY; the
// comparison is exact. Such a key signs for operatorGitHub only (a URL; "" means
// https://github.com). Every error is a [*Denied].
func (p *Policies) CheckApp(app v1.App, in Namespace, operatorGitHub string) error {
	spec := app.Spec
	what := fmt.Sprintf("App %s/%s is not allowed", app.Namespace, app.Name)
	switch {
	case in.Name == "" || in.Name != app.Namespace:
		return &Denied{What: what, Reasons: []string{"it was judged for a namespace that is not its own"}}
	case !isKnown(spec.Provider):
		return &Denied{
			What: what, Reasons: []string{fmt.Sprintf("provider %q is unknown", spec.Provider)},
			Do: "set spec.provider to secret, aws, gcp, azure or vault",
		}
	case spec.GitHubURL != "" && !isGitHub(spec.GitHubURL):
		return &Denied{
			What: what, Reasons: []string{"githubURL is not the address of a GitHub"},
			Do: "set spec.githubURL to https://HOST",
		}
	case spec.Provider == v1.ProviderSecret:
		return nil
	case spec.Key == "":
		return &Denied{What: what, Reasons: []string{"it does not name a key"}, Do: "set spec.key"}
	case !sameGitHub(spec.GitHubURL, operatorGitHub):
		return &Denied{
			What: what, Reasons: []string{"only an App with provider: secret may have another githubURL than the operator"},
			Do: "remove spec.githubURL, or keep the key in a Secret",
		}
	}
	return p.checkKey(what, string(spec.Provider)+":"+spec.Key, in)
}

// checkKey returns an error unless a policy lists the key for the namespace.
func (p *Policies) checkKey(what, key string, in Namespace) error {
	denied := &Denied{What: what, Do: fmt.Sprintf("add %q to keys in a TenantPolicy that selects the namespace, or set provider: secret", key)}
	if p != nil {
		for _, one := range p.list {
			switch {
			case !one.selects(in):
			case one.broken != "":
				denied.Reasons = append(denied.Reasons, one.title()+one.brokenProblem())
			case one.keys[key]:
				return nil
			default:
				denied.Reasons = append(denied.Reasons, one.title()+"keys does not have "+key)
			}
		}
	}
	if len(denied.Reasons) == 0 {
		denied.Reasons = []string{fmt.Sprintf("no TenantPolicy selects namespace %s, and without one an App can sign only with the key in its Secret", in.Name)}
	}
	return denied
}

func isKnown(provider v1.Provider) bool {
	switch provider {
	case v1.ProviderSecret, v1.ProviderAWS, v1.ProviderGCP, v1.ProviderAzure, v1.ProviderVault:
		return true
	}
	return false
}

// isGitHub reports whether raw has the form https://HOST and nothing more.
func isGitHub(raw string) bool {
	host, isHTTPS := strings.CutPrefix(raw, "https://")
	_, ok := gitname.Host(strings.TrimSuffix(host, "/"))
	return isHTTPS && ok
}

// sameGitHub reports whether the App's address is the operator's. An App without an
// address has the operator's.
func sameGitHub(app, operator string) bool {
	if app == "" {
		return true
	}
	if operator == "" {
		operator = defaultGitHub
	}
	one, err := url.Parse(app)
	other, err2 := url.Parse(operator)
	if err != nil || err2 != nil || one.Scheme != other.Scheme {
		return false
	}
	host, ok := gitname.Host(one.Host)
	host2, ok2 := gitname.Host(other.Host)
	return ok && ok2 && host == host2 && strings.Trim(one.Path, "/") == strings.Trim(other.Path, "/")
}
