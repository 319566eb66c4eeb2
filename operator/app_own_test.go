package operator

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
)

// The operator's own App has no object, so the log says what is wrong with it: once, and
// again when something else is.
func TestTheOperatorsOwnAppIsProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer gh.Close()
		private := testkey.RSA(2048, 3)
		app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&private.PublicKey}})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		put := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("gatepass.yaml", fmt.Sprintf("app_id: %d\nkey: %s/private.key\nvalidate_key: true\n", app.ID, dir))
		own, err := apps.OpenConfig(filepath.Join(dir, "gatepass.yaml"), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		ctx, cancel := context.WithCancel(log.IntoContext(t.Context(), funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})))
		defer cancel()
		r := &AppReconciler{Apps: &apps.Registry{GitHub: "https://github.test", Own: own, Client: &http.Client{Transport: gh.Transport()}}}
		go func() { _ = r.upkeep(ctx) }()

		check := func(want string) {
			t.Helper()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if len(lines) != 1 || !strings.Contains(lines[0], want) {
				t.Errorf("log = %q, want one line with %q", lines, want)
			}
			lines = nil
		}
		check("private.key: no such file or directory")
		put("private.key", "/etc/passwd")
		check("private.key: it has no PEM block")
		put("private.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})))
		check("GitHub accepts the key of the operator's own App, gatepass")
		if n := gh.Count(func(fakegithub.Request) bool { return true }); n != 1 {
			t.Errorf("GitHub is asked %d times, want once for each key", n)
		}
	})
}
