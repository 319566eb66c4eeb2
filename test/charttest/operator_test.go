package charttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// output is what a program says while it runs.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// listening replaces the addresses in arguments by ones on this machine that are free.
func listening(t *testing.T, args []string) (changed []string, addresses map[string]string) {
	t.Helper()
	addresses = map[string]string{}
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if strings.HasSuffix(name, "-bind-address") {
			free, err := freeport.Address()
			if err != nil {
				t.Fatal(err)
			}
			addresses[name], arg = free, name+"="+free
		}
		changed = append(changed, arg)
	}
	return changed, addresses
}

// operate runs the operator as the Deployment does, with the rights that the chart gives
// its account and with more arguments, and returns where it listens and what it says.
func operate(t *testing.T, c *kubernetestest.Cluster, all objects, more ...string) (addresses map[string]string, said *output) {
	t.Helper()
	args, addresses := listening(t, append(argsOf(t, all), more...))
	ctx, stop := context.WithCancel(context.Background())
	said = &output{}
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("GATEPASS_TEST_BIN_DIR"), "gatepass-operator"), append(args, "--kubeconfig="+c.KubeconfigAs("gatepass", "gatepass-operator"))...)
	cmd.Env = []string{"POD_NAMESPACE=gatepass", "HOME=" + t.TempDir(), "SSL_CERT_FILE=" + os.Getenv("SSL_CERT_FILE")}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	return addresses, said
}

// get returns the status of a page, or 0 without an answer.
func get(t *testing.T, url, token string) int {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is its own
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// The rights that the chart gives are enough for the operator that the chart starts, in
// all namespaces and in some.
func TestRealOperatorRunsWithTheChartsRights(t *testing.T) {
	if os.Getenv("GATEPASS_TEST_BIN_DIR") == "" {
		t.Skip("make test sets GATEPASS_TEST_BIN_DIR")
	}
	for values, watched := range map[string]string{"flux": "flux-system", "namespaces": "team-a"} {
		t.Run(values, func(t *testing.T) {
			c := cluster(t, kubernetestest.Options{})
			for _, name := range []string{"gatepass", "flux-system", "team-a", "team-b"} {
				namespace(t, c, name)
			}
			all := render(t, "--values="+valueSets(t)[values])
			for _, o := range all {
				if !strings.HasPrefix(annotation(o, hook), "pre-delete") {
					c.ApplyObject(o)
				}
			}
			addresses, said := operate(t, c, all)
			kubernetestest.Wait(t, time.Minute, "the operator to be ready", func() (bool, any) {
				return get(t, "http://"+addresses["--health-probe-bind-address"]+"/readyz", "") == http.StatusOK, said
			})
			o := token()
			o["metadata"].(fields)["namespace"] = watched
			c.ApplyObject(o)
			kubernetestest.Wait(t, time.Minute, "the operator to say something of a Token", func() (bool, any) {
				found := c.Call(http.MethodGet, "/apis/gatepass.dev/v1/namespaces/"+watched+"/tokens/flux", nil)
				return at(found, "status", "conditions", 0, "reason") != nil, said
			})
			// A caller without permission to read metrics is refused; the operator asks
			// the API server.
			if code := get(t, "https://"+addresses["--metrics-bind-address"]+"/metrics", c.Token("gatepass", "stranger", nil)); code != http.StatusForbidden {
				t.Errorf("/metrics for somebody without rights = %d", code)
			}
			c.Call(http.MethodGet, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gatepass-operator", nil)
			if lines := refusals(said.String()); len(lines) > 0 {
				t.Errorf("the API server refuses the operator something:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

// refusals are the lines that say that rights are missing.
func refusals(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return !strings.Contains(line, "forbidden") })
}

// annotation returns an object's annotation, "" where it has none.
func annotation(o fields, name string) string {
	text, _ := at(o, "metadata", "annotations", name).(string)
	return text
}
