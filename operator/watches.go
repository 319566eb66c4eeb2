package operator

import (
	"context"
	"maps"
	"slices"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/once"
	"github.com/gatepass/gatepass/operator/tenant"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

type queue = workqueue.TypedRateLimitingInterface[apps.Key]

// The cache's indexes.
const (
	byOwner  = "owner"  // Secrets by the UID of their controller, except Secrets with the name of their Token
	byTarget = "target" // ClusterTokens by the namespace of their Secret
)

// index registers the indexes. Call it before the cache starts.
func index(ctx context.Context, c cache.Cache) error {
	err := c.IndexField(ctx, metadataOf("Secret"), byOwner, func(o client.Object) []string {
		owner := metav1.GetControllerOfNoCopy(o)
		if owner == nil || owner.Kind == tenant.KindToken && owner.Name == o.GetName() {
			return nil // nearly all Secrets: they are found by name
		}
		return []string{string(owner.UID)}
	})
	if err != nil {
		return err
	}
	return c.IndexField(ctx, &v1.ClusterToken{}, byTarget, func(o client.Object) []string {
		return []string{o.(*v1.ClusterToken).Spec.Secret.Namespace}
	})
}

// watch has the controller reconcile an object when the object changes, and when
// something changes that its plan depends on.
func (r *Reconciler) watch(c controller.TypedController[apps.Key], own cache.Cache) error {
	changed := predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	for _, s := range []source.TypedSource[apps.Key]{
		source.TypedKind[client.Object](own, &v1.Token{}, enqueue(tokenKey), changed),
		source.TypedKind[client.Object](own, &v1.ClusterToken{}, enqueue(clusterTokenKey), changed),
		source.TypedKind[client.Object](own, metadataOf("Secret"), enqueue(secretOwner)),
		source.TypedKind[client.Object](own, metadataOf("Namespace"), r.onNamespace()),
		source.TypedKind[client.Object](own, &v1.TenantPolicy{}, r.onChange(func(*subject, client.Object) bool { return true })),
		source.TypedKind[client.Object](own, &v1.App{}, r.onChange(usesApp)),
		source.TypedFunc[apps.Key](r.takeQueue),
	} {
		if err := c.Watch(s); err != nil {
			return err
		}
	}
	return nil
}

// takeQueue stores the queue for Wake. It queues the owners of all records, because
// objects may have been deleted while no operator ran.
func (r *Reconciler) takeQueue(ctx context.Context, q queue) error {
	r.mu.Lock()
	r.queue = q
	r.mu.Unlock()
	for _, key := range r.Ledger.Keys() {
		addLater(q, apps.Key(key))
	}
	go r.missingFirst(ctx, q)
	return nil
}

// missingFirst queues objects without a Secret before the other objects of the first
// list.
func (r *Reconciler) missingFirst(ctx context.Context, q queue) {
	if !r.Cache.WaitForCacheSync(ctx) {
		return
	}
	_ = r.each(ctx, "", func(s *subject) {
		if apierrors.IsNotFound(r.Cache.Get(ctx, types.NamespacedName(s.target), metadataOf("Secret"))) {
			q.Add(keyOf(s))
		}
	})
}

// addLater queues a key behind all changes from now on: after a start thousands of
// objects are checked, and few of them need anything.
func addLater(q queue, key apps.Key) {
	if ordered, ok := q.(priorityqueue.PriorityQueue[apps.Key]); ok {
		ordered.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, key)
		return
	}
	q.Add(key)
}

// Wake reconciles an object soon.
func (r *Reconciler) Wake(key apps.Key) {
	r.mu.Lock()
	q := r.queue
	r.mu.Unlock()
	if q != nil {
		q.Add(key)
	}
}

// WakeUsers reconciles all objects that use the operator's own App, because its
// configuration changed.
func (r *Reconciler) WakeUsers(ctx context.Context) error {
	return r.each(ctx, "", func(s *subject) {
		if s.app.IsDefault() {
			r.Wake(keyOf(s))
		}
	})
}

