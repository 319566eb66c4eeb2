package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A lambdaService is the Runtime API of AWS Lambda, as far as a bootstrap needs it
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). It is stricter: a
// reply to anything but the running invocation is an error.
type lambdaService struct {
	t       *testing.T
	server  *httptest.Server
	events  chan invocationEvent
	replies chan invocationReply
	log     *logbook // of the bootstrap; complete once it is stopped
	stop    func()

	mu      sync.Mutex // guards the rest
	count   int
	running string // the request id of the running invocation
	since   time.Time
}

type invocationEvent struct {
	payload string
	time    time.Duration // of the function
}

// An invocationReply is the bootstrap's reply.
type invocationReply struct {
	isError bool
	body    string
	took    time.Duration // since the invocation started
}

// startLambda runs a bootstrap as Lambda does: without arguments, and with only its
// environment.
func startLambda(t *testing.T, bootstrap string, environment ...string) *lambdaService {
	t.Helper()
	s := &lambdaService{t: t, events: make(chan invocationEvent), replies: make(chan invocationReply, 1), log: new(logbook)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", s.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{kind}", s.reply)
	s.server = httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bootstrap)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.Env = append([]string{
		runtimeAPI + "=" + strings.TrimPrefix(s.server.URL, "http://"), "_HANDLER=bootstrap", "LAMBDA_TASK_ROOT=/var/task",
		"AWS_LAMBDA_FUNCTION_NAME=gatepass-refresher", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
	}, environment...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		cancel() // the real service freezes or kills it
		_ = cmd.Wait()
		s.server.CloseClientConnections()
		s.server.Close()
	})
	t.Cleanup(s.stop)
	return s
}

func (s *lambdaService) next(w http.ResponseWriter, r *http.Request) {
	select {
	case e := <-s.events:
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", s.handOut())
		w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(e.time).UnixMilli()))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:gatepass-refresher")
		w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, e.payload)
	case <-r.Context().Done():
	}
}

func (s *lambdaService) handOut() (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.running, s.since = fmt.Sprintf("8476a536-e9f4-11e8-9739-%012d", s.count), time.Now()
	return s.running
}

// takeBack ends the running invocation, if it has that id.
func (s *lambdaService) takeBack(id string) (took time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok = id == s.running
	s.running = ""
	return time.Since(s.since), ok
}

func (s *lambdaService) reply(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	kind := r.PathValue("kind")
	took, ok := s.takeBack(r.PathValue("id"))
	if err != nil || !ok || kind != "response" && kind != "error" {
		w.WriteHeader(http.StatusBadRequest)
		s.replies <- invocationReply{true, fmt.Sprintf("a reply to %s, %s: %v", r.URL.Path, body, err), 0}
		return
	}
	w.WriteHeader(http.StatusAccepted)
	s.replies <- invocationReply{kind == "error", string(body), took}
}

// invoke sends a payload and waits for the reply.
func (s *lambdaService) invoke(payload string, within time.Duration) invocationReply {
	s.t.Helper()
	timeout := time.After(within + time.Minute)
	select {
	case s.events <- invocationEvent{payload, within}:
	case <-timeout:
		s.t.Fatalf("the bootstrap does not ask for invocations:\n%s", s.log)
	}
	select {
	case reply := <-s.replies:
		return reply
	case <-timeout:
		s.t.Fatalf("the bootstrap does not answer:\n%s", s.log)
	}
	return invocationReply{}
}

// report returns the summary that answers a payload.
func (s *lambdaService) report(payload string) report {
	s.t.Helper()
	reply := s.invoke(payload, time.Minute)
	var made report
	dec := json.NewDecoder(bytes.NewReader([]byte(reply.body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&made); err != nil || reply.isError {
		s.t.Fatalf("the reply to %s is %+v (%v), want a summary\n%s", payload, reply, err, s.log)
	}
	return made
}

// refuses checks that the answer to a payload is an error of that type with one line.
func (s *lambdaService) refuses(payload, kind, text string) {
	s.t.Helper()
	reply := s.invoke(payload, time.Minute)
	var said struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if err := json.Unmarshal([]byte(reply.body), &said); err != nil || !reply.isError || said.Type != kind || !strings.Contains(said.Message, text) || strings.Contains(said.Message, "\n") {
		s.t.Errorf("the reply to %s is %+v, want a %s with %q", payload, reply, kind, text)
	}
}
