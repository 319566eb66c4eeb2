package ledger

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

func TestASealIsBoundToObjectAndToken(t *testing.T) {
	s, err := newSeal(bytes.Repeat([]byte{1}, keySize), "ns")
	if err != nil {
		t.Fatal(err)
	}
	sealed := s.seal("ghs_text", "uid", "id")
	if bytes.Contains(sealed, []byte("ghs_")) {
		t.Error("the sealed text holds the token")
	}
	if text, err := s.open(sealed, "uid", "id"); text != "ghs_text" || err != nil {
		t.Errorf("open = %q, %v", text, err)
	}
	other, _ := newSeal(bytes.Repeat([]byte{2}, keySize), "ns")
	for name, open := range map[string]func() (string, error){
		"another object": func() (string, error) { return s.open(sealed, "other", "id") },
		"another token":  func() (string, error) { return s.open(sealed, "uid", "other") },
		"another key":    func() (string, error) { return other.open(sealed, "uid", "id") },
		"nothing":        func() (string, error) { return s.open(nil, "uid", "id") },
	} {
		if text, err := open(); !errors.Is(err, ErrUnknown) || text != "" {
			t.Errorf("%s: open = %q, %v, want ErrUnknown", name, text, err)
		}
	}
	if _, err := newSeal([]byte("short"), "ns"); err == nil {
		t.Error("a short key is taken")
	}
}

func TestPrune(t *testing.T) {
	now := time.Now()
	entry := func(id string, left time.Duration) Entry {
		return Entry{ID: id, Expires: now.Add(left), Repositories: []string{"acme/x"}}
	}
	got := prune([]Entry{entry("a", time.Hour), entry("dead", 0), entry("b", time.Minute), entry("c", time.Second)}, now)
	if len(got) != 3 || got[1].Repositories == nil || got[2].ID != "c" || got[2].Repositories != nil {
		t.Errorf("prune = %+v, want a and b whole, c without repositories", got)
	}
}

// real is a Ledger on a real API server.
func real(t *testing.T) (*Ledger, client.Client, string) {
	t.Helper()
	cluster := kubernetestest.New(t)
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	namespace := cluster.Namespace()
	return reopen(t, c, namespace), c, namespace
}

func reopen(t *testing.T, c client.Client, namespace string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), c, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var owner = Owner{Kind: "Token", Namespace: "team", Name: "git", UID: "11111111-2222-3333-4444-555555555555"}

func token(text string) credential.Token { return credential.NewToken(text, time.Now().Add(time.Hour)) }

func add(t *testing.T, l *Ledger, text string) string {
	t.Helper()
	k := token(text)
	if err := l.Add(t.Context(), owner, Entry{Scope: "s", Made: time.Now(), Expires: k.Expiry, API: "https://api.example"}, k, time.Now()); err != nil {
		t.Fatal(err)
	}
	return k.Hash()
}

func TestARecordOutlivesTheProcess(t *testing.T) {
	l, c, namespace := real(t)
	first, second := add(t, l, "ghs_one"), add(t, l, "ghs_two")
	var secret corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: recordName(owner.UID)}, &secret); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(secret.Data[dataKey]), "ghs_") {
		t.Error("the record shows a token")
	}
	again := reopen(t, c, namespace)
	if got := again.Of(owner.UID); len(got) != 2 || got[0].ID != second || got[0].API != "https://api.example" {
		t.Fatalf("after a restart: %+v, want both tokens, the newest first", got)
	}
	if k, err := again.Token(owner.UID, first); err != nil || k.Secret() != "ghs_one" {
		t.Errorf("Token = %v, %v", k, err)
	}
	if got := again.Owners(owner.Key()); len(got) != 1 || got[0] != owner {
		t.Errorf("Owners = %+v", got)
	}
	if err := again.Drop(t.Context(), owner.UID, first, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := reopen(t, c, namespace).Of(owner.UID); len(got) != 1 || got[0].ID != second {
		t.Errorf("after Drop: %+v, want the second token", got)
	}
	if err := again.Forget(t.Context(), owner.UID); err != nil {
		t.Fatal(err)
	}
	if got := reopen(t, c, namespace); len(got.Keys()) != 0 || len(again.Keys()) != 0 {
		t.Errorf("after Forget: %v", got.Keys())
	}
}

// A leader that lost its lease may write once more.
func TestTwoWritersLoseNoToken(t *testing.T) {
	l, c, namespace := real(t)
	add(t, l, "ghs_one")
	other := reopen(t, c, namespace)
	second, third := add(t, other, "ghs_two"), add(t, l, "ghs_three")
	ids := map[string]bool{}
	for _, e := range reopen(t, c, namespace).Of(owner.UID) {
		ids[e.ID] = true
	}
	if len(ids) != 3 || !ids[second] || !ids[third] {
		t.Errorf("the record has %v, want all three", ids)
	}
}

func TestAFailedWriteKeepsTheToken(t *testing.T) {
	l, c, namespace := real(t)
	ended, end := context.WithCancel(t.Context())
	end()
	k := token("ghs_one")
	if err := l.Add(ended, owner, Entry{Made: time.Now(), Expires: k.Expiry}, k, time.Now()); err == nil || !l.Dirty(owner.UID) {
		t.Fatalf("Add without a server = %v, dirty %v", err, l.Dirty(owner.UID))
	}
	if _, err := l.Token(owner.UID, k.Hash()); err != nil {
		t.Error(err)
	}
	if err := l.Save(t.Context(), owner.UID, time.Now()); err != nil || l.Dirty(owner.UID) {
		t.Errorf("Save = %v, dirty %v", err, l.Dirty(owner.UID))
	}
	if got := reopen(t, c, namespace).Of(owner.UID); len(got) != 1 {
		t.Errorf("the record has %+v", got)
	}
}

func TestARecordThatSomebodyDeletedIsWrittenAgain(t *testing.T) {
	l, c, namespace := real(t)
	add(t, l, "ghs_one")
	if err := c.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(namespace), client.HasLabels{labelRecord}); err != nil {
		t.Fatal(err)
	}
	add(t, l, "ghs_two")
	if got := reopen(t, c, namespace).Of(owner.UID); len(got) != 2 {
		t.Errorf("the record has %d tokens, want both", len(got))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"owner":{"kind":"Token","name":"a","uid":"u"},"tokens":[{"id":"x"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &corev1.Secret{Data: map[string][]byte{dataKey: text}}
		s.Name = recordName("u")
		if d, err := parse(s); err == nil && d.Owner.UID != "u" {
			t.Errorf("parse(%s) = %+v", text, d)
		}
	})
}
