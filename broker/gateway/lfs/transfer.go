package lfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

// transfer forwards the transfer in the request.
func (c *call) transfer() error {
	t, err := c.openChecked()
	if err != nil {
		return err
	}
	if t.Kind == verify {
		return c.verify(t)
	}
	ctx, end, err := c.Begin(c.r.Context(), c.Caller, c.target.Repo.Owner)
	if err != nil {
		return err
	}
	ctx, m, stop := c.watch(ctx)
	defer func() {
		stop()
		end(m.moved.Load())
	}()
	if t.Kind == upload {
		err = c.upload(ctx, m, t)
		c.result.In = m.moved.Load()
	} else {
		err = c.download(ctx, m, t)
		c.result.Out = m.moved.Load()
	}
	if err != nil && ctx.Err() != nil { // too late to answer anything
		c.result.IsBroken = true
	}
	return err
}

// openChecked returns the request's transfer if the caller may still do it: the policy
// may have changed since the batch.
func (c *call) openChecked() (transfer, error) {
	t, err := c.open()
	if err != nil {
		return t, err
	}
	if err := t.checkFor(c); err != nil {
		return t, err
	}
	if t.Kind == download {
		err = c.check(api.Read)
	} else {
		err = c.checkPush()
	}
	if err != nil {
		return t, err
	}
	return t, c.checkBlocked(c.r.Context())
}

// checkBlocked refuses a workspace that is blocked from the repository's owner.
func (c *call) checkBlocked(ctx context.Context) error {
	blocked, err := c.Access.Broker.Blocklist.BlockedFor(ctx, c.ID, c.target.Repo.Owner)
	if err != nil {
		return broker.StoreUnavailable(err)
	}
	if blocked {
		return refusal(http.StatusForbidden, broker.ReasonBlocked, "workspace "+c.ID+" is blocked, or owner "+c.target.Repo.Owner+" is")
	}
	return nil
}

// maxDrain is how much of a body is read for an unknown caller.
const maxDrain = 256 << 10

// drain reads the rest of the upload: a client that is cut off while it sends does not
// read the answer. If the address is one of the gateway's, its size is the limit.
func (c *call) drain() {
	if c.r.Method != http.MethodPut {
		return
	}
	size := int64(maxDrain)
	if t, err := c.open(); err == nil && c.r.ContentLength <= t.Size {
		size = max(size, t.Size)
	}
	_, m, stop := c.watch(c.r.Context())
	defer stop()
	_ = m.copy(io.Discard, c.r.Body, size)
}

// send sends a request to GitHub's storage.
func (c *call) send(ctx context.Context, method string, t transfer, body io.Reader, size int64, header http.Header) (*http.Response, error) {
	u, err := parseStorage(t.Href)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = size
	r.Header = header
	for name, value := range t.Header {
		r.Header.Set(name, value)
	}
	r.Header.Set("User-Agent", access.UserAgent)
	return c.Access.Upstream.Do(r)
}

// failed returns the refusal for a transfer that broke off. It does not contain the
// storage's address.
func failed(ctx context.Context, err error) *broker.Refusal {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errSize) {
		return refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, errSize.Error())
	}
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: "the transfer to GitHub's storage was interrupted", Err: withoutURL(err)}
}

// refused returns the refusal for a transfer that the storage refused. It does not
// contain the storage's text, which may show addresses and signatures.
func refused(answer *http.Response) *broker.Refusal {
	status := http.StatusBadGateway
	switch code := answer.StatusCode; code {
	case http.StatusUnauthorized, http.StatusForbidden:
		status = http.StatusForbidden // git-lfs then asks for a new batch
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		status = code
	}
	return &broker.Refusal{
		Status: status, Reason: broker.ReasonGitHub, RetryAfter: retryAfter(answer.Header),
		Detail: fmt.Sprintf("GitHub's storage answered %d", answer.StatusCode),
	}
}

// download forwards an object, or the part of it that the client still needs.
func (c *call) download(ctx context.Context, m *meter, t transfer) error {
	header := http.Header{"Accept-Encoding": {"identity"}}
	from, isPart := rangeOf(c.r.Header.Get("Range"), t.Size)
	if isPart {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, t.Size-1))
	}
	answer, err := c.send(ctx, http.MethodGet, t, nil, 0, header)
	if err != nil {
		return failed(ctx, err)
	}
	defer answer.Body.Close()
	size, err := c.beginAnswer(answer, t, from)
	if err != nil {
		return err
	}
	if err := m.copy(c.w, answer.Body, size); err != nil {
		c.result.IsBroken = true // the client must not take half an object for a whole one
		return failed(ctx, err)
	}
	return nil
}

