package gcpkms

import (
	"context"
	"log/slog"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	kms "cloud.google.com/go/kms/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	"github.com/gatepass/gatepass/mint/signer"
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

type cloudKMS struct {
	signer.Client[connection]
	options []option.ClientOption // how to reach a double, for tests
	detect  func(*credentials.DetectOptions) (*auth.Credentials, error)
}

type connection struct {
	credentials *auth.Credentials
	service     *kms.KeyManagementClient
}

func (c *cloudKMS) open(ctx context.Context) (*connection, error) {
	found, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	service, err := kms.NewKeyManagementClient(ctx, append([]option.ClientOption{
		option.WithAuthCredentials(found),
		option.WithLogger(silent),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithIdleTimeout(idle)),
		option.WithGRPCDialOption(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer))),
	}, c.options...)...)
	if err != nil {
		return nil, err
	}
	// By itself the client waits up to a minute between attempts, and then tells of
	// the deadline instead of the last answer.
	service.CallOptions = &kms.KeyManagementCallOptions{}
	return &connection{found, service}, nil
}

func (c *connection) close() { _ = c.service.Close() } // it was dropped: its error is of no use

// credentials finds the application default credentials. To see whether this
// machine is one of Google's, the library asks the network for some seconds, and
// knows of no deadline.
func (c *cloudKMS) credentials(ctx context.Context) (*auth.Credentials, error) {
	detect := c.detect
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
			return nil, undetected(r.err)
		}
		return r.found, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call makes one call, for which the identity needs a permission. do checks the
// answer as well.
func call[Out any](ctx context.Context, s *Signer, what, permission string, do func(context.Context, *kms.KeyManagementClient) (Out, error)) (Out, error) {
	explain := func(err error) *signer.Problem { return explain(permission, err) }
	return signer.Call(ctx, &s.client.Client, what, explain, func(ctx context.Context, c *connection) (Out, error) {
		var none Out
		switch _, err := c.credentials.Token(ctx); {
		case err == nil:
			return do(ctx, c.service)
		case signer.IsLate(ctx, err):
			return none, signer.LateToken()
		default:
			return none, unauthenticated(err)
		}
	})
}
