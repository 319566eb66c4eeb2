package main

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// leased is an engine that answers like the GitHub engines: with a token under a lease.
//
//	POST MOUNT/token {"ttl", "expires_at"}  says what tokens will be like
//	GET  MOUNT/token[/NAME]                 gives one
type leased struct {
	*framework.Backend
	secret    *framework.Secret
	ttl       time.Duration
	expiresAt string
}

func leasedFactory(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	b := &leased{
		secret: &framework.Secret{Type: "token", Revoke: revoke},
		ttl:    time.Hour,
	}
	b.Backend = &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{b.secret},
		Paths: []*framework.Path{{
			Pattern: "token(/.*)?",
			Fields: map[string]*framework.FieldSchema{
				"ttl":        {Type: framework.TypeDurationSecond, Default: 3600},
				"expires_at": {Type: framework.TypeString},
			},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: &framework.PathOperation{Callback: b.configure},
				logical.ReadOperation:   &framework.PathOperation{Callback: b.give},
			},
		}},
	}
	return b, b.Setup(ctx, config)
}

// configure is called by one test at a time.
func (b *leased) configure(_ context.Context, _ *logical.Request, fields *framework.FieldData) (*logical.Response, error) {
	b.ttl = time.Duration(fields.Get("ttl").(int)) * time.Second
	b.expiresAt = fields.Get("expires_at").(string)
	return nil, nil
}

func (b *leased) give(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
	data := map[string]any{"token": "ghs_leased0123456789", "installation_id": 7}
	if b.expiresAt != "" {
		data["expires_at"] = b.expiresAt
	}
	answer := b.secret.Response(data, nil)
	answer.Secret.TTL = b.ttl
	return answer, nil
}

func revoke(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
	return nil, nil
}
