// Package tenant decides whether a TenantPolicy allows what a Token, a ClusterToken or
// an App asks for.
//
// It reads nothing: policies and the labels of namespaces are arguments. The webhook
// calls it at admission, and the controllers call it again before every mint.
package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Policies are the cluster's TenantPolicies, compiled. The zero value and nil contain
// no policies.
type Policies struct{ list []policy }

// Compile compiles the policies. A policy that cannot be read, because of its selector,
// selects every namespace and allows nothing.
func Compile(list []v1.TenantPolicy) *Policies {
	all := &Policies{list: make([]policy, 0, len(list))}
	for i := range list {
		all.list = append(all.list, compile(&list[i]))
	}
	return all
}

// The kinds that may ask.
const (
	KindToken        = "Token"
	KindClusterToken = "ClusterToken"
)

// A Namespace is a namespace and its labels.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// An App is the App that signs: the operator's own (Default), or an App object.
type App struct {
	Default         bool
	Namespace, Name string
	Provider        v1.Provider // provider of an App object
}

// String returns the App as a policy's spec.apps names it.
func (a App) String() string {
	if a.Default {
		return "default"
	}
	return a.Namespace + "/" + a.Name
}

// A Request is everything that one Token or ClusterToken asks for. The zero value is
// refused.
type Request struct {
	Kind      string    // KindToken or KindClusterToken
	Namespace Namespace // the Token's namespace, or the one that the ClusterToken writes to
	App       App
	Owner     string // the account of the installation

	// OwnerUnknown allows an empty Owner at admission, when the account of an
	// installation is not known yet. Owner and repositories are not checked then.
	OwnerUnknown bool

	Access     v1.Access // repositories, repositoryIDs, permissions
	SecretType string    // the type that will be written, never empty
}

// Check returns nil if one policy that selects the namespace allows all of a. If no
// policy selects it, Check returns nil only for an App of that namespace with provider:
// secret. Every other error is a [*Denied].
func (p *Policies) Check(a Request) error {
	what := fmt.Sprintf("this %s for namespace %s is not allowed", a.Kind, a.Namespace.Name)
	if why, do := a.malformed(); why != "" {
		return &Denied{What: what, Reasons: []string{why}, Do: do}
	}
	var reasons []string
	for _, one := range p.selecting(a) {
		problems := one.problems(a)
		if len(problems) == 0 {
			return nil
		}
		reasons = append(reasons, one.title()+strings.Join(problems, ", "))
	}
	if len(reasons) > 0 {
		return &Denied{What: what, Reasons: reasons, Do: "request only what one of these policies allows, or ask for a change of the policy"}
	}
	return withoutPolicy(what, a)
}

// selecting returns the policies that select a's namespace.
func (p *Policies) selecting(a Request) []policy {
	if p == nil {
		return nil
	}
	var found []policy
	for _, one := range p.list {
		if a.Kind == KindClusterToken && one.targets[a.Namespace.Name] ||
			a.Kind == KindToken && one.selects(a.Namespace) {
			found = append(found, one)
		}
	}
	return found
}

// malformed returns why no policy can allow a, and what to do about it. To GitHub, an
// absent list would mean everything.
func (a Request) malformed() (why, do string) {
	access := a.Access
	switch {
	case a.Kind != KindToken && a.Kind != KindClusterToken:
		return "only a Token or a ClusterToken may request a token", ""
	case a.Namespace.Name == "":
		return "it does not name a namespace", "set spec.secret.namespace"
	case !a.App.Default && (a.App.Namespace == "" || a.App.Name == "" || a.App.Name == "*"):
		return "it does not name an App", "set spec.appRef.name"
	case len(access.Repositories)+len(access.RepositoryIDs) == 0 && !access.AllRepositories:
		return "it does not request repositories", "set repositories, repositoryIDs or allRepositories: true"
	case len(access.Permissions) == 0 && !access.AllPermissions:
		return "it does not request permissions", "set permissions"
	case a.SecretType == "":
		return "the Secret has no type", "set spec.secret.type"
	case givesPower(a.SecretType):
		return fmt.Sprintf("a Secret of type %s gives power in the cluster", a.SecretType), "set another spec.secret.type"
	case a.Owner == "" && !a.OwnerUnknown:
		return "the account of the installation is unknown", "set spec.owner or spec.installationID"
	case a.Owner != "" && !isOwner(a.Owner):
		return fmt.Sprintf("%q is not the name of an account", a.Owner), "set spec.owner to the user or organization"
	}
	return "", ""
}

// withoutPolicy decides for a namespace that no policy selects.
func withoutPolicy(what string, a Request) error {
	scope := fmt.Sprintf("no TenantPolicy selects namespace %s", a.Namespace.Name)
	if a.Kind == KindClusterToken {
		scope = fmt.Sprintf("no TenantPolicy has namespace %s in targetNamespaces", a.Namespace.Name)
	}
	if a.App.Default || a.App.Namespace != a.Namespace.Name || a.App.Provider != v1.ProviderSecret {
		return &Denied{
			What: what, Reasons: []string{scope + ", and without one only an App of that namespace with provider: secret may be used"},
			Do: fmt.Sprintf("ask for a TenantPolicy that lists the App %s, or set spec.appRef to such an App", a.App),
		}
	}
	if !needsNoPolicy(a.SecretType) {
		return &Denied{
			What: what, Reasons: []string{fmt.Sprintf("%s, and a Secret of type %s needs one", scope, a.SecretType)},
			Do: "set another spec.secret.type, or ask for a TenantPolicy that has it in secretTypes",
		}
	}
	return nil
}

// Denied says why something is not allowed. Its text contains no secret.
type Denied struct {
	What    string
	Reasons []string // one for each policy that was checked
	Do      string   // what to change
}

// reasonsShown limits the reasons in a message; the status and an event are limited as
// well.
const reasonsShown = 5

// Error returns one line: what was denied; why, by each policy; what to do.
func (d *Denied) Error() string {
	shown := d.Reasons
	if n := len(shown) - reasonsShown; n > 0 {
		shown = append(shown[:reasonsShown:reasonsShown], fmt.Sprintf("and %d more policies do not allow it", n))
	}
	return usererr.New(d.What, strings.Join(shown, " / "), d.Do).Error()
}

// isOwner reports whether name can be the name of a user or an organization.
func isOwner(name string) bool {
	_, ok := gitname.Repository(name + "/a")
	return ok
}

// A Cache compiles the policies again only when one changes. The zero value is ready to
// use. It is safe for concurrent use.
type Cache struct {
	mu      sync.Mutex // guards the rest
	version string
	ready   *Policies
}

// Compile returns the same as [Compile], and a text of 32 letters that changes when the
// policies change. The order of the list does not matter, because informers list in any
// order.
func (c *Cache) Compile(list []v1.TenantPolicy) (policies *Policies, version string) {
	version = versionOf(list)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready == nil || c.version != version {
		c.version, c.ready = version, Compile(list)
	}
	return c.ready, version
}

func versionOf(list []v1.TenantPolicy) string {
	each := make([]string, len(list))
	for i := range list {
		each[i] = fmt.Sprintf("%s %s %d\n", list[i].Name, list[i].UID, list[i].Generation)
	}
	slices.Sort(each)
	sum := sha256.New()
	for _, one := range each {
		sum.Write([]byte(one))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
