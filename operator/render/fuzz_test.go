package render_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
)

// FuzzRender runs templates and repositories of strangers: a result is within Kubernetes'
// limits, an error is one line without the token, and neither takes long.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"{{ .Token }}", "{{ range .Repositories }}{{ b64enc . | toJson }}{{ end }}", "{{ with . }}{{ .Token | urlquery }}{{ end }}",
		"{{ index .Permissions `contents` | default .Username }}", "{{ define `x` }}{{ template `x` }}{{ end }}", "{{ range 9999999 }}x{{ end }}",
		"{{ $x := .Token }}{{ $x = toJson $x }}{{ eq $x .Token }}", "{{ if and .Token (not .Username) }}{{ else if len .Token }}y{{ end }}", "{{ $ = 1 }}",
	} {
		f.Add(seed, "acme/api")
	}
	f.Add("{{ toJson .Repositories }}", "\x00\"\\\n../{{ .Token }}")
	f.Fuzz(func(t *testing.T, template, repository string) {
		tok := token()
		tok.Repositories = []string{repository, repository}
		shape := v1.SecretShape{Template: templates(template), ExtraData: map[string]v1.TemplateText{"b": v1.TemplateText(template)}}
		checkFuzzed(t, shape, tok)
		checkFuzzed(t, v1.SecretShape{Annotations: map[string]string{"x": template}}, tok)
		for name, shape := range presets {
			shape.Preset = name
			checkFuzzed(t, shape, tok)
		}
	})
}

func checkFuzzed(t *testing.T, shape v1.SecretShape, tok render.Token) {
	t.Helper()
	start := time.Now()
	got, err := render.Render(shape, tok)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Render takes %v", took)
	}
	if err != nil && (strings.Contains(err.Error(), text) || strings.ContainsAny(err.Error(), "\n\r\x00")) {
		t.Errorf("Render fails with %q", err)
	}
	size := 0
	for key, value := range got.Data {
		size += len(key) + len(value)
	}
	if size > 1<<20 {
		t.Errorf("the data has %d bytes", size)
	}
	for key, value := range got.Annotations {
		if strings.Contains(value, text) {
			t.Errorf("annotation %s has the token", key)
		}
	}
}
