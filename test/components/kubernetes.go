//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/kubernetestest/controlplane"
)

const (
	kubernetesComponent = "Kubernetes API server"
	kubernetesModule    = "kubernetes"
	kubernetesPackage   = "k8s.io/kubernetes"
)

// A kubernetesBuild is a real API server, the etcd of its release, and two controllers,
// built once from the Go modules that test/components/kubernetes requires.
type kubernetesBuild struct {
	cache cache
}

func (k kubernetesBuild) Name() string { return kubernetesComponent }

// Find returns the version of Kubernetes.
func (k kubernetesBuild) Find(ctx context.Context) (string, error) {
	dir, err := k.programs(ctx)
	if err != nil {
		return "", err
	}
	if !isDir(dir) {
		return "", errors.New("not set up yet; make test-real")
	}
	m, err := nestedModule(ctx, kubernetesModule)
	if err != nil {
		return "", err
	}
	return m.Version(kubernetesPackage)
}

// SetUp builds them. It takes eleven minutes of one core, of which the controllers
// take fifteen seconds.
func (k kubernetesBuild) SetUp(ctx context.Context) error {
	m, err := nestedModule(ctx, kubernetesModule)
	if err != nil {
		return err
	}
	version, err := m.Version(kubernetesPackage)
	if err != nil {
		return err
	}
	return m.Build(ctx, k.cache.dir, versioned(version), map[string]string{
		controlplane.Etcd:        "go.etcd.io/etcd/server/v3",
		controlplane.APIServer:   kubernetesPackage + "/cmd/kube-apiserver",
		controlplane.Controllers: ".",
	})
}

// versioned returns linker flags that tell the API server its version; it does not
// start without one.
func versioned(version string) string {
	const at = " -X k8s.io/component-base/version."
	numbers := strings.Split(version, ".")
	return "-s -w" + at + "gitVersion=v" + version + at + "gitMajor=" + numbers[0] + at + "gitMinor=" + numbers[min(1, len(numbers)-1)]
}

// programs returns the folder of the programs, or where it would be.
func (k kubernetesBuild) programs(ctx context.Context) (string, error) {
	m, err := nestedModule(ctx, kubernetesModule)
	if err != nil {
		return "", err
	}
	return m.Entry(k.cache.dir)
}

// kubernetesEnv returns the variables by which a test reaches a running API server
// without a garbage collector, and starts other ones.
func kubernetesEnv(programs string, running *controlplane.Plane) []string {
	return []string{"GATEPASS_TEST_KUBECONFIG=" + running.Kubeconfig, "GATEPASS_TEST_ETCD=" + running.EtcdURL, "GATEPASS_TEST_KUBE_ASSETS=" + programs}
}

// startKubernetes starts the server for the suites that need it.
func (r *runner) startKubernetes(ctx context.Context, build kubernetesBuild) (stop func(), err error) {
	programs, err := build.programs(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := r.stage.scratch()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	plane, err := controlplane.Start(ctx, controlplane.Options{Programs: programs, Dir: dir})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "Kubernetes API server answers after %.1f s\n", time.Since(start).Seconds())
	r.kubernetes = kubernetesEnv(programs, plane)
	return plane.Stop, nil
}
