package render

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A preset is the Secret that one consumer reads.
type preset struct {
	consumer   string // name of the consumer, for errors
	secretType string
	needs      string // key of extraData that the consumer requires
	labels     map[string]string
	annotate   func(host string) map[string]string // nil: none
	data       func(*renderer) map[string][]byte
}

func (p preset) annotations(host string) map[string]string {
	if p.annotate == nil {
		return nil
	}
	return p.annotate(host)
}

var presets = map[v1.Preset]preset{
	v1.PresetFlux:                    flux,
	v1.PresetArgoCDRepository:        argoRepository,
	v1.PresetArgoCDRepoCreds:         argoRepoCreds,
	v1.PresetArgoCDSCMCreds:          argoSCMCreds,
	v1.PresetTekton:                  tekton,
	v1.PresetKargo:                   kargo,
	v1.PresetCrossplaneGitHub:        crossplaneGitHub,
	v1.PresetTerraformGitCredentials: terraformGitCredentials,
}

func presetNames() []string {
	var names []string
	for name := range maps.Keys(presets) {
		names = append(names, string(name))
	}
	return slices.Sorted(slices.Values(names))
}

// flux serves source-controller and notification-controller with one Secret.
// source-controller reads username and password; it would prefer bearerToken, which
// GitHub's git refuses (fluxcd/pkg git/options.go). notification-controller reads token
// (fluxcd/pkg runtime/secrets, TokenAuthFromSecret; notification-controller
// internal/notifier). Both reconcile at once when a Secret with this label changes.
var flux = preset{
	consumer:   "Flux",
	secretType: v1.SecretTypeBasicAuth,
	labels:     map[string]string{"reconcile.fluxcd.io/watch": "Enabled"},
	data: func(r *renderer) map[string][]byte {
		data := basicAuth(r)
		data["token"] = []byte(r.token.Secret())
		return data
	},
}

// argoRepository is one repository of Argo CD. Argo CD finds the Secret by the label
// and compares url with the Application's (argoproj/argo-cd
// util/db/repository_secrets.go, secretToRepository).
var argoRepository = preset{
	consumer:   "Argo CD",
	secretType: v1.SecretTypeOpaque,
	needs:      "url",
	labels:     map[string]string{argoSecretType: "repository"},
	data:       argoGit,
}

// argoRepoCreds serves all of Argo CD's repositories whose URL begins with url
// (argoproj/argo-cd util/db/repository_secrets.go, secretToRepoCred).
var argoRepoCreds = preset{
	consumer:   "Argo CD",
	secretType: v1.SecretTypeOpaque,
	needs:      "url",
	labels:     map[string]string{argoSecretType: "repo-creds"},
	data:       argoGit,
}

// argoSCMCreds serves the tokenRef of an ApplicationSet's generators. In strict mode
// they refuse a Secret without the label (argoproj/argo-cd,
// docs/operator-manual/applicationset/Appset-Any-Namespace.md).
var argoSCMCreds = preset{
	consumer:   "Argo CD",
	secretType: v1.SecretTypeOpaque,
	labels:     map[string]string{argoSecretType: "scm-creds"},
	data: func(r *renderer) map[string][]byte {
		return map[string][]byte{"token": []byte(r.token.Secret())}
	},
}

const argoSecretType = "argocd.argoproj.io/secret-type"

func argoGit(r *renderer) map[string][]byte {
	data := basicAuth(r)
	data["type"] = []byte("git")
	return data
}

// tekton serves runs: Tekton writes it into a run's .gitconfig and .git-credentials for
// the URL in the annotation (tektoncd/pipeline pkg/credentials/gitcreds).
var tekton = preset{
	consumer:   "Tekton",
	secretType: v1.SecretTypeBasicAuth,
	annotate: func(host string) map[string]string {
		return map[string]string{"tekton.dev/git-0": "https://" + host}
	},
	data: basicAuth,
}

// kargo serves Kargo, which finds credentials by the label, and those for a repository
// by repoURL (akuity/kargo pkg/credentials/kubernetes/database.go).
var kargo = preset{
	consumer:   "Kargo",
	secretType: v1.SecretTypeOpaque,
	needs:      "repoURL",
	labels:     map[string]string{"kargo.akuity.io/cred-type": "git"},
	data:       basicAuth,
}

// crossplaneGitHub is the configuration of the Terraform provider for GitHub in JSON,
// as Crossplane's provider reads it (crossplane-contrib/provider-upjet-github
// internal/clients/github.go, githubConfig).
var crossplaneGitHub = preset{
	consumer:   "Crossplane",
	secretType: v1.SecretTypeOpaque,
	data: func(r *renderer) map[string][]byte {
		config := struct {
			Token   string `json:"token"`
			Owner   string `json:"owner,omitempty"`
			BaseURL string `json:"base_url,omitempty"`
		}{Token: r.token.Secret(), Owner: owner(r.token.Repositories)}
		if r.host() != "github.com" {
			config.BaseURL = "https://" + r.host() + "/"
		}
		text, err := json.Marshal(config)
		if err != nil {
			panic("render: three strings have no JSON: " + err.Error())
		}
		return map[string][]byte{"credentials": text}
	},
}

// owner returns the owner of the repositories. A token belongs to one installation, so
// all have the same owner.
func owner(repositories []string) string {
	if len(repositories) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(repositories[0], "/")
	return name
}

// terraformGitCredentials is a file of git's credential store, with which Crossplane's
// provider for Terraform fetches modules (upbound/provider-terraform README.md,
// internal/controller/workspace, gitCredentialsFilename).
var terraformGitCredentials = preset{
	consumer:   "Crossplane",
	secretType: v1.SecretTypeOpaque,
	data: func(r *renderer) map[string][]byte {
		line := url.URL{Scheme: "https", Host: r.host(), User: url.UserPassword(r.token.Login(), r.token.Secret())}
		return map[string][]byte{".git-credentials": []byte(line.String() + "\n")}
	},
}

// basicAuth returns the data of type kubernetes.io/basic-auth.
func basicAuth(r *renderer) map[string][]byte {
	return map[string][]byte{"username": []byte(r.token.Login()), "password": []byte(r.token.Secret())}
}
