package protocol

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/gitname"
)

func TestParseRequest(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Request
	}{
		{"git 2.39", "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n", Request{Protocol: "https", Host: "github.com", Path: "acme/widgets.git"}},
		{
			"git 2.55", "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=github.com\nwwwauth[]=Basic realm=\"GitHub\"\nstate[]=gatepass:ab\n\n",
			Request{Protocol: "https", Host: "github.com", AuthType: true, Multi: true, State: []string{"gatepass:ab"}},
		},
		{"the end instead of a blank line", "protocol=https\nhost=h", Request{Protocol: "https", Host: "h"}},
		{"lines after the blank one", "protocol=https\nhost=h\n\nhost=evil\n", Request{Protocol: "https", Host: "h"}},
		{"an erase", "protocol=https\nhost=h\nusername=u\npassword=a=b\n\n", Request{Protocol: "https", Host: "h", Username: "u", HasUsername: true, Secret: "a=b", HasSecret: true}},
		{"an authtype erase", "protocol=https\nhost=h\nauthtype=Basic\ncredential=eA==\n\n", Request{Protocol: "https", Host: "h", Secret: "eA==", Scheme: "Basic", HasSecret: true}},
		{"an empty user", "protocol=https\nhost=h\nusername=\npassword=\n\n", Request{Protocol: "https", Host: "h", HasUsername: true, HasSecret: true}},
		{"unknown keys", "protocol=https\nhost=h\nfoo=bar\nbaz[]=1\n\n", Request{Protocol: "https", Host: "h"}},
		{"several server headers, one with a tab", "protocol=https\nhost=h\nwwwauth[]=Basic\trealm=a\nwwwauth[]=Bearer\n\n", Request{Protocol: "https", Host: "h"}},
		{"as long as a line can be", "protocol=https\nhost=h\nx=" + strings.Repeat("a", MaxLine-3) + "\n\n", Request{Protocol: "https", Host: "h"}},
		{"state alone", "capability[]=state\ncapability[]=tomorrow\nprotocol=https\nhost=h\n\n", Request{Protocol: "https", Host: "h", Multi: true}},
		{"authtype alone", "capability[]=authtype\ncapability[]=tomorrow\nprotocol=https\nhost=h\n\n", Request{Protocol: "https", Host: "h", AuthType: true}},
		{"an emptied list", "protocol=https\nhost=h\ncapability[]=authtype\ncapability[]=\nstate[]=a\nstate[]=\n\n", Request{Protocol: "https", Host: "h"}},
		{"the default port", "protocol=https\nhost=GitHub.com:443\n\n", Request{Protocol: "https", Host: "github.com"}},
		{"another port", "protocol=https\nhost=GitHub.com:8443\n\n", Request{Protocol: "https", Host: "github.com:8443"}},
		{"IPv6", "protocol=https\nhost=[::1]:8443\n\n", Request{Protocol: "https", Host: "[::1]:8443"}},
		{"a url line", "url=https://u@github.com/acme/widgets.git\n\n", Request{Protocol: "https", Host: "github.com", Path: "acme/widgets.git", Username: "u", HasUsername: true}},
		{"a url line that agrees", "protocol=https\nhost=github.com\nurl=https://github.com/\n\n", Request{Protocol: "https", Host: "github.com"}},
		{"a url line and the same user", "username=u\nurl=https://u@h/\n\n", Request{Protocol: "https", Host: "h", Username: "u", HasUsername: true}},
		{"a url line without the user", "username=u\nurl=https://h/\n\n", Request{Protocol: "https", Host: "h", Username: "u", HasUsername: true}},
		{"a url line with an empty user", "url=https://@h/\n\n", Request{Protocol: "https", Host: "h", HasUsername: true}},
		{"another scheme", "protocol=http\nhost=h\n\n", Request{Protocol: "http", Host: "h"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseRequest([]byte(c.text))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("ParseRequest(%q) = %+v, %v, want %+v", c.text, got, err, c.want)
			}
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	ok := "protocol=https\nhost=github.com\n"
	for name, text := range map[string]string{
		"nothing":                              "",
		"no host (CVE-2020-11008)":             "protocol=https\n\n",
		"an empty host":                        "protocol=https\nhost=\n\n",
		"no protocol (CVE-2020-11008)":         "host=github.com\n\n",
		"an empty protocol":                    "protocol=\nhost=github.com\n\n",
		"an injected host (CVE-2020-5260)":     "protocol=https\nhost=evil.example\nhost=github.com\n\n",
		"the same host twice":                  ok + "host=github.com\n\n",
		"a line without =":                     ok + "hello\n\n",
		"a line without a key":                 ok + "=x\n\n",
		"a carriage return (CVE-2024-50338)":   "protocol=https\nhost=evil.example\rhost=github.com\n\n",
		"a carriage return in a server header": ok + "wwwauth[]=a\rb\n\n",
		"CRLF lines":                           "protocol=https\r\nhost=github.com\r\n\r\n",
		"NUL":                                  ok + "path=a\x00b\n\n",
		"a key that begins with NUL":           ok + "\x00path=a\n\n",
		"an escape":                            ok + "path=a\x1bb\n\n",
		"DEL":                                  ok + "path=a\x7fb\n\n",
		"one letter more than a line has":      ok + "x=" + strings.Repeat("a", MaxLine-2) + "\n\n",
		"a long line (the fix of 2.41)":        ok + "wwwauth[]=" + strings.Repeat("a", MaxLine) + "host=evil\n\n",
		"a trailing dot":                       "protocol=https\nhost=github.com.\n\n",
		"a decoded slash":                      "protocol=https\nhost=github.com/evil\n\n",
		"a decoded hash":                       "protocol=https\nhost=github.com#evil\n\n",
		"a decoded at":                         "protocol=https\nhost=github.com@evil\n\n",
		"a blank":                              "protocol=https\nhost=github.com evil\n\n",
		"two ports":                            "protocol=https\nhost=github.com:1:2\n\n",
		"an empty port":                        "protocol=https\nhost=github.com:\n\n",
		"a port with zeros":                    "protocol=https\nhost=github.com:0443\n\n",
		"a large port":                         "protocol=https\nhost=github.com:65536\n\n",
		"an open bracket":                      "protocol=https\nhost=[::1\n\n",
		"letters outside ASCII":                "protocol=https\nhost=gıthub.com\n\n",
		"a url that disagrees":                 ok + "url=https://evil.example/\n\n",
		"a url with escapes":                   "url=https://github.com%2f@evil/\n\n",
		"a host and a url with escapes":        ok + "url=https://github.com/a%2fb\n\n",
		"a host and a url with a password":     ok + "url=https://u:p@github.com/\n\n",
		"a url with a password":                "url=https://u:p@github.com/\n\n",
		"a url without a scheme":               "url=github.com\n\n",
		"a url and another user":               "username=a\nurl=https://b@github.com/\n\n",
		"password and credential":              ok + "password=a\ncredential=b\n\n",
		"http at the port of https":            "protocol=http\nhost=127.0.0.1:443\n\n",
		"more than a request can be":           ok + strings.Repeat("wwwauth[]=a\n", MaxRequest/12),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseRequest([]byte(text)); err == nil {
				t.Errorf("ParseRequest(%.80q) = %+v, want an error", text, got)
			}
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"protocol=https\nhost=github.com\npath=a/b.git\n\n", "url=https://a@b/c\n", "capability[]=state\nstate[]=x\nprotocol=https\nhost=[::1]:1\n",
		"protocol=https\nhost=a\nhost=b\n", "\n", "=", "a", "protocol=https\nhost=a\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err != nil {
			return
		}
		if again, ok := gitname.Host(r.Host); r.Protocol == "" || !ok || again != r.Host {
			t.Errorf("ParseRequest(%q) has protocol %q and host %q", data, r.Protocol, r.Host)
		}
		for _, s := range []string{r.Path, r.Username, r.Secret} {
			if hasControl(s) {
				t.Errorf("ParseRequest(%q) let a control character through", data)
			}
		}
		if owner, name, ok := r.Repository(); ok && strings.ContainsAny(owner+name, "/%\\?# ") {
			t.Errorf("Repository of %q = %q/%q", r.Path, owner, name)
		}
	})
}
