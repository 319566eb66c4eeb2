package ssmstore

import (
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	storeForm      = "write ssm:///prefix?region=REGION[&kms_key=KEY][&workspaces=/PREFIX]"
	workspacePlace = "{workspace}"
	createKey      = "create:"
)

// OpenStore reads a store's URL:
//
//	ssm:///prefix[?region=…][&endpoint=…][&profile=…][&kms_key=…][&workspaces=…]
//
// kms_key is a key's id, ARN or alias. If it contains {workspace}, as in
// alias/gatepass-{workspace}, it is used for entries of workspaces, and the account's
// own key for the rest. With create:alias/gatepass-{workspace}, the issuing side
// creates these keys ([Store.MakesKeys]). workspaces is another prefix for entries of
// workspaces: with "/", a token is /sandbox/ID/github-token. The first call to the
// store is the first call to AWS.
func OpenStore(u *url.URL) (*Store, error) {
	what := "store ssm://" + u.Path
	switch {
	case u.Scheme != "ssm":
		return nil, usererr.New("store", "its scheme is not ssm", storeForm)
	case u.Host != "" || u.Opaque != "" || u.User != nil:
		return nil, usererr.New("store ssm://"+u.Host, "the prefix must follow three slashes", storeForm)
	case u.Fragment != "":
		return nil, usererr.New(what, "it has a fragment", storeForm)
	}
	prefix := strings.TrimSuffix(u.Path, "/")
	if err := checkPrefix(what, prefix); err != nil {
		return nil, err
	}
	query := u.Query()
	workspaces, err := cutWorkspaces(what, prefix, query)
	if err != nil {
		return nil, err
	}
	key, rest, err := cutKey(what, query)
	if err != nil {
		return nil, err
	}
	settings, err := awsclient.ParseSettings(what, rest)
	if err != nil {
		return nil, err
	}
	key, makes := strings.CutPrefix(key, createKey)
	return &Store{prefix: prefix, workspaces: workspaces, kmsKey: key, makesKeys: makes, client: awsclient.Lazy[*ssm.Client]{Settings: settings, Make: newService}}, nil
}

// checkPrefix refuses a prefix that leaves no room for the longest name below it.
func checkPrefix(what, prefix string) error {
	const longest = 300
	for segment := range strings.SplitSeq(strings.TrimPrefix(prefix, "/"), "/") {
		if prefix != "" && (segment == "" || strings.Trim(segment, ".") == "") {
			return usererr.New(what, "a part of the prefix is empty, . or ..", storeForm)
		}
	}
	for i := 0; i < len(prefix); i++ {
		if c := prefix[i]; !isAlnum(c) && strings.IndexByte("_.-/", c) < 0 {
			return usererr.New(what, "a parameter's name must consist of letters, digits, dots, hyphens, underscores and slashes", storeForm)
		}
	}
	// "A parameter name can't be prefixed with aws or ssm" (PutParameter).
	lower := strings.ToLower(strings.TrimPrefix(prefix, "/"))
	if strings.HasPrefix(lower, "aws") || strings.HasPrefix(lower, "ssm") {
		return usererr.New(what, "AWS reserves names that begin with aws or ssm", "choose another prefix")
	}
	if len(prefix) > longest {
		return usererr.New(what, "the prefix is too long", "choose a shorter one")
	}
	return nil
}

// cutWorkspaces removes the prefix for workspaces from the query and returns it.
func cutWorkspaces(what, prefix string, query url.Values) (string, error) {
	given, ok := query["workspaces"]
	if !ok {
		return prefix, nil
	}
	query.Del("workspaces")
	if len(given) != 1 || !strings.HasPrefix(given[0], "/") {
		return "", usererr.New(what, "workspaces must be given once and be a path", "write workspaces=/ or workspaces=/PREFIX")
	}
	other := strings.TrimSuffix(given[0], "/")
	return other, checkPrefix(what, other)
}

// cutKey removes the KMS key from the query and returns it.
func cutKey(what string, query url.Values) (key, rest string, err error) {
	keys, given := query["kms_key"]
	if !given {
		return "", query.Encode(), nil
	}
	query.Del("kms_key")
	if len(keys) != 1 || keys[0] == "" {
		return "", "", usererr.New(what, "kms_key is given twice or is empty", storeForm)
	}
	key = keys[0]
	if form, makes := strings.CutPrefix(key, createKey); makes {
		if err := checkForm(what, form); err != nil {
			return "", "", err
		}
	}
	plain := strings.ReplaceAll(key, workspacePlace, "x")
	for i := 0; i < len(plain); i++ {
		if c := plain[i]; !isAlnum(c) && strings.IndexByte(":/_-", c) < 0 {
			return "", "", usererr.New(what, "kms_key must be the ID, ARN or alias of a key", "write kms_key=alias/NAME; it may contain {workspace}")
		}
	}
	return key, query.Encode(), nil
}

// checkForm returns an error for an alias under which a workspace's key could be
// mistaken for another key.
func checkForm(what, form string) error {
	const leastFixed = 3
	name, isAlias := strings.CutPrefix(form, "alias/")
	fixed := strings.Replace(name, workspacePlace, "", 1)
	switch {
	case !isAlias || strings.Count(name, workspacePlace) != 1:
		return usererr.New(what, "kms_key=create: needs an alias that contains {workspace} once", "write kms_key=create:alias/gatepass-{workspace}")
	case strings.HasPrefix(name, "aws/"):
		return usererr.New(what, "AWS reserves aliases that begin with aws/", "write kms_key=create:alias/gatepass-{workspace}")
	case len(fixed) < leastFixed || strings.Contains(fixed, ":"):
		return usererr.New(what, "kms_key=create:"+form+" would match nearly any alias", "write kms_key=create:alias/gatepass-{workspace}")
	}
	return nil
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
