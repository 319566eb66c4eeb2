package credential

import (
	"strings"
	"testing"
)

func TestTemplateExpand(t *testing.T) {
	widgets := Request{Protocol: "https", Host: "github.com", Path: "Acme/Widgets.git"}
	port := Request{Protocol: "https", Host: "git.example:8443", Path: "acme/widgets"}
	for _, c := range []struct {
		name, text string
		req        Request
		want       string
	}{
		{"nothing to fill", "/plain/name", Request{}, "/plain/name"},
		{"the empty text", "", widgets, ""},
		{"workspace needs no request", "/sandbox/{workspace}/github-token", Request{}, "/sandbox/sb-1/github-token"},
		{"owner in lower case", "/t/{owner}", widgets, "/t/acme"},
		{"everything at once", "{workspace}/{host}/{owner}/{repo}", widgets, "sb-1/github.com/acme/widgets"},
		{"a placeholder twice", "{repo}-{repo}", widgets, "widgets-widgets"},
		{"a port is safe in a path", "/t/{host}", port, "/t/git.example_8443"},
		{"an underscore is no port", "/t/{host}", Request{Host: "git.example_8443"}, "/t/git.example__8443"},
	} {
		t.Run(c.name, func(t *testing.T) {
			template, err := ParseTemplate(c.text, "sb-1")
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.Expand(c.req)
			if err != nil || got != c.want {
				t.Errorf("Expand(%q) = %q, %v, want %q", c.text, got, err, c.want)
			}
			if template.String() != c.text {
				t.Errorf("String() = %q, want %q", template, c.text)
			}
		})
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, workspace, want string }{
		{"an unknown name", "/a/{organisation}", "sb-1", "unknown placeholder {organisation}"},
		{"another case", "/a/{Owner}", "sb-1", "unknown placeholder {Owner}"},
		{"no name", "/a/{}", "sb-1", "unknown placeholder {}"},
		{"an open brace", "/a/{owner", "sb-1", "a { has no }"},
		{"a closing brace", "/a/owner}", "sb-1", "a } has no {"},
		{"a nested brace", "/a/{{owner}}", "sb-1", "unknown placeholder {{owner}"},
		{"no workspace id", "/a/{workspace}", "", "add workspace: ID to that file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseTemplate(c.text, c.workspace)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("ParseTemplate(%q) = %v, want an error with %q", c.text, err, c.want)
			}
		})
	}
}

func TestExpandSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name, text string
		req        Request
		want       string
	}{
		{"no path", "/t/{owner}", Request{Host: "github.com"}, "credential.useHttpPath"},
		{"not owner/repository", "/t/{repo}", Request{Host: "github.com", Path: "../etc/passwd"}, "https://github.com/owner/repository"},
		{"an IPv6 host", "/t/{host}", Request{Host: "[::1]:8443"}, "remove {host} from the source"},
		{"no host", "/t/{host}", Request{}, "remove {host} from the source"},
	} {
		t.Run(c.name, func(t *testing.T) {
			template, err := ParseTemplate(c.text, "")
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.Expand(c.req)
			if err == nil || got != "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Expand = %q, %v, want an error with %q", got, err, c.want)
			}
		})
	}
}

func TestKeyIsThePlace(t *testing.T) {
	a := Request{Host: "github.com", Path: "acme/widgets.git"}
	b := Request{Host: "github.com", Path: "ACME/gadgets"}
	c := Request{Host: "ghe.example", Path: "acme/widgets"}
	for _, row := range []struct {
		text string
		same [2]bool // a with b, a with c
	}{
		{"/fixed", [2]bool{true, true}},
		{"/{workspace}", [2]bool{true, true}},
		{"/{owner}", [2]bool{true, true}},
		{"/{host}", [2]bool{true, false}},
		{"/{repo}", [2]bool{false, true}},
		{"/{host}/{owner}", [2]bool{true, false}},
	} {
		template, err := ParseTemplate(row.text, "sb-1")
		if err != nil {
			t.Fatal(err)
		}
		got := [2]bool{template.Key(a) == template.Key(b), template.Key(a) == template.Key(c)}
		if got != row.same {
			t.Errorf("keys of %q are the same = %v, want %v", row.text, got, row.same)
		}
		if template.Fixed() != (row.same == [2]bool{true, true} && row.text != "/{owner}") {
			t.Errorf("Fixed(%q) = %v", row.text, template.Fixed())
		}
	}
	template, _ := ParseTemplate("/{owner}", "")
	if got, want := template.Key(Request{Host: "a"}), template.Key(Request{Host: "b"}); got == want {
		t.Errorf("Key without a path is %q for two hosts, want two keys", got)
	}
	if !template.Uses(PlaceholderOwner) || template.Uses(PlaceholderRepo) {
		t.Error("Uses does not tell {owner} from {repo}")
	}
}

// For any host and path, a value is one segment that does not leave its path.
func FuzzTemplate(f *testing.F) {
	f.Add("/t/{host}/{owner}/{repo}", "github.com", "acme/widgets.git")
	f.Add("{workspace}{", "git.example:8443", "a/..")
	f.Add("}{", "[::1]", "%2e%2e/x")
	f.Fuzz(func(t *testing.T, text, host, path string) {
		req := Request{Protocol: "https", Host: host, Path: path}
		if template, err := ParseTemplate(text, "sb-1"); err == nil {
			_, _ = template.Expand(req)
		}
		for _, name := range []string{PlaceholderHost, PlaceholderOwner, PlaceholderRepo} {
			value, err := placeholderValue(name, req)
			if err == nil && (value == "" || value == "." || value == ".." || strings.ContainsAny(value, "/\\:%\x00 ")) {
				t.Errorf("{%s} of %q %q = %q, which is no path segment", name, host, path, value)
			}
		}
	})
}
