package vaultclient

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// The login methods.
const (
	methodToken      = "token"
	methodAppRole    = "approle"
	methodJWT        = "jwt"
	methodKubernetes = "kubernetes"
)

// serviceAccountToken is the file in which Kubernetes puts a pod's identity.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// A login describes how to get a Vault token. Its files may be replaced at any time, so
// they are read for every login.
type login struct {
	method, mount, role              string
	roleID, roleIDFile, secretIDFile string
	jwtFile, tokenFile               string
}

// loginKeys are the URL keys of each method.
var loginKeys = map[string][]string{
	methodToken:      {"token_file"},
	methodAppRole:    {"auth_mount", "role_id", "role_id_file", "secret_id_file"},
	methodJWT:        {"auth_mount", "role", "jwt_file"},
	methodKubernetes: {"auth_mount", "role", "jwt_file"},
}

func newLogin(what string, query map[string]string) (login, error) {
	l := login{
		method: query["auth"], mount: query["auth_mount"], role: query["role"],
		roleID: query["role_id"], roleIDFile: query["role_id_file"], secretIDFile: query["secret_id_file"],
		jwtFile: query["jwt_file"], tokenFile: query["token_file"],
	}
	if l.method == "" {
		l.method = methodToken
	}
	own, ok := loginKeys[l.method]
	if !ok {
		return l, usererr.New(what, "unknown login method "+l.method, "write auth=token, approle, jwt or kubernetes")
	}
	for _, key := range []string{"auth_mount", "role", "role_id", "role_id_file", "secret_id_file", "jwt_file", "token_file"} {
		if query[key] != "" && !slices.Contains(own, key) {
			return l, usererr.New(what, key+" is not a key of auth="+l.method, "it takes "+strings.Join(own, ", "))
		}
	}
	if l.mount == "" {
		l.mount = l.method
	}
	if !IsPath(l.mount) {
		return l, usererr.New(what, "auth_mount must be a path", "write it as vault auth list prints it, without slashes at its ends")
	}
	return l, l.check(what)
}

// check returns an error if the method lacks a value.
func (l *login) check(what string) error {
	lacks := func(key string) error {
		return usererr.New(what, "auth="+l.method+" needs "+key, "add &"+key+"=… to the URL")
	}
	switch l.method {
	case methodAppRole:
		if (l.roleID == "") == (l.roleIDFile == "") {
			return lacks("either role_id_file or role_id")
		}
	case methodJWT:
		if l.jwtFile == "" {
			return lacks("jwt_file")
		}
	case methodKubernetes:
		if l.role == "" {
			return lacks("role")
		}
		if l.jwtFile == "" {
			l.jwtFile = serviceAccountToken
		}
	}
	return nil
}

// IsPath reports whether s is a valid path in Vault: no empty segment, no segment of
// dots, no control characters.
func IsPath(s string) bool {
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return isPrintable(s)
}

// isGiven reports whether the Vault token comes from outside, so that there is no login.
func (l login) isGiven() bool { return l.method == methodToken }

// identity describes who logs in.
func (l login) identity() string {
	switch {
	case l.role != "":
		return "the role " + l.role
	case l.isGiven():
		return "the Vault token of " + l.tokenPlace()
	case l.roleIDFile != "":
		return "the AppRole of " + l.roleIDFile
	}
	return "this " + l.method + " login"
}

func (l login) tokenPlace() string {
	if l.tokenFile != "" {
		return l.tokenFile
	}
	if os.Getenv("VAULT_TOKEN") != "" {
		return "VAULT_TOKEN"
	}
	return helperFile()
}

// helperFile returns the file in which "vault login" stores its token.
func helperFile() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".vault-token")
}

// token reads the given token. A file that cannot be read is an error; token does not
// fall back to another place.
func (l login) token(what string) (string, error) {
	if l.tokenFile != "" {
		return readFile(what, l.tokenFile, "correct token_file in the URL")
	}
	if text := os.Getenv("VAULT_TOKEN"); text != "" {
		return checkLine(what, text, "VAULT_TOKEN", "correct VAULT_TOKEN")
	}
	const do = "set VAULT_TOKEN, run vault login, or add token_file=PATH or auth=METHOD to the URL"
	path := helperFile()
	if _, err := os.Stat(path); path == "" || errors.Is(err, os.ErrNotExist) {
		return "", usererr.New(what, "this machine has no Vault token", do)
	}
	return readFile(what, path, do)
}

// request returns the login request for Vault.
func (l login) request(what string) (request, error) {
	body := map[string]string{}
	var err error
	put := func(key, path, setting string) {
		if path != "" && err == nil {
			body[key], err = readFile(what, path, "correct "+setting+" in the URL")
		}
	}
	if l.method == methodAppRole {
		body["role_id"] = l.roleID
		put("role_id", l.roleIDFile, "role_id_file")
		put("secret_id", l.secretIDFile, "secret_id_file")
	} else {
		if l.role != "" {
			body["role"] = l.role
		}
		put("jwt", l.jwtFile, "jwt_file")
	}
	return request{method: http.MethodPost, path: "auth/" + l.mount + "/login", body: body}, err
}

// readFile returns the content of a file with a single line.
func readFile(what, path, do string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usererr.Wrap(what, err, do)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, credential.MaxToken+2))
	if err != nil {
		return "", usererr.New(what, "the file "+path+" cannot be read", do)
	}
	return checkLine(what, strings.TrimRight(string(data), "\r\n"), path, do)
}

// checkLine refuses text that is more than one word, before it goes into a header or a
// login.
func checkLine(what, text, place, do string) (string, error) {
	if credential.CheckSecret(text) != nil {
		return "", usererr.New(what, ""+place+" does not have a credential: it is empty, has spaces or control characters, or is over 8 KiB", do)
	}
	return text, nil
}
