package render

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"text/template"
)

// maxReturned is how many bytes the functions of one Secret's templates may return
// together. Each of them makes its argument longer, so that a chain of them would
// otherwise grow without end.
const maxReturned = 4 << 20

// kept are Go's own functions that templates may call. The others are left out: call
// runs functions, print, printf and println make texts of any length ("%1000000000d"),
// html and js escape for places where a Secret is never read, slice cuts tokens, and
// lt, le, gt and ge compare what has no order.
var kept = []string{"and", "or", "not", "eq", "ne", "len", "index"}

// functions are b64enc, urlquery, toJson and default. The first two join their arguments,
// as in {{ b64enc .Username ":" .Token }}: nothing else here joins texts. What functions
// return is counted.
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

// count returns text, or an error when the functions have returned too much.
func (r *renderer) count(text string) (string, error) {
	if r.spent.returned += len(text); r.spent.returned > maxReturned {
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

// isEmpty reports whether a value is nothing, zero, false, or has the length 0.
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
