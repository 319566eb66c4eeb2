package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/config"
)

// The address that "gh pr create" printed is the argument of the next gh command.
func TestForGh(t *testing.T) {
	g, err := config.ParseGateway("https://broker.example")
	if err != nil {
		t.Fatal(err)
	}
	w := &config.Workspace{Gateway: g, Hosts: []string{"github.com", "github.acme.example"}}
	const page, led = "https://github.com/acme/widgets/pull/1", "https://broker.example/acme/widgets/pull/1"
	for _, c := range []struct{ name, command, args, want string }{
		{"a page", "gh", "pr|view|" + page, "pr|view|" + led},
		{"by its path", "/usr/bin/gh", "pr|view|--comments|" + page + "|--json|url", "pr|view|--comments|" + led + "|--json|url"},
		{"a repository", "gh", "repo|clone|https://github.com/acme/widgets", "repo|clone|https://broker.example/acme/widgets"},
		{"a repository as the value of a flag", "gh", "issue|list|-R|https://github.com/acme/widgets", "issue|list|-R|https://broker.example/acme/widgets"},
		{"the text of a comment", "gh", "pr|comment|1|--body|" + page, "pr|comment|1|--body|" + page},
		{"the text of a comment behind =", "gh", "pr|comment|1|--body=" + page, "pr|comment|1|--body=" + page},
		{"a text that begins so", "gh", "pr|comment|1|" + page + " is wrong", "pr|comment|1|" + page + " is wrong"},
		{"a field of a request", "gh", "api|x|-f|" + page, "api|x|-f|" + page},
		{"another host", "gh", "pr|view|https://github.com.evil.example/a/b/pull/1", "pr|view|https://github.com.evil.example/a/b/pull/1"},
		{"a host that is not the first", "gh", "pr|view|https://github.acme.example/a/b/pull/1", "pr|view|https://github.acme.example/a/b/pull/1"},
		{"another program", "curl", page, page},
	} {
		if got := forGh(c.command, strings.Split(c.args, "|"), w); !slices.Equal(got, strings.Split(c.want, "|")) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	args := []string{"pr", "view", page}
	if got := forGh("gh", args, nil); !slices.Equal(got, args) {
		t.Errorf("without a gateway: %q", got)
	}
	if forGh("gh", args, w); args[2] != page {
		t.Error("the arguments themselves were changed")
	}
}
