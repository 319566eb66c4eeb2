package identity

import (
	"time"

	"github.com/gatepass/gatepass/broker"
)

// JoinMethod is the method of callers with a session.
const JoinMethod = "session"

const retryAfter = 3 * time.Second

// JoinSettings are empty: whom a rule is for stands in the join token, which names
// the rule.
type JoinSettings struct{}

// Match is the matcher of the rule with that name.
func (JoinSettings) Match(rule string) broker.Exactly { return broker.Exactly{"rule": rule} }
