//go:build darwin || windows

package oskeyring

import (
	"context"
	"errors"
	"time"

	"github.com/zalando/go-keyring"
)

const storeHint = "store a token there under this service and account"

func system() ring { return library{} }

// library is the keychain of macOS and the credential manager of Windows, through
// go-keyring. Its calls take no context: a call that hangs is abandoned.
type library struct{}

func (library) get(ctx context.Context, it item) ([]byte, time.Time, error) {
	value, err := within(ctx, func() (string, error) { return keyring.Get(it.service, it.account) })
	return []byte(value), time.Time{}, err
}

func (library) set(ctx context.Context, it item, _ string, value []byte) error {
	_, err := within(ctx, func() (string, error) { return "", keyring.Set(it.service, it.account, string(value)) })
	return err
}

func (library) remove(ctx context.Context, it item) error {
	_, err := within(ctx, func() (string, error) { return "", keyring.Delete(it.service, it.account) })
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

// within waits for do until ctx ends.
func within(ctx context.Context, do func() (string, error)) (string, error) {
	type result struct {
		value string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if errors.Is(r.err, keyring.ErrNotFound) {
			return "", errNotFound
		}
		return r.value, r.err
	case <-ctx.Done():
		return "", errNoAnswer
	}
}
