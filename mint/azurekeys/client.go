package azurekeys

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/mint/signer"
)

// tokenRetry bounds the credentials' own attempts to less than one of ours takes.
var tokenRetry = policy.RetryOptions{MaxRetries: 3, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second}

type keyVault struct {
	signer.Client[azkeys.Client]
	url       string
	cloud     cloud.Configuration
	transport policy.Transporter // for tests; nil is the network
}

func (c *keyVault) open(context.Context) (*azkeys.Client, error) {
	found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: policy.ClientOptions{Cloud: c.cloud, Transport: c.transport, Retry: tokenRetry},
	})
	if err != nil {
		return nil, signer.New("the credentials cannot be chosen: "+redact.Text(err.Error(), maxShown), "correct the AZURE_ variables")
	}
	transport := c.transport
	if transport == nil {
		transport = network()
	}
	return azkeys.NewClient(c.url, identity{found}, &azkeys.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: guard{transport},
		// By itself the client waits up to a minute between attempts, and then tells of
		// the deadline instead of the last answer.
		Retry: policy.RetryOptions{MaxRetries: -1},
	}})
}

// network returns what carries the requests to Key Vault. It follows no redirect:
// a vault has none.
func network() *http.Client {
	t := httpclient.Transport()
	t.Proxy = http.ProxyFromEnvironment
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// identity keeps the errors of the credentials apart from those of Key Vault.
type identity struct{ azcore.TokenCredential }

func (i identity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := i.TokenCredential.GetToken(ctx, o)
	switch {
	case err == nil:
		return token, nil
	case !signer.IsLate(ctx, err):
		return token, unauthenticated(err)
	}
	if late, ok := ctx.Value(lateToken{}).(*atomic.Bool); ok {
		late.Store(true)
	}
	return token, context.DeadlineExceeded
}

// lateToken is the key of an *atomic.Bool: whether the time was up before there was
// an access token. The client forgets that, and returns the context's error alone.
type lateToken struct{}

// call makes one call, for which the identity needs to be allowed operation.
func call[Out any](ctx context.Context, s *Signer, what, operation string, do func(context.Context, *azkeys.Client) (Out, error)) (Out, error) {
	explain := func(err error) *signer.Problem { return s.explain(operation, err) }
	return signer.Call(ctx, &s.client.Client, what, explain, func(ctx context.Context, c *azkeys.Client) (Out, error) {
		var late atomic.Bool
		out, err := do(context.WithValue(ctx, lateToken{}, &late), c)
		if err != nil && late.Load() {
			return out, signer.LateToken()
		}
		return out, err
	})
}
