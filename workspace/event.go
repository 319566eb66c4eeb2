package workspace

import (
	"log/slog"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Type is the type of an Event.
type Type string

// The types of events. Audit logs show these names.
const (
	Generated Type = "token_generated"         // a token was minted
	Failed    Type = "token_generation_failed" // a token could not be minted
	Ended     Type = "token_revoked"           // a token was revoked
	Moved     Type = "workspace_moved"         // from now on, another App of the pool mints for the workspace
	Lost      Type = "token_lost"              // a token may be alive whose value is lost; it expires by itself
	Created   Type = "workspace_created"       // the workspace has a record now
	Destroyed Type = "workspace_destroyed"     // nothing of the workspace is left
)

// An Event is something that happened to a workspace or its tokens. It holds no secret:
// it names a token by its hash, in the form of GitHub's audit log.
type Event struct {
	Type         Type
	Workspace    string
	Owner        string
	Installation int64
	App          string // client ID of the App that minted the token
	Hash         string
	Expires      time.Time
	All          bool // every repository of the installation
	Repositories []string
	Permissions  map[string]string
	Why          string
	Err          error
}

// LogValue returns the event as slog attributes, without those that are not known.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("workspace", e.Workspace)}
	for _, a := range []struct{ key, value string }{{"owner", e.Owner}, {"hashed_token", e.Hash}, {"reason", e.Why}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if e.App != "" {
		attrs = append(attrs, slog.String("app", e.App))
	}
	if e.Installation != 0 {
		attrs = append(attrs, slog.Int64("installation_id", e.Installation))
	}
	if !e.Expires.IsZero() {
		attrs = append(attrs, slog.Time("expires_at", e.Expires))
	}
	if e.All {
		attrs = append(attrs, slog.String("repository_selection", "all"))
	}
	if len(e.Repositories) > 0 {
		attrs = append(attrs, slog.Any("repositories", e.Repositories))
	}
	if len(e.Permissions) > 0 {
		attrs = append(attrs, slog.Any("permissions", e.Permissions))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// A PastEvent is one of the latest events of a workspace, stored in its record. It
// holds no secret.
type PastEvent struct {
	At    time.Time `json:"at"`    // of the latest one, if Times is set
	What  string    `json:"event"` // minted, moved, delivered, revoked, lost or failed
	Owner string    `json:"owner,omitempty"`
	Hash  string    `json:"hashed_token,omitempty"`
	Why   string    `json:"reason,omitempty"`
	Times int       `json:"times,omitempty"` // how often it happened, if more than once
}

// The values of What, for the types of events that are stored.
const (
	delivered = "delivered" // not a type of Event: the audit log has the token's minting instead
	failed    = "failed"
)

var pastNames = map[Type]string{Generated: "minted", Moved: "moved", Ended: "revoked", Lost: "lost", Failed: failed}

// The limits of a history: its number of events, the bytes of a reason, and the size in
// bytes up to which a record takes events. The last is AWS's standard tier, which is
// free.
const (
	maxPast    = 20
	maxReason  = 160
	roomForAll = 4 << 10
)

// A LastError is why the latest run could not do everything that a record asks for. The
// next run that can removes it from the record.
type LastError struct {
	At  time.Time `json:"at"`
	Why string    `json:"error"` // one line of at most maxWhy bytes, without secrets
	// Foreign means that another system's token was left alone ([ErrForeign]), or is
	// stored to be revoked: the store has more tokens than the record lists.
	Foreign bool `json:"foreign,omitempty"`
	// Owners are the accounts, in lower case, whose tokens could not be minted.
	Owners []string `json:"owners,omitempty"`
}

// maxWhy limits the text of a LastError, in bytes: stores limit the size of a record.
const maxWhy = 500

// tell adds an event to the record, which the next save writes, and sends it to the
// audit.
func (r *run) tell(e Event) {
	e.Workspace = r.record.ID
	why := e.Why
	if e.Err != nil {
		why = e.Err.Error()
	}
	if name, ok := pastNames[e.Type]; ok {
		r.remember(PastEvent{What: name, Owner: e.Owner, Hash: e.Hash, Why: why})
	}
	r.audit(e)
}

// remember adds an event to the record's history.
func (r *run) remember(e PastEvent) {
	e.At = r.ledger.clock.now()
	r.record.remember(e)
}

// remember adds an event and drops the oldest ones. It counts a repeated failure in one
// event, so that an outage does not push out earlier events.
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
