package kubernetestest

import (
	"context"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/test/kubernetestest/controlplane"
)

// OwnerReferencesEnforced is a flag for [Options.Flags]: as on OpenShift, a user who
// sets an owner reference that blocks the owner's deletion needs "update" on the
// owner's finalizers.
const OwnerReferencesEnforced = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"

// Options configure a private cluster. The zero value is a plain API server.
type Options struct {
	// Flags are additional flags of kube-apiserver.
	Flags []string
	// Audit records the requests for [Cluster.Requests].
	Audit bool
	// Controllers runs the garbage collector and the namespace controller. Without
	// them owner references have no effect, and a deleted namespace stays. The
	// garbage collector learns of a new kind within a few seconds.
	Controllers bool
	// Parallel leaves the environment unchanged, as a parallel test must. Otherwise the
	// variables by which programs find a cluster are set to values that lead nowhere.
	Parallel bool
}

// Start starts an API server and its etcd for this test alone, with the programs in
// GATEPASS_TEST_KUBE_ASSETS, or skips the test if that is not set. It takes five
// seconds of a core and 400 MB. Both end with the test and, on Linux, with the test
// program. A program that ends by itself fails the test.
func Start(t *testing.T, o Options) *Cluster {
	t.Helper()
	plane, err := controlplane.Start(context.Background(), controlplane.Options{
		Programs: need(t, "GATEPASS_TEST_KUBE_ASSETS"), Dir: t.TempDir(),
		Flags: o.Flags, Audit: o.Audit, Controllers: o.Controllers,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Ended(); err != nil {
			t.Error(err)
		}
		plane.Stop()
	})
	if !o.Parallel {
		Isolate(t)
	}
	c := open(t, plane.Kubeconfig, plane.EtcdURL)
	c.plane = plane
	return c
}

// private returns what the test started; it fails the test on a shared cluster.
func (c *Cluster) private() *controlplane.Plane {
	c.t.Helper()
	if c.plane == nil {
		c.t.Fatal("the cluster is not the test's own: use kubernetestest.Start")
	}
	return c.plane
}

// Kill ends the API server of a private cluster with SIGKILL and returns when it is
// gone. Written data stays in etcd.
func (c *Cluster) Kill() {
	c.t.Helper()
	c.private().Kill()
	c.client.CloseIdleConnections()
}

// Resume starts the API server again after [Cluster.Kill], on the same port with the
// same data, and returns when it is ready.
func (c *Cluster) Resume() {
	c.t.Helper()
	if err := c.private().Resume(); err != nil {
		c.t.Fatal(err)
	}
}

// Stop ends a private cluster before the test ends.
func (c *Cluster) Stop() {
	c.t.Helper()
	c.private().Stop()
}

// RESTConfig returns a configuration of client-go for the user with all rights. Its
// clients have no rate limit.
func (c *Cluster) RESTConfig() *rest.Config {
	config := rest.CopyConfig(c.config)
	config.QPS = -1
	return config
}

// As returns a configuration of client-go for a service account, with a token for an
// hour. It creates the account if it does not exist. It sets no rate limit, so
// client-go's default applies if the code under test sets none.
func (c *Cluster) As(namespace, account string) *rest.Config {
	c.t.Helper()
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = c.Token(namespace, account, nil)
	return config
}

// KubeconfigAs writes a kubeconfig of a service account, as [Cluster.As], and returns
// its path.
func (c *Cluster) KubeconfigAs(namespace, account string) string {
	c.t.Helper()
	return c.For(Fields{"token": c.Token(namespace, account, nil)})
}

// User returns the name of a service account in audit lines and RBAC's errors.
func User(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}
