package render_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
)

// text is a token as GitHub makes them.
const text = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"

// token returns a token for two repositories.
func token() render.Token {
	t := credential.NewToken(text, time.Date(2026, 11, 30, 9, 0, 0, 0, time.FixedZone("CET", 3600)))
	t.Repositories = []string{"acme/api", "acme/web"}
	t.Permissions = map[string]string{"contents": "read", "metadata": "read"}
	return render.Token{Token: t}
}

// templates are those of one key.
func templates(texts ...string) map[string]v1.TemplateText {
	out := map[string]v1.TemplateText{}
	for i, text := range texts {
		out[string(rune('a'+i))] = v1.TemplateText(text)
	}
	return out
}

func TestShapes(t *testing.T) {
	basicAuth := map[string]string{"username": "x-access-token", "password": text}
	docker := `{"auths":{"ghcr.io":{"auth":"{{ b64enc .Username ":" .Token }}"}}}`
	for name, c := range map[string]struct {
		shape    v1.SecretShape
		wantType string
		want     map[string]string
	}{
		"nothing said":            {v1.SecretShape{}, "gatepass.dev/token", map[string]string{"token": text}},
		"basic auth":              {v1.SecretShape{BasicAuth: true}, "kubernetes.io/basic-auth", basicAuth},
		"the type of basic auth":  {v1.SecretShape{Type: "kubernetes.io/basic-auth"}, "kubernetes.io/basic-auth", basicAuth},
		"another type":            {v1.SecretShape{Type: "Opaque"}, "Opaque", map[string]string{"token": text}},
		"a template":              {v1.SecretShape{Template: templates("{{ .Token }}")}, "gatepass.dev/token", map[string]string{"a": text}},
		"a template with a type":  {v1.SecretShape{Type: "Opaque", Template: templates("t={{ .Token }}")}, "Opaque", map[string]string{"a": "t=" + text}},
		"a key that has a dot":    {v1.SecretShape{Template: map[string]v1.TemplateText{".netrc": "{{ .Username }}"}}, "gatepass.dev/token", map[string]string{".netrc": "x-access-token"}},
		"more beside the default": {v1.SecretShape{ExtraData: templates("{{ .ExpiresAt }}")}, "gatepass.dev/token", map[string]string{"token": text, "a": "2026-11-30T08:00:00Z"}},
		"a registry": {
			v1.SecretShape{Type: "kubernetes.io/dockerconfigjson", Template: map[string]v1.TemplateText{".dockerconfigjson": v1.TemplateText(docker)}},
			"kubernetes.io/dockerconfigjson",
			map[string]string{".dockerconfigjson": `{"auths":{"ghcr.io":{"auth":"eC1hY2Nlc3MtdG9rZW46Z2hzXzE2QzdlNDJGMjkyYzY5MTJFNzcxMGM4MzgzNDdBZTE3OEI0YQ=="}}}`},
		},
	} {
		got, err := render.Render(c.shape, token())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data := map[string]string{}
		for key, value := range got.Data {
			data[key] = string(value)
		}
		if got.Type != c.wantType || !maps.Equal(data, c.want) {
			t.Errorf("%s: Render = %s %q, want %s %q", name, got.Type, data, c.wantType, c.want)
		}
		if of := render.Type(c.shape); of != c.wantType {
			t.Errorf("%s: Type = %s, want %s", name, of, c.wantType)
		}
		if err := render.Check(c.shape); err != nil {
			t.Errorf("%s: Check = %v", name, err)
		}
	}
}

