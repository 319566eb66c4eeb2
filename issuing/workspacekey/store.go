// Package workspacekey gives each workspace of a store in Parameter Store its own KMS
// key, if the store's URL says kms_key=create:alias/NAME-{workspace}.
//
// The key is made before the workspace's first token is stored. Its deletion is
// scheduled when the workspace's ledger record is deleted, which is the last step of
// its destruction. Each step can be repeated after a crash.
package workspacekey

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/store"
)

// A Store is a store in Parameter Store that makes its own encryption keys. It
// implements [store.Preparer].
type Store struct {
	*ssmstore.Store
	kms awsclient.Lazy[*kms.Client]

	mu    sync.Mutex           // guards the rest
	ready map[string]time.Time // workspaces that have a key, and when it was made or seen
	home  *home
}

// New returns a store that makes the keys for s.
func New(s *ssmstore.Store) *Store {
	k := &Store{Store: s, ready: map[string]time.Time{}}
	k.kms.Settings, k.kms.Make = s.Settings(), newClient
	if !strings.HasPrefix(k.kms.Settings.Endpoint, "http://") { // an http endpoint is an emulator's, which serves all services
		k.kms.Settings.Endpoint = ""
	}
	return k
}

func newClient(cfg aws.Config, endpoint string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}

// For some seconds KMS says that a new key does not exist
// (https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html#programming-eventual-consistency).
const (
	newFor   = time.Minute
	tryAgain = 500 * time.Millisecond
	maxTries = 6
)

// Put implements [store.Store]. It makes the workspace's key before it stores a secret.
func (k *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	id, ok := name.Workspace()
	if !ok || k.KeyOf(name) == "" {
		return k.Store.Put(ctx, name, value, mode)
	}
	if err := k.Prepare(ctx, id); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := k.Store.Put(ctx, name, value, mode)
		if !errors.Is(err, ssmstore.ErrKey) || try == maxTries || !k.isNew(id) {
			return k.forgetIf(id, err)
		}
		select {
		case <-time.After(time.Duration(try) * tryAgain):
		case <-ctx.Done():
			return err
		}
	}
}

// Delete implements [store.Store]. Before it deletes a workspace's record, it releases
// the workspace's key: without the record, the key would be forgotten. With the mark of
// an unnamed key, it releases that key.
func (k *Store) Delete(ctx context.Context, name store.Name) error {
	var err error
	switch id, _ := name.Workspace(); {
	case name.IsRecord():
		err = k.release(ctx, id)
	case name.IsKeyMark():
		err = k.releaseUnnamed(ctx, id)
	}
	if err != nil {
		return err
	}
	return k.Store.Delete(ctx, name)
}

// DeleteAll implements [store.Deleter].
func (k *Store) DeleteAll(ctx context.Context, names []store.Name) error {
	var keyless []store.Name
	for _, name := range names {
		if !name.IsRecord() && !name.IsKeyMark() {
			keyless = append(keyless, name)
		} else if err := k.Delete(ctx, name); err != nil {
			return err
		}
	}
	return k.Store.DeleteAll(ctx, keyless)
}

func (k *Store) isNew(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.ready[id]) < newFor
}

func (k *Store) isReady(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.ready[id].IsZero()
}

func (k *Store) setReady(id string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready[id] = at
	if at.IsZero() {
		delete(k.ready, id)
	}
}

// forgetIf makes the next Put check the key again, if this one could not use it.
func (k *Store) forgetIf(id string, err error) error {
	if errors.Is(err, ssmstore.ErrKey) {
		k.setReady(id, time.Time{})
	}
	return err
}
