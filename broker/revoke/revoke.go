package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
)

// killTime bounds what one request takes away; the rest is for [Console.Reconcile].
const killTime = 30 * time.Second

// maxTarget bounds an operator's request, in bytes.
const maxTarget = 4 << 10

// revokeWorkspace answers POST /v1/workspaces/{id}/revoke.
func (c *Console) revokeWorkspace(r request) error {
	return c.answerTake(r, broker.Target{Workspace: r.PathValue("id")})
}

// kill answers POST /v1/kill.
func (c *Console) kill(r request) error {
	t, err := readTarget(r)
	if err != nil {
		return err
	}
	return c.answerTake(r, t)
}

func readTarget(r request) (broker.Target, error) {
	var said api.Target
	if err := api.ReadJSON(r.w, r.Request, maxTarget, &said); err != nil {
		return broker.Target{}, err
	}
	return broker.Target(said), nil
}

// answerTake says what came of it. Where something is left to do the status is
// 202: it is being done.
func (c *Console) answerTake(r request, t broker.Target) error {
	done, err := c.take(r, t)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if done.Pending > 0 {
		status = http.StatusAccepted
	}
	return api.WriteJSON(r.w, status, done)
}

// take takes everything from a target, whoever of the caller and the client gives
// up. That it cannot be written down keeps nothing alive: then all is done, and
// answered with an error.
func (c *Console) take(r request, t broker.Target) (api.Revocation, error) {
	if err := t.Check(); err != nil {
		return api.Revocation{}, bad(err.Error())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), killTime)
	defer cancel()
	if err := c.Bars.Take(ctx, t); err != nil {
		return api.Revocation{}, noStore(err)
	}
	unwrittenErr := c.Server.Journal.Write(ctx, c.entry(broker.KindBarred, r, t.String()), true)
	s := &sweep{c: c, by: c.entry(broker.KindRevoked, r, t.String())}
	err := s.target(ctx, t, everything)
	if err != nil {
		c.log(ctx, "what was barred is not revoked yet", err)
	}
	if err := errors.Join(unwrittenErr, s.unwritten); err != nil {
		return api.Revocation{}, unwritten(err)
	}
	return api.Revocation{Target: api.Target(t), Revoked: s.hashes(), Pending: s.failed, Workspaces: s.workspaces(), AsOf: s.asOf.UTC()}, nil
}

// admitWorkspace answers DELETE /v1/workspaces/{id}/bar.
func (c *Console) admitWorkspace(r request) error {
	return c.admit(r, broker.Target{Workspace: r.PathValue("id")})
}

// admitTarget answers POST /v1/admit.
func (c *Console) admitTarget(r request) error {
	t, err := readTarget(r)
	if err != nil {
		return err
	}
	return c.admit(r, t)
}

// admit takes a bar away. It is written down first: this one gives.
func (c *Console) admit(r request, t broker.Target) error {
	if err := c.lift(r, t); err != nil {
		return err
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) lift(r request, t broker.Target) error {
	if err := t.Check(); err != nil {
		return bad(err.Error())
	}
	if err := c.Server.Journal.Write(r.Context(), c.entry(broker.KindAdmitted, r, t.String()), true); err != nil {
		return unwritten(err)
	}
	if err := c.Bars.Lift(r.Context(), t); err != nil {
		return noStore(err)
	}
	return nil
}
