package console

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
	"github.com/gatepass/gatepass/internal/crowd"
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
)

// delivery is what the headers say. Nothing of it is signed: one body can come under
// any event's name, with any id, any number of times.
type delivery struct {
	event string
	mac   []byte
	size  int64 // bytes, at most
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
	var sum eventSum
	err = c.bodies.Read(w, crowd.Address(r.RemoteAddr), d.size, func() error {
		change, sum, err = d.read(w, r, secret)
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
	return c.deliver(w, r, id, sum, change)
}

// webhookSecret is what deliveries have to be signed with.
func (c *Console) webhookSecret() (string, error) {
	secret, err := c.Secret()
	if errors.Is(err, ErrNoWebhooks) {
		return "", &broker.Refusal{Status: http.StatusNotFound, Reason: broker.ReasonRequest, Detail: "this broker takes no webhooks; its configuration names no secret"}
	}
	if err == nil {
		err = CheckSecret(secret)
	}
	if err != nil {
		return "", &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonInternal, RetryAfter: retry, Err: err, Detail: "the broker cannot read the webhook's secret"}
	}
	return secret, nil
}

// CheckSecret refuses a secret of webhooks that can be guessed.
func CheckSecret(secret string) error {
	if len(secret) < minSecret {
		return fmt.Errorf("the webhook's secret is shorter than %d bytes", minSecret)
	}
	return nil
}

// announced reads the headers of a delivery.
func announced(r *http.Request) (delivery, error) {
	d := delivery{event: r.Header.Get("X-GitHub-Event"), size: r.ContentLength}
	id, media := r.Header.Get("X-GitHub-Delivery"), r.Header.Get("Content-Type")
	const longest = 100 // bytes of an event's name, and of an id
	switch {
	case d.event == "" || len(d.event) > longest:
		return d, bad("the delivery names no event")
	case id == "" || len(id) > longest:
		return d, bad("the delivery has no id")
	case media != "" && !api.IsJSON(media):
		return d, &broker.Refusal{Status: http.StatusUnsupportedMediaType, Reason: broker.ReasonRequest, Detail: fmt.Sprintf("the delivery's content type is %.60q; set that of the App's webhook to application/json", media)}
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
func (d delivery) read(w http.ResponseWriter, r *http.Request, secret string) (change, eventSum, error) {
	body, err := api.ReadBody(w, r, maxDelivery)
	if err != nil {
		return change{}, eventSum{}, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if !hmac.Equal(d.mac, mac.Sum(nil)) { // in constant time
		return change{}, eventSum{}, unsigned()
	}
	ch, err := parseEvent(d.event, body)
	if err != nil {
		return change{}, eventSum{}, bad("the delivery is not what GitHub documents: " + err.Error())
	}
	return ch, sha256.Sum256(body), nil
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
