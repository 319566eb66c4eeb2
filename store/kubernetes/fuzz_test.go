package kubernetes

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// What Kubernetes takes
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
// and https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
var (
	isSubdomain  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	isLabelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
	isLabelName  = regexp.MustCompile(`^([-a-z0-9.]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
)

// A pair of names has two objects, unless it is one name; both can be made, and
// what lists ask for finds them.
func FuzzLayout(f *testing.F) {
	long := strings.Repeat("Ab_.-x", 21)
	for _, seed := range [][4]string{
		{"", "config/github/signer", "", "config/github/Signer"},
		{"a", "b/c", "a/b", "c"},
		{"", "sandbox/a_b/lock", "", "sandbox/a-b/lock"},
		{"team", "sandbox/" + long + "/workspace", "", "broker/barred/workspaces/" + long},
		{"x", "broker/barred", "x", "broker/barred/app/all"},
		{"A.-_", "a._", "A", "0/1/2/3/4/5-"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, prefixA, textA, prefixB, textB string) {
		if prefixA == prefixB && textA == textB {
			return
		}
		var objects [2]string
		for i, c := range [2][2]string{{prefixA, textA}, {prefixB, textB}} {
			n, err := store.ParseName(c[1])
			if _, bad := store.ParseName(c[0]); err != nil || bad != nil && c[0] != "" {
				return
			}
			objects[i] = checkLayout(t, place{"ns", c[0]}, n)
		}
		if objects[0] == objects[1] {
			t.Errorf("%s has the name of %q in %q and of %q in %q", objects[0], textA, prefixA, textB, prefixB)
		}
	})
}

func checkLayout(t *testing.T, p place, n store.Name) string {
	t.Helper()
	object := p.objectName(n)
	if len(object) > 253 || !isSubdomain.MatchString(object) {
		t.Errorf("objectName(%s) = %q, which is no DNS-1123 subdomain", n, object)
	}
	labels := p.labels(n)
	for name, value := range labels {
		if !isLabelName.MatchString(name) || !isLabelValue.MatchString(value) {
			t.Errorf("the label %s=%q of %s is none", name, value, n)
		}
	}
	for _, below := range prefixesOf(t, n) {
		if !below.Has(n) {
			continue
		}
		for name, value := range p.labelsBelow(below) {
			if labels[name] != value {
				t.Errorf("List(%s) asks for %s=%s, and %s has %q", below, name, value, n, labels[name])
			}
		}
		found := false
		for _, k := range kindsBelow(below) {
			found = found || k == kindOf(n)
		}
		if !found {
			t.Errorf("List(%s) asks for no %s, which %s is", below, kindOf(n).name, n)
		}
	}
	o := p.newObject(n, store.NewSecret("value"), "w", time.Now())
	o.Metadata.UID, o.Metadata.ResourceVersion = "u", "1"
	if e, err := p.entry(o, n); err != nil || e.Value.Reveal() != "value" {
		t.Errorf("entry of %s = %v, want what was written", n, err)
	}
	return object
}

// prefixesOf are folders that can be listed.
func prefixesOf(t *testing.T, n store.Name) []store.Prefix {
	t.Helper()
	all := []store.Prefix{
		store.Everything(), store.Installations(), store.Workspaces(), store.AllBlocks(), store.Deliveries(), store.JoinTokens(), store.UsedProofs(), store.SessionKeys(),
	}
	if id, ok := n.Workspace(); ok {
		one, err := store.Workspace(id)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// Whatever a server answers, what is made of it is this store's entry, or an
// error without the text.
func FuzzDecode(f *testing.F) {
	p, n := place{"ns", "team"}, store.BlockedApp()
	for _, name := range []store.Name{n, store.Signer()} {
		o := p.newObject(name, store.NewSecret("ghs_0123456789abcdefghij"), "w", time.Now())
		o.Metadata.UID, o.Metadata.ResourceVersion = "u", "1"
		data, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add([]byte(`{"kind":"SecretList","metadata":{"continue":"x"},"items":[` + string(data) + `]}`))
	}
	f.Add([]byte(`{"kind":"Status","reason":"NotFound","details":{"kind":"secrets","name":"x"}}`))
	f.Add([]byte(`{"kind":"Secret","metadata":{"name":"x","uid":"u","resourceVersion":"1","managedFields":[{"manager":"gatepass","time":null}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		decodeStatus(body)
		if part, err := decodePage(body, "SecretList"); err == nil {
			for _, o := range part.Items {
				if found, err := p.nameOf(secret, o.Metadata); err == nil && p.objectName(found) != o.Metadata.Name {
					t.Errorf("%s is taken for %s", o.Metadata.Name, found)
				}
			}
		}
		for _, name := range []store.Name{n, store.Signer()} {
			o, err := decodeObject(body, kindOf(name).name)
			if err != nil {
				continue
			}
			e, err := p.entry(o, name)
			if err != nil {
				continue
			}
			if e.Value.Check() != nil || e.Modified.IsZero() || o.Metadata.Name != p.objectName(name) {
				t.Errorf("entry = %+v of %s", e, body)
			}
		}
	})
}
