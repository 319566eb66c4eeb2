package console

import (
	"net/http"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/revoke"
)

// maxTarget bounds an operator's request, in bytes.
const maxTarget = 4 << 10

// actor is the operator who sent a request.
func (r request) actor() revoke.Actor {
	return revoke.Actor{Operator: r.who, RequestID: r.id, Remote: r.RemoteAddr}
}

// revokeWorkspace answers POST /v1/workspaces/{id}/revoke.
func (c *Console) revokeWorkspace(r request) error {
	return c.revoke(r, broker.Target{Workspace: r.PathValue("id")})
}

// kill answers POST /v1/kill.
func (c *Console) kill(r request) error {
	t, err := readTarget(r)
	if err != nil {
		return err
	}
	return c.revoke(r, t)
}

func readTarget(r request) (broker.Target, error) {
	var said api.Target
	if err := api.ReadJSON(r.w, r.Request, maxTarget, &said); err != nil {
		return broker.Target{}, err
	}
	return broker.Target(said), nil
}

// revoke answers with what was revoked. While something is left to do, and being done,
// the status is 202.
func (c *Console) revoke(r request, t broker.Target) error {
	done, err := c.Revoker.Revoke(r.Context(), r.actor(), t)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if done.Pending > 0 {
		status = http.StatusAccepted
	}
	return api.WriteJSON(r.w, status, done)
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

func (c *Console) admit(r request, t broker.Target) error {
	if err := c.Revoker.Lift(r.Context(), r.actor(), t); err != nil {
		return err
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}
