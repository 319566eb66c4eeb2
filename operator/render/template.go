package render

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Limits of one Secret. Kubernetes takes 1 MiB of data and 256 KiB of annotations;
// annotations of the operator and of others have to fit as well.
const (
	maxData        = 1 << 20
	maxAnnotations = 128 << 10
)

// usage is what all templates of one Secret have used up together.
type usage struct {
	steps       int // see maxSteps
	returned    int // bytes that functions returned, see maxReturned
	data        int
	annotations int
}

// public is the data of an annotation's template.
type public struct {
	Username     string
	ExpiresAt    string // RFC 3339, UTC; a string, because a time.Time has methods that a template could call
	Repositories []string
	Permissions  map[string]string
}

// private is the data of a key's template.
type private struct {
	public
	Token string
}

func (r *renderer) public() public {
	seen := public{
		Username:     r.token.Login(),
		ExpiresAt:    r.token.Expiry.UTC().Format(time.RFC3339),
		Repositories: r.token.Repositories,
		Permissions:  r.token.Permissions,
	}
	if seen.Repositories == nil {
		seen.Repositories = []string{}
	}
	if seen.Permissions == nil {
		seen.Permissions = map[string]string{}
	}
	return seen
}

// fill adds the output of templates to data. A key that exists already is an error.
func (r *renderer) fill(data map[string][]byte, field string, templates map[string]v1.TemplateText) error {
	seen := private{r.public(), r.token.Secret()}
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		name := fmt.Sprintf("%s[%q]", field, key)
		if _, is := data[key]; is {
			return usererr.New(name, "the Secret has this key already", "choose another key, or write the whole Secret with template")
		}
		output := &limited{left: &r.used.data, limit: maxData, what: "the Secret has more than 1 MiB"}
		if err := r.execute(name, string(templates[key]), privateFields, seen, output); err != nil {
			return err
		}
		data[key] = output.text
	}
	return nil
}

// annotations returns annotations with their templates filled. An annotation
// that contains the token is an error: every user who may read the Secret's metadata sees
// annotations.
func (r *renderer) annotations(templates map[string]string) (map[string]string, error) {
	out := map[string]string{}
	seen := r.public()
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		name := fmt.Sprintf("secret.annotations[%q]", key)
		output := &limited{left: &r.used.annotations, limit: maxAnnotations, what: "the annotations have more than 128 KiB"}
		if err := r.execute(name, templates[key], publicFields, seen, output); err != nil {
			return nil, err
		}
		if containsToken(output.text, r.token.Secret()) {
			return nil, usererr.New(name, "an annotation cannot hold the token", "write it into template or extraData")
		}
		out[key] = string(output.text)
	}
	return out, nil
}

// execute runs one template.
func (r *renderer) execute(name, text string, fields []string, seen any, output *limited) error {
	missing := "missingkey=error"
	if r.lenient {
		missing = "missingkey=zero"
	}
	t, err := template.New("").Option(missing).Funcs(r.functions()).Parse(text)
	if err != nil {
		return usererr.New(name, reason(err), "see docs/operator-secrets.md")
	}
	if err := r.checkProgram(t, fields); err != nil {
		return usererr.Wrap(name, err, "")
	}
	if t.Tree == nil { // the template has only comments
		return nil
	}
	if err := t.Execute(output, seen); err != nil {
		return usererr.New(name, reason(err), "see docs/operator-secrets.md")
	}
	return nil
}

// reason returns text/template's message without the name of the template.
func reason(err error) string {
	if limit := (*limitError)(nil); errors.As(err, &limit) {
		return limit.what
	}
	text := strings.Replace(err.Error(), "template: :", "line ", 1)
	return usererr.Cut(strings.ReplaceAll(text, `executing "" at `, "at "), 300)
}

// limited collects a template's output until all templates of the Secret together have
// written more than limit bytes.
type limited struct {
	text  []byte
	left  *int // bytes written so far, shared by all
	limit int
	what  string
}

// Write returns a limitError and writes nothing if the limit is reached.
func (l *limited) Write(text []byte) (int, error) {
	if *l.left += len(text); *l.left > l.limit {
		return 0, &limitError{l.what}
	}
	l.text = append(l.text, text...)
	return len(text), nil
}

// limitError reports that a template exceeded a limit.
type limitError struct{ what string }

func (e *limitError) Error() string { return e.what }

// maxReturned is how many bytes the functions of one Secret's templates may return
// together. Each call may make its argument longer, so a chain of calls would otherwise
// grow without limit.
const maxReturned = 4 << 20

// allowedFunctions are Go's own functions that templates may call. The others are left out: call
// runs functions; print, printf and println make texts of any length ("%1000000000d");
// html and js escape for places where a Secret is never used; slice cuts tokens; and
// lt, le, gt and ge compare values that have no order.
var allowedFunctions = []string{"and", "or", "not", "eq", "ne", "len", "index"}

// functions are b64enc, urlquery, toJson and default. The first two join their
// arguments, as in {{ b64enc .Username ":" .Token }}; no other function joins texts.
// The bytes that functions return are counted.
func (r *renderer) functions() template.FuncMap {
	return template.FuncMap{
		"b64enc": func(texts ...string) (string, error) {
			return r.count(base64.StdEncoding.EncodeToString([]byte(strings.Join(texts, ""))))
		},
		"urlquery": func(texts ...string) (string, error) { return r.count(url.QueryEscape(strings.Join(texts, ""))) },
		"toJson": func(value any) (string, error) {
			text, err := toJSON(value)
			if err != nil {
				return "", err
			}
			return r.count(text)
		},
		"default": func(fallback, value any) any {
			if isEmpty(value) {
				return fallback
			}
			return value
		},
	}
}

// count returns text, or an error if the functions have returned too much.
func (r *renderer) count(text string) (string, error) {
	if r.used.returned += len(text); r.used.returned > maxReturned {
		return "", &limitError{"its functions return more than 4 MiB"}
	}
	return text, nil
}

// toJSON writes a value on one line, with < > and & as they are.
func toJSON(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(out.Bytes(), []byte("\n"))), nil
}

// isEmpty reports whether a value is nil, zero, false, or has length 0.
func isEmpty(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}
