//go:build linux

package main

import (
	"path"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A suite names packages whose tests need real components.
type suite struct {
	pattern string // as "go list" takes it, relative to the module
	gits    gits
	aws     bool // needs the AWS emulator; its address is in the environment
	vault   bool // needs Vault; address and root token are in the environment
	keyring bool // runs in a session with an unlocked keyring, under the system's git
	browser bool // needs Chromium; its path is in the environment
	scripts bool // reads the module's testdata, as ../testdata
	alone   bool // disturbs a server that others use, so it runs before them

	// has tests that need a Kubernetes API server, and skip without it; the path
	// of a kubeconfig is in the environment, and does not lead into a chroot
	kubernetes bool

	// has tests of git clients other than git, which are not in the chroots
	clients bool

	// has tests that push hundreds of megabytes
	large bool

	// starts PostgreSQL servers; the folder of their programs is in the environment
	postgres bool

	// opens pages on the web, and skips those that it does not reach
	web bool

	// has tests that make network namespaces
	egress bool

	// has tests that need helm or kustomize, and skip without it; their paths are in
	// the environment
	charts bool

	// has tests that run gh, Debian's and the newest, octokit and PyGithub, and skip
	// without them; where they are is in the environment, and does not lead into a chroot
	gh bool

	// runs in the package's folder of the module, for tests that read other packages'
	// files; in a chroot, which does not see the module, it runs like every other suite
	inPlace bool
}

// needsServer reports whether a suite uses a server that the run starts only once.
func (su suite) needsServer() bool {
	return su.aws || su.vault || su.kubernetes || su.keyring || su.browser || su.postgres || su.egress
}

// gits says under which git a suite runs.
type gits int

const (
	systemGit   gits = iota // this machine's
	everyGit                // this machine's and each chroot's
	everyChroot             // each chroot's: for tests that change the system they run in
)

func (g gits) include(where place) bool {
	switch {
	case g == systemGit:
		return where.chroot == nil
	case g == everyChroot:
		return where.chroot != nil
	}
	return true
}

// suites lists all packages that need real components, with what they need, and those
// whose tests "make test" runs only in part.
//
// A test finds the components in its environment: the git of its PATH, our
// binaries in the folder GATEPASS_TEST_BIN_DIR, the AWS emulator at
// GATEPASS_TEST_AWS_ENDPOINT, and Vault at GATEPASS_TEST_VAULT_ADDR with the
// root token GATEPASS_TEST_VAULT_TOKEN and GATEPASS_TEST_VAULT_UNSEAL_KEY, by
// which a suite that runs alone may seal it for a moment. Where
// GATEPASS_TEST_SECRET_SERVICE is set, the session's keyring is one for tests,
// empty and unlocked. In a chroot, and only there, GATEPASS_TEST_CHROOT is set:
// a test may then change the system it runs in. GATEPASS_TEST_CHROMIUM is the
// path of the browser. GATEPASS_TEST_KUBECONFIG is that of a kubeconfig, whose
// user may do everything, and GATEPASS_TEST_ETCD the URL of the etcd below its server;
// the folder GATEPASS_TEST_KUBE_ASSETS has the programs, for a test to start its own.
// GATEPASS_TEST_HELM, GATEPASS_TEST_KUSTOMIZE and GATEPASS_TEST_GH are the paths of these
// programs.
// GATEPASS_TEST_CLIENTS says that other git clients are to be tested, as far as they are
// there; the folders GATEPASS_TEST_ISOMORPHIC_GIT and GATEPASS_TEST_OCTOKIT have the
// libraries of that name.
// GATEPASS_TEST_LARGE says that there is time for pushes of hundreds of megabytes.
// The folder GATEPASS_TEST_POSTGRES has the programs of a PostgreSQL server.
// Where GATEPASS_TEST_EGRESS is set, a test may make network namespaces, and where
// GATEPASS_TEST_WEB is set, it may open pages on the web.
// A test that cannot run without something skips with a line that starts with
// "missing:".
var suites = []suite{
	{pattern: "./test/components/testdata/probe", gits: everyGit, aws: true},
	{pattern: "./credential/ssmstore/...", aws: true},
	{pattern: "./store/dynamodb", aws: true},
	{pattern: "./credential/vaultstore", vault: true, kubernetes: true, alone: true},
	{pattern: "./store/kubernetes", kubernetes: true},
	{pattern: "./store/postgres", postgres: true, inPlace: true},
	{pattern: "./store/envelope", aws: true, vault: true},
	{pattern: "./operator/...", kubernetes: true, vault: true, inPlace: true},
	{pattern: "./examples/kubernetes", kubernetes: true},
	{pattern: "./test/kubernetestest", kubernetes: true},
	{pattern: "./test/charttest", kubernetes: true, charts: true, inPlace: true},
	{pattern: "./credential/oskeyring", keyring: true},
	{pattern: "./cmd/gatepass-agent", keyring: true},
	{pattern: "./mint/awskms", aws: true},
	{pattern: "./cmd/gatepass-refresher", aws: true, kubernetes: true, inPlace: true},
	{pattern: "./workspace", inPlace: true},
	{pattern: "./issuing/workspacekey", aws: true},
	{pattern: "./broker/identity/...", aws: true, kubernetes: true},
	{pattern: "./mint/vaulttransit", vault: true},
	{pattern: "./broker/gateway"},
	{pattern: "./broker/gateway/lfs", gits: everyGit},
	{pattern: "./broker/gateway/rest"},
	{pattern: "./broker/revoke"},
	{pattern: "./broker/serve", inPlace: true},
	{pattern: "./credential/agent"},
	{pattern: "./hooks"},
	{pattern: "./test/fakegithub/..."},
	{pattern: "./cmd/gatepass-pre-push", gits: everyGit},
	{pattern: "./cmd/gatepass/...", aws: true, kubernetes: true, postgres: true},
	{pattern: "./cmd/internal/demo", gits: everyGit},
	{pattern: "./cmd/internal/doctor", clients: true, inPlace: true},
	{pattern: "./test/browser", browser: true, inPlace: true},
	{pattern: "./test/docstest", aws: true, web: true, inPlace: true},
	{pattern: "./test/interop", gits: everyGit, clients: true, large: true},
	{pattern: "./test/egress", egress: true, kubernetes: true, inPlace: true},
	{pattern: "./test/ghtest", gits: everyGit, gh: true, inPlace: true},
	{pattern: "./cmd", gits: everyGit, scripts: true, clients: true},
	{pattern: "./install", gits: everyChroot},
}

// chosen returns the suites of the named packages, which are patterns of the table with
// or without "./"; all suites if none is named.
func chosen(packages []string) ([]suite, error) {
	if len(packages) == 0 {
		return suites, nil
	}
	byPattern := map[string]suite{}
	var known []string
	for _, su := range suites {
		byPattern[path.Clean(su.pattern)] = su
		known = append(known, su.pattern)
	}
	var some []suite
	for _, p := range packages {
		su, ok := byPattern[path.Clean(p)]
		if !ok {
			return nil, usererr.New("test "+p, "no suite is of this package", "name some of "+strings.Join(known, ", "))
		}
		some = append(some, su)
	}
	return some, nil
}
