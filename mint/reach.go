package mint

import (
	"context"
	"errors"
	"net/http"
)

// Reach returns an error of kind [Unavailable] where GitHub's API gives no
// answer, say for want of a way there or of trust in its certificate. Any answer
// will do: an Enterprise Server need not tell strangers anything. The question does
// not count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Reach(ctx context.Context) error {
	_, err := a.attempt(ctx, call{doing: "reach GitHub's API at " + a.base(), method: http.MethodGet, want: http.StatusOK, open: true, url: a.base() + "/rate_limit"})
	if e, ok := errors.AsType[*Error](err); ok && e.Status != 0 && e.Kind != Unavailable {
		return nil
	}
	return err
}
