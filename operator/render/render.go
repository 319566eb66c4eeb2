// Package render makes the content of the Secret of a Token or ClusterToken: its type, its
// data, and the labels and annotations that its spec asks for. The result depends only on
// the arguments.
//
// Users who may write a Token write templates. So templates are untrusted programs: render
// limits what they may call, how long they run and how much they write, and keeps the token
// out of errors and annotations.
package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A Token is what a Secret is made from: the token, and the access that GitHub granted.
// Repositories are owner/name, as in the status of a Token.
type Token struct {
	credential.Token

	Host string // GitHub's host, such as github.com or ghe.example.com:8443; empty means github.com
}

// Rendered is the content of a Secret, without the operator's own labels and
// annotations.
type Rendered struct {
	Type        string
	Data        map[string][]byte
	Labels      map[string]string
	Annotations map[string]string
}

// Render returns the Secret that shape asks for. Its errors are one line and never
// contain the token. All errors but that of a missing token are faults of the spec.
func Render(shape v1.SecretShape, t Token) (Rendered, error) {
	if t.IsZero() {
		return Rendered{}, usererr.New("render a Secret", "there is no token", "")
	}
	rendered, err := (&renderer{token: t}).render(shape)
	return rendered, hideToken(err, t.Secret())
}

// Check returns the error that [Render] would return for a token with as many
// repositories as possible. A permission that the token may lack is not an error.
func Check(shape v1.SecretShape) error {
	_, err := (&renderer{token: largestToken(), lenient: true}).render(shape)
	return err
}

// Type returns the type of the Secret that shape asks for.
func Type(shape v1.SecretShape) string {
	switch {
	case shape.Preset != "":
		return presets[shape.Preset].secretType
	case shape.Type != "":
		return shape.Type
	case shape.BasicAuth:
		return v1.SecretTypeBasicAuth
	}
	return v1.SecretTypeToken
}

// A renderer renders one Secret.
type renderer struct {
	token   Token
	lenient bool // a missing permission is empty instead of an error
	used    usage
}

func (r *renderer) render(shape v1.SecretShape) (Rendered, error) {
	if err := checkShape(shape); err != nil {
		return Rendered{}, err
	}
	out := Rendered{Type: Type(shape), Labels: map[string]string{}, Annotations: map[string]string{}}
	data, err := r.data(shape)
	if err != nil {
		return Rendered{}, err
	}
	out.Data = data
	annotations, err := r.annotations(shape.Annotations)
	if err != nil {
		return Rendered{}, err
	}
	if preset, is := presets[shape.Preset]; is {
		maps.Copy(out.Labels, preset.labels)
		maps.Copy(out.Annotations, preset.annotations(r.host()))
	}
	// Labels and annotations of the spec override those of the preset.
	maps.Copy(out.Labels, shape.Labels)
	maps.Copy(out.Annotations, annotations)
	if err := checkData(out); err != nil {
		return Rendered{}, err
	}
	return out, nil
}

// data returns the Secret's data: from the preset, the template or the default, and
// then extraData.
func (r *renderer) data(shape v1.SecretShape) (map[string][]byte, error) {
	data := map[string][]byte{}
	switch {
	case shape.Preset != "":
		data = presets[shape.Preset].data(r)
	case shape.Template != nil:
		if err := r.fill(data, "secret.template", shape.Template); err != nil {
			return nil, err
		}
	case Type(shape) == v1.SecretTypeBasicAuth:
		data = basicAuth(r)
	default:
		data["token"] = []byte(r.token.Secret())
	}
	return data, r.fill(data, "secret.extraData", shape.ExtraData)
}

// host returns GitHub's host.
func (r *renderer) host() string {
	if r.token.Host == "" {
		return "github.com"
	}
	return r.token.Host
}

// largestToken returns the largest token that is possible.
func largestToken() Token {
	t := credential.NewToken("ghs_"+strings.Repeat("0", 36), time.Unix(0, 0))
	t.Permissions = map[string]string{"contents": "read", "metadata": "read"}
	for range maxRepositories {
		t.Repositories = append(t.Repositories, "owner/repository")
	}
	return Token{Token: t}
}

// hideToken returns err, or an error without a reason if the reason contains the token.
func hideToken(err error, token string) error {
	if err == nil || !containsToken([]byte(err.Error()), token) {
		return err
	}
	return usererr.New("render a Secret", "the reason contains the token and is not shown", "")
}

// containsToken reports whether text contains the token, plain or as a template function
// encodes it.
func containsToken(text []byte, token string) bool {
	for _, form := range []string{token, url.QueryEscape(token), base64.StdEncoding.EncodeToString([]byte(token))} {
		if bytes.Contains(text, []byte(form)) {
			return true
		}
	}
	return false
}

// Digest returns 32 hex digits that change when the shape changes. An absent field and
// an empty one are the same. The digest is the same in every process, and in every
// version that knows all fields of the shape: the order in which Go declares the fields
// does not matter.
func Digest(shape v1.SecretShape) string {
	sum := sha256.Sum256(sorted(shape))
	return hex.EncodeToString(sum[:16])
}

// sorted returns the shape as JSON with its fields in alphabetical order.
func sorted(shape v1.SecretShape) []byte {
	text, err := json.Marshal(shape)
	if err != nil {
		panic("render: a shape of strings, maps and a bool has no JSON: " + err.Error())
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		panic("render: JSON of our own is not read: " + err.Error())
	}
	text, err = json.Marshal(fields)
	if err != nil {
		panic("render: a map of JSON values has no JSON: " + err.Error())
	}
	return text
}
