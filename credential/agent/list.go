package agent

import (
	"os"
	"slices"
	"strings"
)

// Sockets lists the sockets of this user's agents, in the directories that [Locate]
// uses. Agents that were killed leave theirs behind.
func Sockets(getenv func(string) string) []string {
	var list []string
	for _, dir := range candidates(getenv) {
		entries, err := os.ReadDir(dir)
		if err != nil || makePrivate(dir) != nil {
			continue
		}
		for _, entry := range entries {
			if strings.HasSuffix(entry.Name(), ".sock") {
				list = append(list, dir+"/"+entry.Name())
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
