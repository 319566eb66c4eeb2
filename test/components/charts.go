//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// A chartTool is a program that reads the files in deploy/ and writes manifests. All
// are built together, once, from the nested module test/components/charttools.
type chartTool struct {
	cache    cache
	name     string
	program  string
	module   string // module that it comes from
	variable string // environment variable by which tests find it
}

const (
	helmComponent      = "Helm"
	kustomizeComponent = "Kustomize"
	helmModule         = "helm.sh/helm/v3"
	kustomizeModule    = "sigs.k8s.io/kustomize/kustomize/v5"
)

func chartTools(c cache) []chartTool {
	return []chartTool{
		{c, helmComponent, "helm", helmModule, "GATEPASS_TEST_HELM"},
		{c, kustomizeComponent, "kustomize", kustomizeModule, "GATEPASS_TEST_KUSTOMIZE"},
	}
}

func (t chartTool) Name() string { return t.name }

// Find returns the version that the nested module requires.
func (t chartTool) Find(ctx context.Context) (string, error) {
	path, err := t.path(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("not set up yet; make test-real")
	}
	m, err := nestedModule(ctx, "charttools")
	if err != nil {
		return "", err
	}
	return m.Version(t.module)
}

// SetUp builds all chart tools. It takes four minutes of one core.
func (t chartTool) SetUp(ctx context.Context) error {
	m, err := nestedModule(ctx, "charttools")
	if err != nil {
		return err
	}
	helm, err := m.Version(helmModule)
	if err != nil {
		return err
	}
	clientGo, err := m.Version("k8s.io/client-go")
	if err != nil {
		return err
	}
	return m.Build(ctx, t.cache.dir, helmFlags(helm, clientGo), map[string]string{"helm": helmModule + "/cmd/helm", "kustomize": kustomizeModule})
}

// helmFlags returns linker flags that tell helm its version, and the version of
// Kubernetes to assume without a cluster, as its releases have. Otherwise it would
// assume 1.20.
func helmFlags(helm, clientGo string) string {
	minor := strings.Split(clientGo+".", ".")[1]
	flags := "-s -w -X helm.sh/helm/v3/internal/version.version=v" + helm
	for _, pkg := range []string{"pkg/chartutil", "pkg/lint/rules"} {
		at := " -X helm.sh/helm/v3/" + pkg + ".k8sVersion"
		flags += at + "Major=1" + at + "Minor=" + minor
	}
	return flags
}

// path returns where the program is, or would be.
func (t chartTool) path(ctx context.Context) (string, error) {
	m, err := nestedModule(ctx, "charttools")
	if err != nil {
		return "", err
	}
	entry, err := m.Entry(t.cache.dir)
	return filepath.Join(entry, t.program), err
}

// findCharts tells the suites that need the tools where the existing ones are.
func (r *runner) findCharts(ctx context.Context, c cache) error {
	for _, t := range chartTools(c) {
		if r.absent[t.name] {
			continue
		}
		path, err := t.path(ctx)
		if err != nil {
			return err
		}
		r.charts = append(r.charts, t.variable+"="+path)
	}
	return nil
}
