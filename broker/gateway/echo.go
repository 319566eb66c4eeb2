package gateway

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
)

// isEcho reports whether target is for [api.EchoPath]. It ignores what a proxy may have
// added after the path.
func isEcho(target string) bool {
	rest, ok := strings.CutPrefix(target, api.EchoPath)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// echo answers with the request as it arrived. It counts as a transfer of the
// workspace.
func (rq *request) echo() (err error) {
	rq.unbound()
	if rq.caller, err = rq.g.Access.Caller(rq.Request, rq.id); err != nil {
		return err
	}
	quiet, between, err := echoWaits(rq.Request)
	if err != nil {
		return err
	}
	ctx, end, err := rq.g.transfers.begin(rq.Context(), rq.caller, "", rq.settings, rq.g.Access.Broker.Now)
	if err != nil {
		return err
	}
	defer func() { end(rq.transfer.In + rq.transfer.Out) }()
	text, err := rq.echoed()
	if err != nil {
		return err
	}
	pause(ctx, quiet)
	if ctx.Err() != nil {
		return broken(ctx.Err())
	}
	api.EchoHeaders(rq.w.Header())
	rq.began = true
	rq.transfer.Out = int64(len(text))
	half := 0
	if between > 0 {
		half = len(text) / 2
		_, _ = rq.w.Write(text[:half]) // if the client closed the connection, the pause ends early
		_ = http.NewResponseController(rq.w).Flush()
		pause(ctx, between)
	}
	_, _ = rq.w.Write(text[half:]) // likewise
	return nil
}

// echoed reads the body and returns the answer.
func (rq *request) echoed() ([]byte, error) {
	if rq.Method != http.MethodGet && rq.Method != http.MethodPost {
		return nil, wrongMethod(http.MethodPost)
	}
	e := api.Echo{Protocol: rq.Proto, Host: rq.Host, Target: rq.RequestURI, GitProtocol: rq.Header.Get("Git-Protocol")}
	first := make([]byte, 1)
	n, err := io.ReadFull(rq.Body, first)
	begun := time.Now()
	if n == 1 {
		e.Bytes, err = io.Copy(io.Discard, io.LimitReader(rq.Body, api.MaxEcho))
		e.Bytes++
	}
	rq.transfer.In = e.Bytes
	switch {
	case err != nil && n == 1, err != nil && !errors.Is(err, io.EOF):
		return nil, brokenBody(err)
	case e.Bytes > api.MaxEcho:
		return nil, &broker.Refusal{Status: http.StatusRequestEntityTooLarge, Reason: broker.ReasonRequest, Detail: "an echo must have at most " + strconv.Itoa(api.MaxEcho) + " bytes"}
	}
	e.BodyMilliseconds = time.Since(begun).Milliseconds()
	return api.EncodeEcho(e)
}

func brokenBody(err error) error {
	if clientErr, ok := errors.AsType[*clientError](brokenOff(err)); ok {
		return clientErr.refusal()
	}
	return err
}

// echoWaits reads quiet and pause from the query.
func echoWaits(r *http.Request) (quiet, pause time.Duration, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, 0, bad("the query is malformed")
	}
	for name, to := range map[string]*time.Duration{"quiet": &quiet, "pause": &pause} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		seconds, err := strconv.Atoi(text)
		if *to = time.Duration(seconds) * time.Second; err != nil || seconds < 0 || *to > api.MaxEchoWait {
			return 0, 0, bad(name + " must be a number of seconds up to " + strconv.Itoa(int(api.MaxEchoWait/time.Second)))
		}
	}
	return quiet, pause, nil
}
