package doctor

import (
	"context"
	"path/filepath"
	"strings"
)

// lookAtAskpass finds programs that answer git's prompts in place of gatepass. Git asks
// the helpers first, so it calls these programs only where gatepass does not answer;
// git-lfs and others call them first.
func (c *chart) lookAtAskpass(context.Context) []Finding {
	value, from := c.askpass()
	switch {
	case isOurAskpass(value) && filepath.IsAbs(value) && broken(value) != "":
		return []Finding{{Level: Failure, Text: from + ": " + broken(value), Mend: "install the programs, or unset GIT_ASKPASS"}}
	case isOurAskpass(value):
		return []Finding{{Level: OK, Text: "gatepass-askpass answers git's prompts (" + from + ")"}}
	case strings.Contains(value, "vscode") || strings.Contains(value, "/.cursor") || value != "" && c.Getenv("VSCODE_GIT_ASKPASS_NODE") != "":
		return []Finding{{
			Level: Warning, Text: "VS Code answers git's prompts (" + from + "), with the account it is signed in to, wherever gatepass is not asked",
			Mend: `set "git.terminalAuthentication": false in VS Code, or export GIT_ASKPASS=gatepass-askpass`,
		}}
	}
	return nil
}

func isOurAskpass(value string) bool { return filepath.Base(value) == "gatepass-askpass" }

// askpass returns the program that git would ask, in git's order of precedence.
func (c *chart) askpass() (value, from string) {
	if v := c.Getenv("GIT_ASKPASS"); v != "" {
		return v, "GIT_ASKPASS=" + v
	}
	for i := len(c.settings) - 1; i >= 0; i-- {
		if s := c.settings[i]; s.Key == "core.askpass" {
			return s.Value, "core.askPass=" + s.Value + ", " + where(s)
		}
	}
	if v := c.Getenv("SSH_ASKPASS"); v != "" {
		return v, "SSH_ASKPASS=" + v
	}
	return "", ""
}
