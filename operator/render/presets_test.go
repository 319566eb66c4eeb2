package render_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

var update = flag.Bool("update", false, "write the golden files of the presets")

// repositoryURL is what Argo CD and Kargo are asked for.
const repositoryURL = "https://github.com/acme/api"

// presets are all presets, each with what it needs.
var presets = map[v1.Preset]v1.SecretShape{
	v1.PresetFlux:                    {},
	v1.PresetArgoCDRepository:        {ExtraData: map[string]v1.TemplateText{"url": repositoryURL}},
	v1.PresetArgoCDRepoCreds:         {ExtraData: map[string]v1.TemplateText{"url": "https://github.com/acme"}},
	v1.PresetArgoCDSCMCreds:          {},
	v1.PresetTekton:                  {},
	v1.PresetKargo:                   {ExtraData: map[string]v1.TemplateText{"repoURL": repositoryURL}},
	v1.PresetCrossplaneGitHub:        {},
	v1.PresetTerraformGitCredentials: {},
}

// renderPreset returns the Secret of a preset.
func renderPreset(t *testing.T, name v1.Preset, tok render.Token) render.Rendered {
	t.Helper()
	shape := presets[name]
	shape.Preset = name
	if err := render.Check(shape); err != nil {
		t.Errorf("%s: Check = %v", name, err)
	}
	got, err := render.Render(shape, tok)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if of := render.Type(shape); of != got.Type {
		t.Errorf("%s: Type = %s, and Render says %s", name, of, got.Type)
	}
	return got
}

