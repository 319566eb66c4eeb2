package identity

import (
	"errors"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// JoinMethod is the method of callers with a session.
const JoinMethod = "session"

const retryAfter = 3 * time.Second

// MaxSleep is the longest that a rule may let workspaces sleep: as long as the key that
// signed the session is sure to be kept.
const MaxSleep = 24 * time.Hour

// JoinSettings are those of a rule for join tokens. The join token names the rule and the
// workspace.
type JoinSettings struct {
	// Sleep is how long after its end a session can still be renewed, once, by a
	// workspace that was asleep; 0 means not at all.
	Sleep time.Duration `yaml:"sleep" json:",omitzero"`
}

// Check returns an error unless Sleep is from 0 to MaxSleep.
func (s JoinSettings) Check() error {
	if s.Sleep < 0 || s.Sleep > MaxSleep {
		return errors.New("join: sleep is from 0 to " + MaxSleep.String())
	}
	return nil
}

// Match is the matcher of the rule with that name.
func (JoinSettings) Match(rule string) broker.Exactly { return broker.Exactly{"rule": rule} }
