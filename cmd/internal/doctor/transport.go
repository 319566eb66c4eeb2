package doctor

import (
	"context"
	"strings"

	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/redact"
)

func (c *chart) lookAtTransport(context.Context) []Finding {
	if c.gitErr != nil {
		return nil
	}
	var found []Finding
	seen := map[gitconfig.Setting]bool{}
	for _, host := range c.reached() {
		for _, h := range append(gitsafety.Environment(c.Environ), gitsafety.Target{Host: host}.Hazards(c.settings)...) {
			if !seen[h.Setting] && !c.isOurs(h.Setting) {
				seen[h.Setting] = true
				found = append(found, c.weigh(h))
			}
		}
		if c.gateway.IsZero() { // with a gateway, lookAtGateway checks them
			found = append(found, c.bypasses(host)...)
		}
	}
	if found == nil {
		text := "nothing stands between git and " + strings.Join(c.reached(), ", ")
		if proxy := c.environmentProxy(); proxy != "" {
			text = "git reaches " + strings.Join(c.reached(), ", ") + " through the proxy of the environment, " + proxy
		}
		found = []Finding{{Level: OK, Text: text}}
	}
	return found
}

// weigh decides how bad a hazard is. A setting of the machine or the user is taken as
// intended. Only disabled verification is always a failure: any server could receive
// the token.
func (c *chart) weigh(h gitsafety.Hazard) Finding {
	f := Finding{Level: Warning, Text: h.String() + " " + string(h.Kind), Mend: mendHazard(h)}
	strict := c.workspace != nil && c.workspace.Strict
	switch {
	case h.Kind == gitsafety.TLSOff:
		f.Level, f.Text = Failure, f.Text+": a token goes to whoever answers"
	case h.Trusted() && h.Kind != gitsafety.Rewrite:
		return Finding{Level: OK, Text: f.Text}
	case !h.Trusted() && strict:
		f.Level, f.Text = Failure, f.Text+": this workspace is strict and gives no token"
	}
	return f
}

func mendHazard(h gitsafety.Hazard) string {
	switch {
	case h.Setting.Scope == gitsafety.EnvironmentScope:
		return "unset " + h.Setting.Key
	case h.Kind == gitsafety.Rewrite:
		return unsetValue(h.Setting)
	}
	return unset(h.Setting)
}

// bypasses finds rewrites of the host's https URLs to another scheme, such as ssh: git
// then never asks for a token.
func (c *chart) bypasses(host string) []Finding {
	var found []Finding
	for _, s := range c.settings {
		section, base, name := s.Parts()
		if section != "url" || name != "insteadof" && name != "pushinsteadof" || strings.HasPrefix(base, "https://") {
			continue
		}
		if strings.HasPrefix(s.Value, "https://") && gitsafety.Split(s.Value).Host == host {
			found = append(found, Finding{
				Level: Failure, Text: s.Key + "=" + redact.Text(s.Value, 200) + " (" + where(s) + ") leads git past gatepass for " + host,
				Mend: unsetValue(s),
			})
		}
	}
	return found
}

func (c *chart) environmentProxy() string {
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		if v := c.Getenv(name); v != "" {
			return redact.Text(v[strings.LastIndexByte(v, '@')+1:], 200) + " (" + name + ")"
		}
	}
	return ""
}

// lookAtTracing finds variables that make git write tokens to a trace.
func (c *chart) lookAtTracing(context.Context) []Finding {
	var on []string
	for _, name := range []string{"GIT_TRACE_CURL", "GIT_CURL_VERBOSE", "GIT_TRACE_PACKET"} {
		if v := c.Getenv(name); v != "" && !no(v) {
			on = append(on, name)
		}
	}
	bare := c.Getenv("GIT_TRACE_REDACT") != "" && no(c.Getenv("GIT_TRACE_REDACT"))
	traced := strings.Join(on, " and ")
	switch {
	case bare && traced != "":
		return []Finding{{Level: Failure, Text: "git writes tokens into its trace: " + traced + " with GIT_TRACE_REDACT=0", Mend: "unset GIT_TRACE_REDACT"}}
	case bare:
		return []Finding{{Level: Warning, Text: "GIT_TRACE_REDACT=0: with GIT_TRACE_CURL git would write tokens into its trace", Mend: "unset GIT_TRACE_REDACT"}}
	case traced != "":
		return []Finding{{Level: Warning, Text: "git traces what it sends (" + traced + "); it hides the header with the token, not all else", Mend: "unset " + strings.Join(on, " ")}}
	}
	return nil
}

// no reports whether git reads an environment variable's value as false.
func no(v string) bool {
	switch strings.ToLower(v) {
	case "0", "false", "no", "off":
		return true
	}
	return false
}
