package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/push"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/workspace/profile"
)

const (
	maxVerified = 20               // branches in one push: each costs two API requests
	moveTime    = 2 * time.Minute  // for all branches of one push
	cleanTime   = time.Minute      // for the quarantine refs of one push
	lasting     = 5 * time.Minute  // lifetime that a token must have left to move branches
	renewEvery  = 20 * time.Second // how often a running push renews its entry in the store
)

// A verification is how a push is forwarded if its profile asks for it. GitHub creates
// a quarantine ref for each branch that may only be fast-forwarded, and so gets the
// objects. Then its API moves the branch, and refuses anything but a fast-forward. If a
// step fails, the branch stays as it was: no other request moves it.
type verification struct {
	refs        map[int]string // quarantine refs, by the index of the command
	entry       quarantine
	renewal     keepAlive
	isForwarded bool // forwarded, or about to be
}

// plan decides which branches of an allowed push are verified. It returns why the push
// cannot be verified, or "".
func (p *pushing) plan() (refusal string) {
	switch p.caller.Profile.Verify {
	case "":
		return ""
	case profile.VerifyAncestry:
	default:
		return "the profile requires a verification that this broker does not know"
	}
	commands := p.verdict.FastForwardOnly()
	switch {
	case len(commands) == 0:
		return ""
	case len(commands) > maxVerified:
		return fmt.Sprintf("it changes %d branches that need verification; push at most %d at once", len(commands), maxVerified)
	case len(p.q.Commands) > 1 && p.q.Capabilities.Has(push.Atomic):
		return "its branches are verified one by one, so it cannot be atomic; push without --atomic, or one ref at a time"
	}
	v := &verification{refs: make(map[int]string, len(commands))}
	for n, i := range commands {
		v.refs[i] = fmt.Sprintf("%s%s-%d", quarantineRefs, p.id, n+1)
	}
	p.verified = v
	p.verdict.Quarantine(v.refs)
	return ""
}

// indexes returns the indexes of the verified commands, in order.
func (v *verification) indexes() []int { return slices.Sorted(maps.Keys(v.refs)) }

// open writes the quarantine refs to the store, so that they are deleted even if this
// broker dies.
func (p *pushing) open(ctx context.Context, token *credential.Token) error {
	v, g := p.verified, p.g
	v.entry = quarantine{Repository: p.upstreamName(token), Begun: g.Access.Broker.Now().UTC()}
	for _, i := range v.indexes() {
		v.entry.Refs = append(v.entry.Refs, v.refs[i])
	}
	if err := g.writeRecord(ctx, p.id, v.entry, lease); err != nil {
		return err
	}
	lasting := context.WithoutCancel(ctx)
	v.renewal.start(renewEvery, func() {
		ctx, cancel := context.WithTimeout(lasting, renewEvery/2)
		defer cancel()
		if err := g.writeRecord(ctx, p.id, v.entry, lease); err != nil {
			g.Access.Broker.Log.Warn("the store cannot record that a push is still running; its branches may have to be pushed again", "request_id", p.id, "error", err.Error())
		}
	})
	return nil
}

// close ends what open began. If nothing was forwarded, it deletes the entry.
func (p *pushing) close(ctx context.Context) {
	v := p.verified
	v.renewal.stop()
	if v.isForwarded || v.entry.Refs == nil {
		return
	}
	if err := p.g.forget(context.WithoutCancel(ctx), p.id); err != nil {
		p.g.Access.Broker.Log.Warn("an entry of a push that was not forwarded stays in the store for an hour", "request_id", p.id, "error", err.Error())
	}
}

// readAnswer reads GitHub's answer into the report, and passes on its text with the
// client's refs in place of the quarantine refs.
func (p *pushing) readAnswer(from io.Reader, report *push.Report) error {
	var names []string
	for i, ref := range p.verified.refs {
		names = append(names, ref, p.q.Commands[i].Ref)
	}
	progress := push.NewProgress(p.q, names, func(packets []byte) error {
		_, err := p.answer.Write(packets)
		return err
	})
	_, err := io.Copy(io.MultiWriter(report, progress, progressWriter{p.watchdog}), from)
	return err
}

