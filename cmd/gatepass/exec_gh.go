package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
)

// texts are the flags of gh whose value is text that people write or a pattern, in which a
// page's address stays.
var texts = []string{
	"-b", "--body", "-t", "--title", "-m", "--message", "-n", "--notes", "-d", "--description", "-c", "--comment", "-S", "--search",
	"-f", "--raw-field", "-F", "--field", "-q", "--jq", "-H", "--header", "--subject",
}

// forGh returns the arguments of a command. Where that is gh, those that are the address
// of a page of GitHub's lead to the gateway instead: people and programs paste what
// "gh pr create" printed, and gh asks the host in it.
func forGh(command string, args []string, workspace *config.Workspace) []string {
	if filepath.Base(command) != "gh" || workspace == nil {
		return args
	}
	led := slices.Clone(args)
	for i, arg := range led {
		page, isPage := strings.CutPrefix(arg, "https://"+workspace.Hosts[0]+"/")
		if isPage && !strings.ContainsAny(page, " \t\r\n") && (i == 0 || !slices.Contains(texts, led[i-1])) {
			led[i] = workspace.Gateway.String() + "/" + page
		}
	}
	return led
}