func TestTemplates(t *testing.T) {
	for template, want := range map[string]string{
		"plain":                                              "plain",
		"":                                                   "",
		"{{/* nothing */}}":                                  "",
		"{{ .Username }}:{{ .Token }}":                       "x-access-token:" + text,
		"{{ .Repositories | toJson }}":                       `["acme/api","acme/web"]`,
		"{{ toJson .Permissions }}":                          `{"contents":"read","metadata":"read"}`,
		"{{ .Permissions.contents }}":                        "read",
		"{{ len .Repositories }}":                            "2",
		"{{ index .Repositories 1 }}":                        "acme/web",
		"{{ urlquery `a b` `/c` }}":                          "a+b%2Fc",
		"{{ b64enc `user:pass` }}":                           "dXNlcjpwYXNz",
		"{{ toJson `<a&b>` }}":                               `"<a&b>"`,
		"{{ `` | default `x` }}":                             "x",
		"{{ .Username | default `x` }}":                      "x-access-token",
		"{{ with .Permissions }}{{ .metadata }}{{ end }}":    "read",
		"{{ index .Permissions `issues` | default `none` }}": "none",

		"{{ if eq .Username `git` }}git{{ else }}other{{ end }}":                                     "other",
		"{{ range .Repositories }}[{{ . }}:{{ $.Username }}]{{ end }}":                               "[acme/api:x-access-token][acme/web:x-access-token]",
		"{{ range $i, $r := .Repositories }}{{ if $i }},{{ end }}{{ $r }}{{ end }}":                  "acme/api,acme/web",
		"{{ range $name, $level := $.Permissions }}{{ $name }}={{ $level }};{{ end }}":               "contents=read;metadata=read;",
		"{{ range .Repositories }}{{ break }}{{ end }}{{ range .Permissions }}{{ . }} {{ end }}done": "read read done",
	} {
		got, err := render.Render(v1.SecretShape{Template: templates(template)}, token())
		if err != nil || string(got.Data["a"]) != want {
			t.Errorf("%s = %q, %v, want %q", template, got.Data["a"], err, want)
		}
		if err := render.Check(v1.SecretShape{Template: templates(template)}); err != nil {
			t.Errorf("Check(%s) = %v", template, err)
		}
	}
}

// Errors say what to write, on one line, and never show the token.
func TestTemplatesThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 16000)
	for template, want := range map[string]string{
		"{{ .Token":                       "unclosed action",
		"{{ .Secret }}":                   ".Secret is unknown; templates have .Token, .ExpiresAt, .Permissions, .Repositories, .Username",
		"{{ $.Secret }}":                  ".Secret is unknown",
		"{{ .Username.Name }}":            "can't evaluate field Name",
		"{{ .ExpiresAt.Unix }}":           "can't evaluate field Unix",
		"{{ .Permissions.issues }}":       `map has no entry for key "issues"`,
		"{{ index .Repositories 600 }}":   "index out of range",
		"{{ env `HOME` }}":                `function "env" not defined`,
		"{{ printf `%0999999999d` 1 }}":   "the function printf is unknown; templates have b64enc, default, toJson, urlquery, and, or, not, eq, ne, len, index",
		"{{ print .Token .Token }}":       "the function print is unknown",
		"{{ println .Token }}":            "the function println is unknown",
		"{{ html .Token }}":               "the function html is unknown",
		"{{ js .Token }}":                 "the function js is unknown",
		"{{ call .Token }}":               "the function call is unknown",
		"{{ slice .Token 1 3 }}":          "the function slice is unknown",
		"{{ (lt .Token `x`) }}":           "the function lt is unknown",
		"{{ range 1000000000 }}{{ end }}": "range is over .Repositories or .Permissions, not over 1000000000",
		"{{ range .Token }}{{ end }}":     "range is over .Repositories or .Permissions",
		"{{ range len .Token }}{{ end }}": "range is over .Repositories or .Permissions",
		"{{ range .Repositories }}{{ range $.Repositories }}{{ end }}{{ end }}":                        "a range cannot have another one inside",
		"{{ with .Token }}{{ range . }}{{ end }}{{ end }}":                                             "range is over .Repositories or .Permissions",
		"{{ $x := .Token }}{{ range $x }}{{ end }}":                                                    "range is over .Repositories or .Permissions",
		"{{ $ = .Token }}{{ range $.Repositories }}{{ end }}":                                          "$ is all of the data and cannot be set; name the variable",
		"{{ define `x` }}{{ template `x` }}{{ end }}{{ template `x` }}":                                "define and block are not supported; write the text where it is used",
		"{{ block `x` . }}{{ end }}":                                                                   "define and block are not supported; write the text where it is used",
		"{{ template `x` }}":                                                                           "is not supported; templates have if, else, with, range and variables",
		"{{ range .Repositories }}" + long + "{{ end }}":                                               "the Secret has more than 1 MiB",
		"{{ range .Repositories }}" + strings.Repeat("{{ . }}", 100) + "{{ end }}":                     "take more than 50000 steps",
		"{{ $x := `" + strings.Repeat("%", 1000) + "` }}" + strings.Repeat("{{ $x = b64enc $x }}", 60): "its functions return more than 4 MiB",
	} {
		shape := v1.SecretShape{Template: templates(template)}
		many := token()
		many.Repositories = slices.Repeat(many.Repositories, 250)
		_, err := render.Render(shape, many)
		wantRefused(t, template, err, want)
		if !strings.Contains(template, "issues") { // a token may have that permission
			wantRefused(t, "Check "+template, render.Check(shape), want)
		}
	}
}