func tokenKey(o client.Object) (apps.Key, bool) {
	return apps.Key{Kind: tenant.KindToken, Namespace: o.GetNamespace(), Name: o.GetName()}, true
}

func clusterTokenKey(o client.Object) (apps.Key, bool) {
	return apps.Key{Kind: tenant.KindClusterToken, Name: o.GetName()}, true
}

// secretOwner returns the object that a Secret belongs to, by its controller or else by
// its labels.
func secretOwner(o client.Object) (apps.Key, bool) {
	kind, name := o.GetLabels()[v1.LabelOwnerKind], o.GetLabels()[v1.LabelOwnerName]
	if c := metav1.GetControllerOfNoCopy(o); isOwner(c) {
		kind, name = c.Kind, c.Name
	}
	key := apps.Key{Kind: kind, Namespace: o.GetNamespace(), Name: name}
	switch {
	case name == "":
		return key, false
	case kind == tenant.KindClusterToken:
		key.Namespace = ""
		return key, true
	}
	return key, kind == tenant.KindToken
}

// isOwner reports whether a controller is an object of this operator.
func isOwner(controller *metav1.OwnerReference) bool {
	return controller != nil && controller.APIVersion == v1.GroupVersion.String()
}

// enqueue queues the keys that key returns. If an object changed its owner, both owners
// are queued.
func enqueue(key func(client.Object) (apps.Key, bool)) handler.TypedEventHandler[client.Object, apps.Key] {
	add := func(q queue, objects ...client.Object) {
		for _, o := range objects {
			if k, ok := key(o); ok {
				q.Add(k)
			}
		}
	}
	return handler.TypedFuncs[client.Object, apps.Key]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			if k, ok := key(e.Object); ok && e.IsInInitialList {
				addLater(q, k)
				return
			}
			add(q, e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { add(q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(q, e.Object) },
	}
}

func usesApp(s *subject, app client.Object) bool {
	return s.app == apps.Ref{Namespace: app.GetNamespace(), Name: app.GetName()}
}

// onChange queues the subjects that a changed object concerns. It skips objects of the
// first list, whose subjects are reconciled anyway.
func (r *Reconciler) onChange(concerns func(*subject, client.Object) bool) handler.TypedEventHandler[client.Object, apps.Key] {
	add := func(ctx context.Context, o client.Object, q queue) {
		_ = r.each(ctx, "", func(s *subject) {
			if concerns(s, o) {
				q.Add(keyOf(s))
			}
		})
	}
	return handler.TypedFuncs[client.Object, apps.Key]{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList {
				add(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || ready(e.ObjectOld) != ready(e.ObjectNew) {
				add(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, e.Object, q) },
	}
}

// ready returns the status of an App's condition Ready; "" for other kinds.
func ready(o client.Object) metav1.ConditionStatus {
	app, ok := o.(*v1.App)
	if !ok {
		return ""
	}
	for _, c := range app.Status.Conditions {
		if c.Type == v1.ConditionReady {
			return c.Status
		}
	}
	return ""
}

// onNamespace queues the subjects in a namespace, and those that write to it, when its
// labels change, or when it is created or deleted.
func (r *Reconciler) onNamespace() handler.TypedEventHandler[client.Object, apps.Key] {
	add := func(ctx context.Context, o client.Object, q queue) {
		_ = r.each(ctx, o.GetName(), func(s *subject) { q.Add(keyOf(s)) })
	}
	return handler.TypedFuncs[client.Object, apps.Key]{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList {
				add(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			wasDeleted, isDeleted := e.ObjectOld.GetDeletionTimestamp() != nil, e.ObjectNew.GetDeletionTimestamp() != nil
			if wasDeleted != isDeleted || !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) {
				add(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, e.Object, q) },
	}
}

// each calls do for the Tokens of a namespace and the ClusterTokens that write to it,
// or for all if namespace is empty. The subjects belong to the cache: do must not
// change them.
func (r *Reconciler) each(ctx context.Context, namespace string, do func(*subject)) error {
	var tokens v1.TokenList
	if err := r.Client.List(ctx, &tokens, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range tokens.Items {
		do(ofToken(&tokens.Items[i]))
	}
	var clusterTokens v1.ClusterTokenList
	options := []client.ListOption{client.UnsafeDisableDeepCopy}
	if namespace != "" {
		options = append(options, client.MatchingFields{byTarget: namespace})
	}
	if err := r.Client.List(ctx, &clusterTokens, options...); err != nil {
		return err
	}
	for i := range clusterTokens.Items {
		do(ofClusterToken(&clusterTokens.Items[i], r.Namespace))
	}
	return nil
}

// slim reduces a cached object to what the operator reads, and shares values that
// thousands of objects have in common.
func slim(object any) (any, error) {
	switch o := object.(type) {
	case *metav1.PartialObjectMetadata:
		o.ManagedFields, o.Annotations = nil, nil
		if o.Kind == "Secret" {
			slimSecret(o)
		}
	case *v1.Token:
		slimMeta(&o.TypeMeta, &o.ObjectMeta)
		slimAccess(&o.Spec.Access)
		slimStatus(&o.Status)
	case *v1.ClusterToken:
		slimMeta(&o.TypeMeta, &o.ObjectMeta)
		slimAccess(&o.Spec.Access)
		slimStatus(&o.Status)
	case client.Object:
		o.SetManagedFields(nil)
	}
	return object, nil
}

// slimSecret keeps a Secret's owner and version. It keeps labels only if they are
// needed to find the owner.
func slimSecret(o *metav1.PartialObjectMetadata) {
	controller := metav1.GetControllerOfNoCopy(o)
	m := metav1.ObjectMeta{Namespace: once.Text(o.Namespace), Name: o.Name, ResourceVersion: o.ResourceVersion}
	if controller != nil {
		m.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: once.Text(controller.APIVersion), Kind: once.Text(controller.Kind), Name: controller.Name, UID: controller.UID, Controller: &yes,
		}}
		if controller.Name == o.Name {
			m.OwnerReferences[0].Name = o.Name
		}
	}
	if !isOwner(controller) {
		m.Labels = map[string]string{v1.LabelOwnerKind: once.Text(o.Labels[v1.LabelOwnerKind]), v1.LabelOwnerName: o.Labels[v1.LabelOwnerName]}
	}
	o.TypeMeta = metav1.TypeMeta{APIVersion: once.Text(o.APIVersion), Kind: once.Text(o.Kind)}
	o.ObjectMeta = m
}

var yes = true

func slimMeta(t *metav1.TypeMeta, m *metav1.ObjectMeta) {
	t.APIVersion, t.Kind, m.Namespace = once.Text(t.APIVersion), once.Text(t.Kind), once.Text(m.Namespace)
	m.ManagedFields, m.Labels = nil, nil
	delete(m.Annotations, corev1.LastAppliedConfigAnnotation) // others stay: a user may change one to trigger a reconcile
	if len(m.Annotations) == 0 {
		m.Annotations = nil
	}
}

var (
	asked   once.Maps[v1.PermissionLevel]
	granted once.Maps[string]
)

func slimAccess(a *v1.Access) {
	a.Owner = once.Text(a.Owner)
	a.Repositories, a.Permissions = once.Texts(a.Repositories), asked.One(a.Permissions)
}

func slimStatus(s *v1.TokenStatus) {
	s.Repositories, s.Permissions = once.Texts(s.Repositories), granted.One(s.Permissions)
	s.Conditions = slices.Clone(s.Conditions) // to their number
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.Type, c.Reason, c.Message = once.Text(c.Type), once.Text(c.Reason), once.Text(c.Message)
		c.Status = metav1.ConditionStatus(once.Text(string(c.Status)))
	}
	if m := s.ManagedSecret; m != nil {
		m.Namespace = once.Text(m.Namespace)
	}
}
