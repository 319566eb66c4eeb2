package apps

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/mint"
)

var (
	_ = context.Background
	_ = fmt.Sprint
)

// Explain returns what a condition says of an error, in one line that ends with what
// to do.
func (a *App) Explain(err error) string {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return oneline.Escape(err.Error())
	}
	return oneline.Escape(e.Error())
}
