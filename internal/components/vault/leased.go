package main

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// leasedFactory makes an engine that answers as those for GitHub do: a token
// under a lease.
//
//	GET MOUNT/token[/NAME]?ttl=SECONDS[&expires_at=TIME]
func leasedFactory(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	b := &framework.Backend{BackendType: logical.TypeLogical}
	secret := &framework.Secret{Type: "token", Revoke: revoke}
	b.Secrets = []*framework.Secret{secret}
	b.Paths = []*framework.Path{{
		Pattern: "token(/.*)?",
		Fields: map[string]*framework.FieldSchema{
			"ttl":        {Type: framework.TypeDurationSecond, Default: 3600, Query: true},
			"expires_at": {Type: framework.TypeString, Query: true},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{Callback: give(secret)},
		},
	}}
	return b, b.Setup(ctx, config)
}

func give(secret *framework.Secret) framework.OperationFunc {
	return func(_ context.Context, _ *logical.Request, fields *framework.FieldData) (*logical.Response, error) {
		data := map[string]any{"token": "ghs_leased0123456789", "installation_id": 7}
		if at := fields.Get("expires_at").(string); at != "" {
			data["expires_at"] = at
		}
		answer := secret.Response(data, nil)
		answer.Secret.TTL = time.Duration(fields.Get("ttl").(int)) * time.Second
		return answer, nil
	}
}

func revoke(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
	return nil, nil
}