// A progressWriter is a writer that reports progress to a watchdog.
type progressWriter struct{ *watchdog }

func (n progressWriter) Write(p []byte) (int, error) {
	n.moved()
	return len(p), nil
}

// completePush moves the branches whose objects GitHub has, and deletes the quarantine refs.
// It returns the outcome of every command. outcomes are those of the forwarded request;
// err says why they may be incomplete.
func (p *pushing) completePush(ctx context.Context, token *credential.Token, outcomes []push.Outcome, err error) []push.Outcome {
	p.watchdog.stop() // each API request has its own timeout
	moving, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	settled := slices.Clone(outcomes)
	token, tokenErr := p.lastingToken(moving, token)
	for i, c := range p.q.Commands {
		o := &settled[i]
		o.Command = c
		ref, isVerified := p.verified.refs[i]
		switch {
		case isVerified && o.State == push.OK && tokenErr != nil:
			o.State, o.Reason = push.Failed, "gatepass: "+broker.RefusalOf(tokenErr).Detail+notMoved
		case isVerified && o.State == push.OK:
			o.State, o.Reason = p.move(moving, token, c)
		case isVerified && o.State == push.Unknown:
			o.State, o.Reason = push.Failed, "gatepass: GitHub did not confirm that it has the objects"+notMoved
		case o.State == push.Unknown && o.Reason == "" && err == nil:
			o.Reason = "gatepass: GitHub did not report the outcome; run git fetch to see"
		}
		if isVerified {
			o.Reason = strings.ReplaceAll(o.Reason, ref, c.Ref)
		}
	}
	p.clean(ctx, token, outcomes)
	return settled
}

// lastingToken returns the token, or a new one if it expires soon.
func (p *pushing) lastingToken(ctx context.Context, token *credential.Token) (*credential.Token, error) {
	if token.Expiry.Sub(p.g.Access.Broker.TokenTime()) > lasting {
		return token, nil
	}
	fresh, err := p.token(ctx, access.Write)
	if err != nil {
		return token, err
	}
	return fresh, nil
}

// clean deletes the quarantine refs that GitHub created. It leaves to Sweep those that
// it cannot delete, and those that GitHub may still create.
func (p *pushing) clean(ctx context.Context, token *credential.Token, forwarded []push.Outcome) {
	p.verified.renewal.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	entry, errs := p.verified.entry, []error(nil)
	entry.Refs = nil
	for _, i := range p.verified.indexes() {
		state, ref := forwarded[i].State, p.verified.refs[i]
		if state == push.Refused || state == push.Failed || state == push.Unknown && !p.mayBeDone && !p.mayCome {
			continue // GitHub has no such ref, and will not create it
		}
		isGone, err := p.g.deleteRef(ctx, token, entry.Repository, ref)
		if err != nil || !isGone && state == push.Unknown {
			entry.Refs, errs = append(entry.Refs, ref), append(errs, err)
		}
	}
	if err := p.g.leave(ctx, p.id, entry, errs); err != nil {
		p.g.Access.Broker.Log.Warn("the refs of a push are deleted later", "request_id", p.id, "repository", entry.Repository, "error", err.Error())
	}
}

// writeResults answers with the outcome of every command, and a note.
func (p *pushing) writeResults(outcomes []push.Outcome, note string) error {
	p.waiting.stop()
	p.began = true
	moved := 0
	for _, o := range outcomes {
		if o.State == push.OK {
			moved++
		}
	}
	text := bytes.NewBufferString(note)
	if moved > 0 && moved < len(outcomes) {
		fmt.Fprintf(text, "gatepass: %d of %d refs were updated, the others were not; a verified push is not atomic\n", moved, len(outcomes))
	}
	_, err := p.answer.Write(push.Results(p.q, outcomes, text.String()))
	p.transfer.Out = p.answer.n
	if err != nil {
		return broken(err)
	}
	return nil
}
