package agent

import (
	"os"
	"slices"
	"strings"
	"time"
)

// State is an agent's status.
type State struct {
	PID          int         `json:"pid"`
	Config       string      `json:"config"`
	Version      string      `json:"version"`
	Program      string      `json:"program"`
	Replaced     bool        `json:"program_replaced"`    // the program file was replaced or removed
	Variables    []string    `json:"variables,omitempty"` // the [Variables] that are set
	Started      time.Time   `json:"started"`
	IdleExit     string      `json:"idle_exit"`
	MemoryLocked bool        `json:"memory_locked"`
	Problem      string      `json:"problem,omitempty"` // why there can be no token
	Warning      string      `json:"warning,omitempty"` // what is wrong, although tokens are available
	Tokens       []HeldToken `json:"tokens"`
}

// HeldToken describes one token in memory, without the token itself.
type HeldToken struct {
	Host         string            `json:"host"`
	Path         string            `json:"path,omitempty"`
	Hash         string            `json:"hash"` // base64(sha256(token)), as in GitHub's audit log
	ExpiresAt    time.Time         `json:"expires_at"`
	LastUsed     time.Time         `json:"last_used"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// A Grant is the answer to [Token], [TokenRead] and [Session]. It is the only form in
// which the agent writes a token as JSON. Never log it.
type Grant struct {
	Token        string            `json:"token"`
	Username     string            `json:"username"`
	ExpiresAt    time.Time         `json:"expires_at"` // UTC, to the second
	Hash         string            `json:"hash"`       // base64(sha256(token)), as in GitHub's audit log
	Repositories []string          `json:"repositories"`
	Permissions  map[string]string `json:"permissions"`
	// Refs are the refs that the workspace may push, as its profile writes them, in the
	// answer to Session. They are null if the broker does not say.
	Refs []string `json:"refs,omitzero"`
	// Author is the author of the workspace's commits, "NAME <EMAIL>", in the answer to
	// Session. It is "" if the broker does not say.
	Author string `json:"author,omitzero"`
}

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
