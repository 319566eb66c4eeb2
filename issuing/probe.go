package issuing

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// probeSize is about the size of GitHub's private keys, in bytes: a store may accept
// only short values.
const probeSize = 1700

// Probe returns an error unless the store can write, read and delete an entry. It
// leaves nothing in the store, even if ctx ends.
func Probe(ctx context.Context, s store.Store) error {
	text := rand.Text()
	text = strings.Repeat(text, probeSize/len(text))
	err := s.Put(ctx, store.Probe(), store.NewSecret(text), store.Replace)
	if err == nil {
		err = shows(ctx, s, text)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWait)
	defer cancel()
	// Also after an error, because the entry may have been written.
	if gone := s.Delete(ctx, store.Probe()); err == nil && gone != nil {
		err = usererr.Join(gone, errors.New("delete "+store.Probe().String()+" by hand"))
	}
	return err
}

func shows(ctx context.Context, s store.Store, text string) error {
	entry, err := s.Get(ctx, store.Probe())
	if err == nil && entry.Value.Reveal() != text {
		err = usererr.New("read "+store.Probe().String(), "it is not what was written", "look for another gatepass that uses this store")
	}
	return err
}
