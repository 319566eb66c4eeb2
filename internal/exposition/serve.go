package exposition

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Listen has handler answer at an address, for who looks after a program, until
// stop is called. do is what to do where the address cannot be had.
func Listen(ctx context.Context, address string, handler http.Handler, do string) (stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		if failed, ok := errors.AsType[*net.OpError](err); ok {
			err = failed.Err // the address is named already
		}
		return nil, usererr.Wrap("listen on "+address, err, do)
	}
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = s.Serve(l) }() // until it is closed
	return func() { _ = s.Close() }, nil
}
