// Package join lets in a workspace that has nothing to prove itself with: it is
// started with a join token, shows it once, and gets a session that it renews.
//
// A token is 256 random bits, known to the store by its hash, bound to one
// workspace and one rule, and gone in ten minutes. Of all who show it, at any of
// the brokers of a store, exactly one gets a session: the one that creates the
// entry which says that the token was used ([store.Redeemed]). For every other
// one the broker writes down that the token came again, since one of the two is
// not who it should be. When a broker dies between creating that entry and
// answering, the token is spent and nobody has a session.
package join

import (
	"time"

	"github.com/gatepass/gatepass/broker"
)

// Method is the method of callers with a session.
const Method = "session"

const retryAfter = 3 * time.Second

// Settings are empty: whom a rule is for stands in the join token, which names
// the rule.
type Settings struct{}

// Match is the matcher of the rule with that name.
func (Settings) Match(rule string) broker.Exactly { return broker.Exactly{"rule": rule} }
