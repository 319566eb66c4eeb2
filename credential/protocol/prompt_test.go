package protocol

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/gitname"
)

func TestParsePrompt(t *testing.T) {
	for arg, want := range map[string]string{
		"Username for 'https://github.com': ":                             "user github.com",
		"Password for 'https://x-access-token@github.com': ":              "password x-access-token@github.com",
		"Password for 'https://x-access-token@github.com/acme/widgets': ": "password x-access-token@github.com acme/widgets",
		"Username for 'https://GitHub.com:8443/a/b.git': ":                "user github.com:8443 a/b.git",
		"Password for 'https://a%2fb%40c@github.com': ":                   "password a/b@c@github.com",
		"Password for 'https://%2F%4a%4A%7E%39@github.com': ":             "password /JJ~9@github.com",
		"Password for 'https://@github.com': ":                            "password @github.com",
		"Password for 'https://u@github.com/acme/wid%67ets/': ":           "password u@github.com acme/widgets",
		"Password for 'https://u@[::1]:8443/a/b': ":                       "password u@[::1]:8443 a/b",
		`Username for "https://github.com"`:                               "user github.com",
		`Password for "https://u@github.com/acme/widgets.git"`:            "password u@github.com acme/widgets.git",
		"Username for https://github.com/acme/widgets: ":                  "user github.com acme/widgets",
	} {
		p, err := ParsePrompt(arg)
		got := "user "
		if p.WantsPassword {
			got = "password "
		}
		if p.HasUsername {
			got += p.Username + "@"
		}
		got = strings.TrimSpace(got + p.Host + " " + p.Path)
		if err != nil || got != want || p.Protocol != "https" {
			t.Errorf("ParsePrompt(%q) = %q, %v, want %q", arg, got, err, want)
		}
	}
}

func TestParsePromptRefuses(t *testing.T) {
	for _, arg := range []string{
		"", "Username: ", "Password: ", "Password for 'cert:////home/me/key.pem': ",
		"Username for 'http://github.com': ", "Username for 'HTTPS://github.com': ",
		"Password for 'https://github.com/foo@evil.example': ", // user or path? (Coder's ParseAskpass answers it)
		"Password for 'https://github.com@evil@evil.example': ",
		"Password for 'https://a@b@github.com': ",
		"Password for 'https://github.com.': ",
		"Password for 'https://u@github.com'", "Password for 'https://u@github.com':", "Password for 'https://u@github.com': x",
		"xPassword for 'https://u@github.com': ", "password for 'https://u@github.com': ",
		"Password for 'https://u@github.com\n': ", "Password for 'https://u%0a@github.com': ", "Password for 'https://u%@github.com': ",
		"Password for 'https://u%4@github.com': ", "Password for 'https://u%j0@github.com': ", "Password for 'https://u%4z@github.com': ",
		"Password for 'https://u@github.com/a%zz': ", "Password for 'https://u@github.com/a%00': ",
		"Password for 'https://u\x1b@github.com': ", "Password for 'https://u@github.com/a\x7fb': ",
		"Password for 'https://u@github.com/" + strings.Repeat("a", MaxLine) + "': ",
		"Password for 'https://github.com/a?b': ", "Password for 'https://github.com/a'b': ",
		"git@github.com's password: ", "(git@github.com) Password: ", "Enter passphrase for key '/home/me/.ssh/id': ",
		"Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
		"Password for 'https://u@github%2ecom': ", "Username for 'https:///': ", "Username for 'https://': ",
		"Passwort für 'https://u@github.com': ", `Username for "https://github.com": `,
	} {
		if p, err := ParsePrompt(arg); err == nil {
			t.Errorf("ParsePrompt(%q) = %+v, want an error", arg, p)
		}
	}
}

func FuzzParsePrompt(f *testing.F) {
	for _, s := range []string{"Username for 'https://github.com': ", "Password for 'https://u%40@github.com/a/b': ", `Password for "https://u@h"`, "Username for https://h: ", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		p, err := ParsePrompt(arg)
		if err != nil {
			return
		}
		if again, ok := gitname.Host(p.Host); !ok || again != p.Host || hasControl(p.Username+p.Path) {
			t.Errorf("ParsePrompt(%q) = %+v", arg, p)
		}
		// The host that was parsed is the only host in the URL.
		_, url, _ := strings.Cut(arg, "https://")
		authority, _, _ := strings.Cut(url, "/")
		if !strings.Contains(gitname.Fold(authority), strings.TrimSuffix(p.Host, ":443")) {
			t.Errorf("ParsePrompt(%q) reads the host %q", arg, p.Host)
		}
	})
}
