package agent

import (
	"os"
	"slices"
	"strings"
)

// Sockets lists where agents of this user listen, or listened before they were
// killed, in the directories that [Locate] looks at.
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
