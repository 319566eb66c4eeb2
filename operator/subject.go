package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/ledger"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/tenant"
)

// A subject is a Token or a ClusterToken. Its fields point into the object.
type subject struct {
	object client.Object
	kind   string
	access *v1.Access
	shape  *v1.SecretShape
	app    apps.Ref
	target plan.Ref
	status *v1.TokenStatus
}

func ofToken(t *v1.Token) *subject {
	s := &subject{
		object: t, kind: tenant.KindToken, access: &t.Spec.Access, shape: &t.Spec.Secret, status: &t.Status,
		target: plan.Ref{Namespace: t.Namespace, Name: t.Spec.Secret.Name},
	}
	if t.Spec.AppRef != nil {
		s.app = apps.Ref{Namespace: t.Namespace, Name: t.Spec.AppRef.Name}
	}
	return s.named()
}

// ofClusterToken returns the subject of a ClusterToken. own is the operator's
// namespace, which an App without a namespace is in.
func ofClusterToken(t *v1.ClusterToken, own string) *subject {
	s := &subject{
		object: t, kind: tenant.KindClusterToken, access: &t.Spec.Access, shape: &t.Spec.Secret.SecretShape, status: &t.Status,
		target: plan.Ref{Namespace: t.Spec.Secret.Namespace, Name: t.Spec.Secret.Name},
	}
	if ref := t.Spec.AppRef; ref != nil {
		s.app = apps.Ref{Namespace: ref.Namespace, Name: ref.Name}
		if s.app.Namespace == "" {
			s.app.Namespace = own
		}
	}
	return s.named()
}

func (s *subject) named() *subject {
	if s.target.Name == "" {
		s.target.Name = s.object.GetName()
	}
	return s
}

func (s *subject) owner() ledger.Owner {
	return ledger.Owner{Kind: s.kind, Namespace: s.object.GetNamespace(), Name: s.object.GetName(), UID: s.object.GetUID()}
}

// reference returns the Secret's reference to its owner. It does not block the owner's
// deletion, which would need another permission of the operator.
func (s *subject) reference() metav1.OwnerReference {
	isController := true
	return metav1.OwnerReference{
		APIVersion: v1.GroupVersion.String(), Kind: s.kind,
		Name: s.object.GetName(), UID: s.object.GetUID(), Controller: &isController,
	}
}

// isGone reports whether the object is deleted, or will be when other finalizers are
// done.
func (s *subject) isGone() bool { return s.object.GetDeletionTimestamp() != nil }

// grant returns what the token may do at an installation.
func (s *subject) grant(installation int64, account string) mint.Grant {
	g := mint.Grant{Installation: installation, Owner: account}
	switch a := s.access; {
	case a.AllRepositories:
		g.Repositories = mint.AllRepositories()
	case len(a.RepositoryIDs) > 0:
		g.Repositories = mint.RepositoryIDs(a.RepositoryIDs...)
	case len(a.Repositories) > 0:
		g.Repositories = mint.RepositoryNames(a.Repositories...)
	}
	if s.access.AllPermissions {
		g.Permissions = mint.AllPermissions()
	} else {
		g.Permissions = mint.PermissionLevels(s.levels())
	}
	return g
}

func (s *subject) levels() map[string]string {
	levels := make(map[string]string, len(s.access.Permissions))
	for name, level := range s.access.Permissions {
		levels[name] = string(level)
	}
	return levels
}

// scope returns a digest of what a new token may do. Another name for the same App
// makes no difference, nor does the order of a list.
func (s *subject) scope(app *apps.App) string {
	names := make([]string, len(s.access.Repositories))
	for i, name := range s.access.Repositories {
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	ids := slices.Sorted(slices.Values(s.access.RepositoryIDs))
	installation := s.access.InstallationID
	if installation == 0 && s.access.Owner == "" {
		installation = app.InstallationID
	}
	text, _ := json.Marshal([]any{
		app.ID, app.URL, installation, strings.ToLower(s.access.Owner),
		names, ids, s.access.AllRepositories, s.levels(), s.access.AllPermissions,
	})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
