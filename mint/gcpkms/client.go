package gcpkms

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	kms "cloud.google.com/go/kms/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	"github.com/gatepass/gatepass/internal/remote"
)

const (
	// idle is when a connection that is not used is closed. An App signs every
	// eight minutes; by then a network may have forgotten the connection, and
	// nobody would tell.
	idle = time.Minute

	// maxAnswer bounds an answer, in bytes; the largest are lists of versions.
	maxAnswer = 4 << 20
)

// silent keeps the libraries, whose logs show tokens, off standard error.
var silent = slog.New(slog.DiscardHandler)

// A lazy makes its connection when it is first needed, and keeps it while its
// credentials work. Nothing is read or asked before that.
type lazy struct {
	options []option.ClientOption // how to reach a double, for tests
	detect  func(*credentials.DetectOptions) (*auth.Credentials, error)

	mu         sync.Mutex // guards connection
	connection *connection
}

type connection struct {
	credentials *auth.Credentials
	service     *kms.KeyManagementClient
}

func (l *lazy) connect(ctx context.Context) (*connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connection != nil {
		return l.connection, nil
	}
	found, err := l.credentials(ctx)
	if err != nil {
		return nil, err
	}
	service, err := kms.NewKeyManagementClient(ctx, append([]option.ClientOption{
		option.WithAuthCredentials(found),
		option.WithLogger(silent),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithIdleTimeout(idle)),
		option.WithGRPCDialOption(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer))),
	}, l.options...)...)
	if err != nil {
		return nil, err
	}
	// By itself the client waits up to a minute between attempts, and then tells of
	// the deadline instead of the last answer.
	service.CallOptions = &kms.KeyManagementCallOptions{}
	l.connection = &connection{found, service}
	return l.connection, nil
}

// credentials finds the application default credentials. To see whether this
// machine is one of Google's, the library asks the network for some seconds, and
// knows of no deadline.
func (l *lazy) credentials(ctx context.Context) (*auth.Credentials, error) {
	detect := l.detect
	if detect == nil {
		detect = credentials.DetectDefault
	}
	type result struct {
		found *auth.Credentials
		err   error
	}
	results := make(chan result, 1)
	go func() {
		found, err := detect(&credentials.DetectOptions{Scopes: kms.DefaultAuthScopes(), UseSelfSignedJWT: true, Logger: silent})
		results <- result{found, err}
	}()
	select {
	case r := <-results:
		if r.err != nil {
			return nil, &undetectedError{r.err}
		}
		return r.found, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drop forgets c: the next connect reads the credentials anew, which may have been
// replaced meanwhile.
func (l *lazy) drop(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connection == c {
		l.connection = nil
		_ = c.service.Close() // it is nobody's error any more
	}
}

// call makes one call within ctx's deadline, in as many attempts as it takes. do
// checks the answer as well.
func call[Out any](ctx context.Context, s *Signer, t task, do func(context.Context, *kms.KeyManagementClient) (Out, error)) (Out, error) {
	return remote.Retry(ctx, func(ctx context.Context) (Out, error) {
		out, err := attempt(ctx, s, do)
		if err != nil {
			return out, t.failed(ctx, err)
		}
		return out, nil
	})
}

// attempt returns nothing with its error.
func attempt[Out any](ctx context.Context, s *Signer, do func(context.Context, *kms.KeyManagementClient) (Out, error)) (Out, error) {
	var none Out
	ctx, cancel := context.WithTimeout(ctx, remote.AttemptWait)
	defer cancel()
	c, err := s.client.connect(ctx)
	if err != nil {
		return none, err
	}
	if _, err := c.credentials.Token(ctx); err != nil {
		s.client.drop(c)
		return none, &tokenError{err}
	}
	out, err := do(ctx, c.service)
	if isStale(err) {
		s.client.drop(c)
	}
	if err != nil {
		return none, err
	}
	return out, nil
}
