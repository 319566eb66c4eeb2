package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
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
	roundIsFailed    = "RoundFailed"
)

// A round stops before its invocation ends. Each part of the time that is kept back is
// a share of it, so that a short invocation does some work too, and has an upper bound.
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
		return nil, reply(roundIsFailed, err)
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

// invocation returns the deadlines of a round: it ends before its invocation does.
func invocation(ctx context.Context) (whole context.Context, stop <-chan struct{}, cancel func()) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return term(ctx, defaultTimeout, lastWait)
	}
	left := time.Until(deadline)
	reserve, answer := min(left/reserveShare, maxReserve), min(left/answerShare, maxAnswer)
	return term(ctx, left-reserve, reserve-answer)
}

// maxPayload is the largest payload that Lambda accepts, in bytes
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const maxPayload = 6 << 20

// A request says what to refresh. The zero request refreshes the whole ledger.
type request struct {
	workspace string // "" for all
	force     bool
	frozen    *frozen // what the payload says about the workspace
}

// frozen is what a payload says about its workspace, as it was when the schedule was
// made. If the ledger has a record, the record counts instead.
type frozen struct {
	parameter    string // where the workspace reads its token; "" if the payload does not say
	repositories []string
	verbs        []string          // permissions, as a list
	levels       map[string]string // or as a map
}

// A form is one kind of payload.
type form struct {
	known, needs []string
	read         func(fields) (request, error)
}

// forms are the payloads that are understood. The content of an event is ignored: its
// arrival is what counts.
var forms = []form{
	{
		known: []string{"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"},
		needs: []string{"detail-type", "source"},
		read:  func(fields) (request, error) { return request{}, nil },
	},
	{known: []string{"workspace", "force"}, needs: []string{"workspace"}, read: readWorkspace},
	{
		known: []string{"sandbox_id", "installation_id", "ssm_parameter_name", "kms_key_arn", "allowed_repos", "permissions"},
		needs: []string{"sandbox_id"}, read: readFrozen,
	},
}

// parsePayload reads the payload of an invocation: nothing, {} or an EventBridge event
// for the whole ledger, or an object that names one workspace.
func parsePayload(data []byte) (request, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return request{}, nil
	}
	all, err := parseObject(data)
	if err != nil || len(all) == 0 {
		return request{}, err
	}
	for _, f := range forms {
		if !slices.ContainsFunc(f.needs, func(key string) bool { return all[key] != nil }) {
			continue
		}
		if err := f.check(all); err != nil {
			return request{}, err
		}
		return f.read(all)
	}
	return request{}, errors.New("it has an unknown form; send {} for all workspaces, or {\"workspace\": \"ID\"}")
}

func (f form) check(all fields) error {
	for _, key := range f.needs {
		if all[key] == nil {
			return fmt.Errorf("%s is missing", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(f.known, key) {
			return fmt.Errorf("unknown key %q next to %s; known are %s", key, f.needs[0], strings.Join(f.known, ", "))
		}
	}
	return nil
}

// fields are an object's values as raw JSON.
type fields map[string]json.RawMessage

// parseObject reads one JSON object. It refuses a key that occurs twice.
func parseObject(data []byte) (fields, error) {
	if len(data) > maxPayload || !utf8.Valid(data) {
		return nil, errors.New("it is too long or not a string")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	all := fields{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errors.New("it is not JSON")
		}
		name, value := key.(string), json.RawMessage{}
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("it is not JSON")
		}
		if all[name] != nil {
			return nil, fmt.Errorf("%q is given twice", name)
		}
		all[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("it is not JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has text after the JSON object")
	}
	return all, nil
}

func readWorkspace(all fields) (q request, err error) {
	if q.workspace, err = all.workspace("workspace"); err != nil {
		return request{}, err
	}
	if value := all["force"]; value != nil && json.Unmarshal(value, &q.force) != nil {
		return request{}, errors.New("force must be true or false")
	}
	return q, nil
}

func readFrozen(all fields) (request, error) {
	id, err := all.workspace("sandbox_id")
	if err != nil {
		return request{}, err
	}
	if given := or(all["installation_id"], "0"); json.Unmarshal(given, new(json.Number)) != nil && json.Unmarshal(given, new(string)) != nil {
		return request{}, errors.New("installation_id must be a number or a string")
	}
	f := &frozen{}
	if _, err := all.text("kms_key_arn"); err != nil {
		return request{}, err
	}
	if f.parameter, err = all.text("ssm_parameter_name"); err != nil {
		return request{}, err
	}
	if json.Unmarshal(or(all["allowed_repos"], "null"), &f.repositories) != nil {
		return request{}, errors.New("allowed_repos must be a list of owner/repo")
	}
	given := or(all["permissions"], "null")
	if json.Unmarshal(given, &f.verbs) != nil && json.Unmarshal(given, &f.levels) != nil {
		return request{}, errors.New(`permissions must be a list of verbs, or a mapping such as {"contents": "write"}`)
	}
	return request{workspace: id, frozen: f}, nil
}

func (all fields) workspace(key string) (string, error) {
	id, err := all.text(key)
	if err != nil {
		return "", err
	}
	return id, store.CheckWorkspace(id)
}

func (all fields) text(key string) (text string, err error) {
	if json.Unmarshal(or(all[key], "null"), &text) != nil {
		return "", fmt.Errorf("%s must be a string", key)
	}
	return text, nil
}

func or(value json.RawMessage, otherwise string) json.RawMessage {
	if value == nil {
		return json.RawMessage(otherwise)
	}
	return value
}
