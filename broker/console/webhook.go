package console

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/api"
	"github.com/gatepass/gatepass/internal/crowd"
	"github.com/gatepass/gatepass/store"
)

// WebhookPath is where GitHub tells what changed.
const WebhookPath = "/v1/webhooks/github"

const (
	// maxDelivery bounds a delivery, in bytes. GitHub sends up to 25 MB; what is
	// of interest here is long only when thousands of repositories change at once,
	// 200 bytes each.
	maxDelivery = 4 << 20
	// leastDelivery is what a delivery counts for at least while it is read, so that
	// all of them are 32 MiB at most.
	leastDelivery = 512 << 10
	// minSecret is the shortest secret that is believed, in bytes.
	minSecret = 16

	maxActing  = 4  // deliveries that are acted on at once
	maxWaiting = 64 // and that wait for that, all of GitHub's
	// actWait is how long one waits. GitHub gives up after ten seconds
	// (https://docs.github.com/webhooks/using-webhooks/best-practices-for-using-webhooks)
	// and does not send it again by itself.
	actWait = 8 * time.Second

	maxDeliveries = 10000 // remembered in memory
)

// delivery is what the headers say. Nothing of it is signed.
type delivery struct {
	event, id string
	mac       []byte
	size      int64 // bytes, at most
}

// webhook answers POST /v1/webhooks/github
// (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
// Who sends a delivery is not known before it was read whole: what is wrong with its
// headers ends it before, its body is one of a [broker.Bodies], and only what
// GitHub signed may wait for a place among those that are acted on.
func (c *Console) webhook(w http.ResponseWriter, r *http.Request, id string) error {
	if r.Method != http.MethodPost {
		return notAllowed(w, methods{http.MethodPost: nil})
	}
	secret, err := c.webhookSecret()
	if err != nil {
		return err
	}
	d, err := announced(r)
	if err != nil {
		return err
	}
	var change change
	err = c.bodies.Read(w, crowd.Address(r.RemoteAddr), d.size, func() error {
		change, err = d.read(w, r, secret)
		return err
	})
	switch {
	case err != nil:
		return err
	case d.event == "ping":
		w.WriteHeader(http.StatusOK)
		return nil
	case change.isNothing():
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	leave, err := c.turn(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	return c.deliver(w, r, id, d.id, change)
}

// webhookSecret is what deliveries have to be signed with.
func (c *Console) webhookSecret() (string, error) {
	secret, err := c.Secret()
	if errors.Is(err, ErrNoWebhooks) {
		return "", &broker.Refusal{Status: http.StatusNotFound, Reason: broker.ReasonRequest, Detail: "this broker takes no webhooks; its configuration names no secret"}
	}
	if err == nil && len(secret) < minSecret {
		err = errors.New("the webhook's secret is shorter than 16 bytes")
	}
	if err != nil {
		return "", &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonInternal, RetryAfter: retry, Err: err, Detail: "the broker cannot read the webhook's secret"}
	}
	return secret, nil
}

// announced reads the headers of a delivery.
func announced(r *http.Request) (delivery, error) {
	d := delivery{event: r.Header.Get("X-GitHub-Event"), id: r.Header.Get("X-GitHub-Delivery"), size: r.ContentLength}
	const longest = 100 // bytes of an event's name, and of an id
	switch {
	case d.event == "" || len(d.event) > longest:
		return d, bad("the delivery names no event")
	case d.id == "" || len(d.id) > longest:
		return d, bad("the delivery has no id")
	case d.size < 0: // it does not say
		d.size = maxDelivery
	case d.size > maxDelivery:
		return d, &broker.Refusal{Status: http.StatusRequestEntityTooLarge, Reason: broker.ReasonRequest, Detail: "the delivery is over 4 MiB"}
	}
	var ok bool
	if d.mac, ok = macOf(r.Header.Values("X-Hub-Signature-256")); !ok {
		return d, unsigned()
	}
	return d, nil
}

func unsigned() error {
	return &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonIdentity, Detail: "the delivery's signature does not hold"}
}

// macOf reads the one header with a signature.
func macOf(headers []string) ([]byte, bool) {
	if len(headers) != 1 {
		return nil, false
	}
	digits, ok := strings.CutPrefix(headers[0], "sha256=")
	mac, err := hex.DecodeString(digits)
	return mac, ok && err == nil && len(mac) == sha256.Size
}

// read reads the body if GitHub signed it, and says what it changes.
func (d delivery) read(w http.ResponseWriter, r *http.Request, secret string) (change, error) {
	body, err := api.ReadBody(w, r, maxDelivery)
	if err != nil {
		return change{}, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if !hmac.Equal(d.mac, mac.Sum(nil)) { // in constant time
		return change{}, unsigned()
	}
	ch, err := parseEvent(d.event, body)
	if err != nil {
		return change{}, bad("the delivery is not what GitHub documents: " + err.Error())
	}
	return ch, nil
}

// turn waits until a delivery of GitHub's may be acted on.
func (c *Console) turn(ctx context.Context) (leave func(), err error) {
	tooMany := &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonLimit, RetryAfter: retry, Detail: "too many deliveries at once"}
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	default:
		return nil, tooMany
	}
	ctx, cancel := context.WithTimeout(ctx, actWait)
	defer cancel()
	select {
	case c.acting <- struct{}{}:
		return func() { <-c.acting }, nil
	case <-ctx.Done():
		return nil, tooMany
	}
}

// deliver does what a change asks for, once for each delivery. One that failed is
// not remembered: GitHub sends it again under the same id when it is asked to.
func (c *Console) deliver(w http.ResponseWriter, r *http.Request, id, delivery string, change change) error {
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
