package console

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
)

// WebhookPath is where GitHub tells what changed.
const WebhookPath = "/v1/webhooks/github"

const (
	// maxDelivery bounds a delivery, in bytes. GitHub sends up to 25 MB; what is
	// of interest here is long only when thousands of repositories change at once,
	// 200 bytes each.
	maxDelivery = 4 << 20
	// maxReading is how many deliveries are read at once: who sends them is not
	// known before they are read whole.
	maxReading = 4
	// minSecret is the shortest secret that is believed, in bytes.
	minSecret = 16

	maxDeliveries = 10000 // remembered in memory
)

// webhook answers POST /v1/webhooks/github
// (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
func (c *Console) webhook(w http.ResponseWriter, r *http.Request, id string) error {
	if r.Method != http.MethodPost {
		return notAllowed(w, methods{http.MethodPost: nil})
	}
	select {
	case c.webhooks <- struct{}{}:
		defer func() { <-c.webhooks }()
	default:
		return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonLimit, RetryAfter: retry, Detail: "too many deliveries at once"}
	}
	body, err := c.signed(w, r)
	if err != nil {
		return err
	}
	event, delivery := r.Header.Get("X-GitHub-Event"), r.Header.Get("X-GitHub-Delivery")
	if event == "ping" {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	change, err := parseEvent(event, body)
	if err != nil {
		return bad("the delivery is not what GitHub documents: " + err.Error())
	}
	if change.isNothing() {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return c.deliver(w, r, id, delivery, change)
}

// deliver does what a change asks for, once for each delivery. One that failed is
// not remembered: GitHub sends it again under the same id when it is asked to.
func (c *Console) deliver(w http.ResponseWriter, r *http.Request, id, delivery string, change change) error {
	if delivery == "" || len(delivery) > 100 {
		return bad("the delivery has no id")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), killTime)
	defer cancel()
	name := store.Delivery(sha256.Sum256([]byte(delivery)))
	isKnown, err := c.deliveries.has(ctx, c.Store, name)
	if err != nil {
		return noStore(err)
	}
	if isKnown {
		return &broker.Refusal{Status: http.StatusConflict, Reason: broker.ReasonRequest, Detail: "this delivery was handled before"}
	}
	if err := c.apply(ctx, id, change); err != nil {
		return err
	}
	if err := c.deliveries.add(ctx, c.Store, name); err != nil {
		return noStore(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// signed returns the body if GitHub signed it.
func (c *Console) signed(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	secret, err := c.Secret()
	if errors.Is(err, ErrNoWebhooks) {
		return nil, &broker.Refusal{Status: http.StatusNotFound, Reason: broker.ReasonRequest, Detail: "this broker takes no webhooks; its configuration names no secret"}
	}
	if err == nil && len(secret) < minSecret {
		err = errors.New("the webhook's secret is shorter than 16 bytes")
	}
	if err != nil {
		return nil, &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonInternal, RetryAfter: retry, Err: err, Detail: "the broker cannot read the webhook's secret"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &broker.Refusal{Status: http.StatusRequestEntityTooLarge, Reason: broker.ReasonRequest, Detail: "the delivery is over 4 MiB"}
	}
	if err != nil {
		return nil, bad("the delivery ended early")
	}
	if !isSigned(secret, body, r.Header.Values("X-Hub-Signature-256")) {
		return nil, &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonIdentity, Detail: "the delivery's signature does not hold"}
	}
	return body, nil
}

// isSigned compares in constant time.
func isSigned(secret string, body []byte, headers []string) bool {
	if len(headers) != 1 {
		return false
	}
	digits, ok := strings.CutPrefix(headers[0], "sha256=")
	got, err := hex.DecodeString(digits)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return ok && err == nil && hmac.Equal(got, mac.Sum(nil))
}

// deliveries are those that were handled: in memory, and in the store for other
// replicas and the time after a restart.
type deliveries struct {
	mu    sync.Mutex // guards the rest
	known []store.Name
}

func (d *deliveries) has(ctx context.Context, s store.Store, name store.Name) (bool, error) {
	d.mu.Lock()
	isKnown := slices.Contains(d.known, name)
	d.mu.Unlock()
	if isKnown {
		return true, nil
	}
	_, err := s.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (d *deliveries) add(ctx context.Context, s store.Store, name store.Name) error {
	d.mu.Lock()
	if len(d.known) >= maxDeliveries {
		d.known = slices.Delete(d.known, 0, maxDeliveries/2)
	}
	d.known = append(d.known, name)
	d.mu.Unlock()
	return s.Put(ctx, name, store.NewSecret("handled"), store.Replace)
}
