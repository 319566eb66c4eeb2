package issuing

import (
	"net/url"
	"path"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// readByBrokers are the schemes of stores that no source reads, and what to call them.
var readByBrokers = map[string]string{kubernetesScheme: "Kubernetes", dynamoDBScheme: "DynamoDB", postgresScheme: "PostgreSQL"}

// Source is the source of a workspace file whose tokens this store delivers: the
// address of the only token, or one for each owner. How the workspace proves
// itself to the store is not in it, unless that is part of how it is reached. A
// store in Kubernetes, DynamoDB or PostgreSQL is read by brokers only, unless its tokens are in
// another store.
func Source(storeURL string, isOnly bool) (string, error) {
	u, err := url.Parse(storeURL)
	if err != nil {
		return "", usererr.New("name the source of a workspace", "the store is no URL", "")
	}
	tokens, _, err := takeTokens(u)
	if err != nil {
		return "", err
	}
	if tokens != nil {
		u = tokens
	}
	if kind := readByBrokers[u.Scheme]; kind != "" {
		return "", usererr.New("name the source of a workspace", "workspaces do not read a store in "+kind, "let them ask a broker: --source broker+https://HOST[:PORT]")
	}
	only, err := store.OnlyToken("x")
	if err != nil {
		return "", err
	}
	name := strings.Replace(only.String(), "/x/", "/{workspace}/", 1)
	if !isOnly {
		name += "s/{owner}"
	}
	query, kept := u.Query(), url.Values{}
	for _, key := range []string{"region", "endpoint", "addr", "namespace", "ca_file"} {
		if query.Has(key) {
			kept[key] = query[key]
		}
	}
	prefix := u.Path
	if u.Scheme == "ssm" && query.Has("workspaces") {
		prefix = query.Get("workspaces")
	}
	source := u.Scheme + "://" + u.Host + path.Join("/", prefix, name)
	if len(kept) > 0 {
		source += "?" + kept.Encode()
	}
	return source, nil
}
