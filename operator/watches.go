package operator

import (
	"context"
	"maps"
	"slices"
	"sync"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/intern"
	"github.com/gatepass/gatepass/operator/ledger"
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

// A triggers decides when an object is reconciled: when it changes, when something
// changes that its plan depends on, or when a caller asks for it.
type triggers struct {
	client    client.Client
	cache     cache.Cache
	namespace string // the operator's namespace

	mu    sync.Mutex // guards queue
	queue queue      // nil until the controller starts
}

// watch has the controller reconcile an object when the object changes, and when
// something changes that its plan depends on.
func (t *triggers) watch(c controller.TypedController[apps.Key], records *ledger.Ledger) error {
	own := t.cache
	changed := predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	for _, s := range []source.TypedSource[apps.Key]{
		source.TypedKind[client.Object](own, &v1.Token{}, enqueue(tokenKey), changed),
		source.TypedKind[client.Object](own, &v1.ClusterToken{}, enqueue(clusterTokenKey), changed),
		source.TypedKind[client.Object](own, metadataOf("Secret"), enqueue(secretOwner)),
		source.TypedKind[client.Object](own, metadataOf("Namespace"), t.onNamespace()),
		source.TypedKind[client.Object](own, &v1.TenantPolicy{}, t.onChange(func(*subject, client.Object) bool { return true })),
		source.TypedKind[client.Object](own, &v1.App{}, t.onChange(usesApp)),
		source.TypedFunc[apps.Key](func(ctx context.Context, q queue) error { return t.start(ctx, q, records.Keys()) }),
	} {
		if err := c.Watch(s); err != nil {
			return err
		}
	}
	return nil
}

// start stores the queue for wake. It queues the owners of all records, because objects
// may have been deleted while no operator ran.
func (t *triggers) start(ctx context.Context, q queue, owners []ledger.Key) error {
	t.mu.Lock()
	t.queue = q
	t.mu.Unlock()
	for _, key := range owners {
		addLater(q, apps.Key(key))
	}
	go t.missingFirst(ctx, q)
	return nil
}

// missingFirst queues objects without a Secret before the other objects of the first
// list.
func (t *triggers) missingFirst(ctx context.Context, q queue) {
	if !t.cache.WaitForCacheSync(ctx) {
		return
	}
	_ = t.eachSubject(ctx, "", func(s *subject) {
		if apierrors.IsNotFound(t.cache.Get(ctx, types.NamespacedName(s.target), metadataOf("Secret"))) {
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

// wake reconciles an object soon.
func (t *triggers) wake(key apps.Key) {
	t.mu.Lock()
	q := t.queue
	t.mu.Unlock()
	if q != nil {
		q.Add(key)
	}
}

// wakeDefault reconciles all objects that use the operator's own App, because its
// configuration changed.
func (t *triggers) wakeDefault(ctx context.Context) error {
	return t.eachSubject(ctx, "", func(s *subject) {
		if s.app.IsDefault() {
			t.wake(keyOf(s))
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
func (t *triggers) onChange(concerns func(*subject, client.Object) bool) handler.TypedEventHandler[client.Object, apps.Key] {
	add := func(ctx context.Context, o client.Object, q queue) {
		_ = t.eachSubject(ctx, "", func(s *subject) {
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
func (t *triggers) onNamespace() handler.TypedEventHandler[client.Object, apps.Key] {
	add := func(ctx context.Context, o client.Object, q queue) {
		_ = t.eachSubject(ctx, o.GetName(), func(s *subject) { q.Add(keyOf(s)) })
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

// eachSubject calls do for the Tokens of a namespace and the ClusterTokens that write to it,
// or for all if namespace is empty. The subjects belong to the cache: do must not
// change them.
func (t *triggers) eachSubject(ctx context.Context, namespace string, do func(*subject)) error {
	var tokens v1.TokenList
	if err := t.client.List(ctx, &tokens, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
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
	if err := t.client.List(ctx, &clusterTokens, options...); err != nil {
		return err
	}
	for i := range clusterTokens.Items {
		do(ofClusterToken(&clusterTokens.Items[i], t.namespace))
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
	m := metav1.ObjectMeta{Namespace: intern.String(o.Namespace), Name: o.Name, ResourceVersion: o.ResourceVersion}
	if controller != nil {
		m.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: intern.String(controller.APIVersion), Kind: intern.String(controller.Kind), Name: controller.Name, UID: controller.UID, Controller: &yes,
		}}
		if controller.Name == o.Name {
			m.OwnerReferences[0].Name = o.Name
		}
	}
	if !isOwner(controller) {
		m.Labels = map[string]string{v1.LabelOwnerKind: intern.String(o.Labels[v1.LabelOwnerKind]), v1.LabelOwnerName: o.Labels[v1.LabelOwnerName]}
	}
	o.TypeMeta = metav1.TypeMeta{APIVersion: intern.String(o.APIVersion), Kind: intern.String(o.Kind)}
	o.ObjectMeta = m
}

var yes = true

func slimMeta(t *metav1.TypeMeta, m *metav1.ObjectMeta) {
	t.APIVersion, t.Kind, m.Namespace = intern.String(t.APIVersion), intern.String(t.Kind), intern.String(m.Namespace)
	m.ManagedFields, m.Labels = nil, nil
	delete(m.Annotations, corev1.LastAppliedConfigAnnotation) // others stay: a user may change one to trigger a reconcile
	if len(m.Annotations) == 0 {
		m.Annotations = nil
	}
}

var (
	asked   intern.Maps[v1.PermissionLevel]
	granted intern.Maps[string]
)

func slimAccess(a *v1.Access) {
	a.Owner = intern.String(a.Owner)
	a.Repositories, a.Permissions = intern.Strings(a.Repositories), asked.Intern(a.Permissions)
}

func slimStatus(s *v1.TokenStatus) {
	s.Repositories, s.Permissions = intern.Strings(s.Repositories), granted.Intern(s.Permissions)
	s.Conditions = slices.Clone(s.Conditions) // to their number
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.Type, c.Reason, c.Message = intern.String(c.Type), intern.String(c.Reason), intern.String(c.Message)
		c.Status = metav1.ConditionStatus(intern.String(string(c.Status)))
	}
	if m := s.ManagedSecret; m != nil {
		m.Namespace = intern.String(m.Namespace)
	}
}
