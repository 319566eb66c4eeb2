package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var toBroker = bases{
	{"https://api.github.com", "https://gate.example:8443/api/v3"},
	{"https://uploads.github.com", "https://gate.example:8443/api/uploads"},
}

func led(t testing.TB, r io.Reader, bs bases) string {
	t.Helper()
	var out bytes.Buffer
	l := newJSONRewriter(&out, bs)
	if _, err := io.Copy(l, r); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestURLsInJSONLeadBack(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"url", `{"url":"https://api.github.com/repos/o/r"}`, `{"url":"https://gate.example:8443/api/v3/repos/o/r"}`},
		{"another name that ends so", `{"archive_download_url" : "https://api.github.com/x"}`, `{"archive_download_url" : "https://gate.example:8443/api/v3/x"}`},
		{"uploads", `{"upload_url":"https://uploads.github.com/a{?name,label}"}`, `{"upload_url":"https://gate.example:8443/api/uploads/a{?name,label}"}`},
		{"the base alone", `{"url":"https://api.github.com"}`, `{"url":"https://gate.example:8443/api/v3"}`},
		{"a template behind the base", `{"url":"https://api.github.com{/o}"}`, `{"url":"https://gate.example:8443/api/v3{/o}"}`},
		{"escaped slashes", `{"url":"https:\/\/api.github.com\/x\/y"}`, `{"url":"https://gate.example:8443/api/v3\/x\/y"}`},
		{"deep inside", `[{"a":[[{"b":{"jobs_url":"https://api.github.com/j"}}]]}]`, `[{"a":[[{"b":{"jobs_url":"https://gate.example:8443/api/v3/j"}}]]}]`},
		{"behind a string that ends with an escape", `{"x":"\\","url":"https://api.github.com/x"}`, `{"x":"\\","url":"https://gate.example:8443/api/v3/x"}`},
		{"behind an escaped quote", `{"x":"a\"","url":"https://api.github.com/x"}`, `{"x":"a\"","url":"https://gate.example:8443/api/v3/x"}`},
	} {
		if got := led(t, strings.NewReader(c.in), toBroker); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if got := led(t, iotest.OneByteReader(strings.NewReader(c.in)), toBroker); got != c.want {
			t.Errorf("%s, byte by byte: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestEverythingElseInJSONStays(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"a host that begins so", `{"url":"https://api.github.com.evil.example/x"}`},
		{"a port", `{"url":"https://api.github.com:444/x"}`},
		{"the page of a pull request", `{"html_url":"https://github.com/o/r/pull/1"}`},
		{"text of people", `{"body":"see https://api.github.com/x"}`},
		{"text that is one URL", `{"body":"https://api.github.com/x"}`},
		{"text that looks like JSON", `{"body":"\"url\":\"https://api.github.com/x\""}`},
		{"a key that ends otherwise", `{"urls":"https://api.github.com/x","curl":"https://api.github.com/x","URL":"https://api.github.com/x"}`},
		{"a list below such a key", `{"url":["https://api.github.com/x"]}`},
		{"an object below such a key", `{"url":{"a":"https://api.github.com/x"}}`},
		{"strings of a list", `["url","https://api.github.com/x"]`},
		{"null", `{"url":null,"x":"https://api.github.com/x"}`},
		{"a URL later in the value", `{"url":"x https://api.github.com/x"}`},
		{"a unicode escape in the base", `{"url":"https:\u002f\u002fapi.github.com/x"}`},
		{"an escape where the base ends", `{"url":"https://api.github.com\u002fx"}`},
		{"an escape and the end", `{"url":"https://api\\"}`},
		{"huge numbers", `{"id":123456789012345678901234567890.5e+1000,"url":-0.0}`},
		{"unicode", `{"body":"\ud83d\ude00 ü \u0000"}`},
		{"blanks", " {\r\n\t\"a\" : [ 1 , 2 ] } \n"},
		{"a cut off URL", `{"url":"https://api.gith`},
		{"a cut off escape", `{"url":"https:\`},
		{"a page", `<a href="https://api.github.com/x">`},
		{"nothing", ``},
	} {
		if got := led(t, strings.NewReader(c.in), toBroker); got != c.in {
			t.Errorf("%s: %s, want %s", c.name, got, c.in)
		}
		if got := led(t, iotest.OneByteReader(strings.NewReader(c.in)), toBroker); got != c.in {
			t.Errorf("%s, byte by byte: %s, want %s", c.name, got, c.in)
		}
	}
}

// A list of 50 MB is copied in pieces: it needs the memory of one buffer, and linear
// time even if every other byte is a backslash.
func TestLargeAnswersAreCopiedInPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("moves large answers")
	}
	item := `{"url":"https://api.github.com/x","n":1234567890123456789012,"body":"` + strings.Repeat(`\n\"`, 250) + `"},`
	n := 50 << 20 / len(item)
	var out lengthWriter
	l := newJSONRewriter(&out, toBroker)
	allocated := testing.AllocsPerRun(1, func() {
		for range n / 2 {
			if _, err := io.WriteString(l, item); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	longer := len(toBroker[0].to) - len(toBroker[0].from)
	if want := n / 2 * 2 * (len(item) + longer); out.n != want {
		t.Errorf("%d bytes came out, want %d", out.n, want)
	}
	if perItem := allocated / float64(n/2); perItem > 2 { // from io.WriteString
		t.Errorf("%.1f allocations for each item, want none of the copy", perItem)
	}
}

type lengthWriter struct{ n int }

func (w *lengthWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

// GraphQL answers 200 to what it refuses, so the errors in its answer are looked for.
func TestErrorsOfGraphQLAreSeen(t *testing.T) {
	for _, c := range []struct {
		in   string
		want bool
	}{
		{`{"data":null,"errors":[{"message":"no"}]}`, true},
		{` { "errors" : [] }`, true},
		{`{"data":{"errors":[1]}}`, false},
		{`{"data":{"a":[{"b":{}}]},"errors":[]}`, true},
		{`[{"errors":1}]`, false},
		{`{"data":"errors"}`, false},
		{`{"data":{"body":"}\"errors\":"}}`, false},
		{`{"nerrors":1,"errors2":1}`, false},
	} {
		l := newJSONRewriter(io.Discard, toBroker)
		if _, err := io.Copy(l, iotest.OneByteReader(strings.NewReader(c.in))); err != nil {
			t.Fatal(err)
		}
		if l.hasErrors != c.want {
			t.Errorf("%s: errors seen: %v, want %v", c.in, l.hasErrors, c.want)
		}
	}
}

func TestLinksLeadBack(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{
			"pages", `<https://api.github.com/repositories/1/issues?page=2>; rel="next", <https://api.github.com/repositories/1/issues?page=5>; rel="last"`,
			`<https://gate.example:8443/api/v3/repositories/1/issues?page=2>; rel="next", <https://gate.example:8443/api/v3/repositories/1/issues?page=5>; rel="last"`,
		},
		{"the base alone", `<https://api.github.com>; rel="self"`, `<https://gate.example:8443/api/v3>; rel="self"`},
		{"another host", `<https://api.github.com.example/x>; rel="next"`, `<https://api.github.com.example/x>; rel="next"`},
		{"no link", `https://api.github.com/x`, `https://api.github.com/x`},
		{"nothing", ``, ``},
	} {
		if got := toBroker.rewriteLinks(c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzJSON checks, for valid documents cut into any pieces, that they stay valid and
// that only the URLs of URL keys change.
func FuzzJSON(f *testing.F) {
	f.Add(`{"url":"https://api.github.com/x","a_url":["https://api.github.com"],"b":"\"url\""}`, 3)
	f.Add(`[{"x_url":"https:\/\/api.github.com\/"},1e400,"\u0075rl",{"url" :"https://uploads.github.com{?a}"}]`, 1)
	f.Fuzz(func(t *testing.T, in string, size int) {
		if size <= 0 || size > 64 || !json.Valid([]byte(in)) {
			return
		}
		got := led(t, &pieces{in, size}, toBroker)
		if !json.Valid([]byte(got)) {
			t.Fatalf("%q became %q", in, got)
		}
		if want := reference(in); got != want {
			t.Fatalf("%q became %q, want %q", in, got, want)
		}
	})
}

// pieces reads text in pieces of a fixed size.
type pieces struct {
	text string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// reference does the same with another JSON reader: encoding/json finds the strings and
// keys.
func reference(in string) string {
	d := json.NewDecoder(strings.NewReader(in))
	d.UseNumber()
	var out strings.Builder
	var isObject, isKey []bool // of the open objects and lists
	at, key := 0, ""
	for {
		token, err := d.Token()
		if err != nil {
			out.WriteString(in[at:])
			return out.String()
		}
		end := int(d.InputOffset())
		text, top := in[at:end], len(isObject)-1
		at = end
		begin := strings.IndexByte(text, '"')
		isString := begin >= 0
		isValue := isString && top >= 0 && isObject[top] && !isKey[top]
		switch {
		case isString && top >= 0 && isObject[top] && isKey[top]:
			key = text[begin+1 : len(text)-1]
		case isValue && (key == "url" || strings.HasSuffix(key, "_url")):
			text = text[:begin] + leadRaw(text[begin:])
		}
		out.WriteString(text)
		if top >= 0 && isObject[top] {
			isKey[top] = !isKey[top]
		}
		switch token {
		case json.Delim('{'):
			isObject, isKey = append(isObject, true), append(isKey, true)
		case json.Delim('['):
			isObject, isKey = append(isObject, false), append(isKey, false)
		case json.Delim('}'), json.Delim(']'):
			isObject, isKey = isObject[:top], isKey[:top]
			if top > 0 && isObject[top-1] {
				isKey[top-1] = true
			}
		}
	}
}

// leadRaw replaces the base in a quoted string.
func leadRaw(quoted string) string {
	for _, b := range toBroker {
		for i := range quoted {
			plain := strings.ReplaceAll(quoted[1:i+1], `\/`, `/`)
			rest := quoted[i+1:]
			if plain == b.from && (rest == `"` || isBoundary(rest[0]) || strings.HasPrefix(rest, `\/`)) {
				return `"` + b.to + rest
			}
		}
	}
	return quoted
}
