package operator

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/webhook"
	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// TestAdmission runs the operator with its webhook, and beside it one without. The
// second one takes the configuration away when it leads, and not while the first one
// still writes it. Without the webhook the same Token is refused by a condition.
func TestAdmission(t *testing.T) {
	w := newWorld(t, kubernetestest.Options{})
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	w.options.LeaderElect = true
	plain := w.options
	w.options.WebhookAddress, w.options.WebhookURL, w.options.WebhookFailurePolicy = address, "https://"+address, "Fail"
	namespace := w.tenant()
	greedy := func(name string) *v1.Token {
		return token(namespace, name, func(t *v1.Token) { t.Spec.Permissions["administration"] = "write" })
	}

	stop := w.run()
	const reason = "permissions does not have administration: write"
	kubernetestest.Wait(t, patience, "the webhook to refuse", func() (bool, any) {
		err := w.c.Create(t.Context(), greedy("try"))
		if err == nil {
			err = w.c.Delete(t.Context(), greedy("try"))
		}
		return err != nil && strings.Contains(err.Error(), reason), err
	})
	w.ready(token(namespace, "inside"))

	w.options = plain
	w.run()
	time.Sleep(2 * time.Second)
	if !w.hasConfiguration() {
		t.Error("the configuration is gone while an operator has the webhook")
	}
	stop()
	kubernetestest.Wait(t, patience, "the end of the configuration", func() (bool, any) { return !w.hasConfiguration(), w.log.tail() })
	asked := greedy("after")
	w.create(asked)
	denied := w.until(asked, "refused", hasReason(v1.ReasonNotPermitted))
	if ready := denied.Status.Conditions; !strings.Contains(conditionMessage(ready), reason) {
		t.Errorf("the conditions are %v, want one with %q", ready, reason)
	}
}

func conditionMessage(all []metav1.Condition) (text string) {
	for _, one := range all {
		text += one.Message + "\n"
	}
	return text
}

func (w *world) hasConfiguration() bool {
	w.t.Helper()
	code, _ := w.Try(http.MethodGet, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/"+webhook.Name, nil)
	return code == http.StatusOK
}
