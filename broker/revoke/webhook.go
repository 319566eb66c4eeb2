package revoke

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/fairshare"
)

// WebhookPath is where GitHub reports changes.
const WebhookPath = "/v1/webhooks/github"

const (
	// maxDelivery is the maximum size of a delivery, in bytes. GitHub sends up to 25
	// MB. The events that matter here are large only if thousands of repositories
	// change at once, 200 bytes each.
	maxDelivery = 4 << 20
	// minDelivery is the least that a delivery counts for while it is read, so that
	// all together have at most 32 MiB.
	minDelivery = 512 << 10
	// minSecret is the shortest secret to accept, in bytes.
	minSecret = 16

	maxApplying = 4  // deliveries that are applied concurrently
	maxWaiting  = 64 // signed deliveries that wait for that
	// applyTimeout is how long a delivery waits. GitHub gives up after ten seconds
	// (https://docs.github.com/webhooks/using-webhooks/best-practices-for-using-webhooks),
	// and does not retry by itself.
	applyTimeout = 8 * time.Second
)

// delivery has a delivery's headers. GitHub does not sign them: the same body can come
// with any event name, any id, and any number of times.
type delivery struct {
	event string
	mac   []byte
	size  int64 // bytes, at most
}

// Webhook serves POST /v1/webhooks/github
// (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
func (r *Revoker) Webhook() broker.Endpoint {
	return broker.Endpoint{Name: "webhook", Serve: r.webhook}
}

// webhook knows that GitHub sent a delivery only after it has read the whole body. So
// it refuses bad headers first, reads the body under a [broker.BodyLimiter], and lets
// only signed deliveries wait for a slot.
func (r *Revoker) webhook(w http.ResponseWriter, req *http.Request, id string) error {
	if req.Method != http.MethodPost {
		return broker.NotAllowed(w, http.MethodPost)
	}
	secret, err := r.webhookSecret()
	if err != nil {
		return err
	}
	d, err := readHeaders(req)
	if err != nil {
		return err
	}
	var change Change
	var sum eventSum
	err = r.bodies.Read(w, fairshare.Address(req.RemoteAddr), d.size, func() error {
		change, sum, err = d.read(w, req, secret)
		return err
	})
	switch {
	case err != nil:
		return err
	case d.event == "ping":
		w.WriteHeader(http.StatusOK)
		return nil
	case change.IsNothing():
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	leave, err := r.waitForSlot(req.Context())
	if err != nil {
		return err
	}
	defer leave()
	if err := r.deliver(req.Context(), id, sum, change); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// webhookSecret returns the secret that deliveries must be signed with.
func (r *Revoker) webhookSecret() (string, error) {
	secret, err := r.Secret()
	if errors.Is(err, ErrNoWebhooks) {
		return "", &broker.Refusal{Status: http.StatusNotFound, Reason: broker.ReasonRequest, Detail: "this broker does not accept webhooks; set the webhook's secret in its configuration"}
	}
	if err == nil {
		err = CheckSecret(secret)
	}
	if err != nil {
		return "", &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonInternal, RetryAfter: broker.RetryAfter, Err: err, Detail: "the broker cannot read the webhook's secret"}
	}
	return secret, nil
}

// ErrNoWebhooks reports that no secret for webhooks is configured.
var ErrNoWebhooks = errors.New("no webhooks are configured")

// CheckSecret returns an error if a webhook secret is too short to be safe.
func CheckSecret(secret string) error {
	if len(secret) < minSecret {
		return fmt.Errorf("the webhook's secret is shorter than %d bytes", minSecret)
	}
	return nil
}

// readHeaders reads the headers of a delivery.
func readHeaders(r *http.Request) (delivery, error) {
	d := delivery{event: r.Header.Get("X-GitHub-Event"), size: r.ContentLength}
	id, media := r.Header.Get("X-GitHub-Delivery"), r.Header.Get("Content-Type")
	const longest = 100 // bytes of an event's name, or of an id
	switch {
	case d.event == "" || len(d.event) > longest:
		return d, broker.BadRequest("the delivery does not name an event")
	case id == "" || len(id) > longest:
		return d, broker.BadRequest("the delivery has no ID")
	case media != "" && !api.IsJSON(media):
		return d, &broker.Refusal{Status: http.StatusUnsupportedMediaType, Reason: broker.ReasonRequest, Detail: fmt.Sprintf("the delivery's content type is %.60q; set the content type of the App's webhook to application/json", media)}
	case d.size < 0: // unknown
		d.size = maxDelivery
	case d.size > maxDelivery:
		return d, &broker.Refusal{Status: http.StatusRequestEntityTooLarge, Reason: broker.ReasonRequest, Detail: "the delivery is over 4 MiB"}
	}
	var ok bool
	if d.mac, ok = macOf(r.Header.Values("X-Hub-Signature-256")); !ok {
		return d, badSignature()
	}
	return d, nil
}

func badSignature() error {
	return &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonIdentity, Detail: "the delivery's signature is not valid"}
}

// macOf parses the signature header, of which there must be one.
func macOf(headers []string) ([]byte, bool) {
	if len(headers) != 1 {
		return nil, false
	}
	digits, ok := strings.CutPrefix(headers[0], "sha256=")
	mac, err := hex.DecodeString(digits)
	return mac, ok && err == nil && len(mac) == sha256.Size
}

// read reads the body, checks that GitHub signed it, and returns what it changes.
func (d delivery) read(w http.ResponseWriter, r *http.Request, secret string) (Change, eventSum, error) {
	body, err := api.ReadBody(w, r, maxDelivery)
	if err != nil {
		return Change{}, eventSum{}, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if !hmac.Equal(d.mac, mac.Sum(nil)) { // in constant time
		return Change{}, eventSum{}, badSignature()
	}
	ch, err := ParseEvent(d.event, body)
	if err != nil {
		return Change{}, eventSum{}, broker.BadRequest("the delivery is not what GitHub documents: " + err.Error())
	}
	return ch, sha256.Sum256(body), nil
}

// waitForSlot waits until a signed delivery may be applied.
func (r *Revoker) waitForSlot(ctx context.Context) (leave func(), err error) {
	tooMany := &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonLimit, RetryAfter: broker.RetryAfter, Detail: "too many deliveries at the same time"}
	select {
	case r.waitSlots <- struct{}{}:
		defer func() { <-r.waitSlots }()
	default:
		return nil, tooMany
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	select {
	case r.applySlots <- struct{}{}:
		return func() { <-r.applySlots }, nil
	case <-ctx.Done():
		return nil, tooMany
	}
}
