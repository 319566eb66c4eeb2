package kubernetes

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

const form = "write kubernetes://NAMESPACE[/PREFIX][?context=NAME][&kubeconfig=FILE]"

// maxPrefix bounds a prefix, in bytes.
const maxPrefix = 200

// isNamespace is a DNS-1123 label
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names).
var isNamespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// OpenStore reads a store's URL:
//
//	kubernetes://NAMESPACE[/PREFIX][?context=…][&kubeconfig=…]
//
// Stores with other prefixes may be in the same namespace. The cluster is asked,
// and the configuration read, by the first call only.
func OpenStore(u *url.URL) (*Store, error) {
	what := "store kubernetes://" + u.Host + u.Path
	prefix := strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/")
	switch {
	case u.Scheme != "kubernetes":
		return nil, usererr.New("store", "its scheme is not kubernetes", form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("store kubernetes://"+u.Host, "a store's URL has no user, password or fragment", form)
	case u.Host == "":
		return nil, usererr.New(what, "it names no namespace, and the pod's or the context's own is not guessed", form)
	case u.Port() != "":
		return nil, usererr.New(what, "what follows kubernetes:// is the namespace, not the address", form)
	case !isNamespace.MatchString(u.Host):
		return nil, usererr.New(what, u.Host+" is no name of a namespace", form)
	}
	if _, err := store.ParseName(prefix); prefix != "" && (err != nil || len(prefix) > maxPrefix) {
		return nil, usererr.New(what, "the prefix is too long, or a part of it is more than letters, digits, dots, hyphens and underscores", form)
	}
	from, err := parseQuery(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	return &Store{place: place{u.Host, prefix}, from: from, page: defaultPage}, nil
}

func parseQuery(what, raw string) (origin, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return origin{}, usererr.New(what, "what follows ? cannot be read", form)
	}
	for key, values := range query {
		switch {
		case !slices.Contains([]string{"context", "kubeconfig"}, key):
			return origin{}, usererr.New(what, "there is no key "+key, form)
		case len(values) != 1 || values[0] == "":
			return origin{}, usererr.New(what, key+" is given twice or is empty", form)
		}
	}
	return origin{context: query.Get("context"), kubeconfig: query.Get("kubeconfig"), account: accountFolder}, nil
}