func wantRefused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if len(what) > 100 {
		what = what[:100]
	}
	switch {
	case err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("%s: error is %v, want %q in it", what, err, want)
	case strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500:
		t.Errorf("%s: error has the token, two lines or too much: %v", what, err)
	}
}

// All templates of a Secret share one limit, or fifty keys would take fifty times as long.
func TestLimitsAreForTheWholeSecret(t *testing.T) {
	shape := v1.SecretShape{Template: map[string]v1.TemplateText{}, ExtraData: map[string]v1.TemplateText{}}
	body := v1.TemplateText("{{ range .Repositories }}" + strings.Repeat("y", 1200) + "{{ end }}")
	shape.Template["a"] = body
	if err := render.Check(shape); err != nil {
		t.Fatal(err)
	}
	shape.ExtraData["b"] = body
	wantRefused(t, "two keys", render.Check(shape), "the Secret has more than 1 MiB")
	steps := v1.TemplateText("{{ range .Repositories }}" + strings.Repeat("{{.}}", 20) + "{{ end }}")
	shape = v1.SecretShape{Template: map[string]v1.TemplateText{"a": steps}, Annotations: map[string]string{"b": string(steps)}}
	wantRefused(t, "a key and an annotation", render.Check(shape), "take more than 50000 steps")
}

// Everybody who may look at a Secret's metadata sees its annotations.
func TestAnnotations(t *testing.T) {
	got, err := render.Render(v1.SecretShape{Annotations: map[string]string{
		"tekton.dev/git-0": "https://github.com",
		"acme/about":       "{{ len .Repositories }} repositories until {{ .ExpiresAt }}",
		"acme/empty":       "",
	}}, token())
	want := map[string]string{
		"tekton.dev/git-0": "https://github.com",
		"acme/about":       "2 repositories until 2026-11-30T08:00:00Z",
		"acme/empty":       "",
	}
	if err != nil || !maps.Equal(got.Annotations, want) {
		t.Errorf("Render = %q, %v, want %q", got.Annotations, err, want)
	}
	for _, template := range []string{"{{ .Token }}", "{{ $.Token }}", "{{ b64enc .Token }}", "{{ with $ }}{{ .Token }}{{ end }}", "{{ with . }}{{ toJson .Token }}{{ end }}"} {
		_, err := render.Render(v1.SecretShape{Annotations: map[string]string{"acme/x": template}}, token())
		wantRefused(t, template, err, "oken")
	}
	// The old token is known to its owner, and may be the same as the new one where a
	// Secret is rendered again.
	_, err = render.Render(v1.SecretShape{Annotations: map[string]string{"acme/x": "see " + text}}, token())
	wantRefused(t, "the token's text", err, "an annotation cannot hold the token")
	_, err = render.Render(v1.SecretShape{Annotations: map[string]string{"acme/x": strings.Repeat("z", 130<<10)}}, token())
	wantRefused(t, "a long annotation", err, "the annotations have more than 128 KiB")
}

