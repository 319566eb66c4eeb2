package render

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// forbiddenTypes are the types of Secrets that grant rights in the cluster. They are never
// written, and no policy can allow them.
var forbiddenTypes = []string{"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"}

// checkShape checks what does not need a token. The CustomResourceDefinition has most
// of these rules too; this check refuses an object that is older than a rule, or that
// bypassed the rules.
func checkShape(shape v1.SecretShape) error {
	if slices.Contains(forbiddenTypes, Type(shape)) {
		return usererr.New("secret.type", Type(shape)+" gives power in the cluster and cannot be written", "")
	}
	for _, conflict := range []struct {
		is      bool
		why, do string
	}{
		{shape.Preset != "" && (shape.Type != "" || shape.Template != nil || shape.BasicAuth), "preset decides type and data", "remove type, template and basicAuth, or the preset"},
		{shape.Template != nil && shape.BasicAuth, "template decides the data", "remove basicAuth, or write username and password in the template"},
		{shape.BasicAuth && shape.Type != "" && shape.Type != v1.SecretTypeBasicAuth, "basicAuth makes a Secret of type " + v1.SecretTypeBasicAuth, "remove type"},
	} {
		if conflict.is {
			return usererr.New("secret", conflict.why, conflict.do)
		}
	}
	if err := checkPreset(shape); err != nil {
		return err
	}
	if err := checkKeys(shape); err != nil {
		return err
	}
	return checkMetadata(shape)
}

// checkPreset checks that the preset exists and that the spec has what its consumer
// requires.
func checkPreset(shape v1.SecretShape) error {
	if shape.Preset == "" {
		return nil
	}
	preset, is := presets[shape.Preset]
	if !is {
		return usererr.New("secret.preset", fmt.Sprintf("%q is unknown", shape.Preset), "use one of "+strings.Join(presetNames(), ", "))
	}
	if _, has := shape.ExtraData[preset.needs]; preset.needs != "" && !has {
		return usererr.New("secret.preset "+string(shape.Preset), preset.consumer+" ignores credentials without a URL", "set extraData."+preset.needs)
	}
	return nil
}

// checkKeys checks the keys of the data.
func checkKeys(shape v1.SecretShape) error {
	for field, templates := range map[string]map[string]v1.TemplateText{"template": shape.Template, "extraData": shape.ExtraData} {
		for _, key := range slices.Sorted(maps.Keys(templates)) {
			if problems := validation.IsConfigMapKey(key); problems != nil {
				return usererr.New(fmt.Sprintf("secret.%s: key %q", field, key), problems[0], "")
			}
		}
	}
	return nil
}

// checkMetadata checks labels, and the keys of annotations.
func checkMetadata(shape v1.SecretShape) error {
	for _, key := range slices.Sorted(maps.Keys(shape.Labels)) {
		problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(shape.Labels[key])...)
		if problems != nil {
			return usererr.New(fmt.Sprintf("secret.labels: %q", key), problems[0], "")
		}
		if isOurKey(key) || strings.HasPrefix(key, "app.kubernetes.io/") {
			return usererr.New(fmt.Sprintf("secret.labels: %q", key), "labels below gatepass.dev/ and app.kubernetes.io/ are the operator's own", "choose another name")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(shape.Annotations)) {
		if problems := validation.IsQualifiedName(strings.ToLower(key)); problems != nil {
			return usererr.New(fmt.Sprintf("secret.annotations: %q", key), problems[0], "")
		}
		if isOurKey(key) {
			return usererr.New(fmt.Sprintf("secret.annotations: %q", key), "annotations below gatepass.dev/ are the operator's own", "choose another name")
		}
	}
	return nil
}

// isOurKey reports whether a label or annotation belongs to the operator.
func isOurKey(key string) bool { return strings.HasPrefix(key, v1.Group+"/") }

// required are the keys that a Secret of a type must have.
var required = map[string][]string{
	v1.SecretTypeBasicAuth:        {"username", "password"},
	v1.SecretTypeDockerConfigJSON: {".dockerconfigjson"},
	"kubernetes.io/dockercfg":     {".dockercfg"},
	"kubernetes.io/ssh-auth":      {"ssh-privatekey"},
	"kubernetes.io/tls":           {"tls.crt", "tls.key"},
}

// checkData checks that Kubernetes accepts a Secret of this type with this data, and
// that it is not too large.
func checkData(out Rendered) error {
	size := 0
	for key, value := range out.Data {
		size += len(key) + len(value)
	}
	if size > maxData {
		return usererr.New("secret", "its data has more than 1 MiB", "make it smaller")
	}
	for _, key := range required[out.Type] {
		if _, has := out.Data[key]; !has {
			return usererr.New("secret.type "+out.Type, "the data has no "+key, fmt.Sprintf("set template[%q]", key))
		}
	}
	for _, key := range []string{".dockerconfigjson", ".dockercfg"} {
		isRequired := slices.Contains(required[out.Type], key)
		if isRequired && json.Unmarshal(out.Data[key], &map[string]any{}) != nil {
			return usererr.New(fmt.Sprintf("secret.template[%q]", key), "it does not make a JSON object", "see docs/operator-secrets.md")
		}
	}
	return nil
}
