// Package aws identifies callers by their AWS credentials. The caller sends only a
// signature of an STS GetCallerIdentity call; the broker makes that call, and STS
// answers whose signature it is.
//
// The caller chooses no part of the call. The broker builds it itself ([api.AWSCall]):
// host, method, path, body and headers are fixed, the region must be in a list, and the
// signature also covers the broker's server ID and a nonce. A signature of anything
// else does not fit this call, and AWS refuses it. The answer is accepted only in the
// form that AWS documents, so that no text that a caller chooses is taken for an
// identity (as in CVE-2020-16250).
package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/httpclient"
)

// Method is the method name of callers with an AWS identity.
const Method = "aws"

const (
	retryAfter = 3 * time.Second
	callWait   = 10 * time.Second
	clockSkew  = 5 * time.Minute // AWS's own limit for STS
	maxAnswer  = 16 << 10        // bytes
	maxCalls   = 32              // concurrent calls of STS
)

// Settings say which proofs are accepted.
type Settings struct {
	ServerID string   `yaml:"server_id"` // callers' name for this broker, best its host name
	Regions  []string `yaml:"regions"`   // regions whose STS is called; "aws-global" is the global endpoint
}

// Check returns what is wrong with the settings.
func (s Settings) Check() error {
	if err := api.CheckServerID(s.ServerID); err != nil {
		return fmt.Errorf("aws: server_id: %w", err)
	}
	if len(s.Regions) == 0 {
		return errors.New("aws: regions must not be empty; list the regions whose STS the callers use")
	}
	for _, region := range s.Regions {
		if err := api.CheckAWSRegion(region); err != nil {
			return fmt.Errorf("aws: regions: %w", err)
		}
	}
	return nil
}

// An Identifier authenticates callers by their AWS credentials. Its claims are arn, account
// and user_id. For a session of a role, arn is the role's ARN, user_id is the role's unique
// ID, and the claims role and session are set as well.
type Identifier struct {
	settings Settings
	nonces   *Nonces
	calls    fairshare.Pool // calls in progress

	// Transport calls STS. It is not configurable.
	Transport http.RoundTripper
	Now       func() time.Time // nil means time.Now
}

// New makes the identifier of checked settings. All identifiers of a broker share nonces.
func New(s Settings, n *Nonces) *Identifier {
	t := httpclient.Transport()
	t.Proxy = http.ProxyFromEnvironment
	return &Identifier{settings: s, nonces: n, calls: fairshare.Pool{Size: maxCalls}, Transport: t}
}

func (i *Identifier) now() time.Time {
	if i.Now == nil {
		return time.Now()
	}
	return i.Now()
}

// Identify implements [broker.Identifier]. It checks first what needs no call to AWS,
// including whether this broker knows that the nonce was used. The nonce is marked used after
// a rule has matched.
func (i *Identifier) Identify(ctx context.Context, r *http.Request) (broker.Caller, error) {
	proof, ok, err := api.ReadAWSProof(r)
	if !ok {
		return broker.Caller{}, broker.ErrNoProof
	}
	if err != nil {
		return broker.Caller{}, err
	}
	if !slices.Contains(i.settings.Regions, proof.Region) {
		return broker.Caller{}, fmt.Errorf("this broker does not ask the STS of region %s", proof.Region)
	}
	signed, err := time.Parse(api.AWSDate, proof.Date)
	if err != nil || i.now().Sub(signed).Abs() > clockSkew {
		return broker.Caller{}, errors.New("the signature is too old or in the future; compare the clocks")
	}
	if _, err := i.nonces.check(ctx, proof.Nonce); err != nil {
		return broker.Caller{}, err
	}
	who, err := i.ask(ctx, fairshare.Address(r.RemoteAddr), proof)
	if err != nil {
		return broker.Caller{}, err
	}
	c, err := broker.NewCaller(Method, who.claims())
	c.MarkUsed = func(ctx context.Context) error { return i.nonces.MarkUsed(ctx, proof.Nonce) }
	return c, err
}

// ask makes the call for an address and parses the answer. Forged proofs cost a call as well,
// so the number of concurrent calls per address is limited.
func (i *Identifier) ask(ctx context.Context, from string, proof api.AWSProof) (callerIdentity, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	tooMany := busy(broker.ReasonLimit, "too many proofs at the same time", nil)
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	leave, ok := i.calls.Acquire(from, 1, func() { cut(tooMany) })
	if !ok {
		return callerIdentity{}, tooMany
	}
	defer leave()
	who, err := i.call(ctx, proof)
	if err != nil && errors.Is(context.Cause(ctx), tooMany) {
		err = tooMany
	}
	return who, err
}

func (i *Identifier) call(ctx context.Context, proof api.AWSProof) (callerIdentity, error) {
	call, err := proof.Call(ctx, i.settings.ServerID)
	if err != nil {
		return callerIdentity{}, err
	}
	client := http.Client{Transport: i.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(call)
	if err != nil {
		return callerIdentity{}, busy(broker.ReasonIdentity, "AWS STS cannot be reached", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return callerIdentity{}, busy(broker.ReasonIdentity, "the answer of AWS STS is incomplete", err)
	}
	return read(response, body)
}

func busy(reason, detail string, err error) error {
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: reason, RetryAfter: retryAfter, Detail: detail, Err: err}
}

// read accepts an answer in the one right form. Other answers are not quoted: a caller may
// have influenced them.
func read(response *http.Response, body []byte) (callerIdentity, error) {
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch status := response.StatusCode; {
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusBadRequest && strings.Contains(string(body), "<Code>Throttling</Code>"):
		return callerIdentity{}, busy(broker.ReasonIdentity, fmt.Sprintf("AWS STS cannot answer now (%d)", status), nil)
	case status >= 400:
		return callerIdentity{}, fmt.Errorf("AWS does not accept the signature (%d): it has expired, or does not sign what this broker expects, such as its server ID", status)
	case status != http.StatusOK:
		return callerIdentity{}, fmt.Errorf("AWS STS answered %d", status)
	case err != nil || media != "text/xml":
		return callerIdentity{}, errors.New("the answer of AWS STS is not XML")
	case len(body) > maxAnswer:
		return callerIdentity{}, errors.New("the answer of AWS STS is too long")
	}
	return parse(body)
}
