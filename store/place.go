package store

import "strings"

// WorkspacesAfter is a place in the pages below Workspaces: before all that the store has
// of workspaces whose ids begin with begin, and after all that it has of the workspace
// after and of those before it. Both may be "". No entry has the name.
func WorkspacesAfter(after, begin string) (Name, error) {
	place := ""
	for id, end := range map[string]string{begin: "", after: "/~"} { // no segment begins with a tilde
		if id == "" {
			continue
		}
		if err := CheckWorkspace(id); err != nil {
			return Name{}, err
		}
		place = max(place, workspacesFolder+"/"+id+end)
	}
	return Name{place}, nil
}

// CompareWorkspaces compares ids by the order in which pages have what is of them: that of
// the ids with a slash after each.
func CompareWorkspaces(a, b string) int { return strings.Compare(a+"/", b+"/") }