var rangeForm = regexp.MustCompile(`\Abytes=([0-9]{1,18})-([0-9]{1,18})?\z`)

// rangeOf parses a range that goes to the end of the object, as git-lfs sends it. ok is
// false for any other; then the whole object is sent.
func rangeOf(text string, size int64) (from int64, ok bool) {
	parts := rangeForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	from, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || from >= size || parts[2] != "" && parts[2] != strconv.FormatInt(size-1, 10) {
		return 0, false
	}
	return from, true
}

// beginAnswer checks that the storage has the object of the batch, writes the status
// and the headers, and returns how many bytes follow.
func (c *call) beginAnswer(answer *http.Response, t transfer, from int64) (size int64, err error) {
	h := c.w.Header()
	switch size = t.Size; answer.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		size -= from
		if want := fmt.Sprintf("bytes %d-%d/%d", from, t.Size-1, t.Size); answer.Header.Get("Content-Range") != want {
			return 0, unreachable(errSize)
		}
	default:
		return 0, refused(answer)
	}
	if answer.ContentLength >= 0 && answer.ContentLength != size || answer.Header.Get("Content-Encoding") != "" {
		return 0, unreachable(errSize)
	}
	if answer.StatusCode == http.StatusPartialContent {
		h.Set("Content-Range", answer.Header.Get("Content-Range"))
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(answer.StatusCode)
	return size, nil
}

// upload forwards an object to the storage.
func (c *call) upload(ctx context.Context, m *meter, t transfer) error {
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return refusal(http.StatusUnsupportedMediaType, broker.ReasonRequest, "an object must not be compressed")
	}
	if c.r.ContentLength >= 0 && c.r.ContentLength != t.Size {
		return refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, errSize.Error())
	}
	e := c.entry(upload)
	e.Objects, e.RepositoryID, e.Detail = 1, t.RepositoryID, "object "+t.OID
	err := c.put(ctx, m, t)
	e.Bytes = m.moved.Load()
	c.recordTransfer(e, err)
	if err == nil {
		c.w.WriteHeader(http.StatusOK)
	}
	return err
}

// put sends the client's body to the storage.
func (c *call) put(ctx context.Context, m *meter, t transfer) error {
	header := http.Header{}
	if kind := c.r.Header.Get("Content-Type"); kind != "" {
		header.Set("Content-Type", kind)
	}
	body := &measured{m: m, body: c.r.Body, left: t.Size}
	answer, err := c.send(ctx, http.MethodPut, t, body, t.Size, header)
	if err != nil {
		return failed(ctx, err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, bufferSize))
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return refused(answer)
	}
	return nil
}

// recordTransfer records the outcome of a transfer.
func (c *call) recordTransfer(e broker.Entry, err error) {
	e.Decision, e.Outcome = broker.Granted, broker.OutcomeOK
	if err != nil {
		r := broker.RefusalOf(err)
		e.Outcome, e.Reason, e.Detail = broker.OutcomeFailed, r.Reason, e.Detail+": "+r.Detail
	}
	if err := c.record(e, false); err != nil {
		c.logRefusal(broker.RefusalOf(err)) // it was done, so it can no longer be refused
	}
}

// maxVerify is the maximum size of each message of a verification, in bytes.
const maxVerify = 4 << 10

// verify tells GitHub that an upload is complete.
func (c *call) verify(t transfer) error {
	var said object
	if err := c.readJSON(maxVerify, &said); err != nil {
		return err
	}
	if said != (object{t.OID, t.Size}) {
		return refusal(http.StatusUnprocessableEntity, broker.ReasonRequest, "the object is not the object of the batch")
	}
	body, err := json.Marshal(said)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), callTimeout)
	defer cancel()
	header := http.Header{"Accept": {MediaType}, "Content-Type": {MediaType}}
	answer, err := c.send(ctx, http.MethodPost, t, bytes.NewReader(body), int64(len(body)), header)
	if err != nil {
		return failed(ctx, err)
	}
	defer answer.Body.Close()
	got, err := readReply(answer)
	switch {
	case err != nil:
		return err
	case got.status == http.StatusUnprocessableEntity, got.status == http.StatusNotFound:
		return c.pass(got, true)
	case got.status < 200 || got.status > 299:
		return refused(answer)
	}
	write(c.w, http.StatusOK, struct{}{})
	return nil
}

// withoutURL removes the address from an error of net/http, because it contains a
// signature.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
