package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	product "github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A template is a workspace whose entries the product itself wrote into a store. Copies
// of it with other IDs and tokens fill a store in seconds, in the format that today's
// programs write.
type template struct {
	id     string
	prefix string             // prefix of the copies' IDs
	tokens []credential.Token // tokens in its entries
	names  []store.Name       // names of its entries
}

// isOf reports whether a name contains the ID of the template or of one of its tokens.
func (st template) isOf(name string) bool {
	if strings.Contains(name, st.id) {
		return true
	}
	for _, t := range st.tokens {
		if strings.Contains(name, t.ID().String()) {
			return true
		}
	}
	return false
}

// workspace returns the ID of a copy.
func (st template) workspace(k int) string { return fmt.Sprintf("%s-%06d", st.prefix, k) }

// copy returns the replacements that turn the template's texts into those of a copy.
func (st template) copy(k int) *strings.Replacer {
	change := []string{st.id, st.workspace(k)}
	for _, t := range st.tokens {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", t.Secret(), k))
		next := credential.NewToken("ghs_"+hex.EncodeToString(sum[:])[:max(36, len(t.Secret())-4)], t.Expiry)
		change = append(change, t.Secret(), next.Secret(), t.Hash(), next.Hash(), t.ID().String(), next.ID().String())
	}
	return strings.NewReplacer(change...)
}

// fleetProfile is the profile of every workspace in a filled store.
const fleetProfile = "metadata: {name: fleet}\nspec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: [push]}}}\n"

// newTemplates makes the product write two workspaces: one with a delivered and a vended
// token, and one whose vended token has expired.
func newTemplates(ctx context.Context, s store.Store, app *mint.App) (live, over template, err error) {
	p, err := profile.Parse([]byte(fleetProfile))
	if err != nil {
		return live, over, err
	}
	live, over = template{id: "stencil-live", prefix: "sb"}, template{id: "stencil-over", prefix: "gone"}
	issuer := &workspace.Issuer{App: app, Store: s}
	if _, err := issuer.Create(ctx, live.id, p, 0); err != nil {
		return live, over, err
	}
	name, err := store.OnlyToken(live.id)
	if err != nil {
		return live, over, err
	}
	delivered, err := s.Get(ctx, name)
	if err != nil {
		return live, over, err
	}
	now := time.Now()
	live.tokens = []credential.Token{
		credential.NewToken(delivered.Value.Reveal(), now.Add(time.Hour)),
		credential.NewToken("ghs_kept456789012345678901234567890123456", now.Add(55*time.Minute)),
	}
	over.tokens = []credential.Token{credential.NewToken("ghs_over456789012345678901234567890123456", now.Add(-10*time.Minute))}
	keeper := &product.VendLog{Store: s}
	err = firstOf(
		keeper.Record(ctx, product.Workspace{ID: live.id, Profile: p, Rule: "1"}, live.tokens[1]),
		keeper.Record(ctx, product.Workspace{ID: over.id, Profile: p, Rule: "1"}, over.tokens[0]),
	)
	for name, listErr := range s.List(ctx, store.Everything()) {
		err = firstOf(err, listErr)
		for _, st := range []*template{&live, &over} {
			if listErr == nil && st.isOf(name.String()) {
				st.names = append(st.names, name)
			}
		}
	}
	return live, over, err
}

// namesOf returns the names of a copy's entries.
func (st template) namesOf(k int) (names []store.Name, err error) {
	change := st.copy(k)
	for _, model := range st.names {
		name, err := store.ParseName(change.Replace(model.String()))
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// fill makes the copies from up to to of a template with the product's own writes, for
// stores without a faster way. dues says when the template's entries are due, for a
// store that is Indexed.
func fill(ctx context.Context, s store.Store, st template, from, to int, dues map[string]time.Time) error {
	models := make([]store.Secret, len(st.names))
	for i, name := range st.names {
		entry, err := s.Get(ctx, name)
		if err != nil {
			return err
		}
		models[i] = entry.Value
	}
	return inParallel(to-from, func(k int) error {
		change := st.copy(from + k)
		names, err := st.namesOf(from + k)
		for i, name := range names {
			if err == nil {
				value := store.NewSecret(change.Replace(models[i].Reveal()))
				err = store.PutDue(ctx, s, name, value, store.CreateOnly, dues[st.names[i].String()])
			}
		}
		return err
	})
}
