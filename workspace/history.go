package workspace

import (
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// A PastEvent is one of the latest events of a workspace, kept in its record. It
// holds no secret.
type PastEvent struct {
	At    time.Time `json:"at"`    // of the latest, where Times is set
	What  string    `json:"event"` // minted, moved, delivered, revoked, lost or failed
	Owner string    `json:"owner,omitempty"`
	Hash  string    `json:"hashed_token,omitempty"`
	Why   string    `json:"reason,omitempty"`
	Times int       `json:"times,omitempty"` // how often it happened, if more than once
}

// What a PastEvent says, for the types of events that are kept.
const (
	handed = "delivered" // no type of event: the log has the token's minting
	failed = "failed"
)

var pastNames = map[Type]string{Generated: "minted", Moved: "moved", Ended: "revoked", Lost: "lost", Failed: failed}

// The bounds of a history: its events, the bytes of a reason, and the bytes up to
// which a record takes events. The last is AWS's standard tier, which is free.
const (
	maxPast    = 20
	maxReason  = 160
	roomForAll = 4 << 10
)

// happened keeps an event for the record, which the next save writes, and tells
// whoever listens.
func (i *Issuer) happened(r *Record, e Event) {
	why := e.Why
	if e.Err != nil {
		why = e.Err.Error()
	}
	if name, ok := pastNames[e.Type]; ok {
		r.remember(PastEvent{At: i.now(), What: name, Owner: e.Owner, Hash: e.Hash, Why: why})
	}
	i.emit(e)
}

// remember adds an event and drops the oldest ones. A failure that repeats is
// counted, so that an outage does not push out what was before it.
func (r *Record) remember(e PastEvent) {
	e.Why = redact.Text(usererr.Escape(e.Why), maxReason)
	for at := len(r.History) - 1; e.What == failed && at >= 0 && r.History[at].What == failed; at-- {
		if old := r.History[at]; old.Owner == e.Owner && old.Hash == e.Hash && old.Why == e.Why {
			e.Times = max(old.Times, 1) + 1
			r.History = slices.Delete(r.History, at, at+1)
			break
		}
	}
	r.History = append(r.History, e)
	r.History = slices.Delete(r.History, 0, max(len(r.History)-maxPast, 0))
}

// fit encodes a record with as much of its history as leaves it small: a history
// never makes a record longer than a store takes, nor one that would be free cost.
func (f file) fit() ([]byte, error) {
	whole := f.History
	for _, limit := range []int{roomForAll, store.MaxValue} {
		for f.History = whole; ; f.History = f.History[(len(f.History)+1)/2:] {
			data, err := f.encode()
			if err != nil || len(data) <= limit {
				return data, err
			}
			if len(f.History) == 0 {
				break
			}
		}
	}
	return f.encode()
}
