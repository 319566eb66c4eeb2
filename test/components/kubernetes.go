//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	kubernetesComponent = "Kubernetes API server"
	kubernetesModule    = "kubernetes"
	kubernetesPackage   = "k8s.io/kubernetes"
	etcdProgram         = "etcd"
	apiServerProgram    = "kube-apiserver"
)

// A kubernetesBuild is a real API server and the etcd it is released with, built
// once from the Go modules that test/components/kubernetes asks for.
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

// SetUp builds both. It takes eleven minutes of one core.
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
		etcdProgram:      "go.etcd.io/etcd/server/v3",
		apiServerProgram: kubernetesPackage + "/cmd/kube-apiserver",
	})
}

// versioned has the API server know its version, without which it does not start.
func versioned(version string) string {
	const at = " -X k8s.io/component-base/version."
	numbers := strings.Split(version, ".")
	return "-s -w" + at + "gitVersion=v" + version + at + "gitMajor=" + numbers[0] + at + "gitMinor=" + numbers[min(1, len(numbers)-1)]
}

// programs is the folder with both, or where it would be.
func (k kubernetesBuild) programs(ctx context.Context) (string, error) {
	m, err := nestedModule(ctx, kubernetesModule)
	if err != nil {
		return "", err
	}
	return m.Entry(k.cache.dir)
}

// A kubernetesServer is a running API server with its etcd. Both listen on
// loopback only. Neither controllers nor kubelets are there: nothing is
// collected, and no pod runs.
type kubernetesServer struct {
	kubeconfig string // of a user who may do everything
	etcd       string // URL
	stop       func()
}

// env is what a test needs to reach it.
func (k kubernetesServer) env() []string {
	return []string{"GATEPASS_TEST_KUBECONFIG=" + k.kubeconfig, "GATEPASS_TEST_ETCD=" + k.etcd}
}

// startKubernetes runs both with their data in dir, which is the caller's to
// remove. The ports are free when chosen; should another program take one in the
// meantime, others are tried.
func startKubernetes(ctx context.Context, programs, dir string) (kubernetesServer, error) {
	var err error
	for i := range 3 {
		var k kubernetesServer
		if k, err = tryKubernetes(ctx, programs, filepath.Join(dir, strconv.Itoa(i))); err == nil {
			return k, nil
		}
	}
	return kubernetesServer{}, fmt.Errorf("start the Kubernetes API server: %w", err)
}

func tryKubernetes(ctx context.Context, programs, dir string) (kubernetesServer, error) {
	ports, err := freePorts(3)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return kubernetesServer{}, err
	}
	c := cluster{dir: dir, etcd: local("http", ports[0]), peer: local("http", ports[1]), port: ports[2], token: rand.Text()}
	if err := c.write(); err != nil {
		return kubernetesServer{}, err
	}
	etcd, err := startServer(ctx, filepath.Join(programs, etcdProgram), c.etcdFlags())
	if err != nil {
		return kubernetesServer{}, err
	}
	api, err := startServer(ctx, filepath.Join(programs, apiServerProgram), c.apiServerFlags())
	if err != nil {
		etcd.stop()
		return kubernetesServer{}, err
	}
	k := kubernetesServer{kubeconfig: c.path("kubeconfig"), etcd: c.etcd, stop: func() { api.stop(); etcd.stop() }}
	if err := c.ready(ctx, etcd, api); err != nil {
		k.stop()
		return kubernetesServer{}, err
	}
	return k, nil
}

// ready waits until both answer.
func (c cluster) ready(ctx context.Context, etcd, api server) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := ready(ctx, loopback(nil), c.etcd+"/health", etcd.ended); err != nil {
		return fmt.Errorf("etcd: %w: %s", err, etcd.said())
	}
	// Also for RBAC's own roles, by which whoever asks may read this.
	if err := ready(ctx, client, c.url()+"/readyz", api.ended); err != nil {
		return fmt.Errorf("%s: %w: %s", apiServerProgram, err, api.said())
	}
	return nil
}

// freePorts are free together.
func freePorts(n int) ([]int, error) {
	seen := map[int]bool{}
	var ports []int
	for len(ports) < n {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if !seen[port] {
			seen[port] = true
			ports = append(ports, port)
		}
	}
	return ports, nil
}

func local(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// startKubernetes starts the servers for the suites that need them.
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
	k, err := startKubernetes(ctx, programs, dir)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "Kubernetes API server answers after %.1f s\n", time.Since(start).Seconds())
	r.kubernetes = &k
	return k.stop, nil
}
