package agent

import "time"

// State is what the agent says of itself.
type State struct {
	PID          int         `json:"pid"`
	Config       string      `json:"config"`
	Version      string      `json:"version"`
	Program      string      `json:"program"`
	Replaced     bool        `json:"program_replaced"`    // another program lies there now, or none
	Variables    []string    `json:"variables,omitempty"` // of [Variables], those that are set
	Started      time.Time   `json:"started"`
	IdleExit     string      `json:"idle_exit"`
	MemoryLocked bool        `json:"memory_locked"`
	Problem      string      `json:"problem,omitempty"` // why no token can be had
	Warning      string      `json:"warning,omitempty"` // what is amiss although tokens can be had
	Tokens       []HeldToken `json:"tokens"`
}

// HeldToken is one token in memory, without the token.
type HeldToken struct {
	Host         string            `json:"host"`
	Path         string            `json:"path,omitempty"`
	Hash         string            `json:"hash"` // base64(sha256(token)), as in GitHub's audit log
	ExpiresAt    time.Time         `json:"expires_at"`
	LastUsed     time.Time         `json:"last_used"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// A Grant is the answer to [Token], [TokenRead] and [Session]: the one form in which the
// agent writes a token as JSON. Never log it.
type Grant struct {
	Token        string            `json:"token"`
	Username     string            `json:"username"`
	ExpiresAt    time.Time         `json:"expires_at"` // UTC, to the second
	Hash         string            `json:"hash"`       // base64(sha256(token)), as in GitHub's audit log
	Repositories []string          `json:"repositories"`
	Permissions  map[string]string `json:"permissions"`
	// Refs are what the workspace may push, as its profile writes them, in the answer to
	// Session. Where the broker does not say they are null.
	Refs []string `json:"refs,omitzero"`
	// Author is who commits of the workspace are by, "NAME <EMAIL>", in the answer to
	// Session. Where the broker does not say it is "".
	Author string `json:"author,omitzero"`
}
