package operator

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/operator/migrate"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// A Secret goes from github-token-manager to this operator and back, and a reader that
// looks at it all the time finds a token that works.
func TestMigrateForthAndBack(t *testing.T) {
	w := newWorld(t, kubernetestest.Options{Controllers: true})
	w.Apply("migrate/testdata/github-token-manager.yaml")
	w.run()
	namespace := w.tenant()
	old := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "github.as-code.io/v1", "kind": "Token",
		"metadata": map[string]any{"name": "git", "namespace": namespace},
		"spec":     map[string]any{"repositories": []any{"widgets"}, "permissions": map[string]any{"contents": "read"}},
	}}
	w.create(old)
	stopOld := w.runOld(namespace)
	w.wait(patience, "the old operator's Secret", func() bool { return w.secret(namespace, "git") != nil })
	reader := w.read(namespace, "git")
	stopOld()

	client, err := migrate.Connect(w.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	move := migrate.Move{Client: client, Out: &said, Wait: patience}
	if err := move.Run(t.Context()); err != nil || strings.Contains(said.String(), "has not processed") {
		t.Fatalf("Run = %v\n%s", err, said.String())
	}
	w.until(token(namespace, "git"), "ready", isReady)
	if s := w.secret(namespace, "git"); !w.lives(string(s.Data["token"])) || len(s.OwnerReferences) != 1 || s.Annotations["gatepass.dev/adopt"] != "" {
		t.Errorf("the Secret is %+v", s.ObjectMeta)
	}
	if err := w.c.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}

	// The old operator starts late: until then the Secret has a token of ours.
	time.AfterFunc(3*time.Second, func() { w.runOld(namespace) })
	if err := move.Undo(t.Context()); err != nil {
		t.Fatalf("Undo = %v\n%s", err, said.String())
	}
	w.wait(patience, "the operator's tokens to be revoked", func() bool { return len(w.gh.Tokens()) == 0 })
	if s := w.secret(namespace, "git"); s == nil || !strings.HasPrefix(string(s.Data["token"]), "old-") || metav1.GetControllerOf(s).APIVersion != "github.as-code.io/v1" {
		t.Errorf("the Secret is %+v", s)
	}
	reader.stop()
	if reader.gap > 200*time.Millisecond || reader.dead != "" || reader.reads < 50 {
		t.Errorf("a reader found no Secret for %v, a token that does not work: %q, in %d reads", reader.gap, reader.dead, reader.reads)
	}
	if strings.Contains(said.String(), "ghs_") || strings.Contains(said.String(), "old-") {
		t.Errorf("a token is in what was said:\n%s", said.String())
	}
}

// runOld does what github-token-manager does when it starts: it mints for each Token
// whose Secret is its own or missing, and leaves other Secrets alone.
func (w *world) runOld(namespace string) (stop func()) {
	return w.repeat(50*time.Millisecond, func(ctx context.Context, round int) {
		tokens := &unstructured.UnstructuredList{}
		tokens.SetAPIVersion("github.as-code.io/v1")
		tokens.SetKind("TokenList")
		if w.c.List(ctx, tokens, client.InNamespace(namespace)) != nil {
			return
		}
		for i := range tokens.Items {
			owner := &tokens.Items[i]
			data := map[string][]byte{"token": fmt.Appendf(nil, "old-%d", round)}
			s := &corev1.Secret{}
			err := w.c.Get(ctx, client.ObjectKeyFromObject(owner), s)
			switch {
			case apierrors.IsNotFound(err):
				s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: owner.GetName()}, Type: "github.as-code.io/token", Data: data}
				s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, owner.GroupVersionKind())}
				_ = w.c.Create(ctx, s)
			case err == nil && metav1.IsControlledBy(s, owner):
				s.Data = data
				_ = w.c.Update(ctx, s)
			}
		}
	})
}

// A reader looks at a Secret all the time.
type reader struct {
	reads int
	gap   time.Duration // the longest without a Secret
	dead  string        // what is wrong with the first token that does not work
	stop  func()
}

func (w *world) read(namespace, name string) *reader {
	w.t.Helper()
	config := w.RESTConfig()
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	r := &reader{}
	last := time.Now()
	r.stop = w.repeat(2*time.Millisecond, func(ctx context.Context, _ int) {
		s := &corev1.Secret{}
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s)
		if err != nil {
			if apierrors.IsNotFound(err) {
				r.gap = max(r.gap, time.Since(last))
			}
			return
		}
		r.reads++
		last = time.Now()
		if text := string(s.Data["token"]); !w.works(text) && r.dead == "" {
			again := &corev1.Secret{}
			if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, again); err == nil && string(again.Data["token"]) == text {
				r.dead = fmt.Sprintf("%.4s… at resourceVersion %s", text, again.ResourceVersion)
			}
		}
	})
	return r
}

// works reports that GitHub takes a token. Those of the old operator have no double.
func (w *world) works(text string) bool { return strings.HasPrefix(text, "old-") || w.lives(text) }

// repeat calls do until it is stopped.
func (w *world) repeat(every time.Duration, do func(ctx context.Context, round int)) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for round := 0; ctx.Err() == nil; round++ {
			do(ctx, round)
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); done.Wait() }) }
	w.t.Cleanup(stop)
	return stop
}
