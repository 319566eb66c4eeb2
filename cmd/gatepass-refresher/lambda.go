package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
)

// runtimeAPI is the variable that AWS Lambda sets for its functions
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
const runtimeAPI = "AWS_LAMBDA_RUNTIME_API"

// The errorType values of failed invocations.
const (
	badConfiguration = "BadConfiguration"
	badPayload       = "BadPayload"
	workspaceUnknown = "UnknownWorkspace"
	workspaceFailed  = "WorkspaceFailed"
	passIsFailed     = "PassFailed"
)

// A run stops before its invocation ends. Each part of the time that is kept back is a
// share of it, so that a short invocation does some work too, and has an upper bound.
const (
	reserveShare = 4 // to finish the workspaces that are in work
	maxReserve   = 40 * time.Second
	answerShare  = 10 // to give them up, clean up and answer
	maxAnswer    = 10 * time.Second
)

// serveLambda answers invocations until ctx ends. It reads its options from the
// environment.
func serveLambda(ctx context.Context, getenv func(string) string, stderr io.Writer) int {
	log.SetFlags(0) // the library writes each error reply, as JSON
	log.SetOutput(stderr)
	go lambda.StartWithOptions(newInvoked(getenv, stderr), lambda.WithContext(ctx)) // StartWithOptions never returns
	<-ctx.Done()
	return 0
}

// invoked is the Lambda function. A wrong configuration is reported as the error of
// every invocation, so that the caller and the alarm on errors see it.
type invoked struct {
	refresher *refresher
	err       error
}

func newInvoked(getenv func(string) string, stderr io.Writer) *invoked {
	o, err := parse(nil, getenv)
	if err == nil && o.store == "" {
		err = errors.New(issuing.StoreVariable + " is not set")
	}
	if err != nil {
		return &invoked{err: usererr.Wrap("configure the function", err, "set its environment as docs/refresher.md says")}
	}
	r, err := newRefresher(o, getenv, newLogger(stderr, o.logFormat))
	return &invoked{r, err}
}

// Invoke implements [lambda.Handler].
func (i *invoked) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if i.err != nil {
		return nil, reply(badConfiguration, i.err)
	}
	q, err := i.refresher.read(payload)
	if err != nil {
		return nil, reply(badPayload, err)
	}
	ctx, stop, cancel := invocation(ctx)
	defer cancel()
	made, err := i.refresher.refresh(ctx, stop, q)
	i.refresher.logFailures(made)
	switch {
	case errors.Is(err, errUnknown):
		return nil, reply(workspaceUnknown, err)
	case err != nil:
		return nil, reply(passIsFailed, err)
	case q.workspace != "" && len(made.Failures) > 0:
		return nil, reply(workspaceFailed, usererr.Wrap("refresh workspace "+q.workspace, errors.New(made.Failures[0].Error), ""))
	}
	text, err := json.Marshal(made)
	return usererr.JSON(text), err
}

// reply returns err in the form that Lambda passes on, with kind as its errorType.
func reply(kind string, err error) error {
	return messages.InvokeResponse_Error{Type: kind, Message: usererr.Escape(err.Error())}
}

// invocation returns the deadlines of a run: it ends before its invocation does.
func invocation(ctx context.Context) (whole context.Context, stop <-chan struct{}, cancel func()) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return term(ctx, defaultTimeout, lastWait)
	}
	left := time.Until(deadline)
	reserve, answer := min(left/reserveShare, maxReserve), min(left/answerShare, maxAnswer)
	return term(ctx, left-reserve, reserve-answer)
}