func TestShapesThatAreRefused(t *testing.T) {
	basic := v1.SecretTypeBasicAuth
	for want, shape := range map[string]v1.SecretShape{
		"secret.type: kubernetes.io/service-account-token gives power in the cluster and cannot be written": {Type: "kubernetes.io/service-account-token"},
		"secret.type: bootstrap.kubernetes.io/token gives power in the cluster and cannot be written":       {Type: "bootstrap.kubernetes.io/token", Template: templates("x")},
		"preset decides type and data; remove type, template and basicAuth, or the preset":                  {Preset: v1.PresetFlux, Type: "Opaque"},
		"secret: preset decides":                                                                   {Preset: v1.PresetFlux, BasicAuth: true},
		"secret: template decides the data; remove basicAuth":                                      {BasicAuth: true, Template: templates("x")},
		"basicAuth makes a Secret of type kubernetes.io/basic-auth; remove type":                   {BasicAuth: true, Type: "Opaque"},
		`secret.preset: "jenkins" is unknown; use one of argocd-repo-creds, argocd-repository, `:   {Preset: "jenkins"},
		"Argo CD ignores credentials without a URL; set extraData.url":                             {Preset: v1.PresetArgoCDRepository},
		"secret.preset argocd-repo-creds: Argo CD ignores":                                         {Preset: v1.PresetArgoCDRepoCreds, ExtraData: templates("x")},
		"secret.preset kargo: Kargo ignores credentials without a URL; set extraData.repoURL":      {Preset: v1.PresetKargo},
		`secret.extraData["token"]: the Secret has this key already`:                               {ExtraData: map[string]v1.TemplateText{"token": "x"}},
		`secret.extraData["password"]: the Secret has this key already`:                            {Preset: v1.PresetFlux, ExtraData: map[string]v1.TemplateText{"password": "x"}},
		`secret.type kubernetes.io/basic-auth: the data has no username; set template["username"]`: {Type: basic, Template: templates("x")},
		`secret.type kubernetes.io/tls: the data has no tls.crt`:                                   {Type: "kubernetes.io/tls"},
		`secret.template[".dockerconfigjson"]: it does not make a JSON object`:                     {Type: v1.SecretTypeDockerConfigJSON, Template: map[string]v1.TemplateText{".dockerconfigjson": "{{ .Token }}"}},
		`secret.template: key "a/b": a valid config key must consist of`:                           {Template: map[string]v1.TemplateText{"a/b": "x"}},
		`secret.labels: "x y": `:                                                                     {Labels: map[string]string{"x y": "z"}},
		`secret.labels: "x": a valid label must be`:                                                  {Labels: map[string]string{"x": "no spaces"}},
		`secret.labels: "gatepass.dev/owner-kind": labels below`:                                     {Labels: map[string]string{"gatepass.dev/owner-kind": "Token"}},
		`secret.labels: "app.kubernetes.io/instance": labels below`:                                  {Labels: map[string]string{"app.kubernetes.io/instance": "x"}},
		`secret.annotations: "gatepass.dev/adopt": annotations below gatepass.dev/ are the operator`: {Annotations: map[string]string{"gatepass.dev/adopt": "x"}},
		`secret.annotations: "x y": `:                                                                {Annotations: map[string]string{"x y": "z"}},
	} {
		_, err := render.Render(shape, token())
		wantRefused(t, want, err, want)
		wantRefused(t, "Check: "+want, render.Check(shape), want)
	}
	_, err := render.Render(v1.SecretShape{}, render.Token{})
	wantRefused(t, "no token", err, "there is no token")
}

// A made-up token cannot know what the real one may do.
func TestCheckForgivesAMissingPermission(t *testing.T) {
	shape := v1.SecretShape{Template: templates("{{ .Permissions.issues }}")}
	if err := render.Check(shape); err != nil {
		t.Error(err)
	}
}

// A Secret is rendered again after every change by another writer, and the result must
// be the same.
func TestRenderIsAFunction(t *testing.T) {
	shape := v1.SecretShape{Preset: v1.PresetTekton, ExtraData: templates("{{ toJson .Permissions }}", "{{ range .Permissions }}{{ . }}{{ end }}")}
	first, err := render.Render(shape, token())
	if err != nil {
		t.Fatal(err)
	}
	first.Annotations["changed"] = "by the caller"
	for range 50 {
		again, err := render.Render(shape, token())
		delete(first.Annotations, "changed")
		if err != nil || fmt.Sprint(again) != fmt.Sprint(first) {
			t.Fatalf("Render = %v, %v, want %v", again, err, first)
		}
	}
}

func TestDigest(t *testing.T) {
	shape := v1.SecretShape{Name: "x", Labels: map[string]string{"a": "b", "c": "d"}, ExtraData: templates("{{ .Token }}")}
	// Secrets carry the digest: another one for the same shape writes them all again.
	if got, want := render.Digest(shape), "2f71cd0d6ca2b94d949f15f64c0b5be2"; got != want {
		t.Errorf("Digest = %s, want %s", got, want)
	}
	seen := map[string]string{render.Digest(v1.SecretShape{}): "nothing"}
	for name, text := range map[string]string{
		"name": `{"name":"a"}`, "labels": `{"labels":{"a":"b"}}`, "annotations": `{"annotations":{"a":"b"}}`, "basicAuth": `{"basicAuth":true}`,
		"type": `{"type":"Opaque"}`, "template": `{"template":{"a":"b"}}`, "extraData": `{"extraData":{"a":"b"}}`, "preset": `{"preset":"flux"}`,
	} {
		var one v1.SecretShape
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			t.Fatal(err)
		}
		if same, is := seen[render.Digest(one)]; is {
			t.Errorf("the digests of %s and %s are the same", name, same)
		}
		seen[render.Digest(one)] = name
	}
	if render.Digest(v1.SecretShape{Labels: map[string]string{}}) != render.Digest(v1.SecretShape{}) {
		t.Error("no labels and an absent map of labels have two digests")
	}
}
