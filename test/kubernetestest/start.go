package kubernetestest

import (
	"context"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/test/kubernetestest/controlplane"
)

// OwnerReferencesEnforced is a flag for [Options.Flags]: as on OpenShift, who sets an
// owner reference that blocks the owner's deletion needs "update" on its finalizers.
const OwnerReferencesEnforced = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"

// Options say what a private cluster has. The zero value is a plain API server.
type Options struct {
	// Flags are further ones of kube-apiserver.
	Flags []string
	// Audit lets the test read which requests were made: see [Cluster.Requests].
	Audit bool
	// Controllers runs the garbage collector and the namespace controller. Without
	// them owner references have no effect, and a deleted namespace stays. The
	// garbage collector learns of a new kind within a few seconds.
	Controllers bool
	// Parallel leaves the environment alone, as a parallel test has to. Without it the
	// variables by which programs find a cluster lead nowhere.
	Parallel bool
}

// Start starts an API server and its etcd for this test alone, out of the folder in
// GATEPASS_TEST_KUBE_ASSETS, or skips the test where that is not set. It takes five
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

// private returns what the test started.
func (c *Cluster) private() *controlplane.Plane {
	c.t.Helper()
	if c.plane == nil {
		c.t.Fatal("the cluster is not the test's own: use kubernetestest.Start")
	}
	return c.plane
}

// Kill ends the API server of a private cluster by SIGKILL and returns when it is
// gone. What was written stays, in etcd.
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

// RESTConfig returns a configuration of client-go for the user who may do everything.
// Its clients send as many requests as they like.
func (c *Cluster) RESTConfig() *rest.Config {
	config := rest.CopyConfig(c.config)
	config.QPS = -1
	return config
}

// As returns a configuration of client-go for a service account, with a token for an
// hour, and makes the account if it does not exist. It sets no limit of requests, so
// that client-go's own holds where the code under test sets none.
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

// User is how audit lines and RBAC's errors name a service account.
func User(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}
