package oidc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/trustedfile"
)

// Review says how to ask a Kubernetes API server whether a token is still valid: the token of
// a deleted pod is not, although its signature is. Empty fields mean the values that a pod
// has.
type Review struct {
	URL       string `yaml:"url"`
	CAFile    string `yaml:"ca_file"`
	TokenFile string `yaml:"token_file"` // the broker's own token, which may create tokenreviews
}

const (
	inCluster   = "https://kubernetes.default.svc"
	accountFile = "/var/run/secrets/kubernetes.io/serviceaccount/"

	reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"
	reviewWait = 5 * time.Second
	// reviewedFor is how long an answer is cached. A token outlives its pod by that,
	// and by up to ten seconds more, because the API server caches as well.
	reviewedFor = 10 * time.Second
	maxReviews  = 10_000
)

type reviewer struct {
	url, tokenFile, audience string
	server                   *server
	now                      func() time.Time

	mu    sync.Mutex // guards known
	known map[[sha256.Size]byte]reviewed
}

// reviewed is a cached answer: nil, or why the token is not valid.
type reviewed struct {
	at  time.Time
	err error
}

func newReviewer(r Review, audience string, now func() time.Time) *reviewer {
	if r.URL == "" {
		r.URL = inCluster
		if r.CAFile == "" {
			r.CAFile = accountFile + "ca.crt"
		}
	}
	if r.TokenFile == "" {
		r.TokenFile = accountFile + "token"
	}
	return &reviewer{
		url: strings.TrimSuffix(r.URL, "/") + reviewPath, tokenFile: r.TokenFile, audience: audience, now: now,
		server: &server{caFile: r.CAFile, timeout: reviewWait}, known: map[[sha256.Size]byte]reviewed{},
	}
}

// check asks whether a token with a valid signature is still valid.
func (v *reviewer) check(ctx context.Context, token claimed) error {
	id := sha256.Sum256([]byte(token.raw))
	v.mu.Lock()
	last, ok := v.known[id]
	v.mu.Unlock()
	if ok && clock.Since(last.at, v.now()) < reviewedFor {
		return last.err
	}
	at := v.now()
	answer, err := v.review(ctx, token.raw)
	if err != nil {
		return unavailable("the broker cannot ask the cluster whether the token is still valid", err)
	}
	last = reviewed{at, answer.check(v.audience, textIn(token.claims, "sub"))}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxReviews {
		clear(v.known) // they are at most ten seconds old
	}
	v.known[id] = last
	return last.err
}

// A tokenReview is the request and the answer
// (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/).
type tokenReview struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type reviewStatus struct {
	Authenticated bool     `json:"authenticated"`
	Audiences     []string `json:"audiences"`
	User          struct {
		Username string `json:"username"`
	} `json:"user"`
}

// check requires the answer of a server that knows audiences, which it shows by returning
// ours, about the same account.
func (s reviewStatus) check(audience, subject string) error {
	if !s.Authenticated || !slices.Contains(s.Audiences, audience) || s.User.Username != subject {
		return errors.New("the cluster says that the token is not valid: its pod or account may be gone")
	}
	return nil
}

func (v *reviewer) review(ctx context.Context, token string) (reviewStatus, error) {
	own, err := trustedfile.Read("the broker's own token", v.tokenFile, trustedfile.ReadingAndWriting, maxBody)
	if err != nil {
		return reviewStatus{}, fmt.Errorf("read the broker's own token: %w", err)
	}
	client, err := v.server.dial()
	if err != nil {
		return reviewStatus{}, err
	}
	body, err := json.Marshal(tokenReview{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview", Spec: reviewSpec{Token: token, Audiences: []string{v.audience}}})
	if err != nil {
		return reviewStatus{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, bytes.NewReader(body))
	if err != nil {
		return reviewStatus{}, err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(own)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return reviewStatus{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		return reviewStatus{}, errors.New("the API server answered " + response.Status)
	}
	return readReview(response.Body)
}

func readReview(body io.Reader) (reviewStatus, error) {
	data, err := io.ReadAll(body)
	var answer tokenReview
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if err != nil || answer.Kind != "TokenReview" {
		return reviewStatus{}, errors.New("the API server's answer is not a TokenReview")
	}
	return answer.Status, nil
}
