package azurekeys

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/gatepass/gatepass/internal/remote"
)

// tokenRetry bounds the credentials' own attempts to less than one of ours takes.
var tokenRetry = policy.RetryOptions{MaxRetries: 3, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second}

// A lazy makes its client when it is first needed, and keeps it while its
// credentials work. Nothing is read or asked before that.
type lazy struct {
	url       string
	cloud     cloud.Configuration
	transport policy.Transporter // for tests; nil is the network

	mu     sync.Mutex // guards client
	client *azkeys.Client
}

func (l *lazy) get() (*azkeys.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		return l.client, nil
	}
	found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: policy.ClientOptions{Cloud: l.cloud, Transport: l.transport, Retry: tokenRetry},
	})
	if err != nil {
		return nil, &chainError{err}
	}
	transport := l.transport
	if transport == nil {
		transport = network()
	}
	l.client, err = azkeys.NewClient(l.url, identity{found}, &azkeys.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: guard{transport},
		// By itself the client waits up to a minute between attempts, and then tells of
		// the deadline instead of the last answer.
		Retry: policy.RetryOptions{MaxRetries: -1},
	}})
	return l.client, err
}

// network returns what carries the requests to Key Vault. It follows no redirect:
// a vault has none.
func network() *http.Client {
	t := remote.Transport()
	t.Proxy = http.ProxyFromEnvironment
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// drop forgets c: the next get reads the credentials anew, which may have been
// replaced meanwhile.
func (l *lazy) drop(c *azkeys.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == c {
		l.client = nil
	}
}

// identity keeps the errors of the credentials apart from those of Key Vault.
type identity struct{ azcore.TokenCredential }

func (i identity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := i.TokenCredential.GetToken(ctx, o)
	if err == nil {
		return token, nil
	}
	if ctx.Err() != nil { // which the library's error has as text only
		err = ctx.Err()
		if late, ok := ctx.Value(lateToken{}).(*atomic.Bool); ok {
			late.Store(true)
		}
	}
	return azcore.AccessToken{}, &credentialsError{err}
}

// lateToken is the key of an *atomic.Bool: whether the time was up before there was
// an access token. The client forgets that, and returns the context's error alone.
type lateToken struct{}

// call makes one call within ctx's deadline, in as many attempts as it takes.
func call[Out any](ctx context.Context, s *Signer, t task, do func(context.Context, *azkeys.Client) (Out, error)) (Out, error) {
	return remote.Retry(ctx, func(ctx context.Context) (Out, error) {
		out, err := attempt(ctx, s, do)
		if err != nil {
			return out, t.failed(ctx, err)
		}
		return out, nil
	})
}

func attempt[Out any](ctx context.Context, s *Signer, do func(context.Context, *azkeys.Client) (Out, error)) (Out, error) {
	ctx, cancel := context.WithTimeout(ctx, remote.AttemptWait)
	defer cancel()
	c, err := s.client.get()
	if err != nil {
		var none Out
		return none, err
	}
	var late atomic.Bool
	out, err := do(context.WithValue(ctx, lateToken{}, &late), c)
	if err != nil && late.Load() {
		err = &credentialsError{err}
	}
	if isStale(err) {
		s.client.drop(c)
	}
	return out, err
}

// isStale reports an error that other credentials may cure.
func isStale(err error) bool {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return true
	}
	refused, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && refused.StatusCode == http.StatusUnauthorized
}
