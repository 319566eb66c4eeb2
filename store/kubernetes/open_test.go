package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// pod has what follows run as in a pod: with a folder of its service account.
func (c cluster) pod(token string) (folder string) {
	c.t.Helper()
	c.t.Setenv("KUBECONFIG", "")
	c.t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	c.t.Setenv("KUBERNETES_SERVICE_PORT", c.Port())
	folder = c.t.TempDir()
	write(c.t, filepath.Join(folder, "ca.crt"), string(c.CA))
	write(c.t, filepath.Join(folder, "token"), token)
	return folder
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// In a pod its service account is used, and its token as it is replaced.
func TestRealPod(t *testing.T) {
	c := realCluster(t)
	namespace := c.deployed(nil)
	s := openStore(t, "kubernetes://"+namespace)
	s.from.account = c.pod("one that has run out")
	_, err := s.Get(t.Context(), store.Signer())
	checkError(t, err, "does not accept the credentials", "renew the credentials of the service account of this pod")
	write(t, filepath.Join(s.from.account, "token"), c.Token(namespace, "gatepass", nil))
	if err := everything(t, s); err != nil {
		t.Error(err)
	}
}

func TestRealPodWithoutToken(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://ns")
	s.from.account = c.pod("x")
	if err := os.Remove(filepath.Join(s.from.account, "token")); err != nil {
		t.Fatal(err)
	}
	checkError(t, everything(t, s), "there is no kubeconfig, and this is not a pod with a service account", "set KUBECONFIG, or name one with kubeconfig=FILE")
}

// A plugin of the kubeconfig is run for a token, as kubectl does.
func TestRealPlugin(t *testing.T) {
	c := realCluster(t)
	namespace := c.deployed(nil)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "answer"), `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"`+c.Token(namespace, "gatepass", nil)+`"}}`)
	plugin := func(script string) fields {
		return fields{"exec": fields{"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": []string{"-c", script}, "interactiveMode": "Never"}}
	}
	t.Setenv("KUBECONFIG", c.For(plugin("cat "+filepath.Join(dir, "answer"))))
	if err := everything(t, openStore(t, "kubernetes://"+namespace)); err != nil {
		t.Error(err)
	}
	t.Setenv("KUBECONFIG", c.For(plugin("echo again >>"+filepath.Join(dir, "runs")+"; exit 3")))
	checkError(t, everything(t, openStore(t, "kubernetes://"+namespace)), "the credentials cannot be read", "exit code 3", "renew the credentials of the kubeconfig")
	if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err != nil || len(strings.Fields(string(runs))) > 1 {
		t.Errorf("the plugin ran %q, %v, want it run once", runs, err)
	}
}

// The URL's keys are stronger than the environment.
func TestRealURLNamesTheKubeconfig(t *testing.T) {
	c := realCluster(t)
	namespace := c.Namespace()
	whole := c.Kubeconfig
	c.pod("nonsense")
	for _, query := range []string{"?kubeconfig=" + whole, "?kubeconfig=" + whole + "&context=test"} {
		if err := everything(t, openStore(t, "kubernetes://"+namespace+query)); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	checkError(t, everything(t, openStore(t, "kubernetes://"+namespace+"?kubeconfig="+whole+"&context=other")), "the kubeconfig cannot be used", `"other" does not exist`)
	checkError(t, everything(t, openStore(t, "kubernetes://"+namespace+"?kubeconfig="+whole+".absent")), "the kubeconfig cannot be used", "no such file")
	t.Setenv("KUBECONFIG", whole)
	if err := everything(t, openStore(t, "kubernetes://"+namespace+"?context=test")); err != nil {
		t.Error(err)
	}
}

// Nothing is sent to a server that anybody can be.
func TestKubeconfigsThatAreRefused(t *testing.T) {
	kubernetestest.Isolate(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	for cluster, want := range map[string]string{
		`{server: "http://127.0.0.1:1"}`:                                    "does not begin with https://",
		`{server: "127.0.0.1:1"}`:                                           "https://",
		`{server: "https://127.0.0.1:1", insecure-skip-tls-verify: true}`:   "insecure-skip-tls-verify",
		`{server: "https://127.0.0.1:1", certificate-authority-data: eA==}`: "cannot be used",
		`{server: "https://a b"}`:                                           "malformed",
		`{}`:                                                                "kubeconfig",
	} {
		write(t, path, "apiVersion: v1\nkind: Config\ncurrent-context: it\ncontexts: [{name: it, context: {cluster: it, user: it}}]\nclusters: [{name: it, cluster: "+cluster+"}]\nusers: [{name: it, user: {token: x}}]\n")
		_, err := openStore(t, "kubernetes://ns?kubeconfig="+path).Get(t.Context(), store.Signer())
		checkError(t, err, "read config/github/signer of kubernetes://ns", want)
	}
	write(t, path, "{")
	_, err := openStore(t, "kubernetes://ns?kubeconfig="+path).Get(t.Context(), store.Signer())
	checkError(t, err, "the kubeconfig cannot be used")
}

// A certificate that another authority made is not trusted.
func TestRealOtherAuthority(t *testing.T) {
	c := realCluster(t)
	namespace := c.Namespace()
	s := openStore(t, "kubernetes://"+namespace)
	put(t, s, store.Signer(), "x")
	other := c.For(fields{"token": "x"})
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	begin := strings.Index(string(text), `"certificate-authority-data":"`)
	end := begin + strings.IndexByte(string(text[begin:]), ',')
	write(t, other, string(text[:begin])+string(text[end+1:]))
	checkError(t, everything(t, openStore(t, "kubernetes://"+namespace+"?kubeconfig="+other)), "its certificate is not trusted", "certificate-authority")
}
