package broker

import (
	"context"
	"slices"

	"github.com/gatepass/gatepass/api"
)

// A TokenLimit is the most that a workspace is given by the calls that answer tokens. The
// profile bounds it as well.
type TokenLimit string

// The limits.
const (
	TokensWrite TokenLimit = ""     // all that the profile allows
	TokensRead  TokenLimit = "read" // tokens whose permissions are all "read"
	TokensNone  TokenLimit = "none" // no token
)

// ParseTokenLimit reads none, read or write; "" is write.
func ParseTokenLimit(text string) (limit TokenLimit, ok bool) {
	if text == "write" {
		return TokensWrite, true
	}
	limit = TokenLimit(text)
	return limit, slices.Contains([]TokenLimit{TokensWrite, TokensRead, TokensNone}, limit)
}

// capped refuses tokens that are more than the workspace's limit.
func capped(next Vendor) Vendor {
	return func(ctx context.Context, w Workspace, r api.TokenRequest) (Grant, error) {
		if !w.Tokens.allows(r) {
			return Grant{}, forbid(ReasonPermission, w.Tokens.refusal(w.Rule))
		}
		return next(ctx, w, r)
	}
}

func (l TokenLimit) allows(r api.TokenRequest) bool {
	switch l {
	case TokensWrite:
		return true
	case TokensRead:
		return r.Operation == api.Read && readsOnly(r.Permissions)
	}
	return false
}

func readsOnly(permissions map[string]string) bool {
	for _, level := range permissions {
		if level != "read" {
			return false
		}
	}
	return true
}

func (l TokenLimit) refusal(rule string) string {
	if l == TokensRead {
		return "the rule " + rule + " gives tokens that read only; push through the git gateway"
	}
	return "the rule " + rule + " gives no tokens; use the git gateway"
}
