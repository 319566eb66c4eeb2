package operator

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/once"
)

// slim keeps of what is cached what the operator reads, and one copy of what is the same
// in thousands of objects.
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

// slimSecret keeps who owns a Secret, and whether it changed. Its labels are kept only
// where they have to say whose it is.
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
	delete(m.Annotations, corev1.LastAppliedConfigAnnotation) // any other may be there to have the operator look again
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
