package operator

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/operator/tenant"
)

// readSecrets finds the Secret, and other Secrets that belong to the subject.
func (r *Reconciler) readSecrets(ctx context.Context, v *view) error {
	if err := r.readOtherSecrets(ctx, v); err != nil {
		return err
	}
	if !r.watches(v.target.Namespace) {
		return nil
	}
	if known, err := r.isUnchanged(ctx, v); known || err != nil {
		return err
	}
	return r.readSecret(ctx, v)
}

// watches reports whether the operator may access Secrets in a namespace.
func (r *Reconciler) watches(namespace string) bool {
	return len(r.WatchNamespaces) == 0 || slices.Contains(r.WatchNamespaces, namespace)
}

func (r *Reconciler) readOtherSecrets(ctx context.Context, v *view) error {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := r.Cache.List(ctx, &list, client.MatchingFields{byOwner: string(v.object.GetUID())}); err != nil {
		return err
	}
	v.in.Others = nil
	for i := range list.Items {
		v.addOther(&list.Items[i])
	}
	if v.kind != tenant.KindToken || v.target.Name == v.object.GetName() {
		return nil
	}
	named := metadataOf("Secret") // the index omits Secrets with the name of their Token
	err := r.Cache.Get(ctx, client.ObjectKeyFromObject(v.object), named)
	if err == nil {
		v.addOther(named)
	}
	return client.IgnoreNotFound(err)
}

// addOther records a Secret that belongs to the subject but is not its target.
func (v *view) addOther(secret *metav1.PartialObjectMetadata) {
	owner := metav1.GetControllerOfNoCopy(secret)
	ref := plan.Ref{Namespace: secret.Namespace, Name: secret.Name}
	if owner != nil && owner.UID == v.object.GetUID() && ref != v.target {
		v.in.Others = append(v.in.Others, ref)
	}
}

// isUnchanged reports whether the Secret is unchanged since it was last read or written.
func (r *Reconciler) isUnchanged(ctx context.Context, v *view) (bool, error) {
	object := metadataOf("Secret")
	err := r.Cache.Get(ctx, types.NamespacedName(v.target), object)
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if m := v.memory; m.version != "" && m.version == object.ResourceVersion && m.wanted == v.fingerprint() {
		v.in.Secret = m.found
		return true, nil
	}
	return false, nil
}

// fingerprint returns a fingerprint of the desired Secret, without the token.
func (v *view) fingerprint() fingerprint {
	return fingerprintOf(v.target.Namespace, v.target.Name, render.Digest(*v.shape))
}

// readSecret reads the Secret and compares it with the wanted one.
func (r *Reconciler) readSecret(ctx context.Context, v *view) error {
	v.live, v.in.Secret = nil, plan.Secret{}
	live := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName(v.target), live)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && v.in.NoWrite != nil {
		v.memory.version = ""
		return nil
	}
	if err != nil {
		return err
	}
	v.live = live
	v.in.Secret = v.compare(r.Ledger, live)
	v.memory.version, v.memory.wanted, v.memory.found = live.ResourceVersion, v.fingerprint(), v.in.Secret
	return nil
}

func (v *view) compare(l *ledger.Ledger, live *corev1.Secret) plan.Secret {
	found := plan.Secret{State: v.stateOf(live)}
	if found.State != plan.Ours {
		return found
	}
	id := live.Annotations[annotationToken]
	token, entry, err := v.token(l, id)
	if err != nil {
		return found // another text, or a token that the ledger does not have
	}
	found.Token = entry.ID
	w, err := v.desired(token)
	found.Intact = err == nil && w.isIntact(live)
	return found
}

// token returns a held token and its ledger entry.
func (v *view) token(l *ledger.Ledger, id string) (render.Token, ledger.Entry, error) {
	uid := v.object.GetUID()
	for _, e := range l.Of(uid) {
		if e.ID != id {
			continue
		}
		token, err := l.Token(uid, id)
		token.Repositories, token.Permissions, token.Username = e.Repositories, e.Permissions, credential.DefaultUsername
		return render.Token{Token: token, Host: hostOf(e.API)}, e, err
	}
	return render.Token{}, ledger.Entry{}, ledger.ErrUnknown
}

// hostOf returns the host that git clones from, given the address of the REST API.
func hostOf(api string) string {
	host := strings.TrimPrefix(api, "https://")
	host, path, _ := strings.Cut(host, "/")
	if path == "" {
		host = strings.TrimPrefix(host, "api.") // github.com and its data residency hosts; GitHub Enterprise uses /api/v3 instead
	}
	return host
}