// TestPresets holds each preset against testdata: what consumers read changes on
// purpose only.
func TestPresets(t *testing.T) {
	for name := range presets {
		got := []byte(golden(renderPreset(t, name, token())))
		path := filepath.Join("testdata", string(name)+".golden")
		if *update {
			if err := os.WriteFile(path, got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s renders\n%s\nwant\n%s%v (go test -update writes it)", name, got, want, err)
		}
	}
}

// golden writes a Secret for people to read.
func golden(r render.Rendered) string {
	var b strings.Builder
	fmt.Fprintf(&b, "type: %s\n", r.Type)
	for _, part := range []struct {
		name   string
		fields map[string]string
	}{{"labels", r.Labels}, {"annotations", r.Annotations}, {"data", texts(r.Data)}} {
		for _, key := range slices.Sorted(maps.Keys(part.fields)) {
			fmt.Fprintf(&b, "%s[%q]: %q\n", part.name, key, part.fields[key])
		}
	}
	return b.String()
}

func texts(data map[string][]byte) map[string]string {
	out := map[string]string{}
	for key, value := range data {
		out[key] = string(value)
	}
	return out
}

// What the spec says holds before what the preset says.
func TestPresetsGiveWay(t *testing.T) {
	got, err := render.Render(v1.SecretShape{
		Preset:      v1.PresetTekton,
		Labels:      map[string]string{"team": "a"},
		Annotations: map[string]string{"tekton.dev/git-0": "https://ghe.example.com", "tekton.dev/git-1": "https://github.com"},
	}, token())
	want := map[string]string{"tekton.dev/git-0": "https://ghe.example.com", "tekton.dev/git-1": "https://github.com"}
	if err != nil || !maps.Equal(got.Annotations, want) || got.Labels["team"] != "a" {
		t.Errorf("Render = %+v, %v", got, err)
	}
	// One shape's labels are not the next one's.
	if got := renderPreset(t, v1.PresetFlux, token()); len(got.Labels) != 1 {
		t.Errorf("flux has the labels %q", got.Labels)
	}
}

// flux2#3668: bearerToken is tried first, and GitHub's git refuses it. A username
// without a password, or the other way round, is malformed.
func TestFluxReadsIt(t *testing.T) {
	got := texts(renderPreset(t, v1.PresetFlux, token()).Data)
	_, bearer := got["bearerToken"]
	if bearer || got["username"] == "" || got["password"] != text || got["token"] != text {
		t.Errorf("Flux reads %q", got)
	}
}

// As argo-cd's secretToRepository and its generators do.
func TestArgoCDReadsIt(t *testing.T) {
	for name, secretType := range map[v1.Preset]string{v1.PresetArgoCDRepository: "repository", v1.PresetArgoCDRepoCreds: "repo-creds"} {
		got := renderPreset(t, name, token())
		data := texts(got.Data)
		if got.Labels["argocd.argoproj.io/secret-type"] != secretType || data["type"] != "git" || !strings.HasPrefix(repositoryURL, data["url"]) || data["username"] == "" || data["password"] != text {
			t.Errorf("Argo CD reads %+v", got)
		}
		for _, other := range []string{"sshPrivateKey", "githubAppPrivateKey", "insecure", "tlsClientCertData"} {
			if _, has := data[other]; has {
				t.Errorf("%s has %s, which Argo CD reads too", name, other)
			}
		}
	}
	got := renderPreset(t, v1.PresetArgoCDSCMCreds, token())
	if got.Labels["argocd.argoproj.io/secret-type"] != "scm-creds" || string(got.Data["token"]) != text {
		t.Errorf("an ApplicationSet reads %+v", got)
	}
}

// As pipeline's gitcreds does: a flag "-basic-git=SECRET=URL", cut at "=", and the URL
// with user and password as a line for git.
func TestTektonReadsIt(t *testing.T) {
	got := renderPreset(t, v1.PresetTekton, token())
	address := got.Annotations["tekton.dev/git-0"]
	if got.Type != "kubernetes.io/basic-auth" || strings.Count("secret="+address, "=") != 1 {
		t.Fatalf("Tekton reads %+v", got)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(string(got.Data["username"]), string(got.Data["password"]))
	wantGitReads(t, u.String()+"\n", "github.com")
}

// As kargo's database does.
func TestKargoReadsIt(t *testing.T) {
	got := renderPreset(t, v1.PresetKargo, token())
	data := texts(got.Data)
	if got.Labels["kargo.akuity.io/cred-type"] != "git" || data["repoURL"] != repositoryURL || data["username"] == "" || data["password"] != text {
		t.Errorf("Kargo reads %+v", got)
	}
}

// As provider-upjet-github does.
func TestCrossplaneReadsIt(t *testing.T) {
	enterprise := token()
	enterprise.Host = "ghe.example.com:8443"
	everything := token()
	everything.Repositories = []string{"acme/*"}
	hostile := token()
	hostile.Repositories = []string{`ac"me\` + "\n" + `/x`}
	none := token()
	none.Repositories = nil
	for name, c := range map[string]struct {
		token          render.Token
		owner, baseURL string
	}{
		"two repositories":    {token(), "acme", ""},
		"every repository":    {everything, "acme", ""},
		"no repository known": {none, "", ""},
		"GitHub Enterprise":   {enterprise, "acme", "https://ghe.example.com:8443/"},
		"a hostile name":      {hostile, `ac"me\` + "\n", ""},
	} {
		var config struct {
			Token   string `json:"token"`
			Owner   string `json:"owner"`
			BaseURL string `json:"base_url"`
		}
		reader := json.NewDecoder(bytes.NewReader(renderPreset(t, v1.PresetCrossplaneGitHub, c.token).Data["credentials"]))
		reader.DisallowUnknownFields()
		if err := reader.Decode(&config); err != nil || config.Token != text || config.Owner != c.owner || config.BaseURL != c.baseURL {
			t.Errorf("%s: Crossplane reads %+v, %v", name, config, err)
		}
	}
}

func TestGitReadsTerraformsCredentials(t *testing.T) {
	wantGitReads(t, string(renderPreset(t, v1.PresetTerraformGitCredentials, token()).Data[".git-credentials"]), "github.com")
	enterprise := token()
	enterprise.Host = "ghe.example.com:8443"
	wantGitReads(t, string(renderPreset(t, v1.PresetTerraformGitCredentials, enterprise).Data[".git-credentials"]), "ghe.example.com:8443")
}

// wantGitReads gives lines to git's own credential store.
func wantGitReads(t *testing.T, lines, host string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".git-credentials")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	git := exec.Command("git", "credential-store", "--file", file, "get")
	git.Stdin = strings.NewReader("protocol=https\nhost=" + host + "\n")
	out, err := git.CombinedOutput()
	if err != nil || string(out) != "username=x-access-token\npassword="+text+"\n" {
		t.Errorf("git reads %q from %q, %v", out, lines, err)
	}
}

// TestRealPresets gives the API server the Secret of each preset.
func TestRealPresets(t *testing.T) {
	c := kubernetestest.New(t)
	namespace := c.Namespace()
	for name := range presets {
		got := renderPreset(t, name, token())
		c.ApplyObject(kubernetestest.Fields{
			"apiVersion": "v1", "kind": "Secret", "type": got.Type, "data": got.Data,
			"metadata": kubernetestest.Fields{"name": string(name), "namespace": namespace, "labels": got.Labels, "annotations": got.Annotations},
		})
	}
}
