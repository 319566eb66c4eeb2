package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Keys of the Secret's data.
const (
	certificatesKey = "ca.crt"
	keysKey         = "ca.key"
)

// attempts is how often a replica tries to write while another one writes too.
const attempts = 4

// authorities returns the authorities in the Secret, after it added or removed those
// that are due. The first replica that writes decides; the others read again.
//
// If the Secret is deleted, the authority is replaced: this replica writes a new one beside
// those that it remembers, so that no call is refused meanwhile.
func (w *Webhook) authorities(ctx context.Context, owners []metav1.OwnerReference) (all authorities, err error) {
	for range attempts {
		all, err = w.tryAuthorities(ctx, owners)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	if err != nil {
		return nil, usererr.Wrap(fmt.Sprintf("keep the webhook's authority in Secret %s/%s", w.options.Namespace, SecretName), err, "")
	}
	return all, nil
}

// tryAuthorities makes one attempt. A conflict is returned as the API server's error.
func (w *Webhook) tryAuthorities(ctx context.Context, owners []metav1.OwnerReference) (authorities, error) {
	now := w.now()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.options.Namespace, Name: SecretName}}
	err := w.options.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	isNew := apierrors.IsNotFound(err)
	var all authorities
	switch {
	case isNew:
		all = w.known.current(now, w.timing)
	case err != nil:
		return nil, err
	default:
		if all, err = parseAuthorities(secret.Data[certificatesKey], secret.Data[keysKey]); err != nil {
			return nil, fmt.Errorf("%w; delete it, and the operator creates a new one", err)
		}
	}
	kept := all.current(now, w.timing)
	if isNew || kept.needSuccessor(now, w.timing) {
		one, err := newAuthority(now, w.timing)
		if err != nil {
			return nil, err
		}
		kept = append(kept, one)
	} else if len(kept) == len(all) {
		return all, nil
	}
	return kept, w.write(ctx, secret, kept, isNew, owners)
}

// write creates or updates the Secret. If two replicas write at the same time, one gets
// a conflict.
func (w *Webhook) write(ctx context.Context, secret *corev1.Secret, all authorities, isNew bool, owners []metav1.OwnerReference) error {
	keys, err := all.keys()
	if err != nil {
		return err
	}
	secret.Data = map[string][]byte{certificatesKey: all.bundle(), keysKey: keys}
	if !isNew {
		return w.options.Client.Update(ctx, secret, Manager)
	}
	secret.Labels = map[string]string{"app.kubernetes.io/managed-by": "gatepass-operator"}
	secret.OwnerReferences = owners
	return w.options.Client.Create(ctx, secret, Manager)
}

// owners returns the owner reference that deletes the Secret and the configuration
// together with the operator's ClusterRole.
func (w *Webhook) owners(ctx context.Context) ([]metav1.OwnerReference, error) {
	if w.options.ClusterRole == "" {
		return nil, nil
	}
	role := &metav1.PartialObjectMetadata{}
	role.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("ClusterRole"))
	err := w.options.Client.Get(ctx, client.ObjectKey{Name: w.options.ClusterRole}, role)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, usererr.Wrap("read ClusterRole "+w.options.ClusterRole, err, "")
	}
	return []metav1.OwnerReference{{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: role.Name, UID: role.UID}}, nil
}
