package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/intern"
)

const (
	labelRecord = v1.Group + "/record"
	typeRecord  = v1.Group + "/record"
	dataKey     = "record"
	page        = 500
	fullEntries = 2 // newest entries whose granted access is recorded
)

// Open reads all records of a namespace. secrets must not cache Secrets.
func Open(ctx context.Context, secrets client.Client, namespace string) (*Ledger, error) {
	seal, err := openSeal(ctx, secrets, namespace)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		secrets: secrets, where: namespace, seal: seal,
		records: map[types.UID]*record{}, byKey: map[Key][]types.UID{},
	}
	return l, l.load(ctx)
}

func (l *Ledger) load(ctx context.Context) error {
	list := &corev1.SecretList{}
	for {
		err := l.secrets.List(ctx, list, client.InNamespace(l.where), client.HasLabels{labelRecord}, client.Limit(page), client.Continue(list.Continue))
		if err != nil {
			return fmt.Errorf("list the records of live tokens in namespace %s: %w", l.where, err)
		}
		for i := range list.Items {
			if err := l.take(&list.Items[i]); err != nil {
				l.Broken = append(l.Broken, err)
			}
		}
		if list.Continue == "" {
			return nil
		}
	}
}

// document is what a record's Secret holds.
type document struct {
	Owner  Owner   `json:"owner"`
	Tokens []Entry `json:"tokens"`
}

func parse(s *corev1.Secret) (document, error) {
	var d document
	err := json.Unmarshal(s.Data[dataKey], &d)
	if err == nil && (d.Owner.UID == "" || s.Name != recordName(d.Owner.UID)) {
		err = fmt.Errorf("it names the object %q", d.Owner.UID)
	}
	if err != nil {
		return d, fmt.Errorf("read the record %s/%s: %w; delete it: its tokens expire within an hour", s.Namespace, s.Name, err)
	}
	return d, nil
}

func (l *Ledger) take(s *corev1.Secret) error {
	d, err := parse(s)
	if err != nil {
		return err
	}
	d.Owner.Kind, d.Owner.Namespace = intern.String(d.Owner.Kind), intern.String(d.Owner.Namespace)
	for i := range d.Tokens {
		d.Tokens[i].share()
	}
	l.records[d.Owner.UID] = &record{owner: d.Owner, entries: slices.Clone(d.Tokens), version: s.ResourceVersion}
	l.byKey[d.Owner.Key()] = append(l.byKey[d.Owner.Key()], d.Owner.UID)
	return nil
}

func recordName(uid types.UID) string { return "gatepass-record-" + string(uid) }

// Save writes a record whose latest write failed, without its expired tokens. It
// deletes a record without tokens.
func (l *Ledger) Save(ctx context.Context, uid types.UID, now time.Time) error {
	owner, entries, version := l.snapshot(uid, now)
	if entries == nil {
		return nil
	}
	if len(entries) == 0 {
		return l.Forget(ctx, uid)
	}
	secret, err := l.secretOf(owner, entries, version)
	if err != nil {
		return err
	}
	switch err = l.write(ctx, secret); {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		entries, err = l.merge(ctx, secret, owner, entries)
	}
	if err != nil {
		return fmt.Errorf("write the record of %s %s: %w", owner.Kind, owner.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[uid]; r != nil {
		r.entries, r.version, r.isDirty = entries, secret.ResourceVersion, false
	}
	return nil
}

// snapshot returns a record as it must be written, or no entries if it is already
// written.
func (l *Ledger) snapshot(uid types.UID, now time.Time) (Owner, []Entry, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[uid]
	if r == nil || !r.isDirty {
		return Owner{}, nil, ""
	}
	return r.owner, prune(r.entries, now), r.version
}

// prune drops expired tokens, and the granted access of all but the newest. It never
// returns nil.
func prune(entries []Entry, now time.Time) []Entry {
	kept := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if !e.Expires.After(now) {
			continue
		}
		if len(kept) >= fullEntries {
			e.Repositories, e.Permissions = nil, nil
		}
		kept = append(kept, e)
	}
	return kept
}

func (l *Ledger) secretOf(owner Owner, entries []Entry, version string) (*corev1.Secret, error) {
	text, err := json.Marshal(document{owner, entries})
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: l.where, Name: recordName(owner.UID), ResourceVersion: version,
			Labels: map[string]string{labelRecord: "tokens", "app.kubernetes.io/managed-by": "gatepass-operator"},
		},
		Type: typeRecord,
		Data: map[string][]byte{dataKey: text},
	}, nil
}

func (l *Ledger) write(ctx context.Context, s *corev1.Secret) error {
	if s.ResourceVersion == "" {
		return l.secrets.Create(ctx, s)
	}
	return l.secrets.Update(ctx, s)
}

// merge writes a record that another writer changed or deleted meanwhile. It keeps the
// tokens of both: a token that was revoked is revoked a second time, which does no harm.
func (l *Ledger) merge(ctx context.Context, s *corev1.Secret, owner Owner, ours []Entry) ([]Entry, error) {
	there := &corev1.Secret{}
	err := l.secrets.Get(ctx, client.ObjectKeyFromObject(s), there)
	switch {
	case apierrors.IsNotFound(err):
		s.ResourceVersion = ""
		return ours, l.write(ctx, s)
	case err != nil:
		return nil, err
	}
	if d, err := parse(there); err == nil {
		for _, e := range d.Tokens {
			if !slices.ContainsFunc(ours, func(o Entry) bool { return o.ID == e.ID }) {
				ours = append(ours, e)
			}
		}
	}
	slices.SortStableFunc(ours, func(a, b Entry) int { return b.Made.Compare(a.Made) })
	merged, err := l.secretOf(owner, ours, there.ResourceVersion)
	if err != nil {
		return nil, err
	}
	*s = *merged
	return ours, l.write(ctx, s)
}

func (l *Ledger) delete(ctx context.Context, uid types.UID) error {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.where, Name: recordName(uid)}}
	if err := l.secrets.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the record %s: %w", s.Name, err)
	}
	return nil
}
