package kubernetestest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"time"
)

// A Request is a request that the API server answered, according to its audit log.
type Request struct {
	User        string
	Verb        string // get, list, watch, create, update, patch, delete, deletecollection
	Group       string
	Resource    string // plural
	Subresource string
	Namespace   string
	Name        string
	Query       url.Values // labelSelector, fieldSelector, limit, dryRun, …
	Code        int
	UserAgent   string
	At          time.Time
}

// An auditEvent has the fields of audit.k8s.io/v1's Event that this package reads.
type auditEvent struct {
	Stage                    string
	RequestURI               string
	Verb                     string
	UserAgent                string
	RequestReceivedTimestamp time.Time
	User                     struct{ Username string }
	ObjectRef                struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	ResponseStatus           struct{ Code int }
}

// Requests returns the requests of a user so far, in the order of their answers; ""
// means all users. A watch counts when it begins. The cluster must be private, with
// [Options.Audit].
func (c *Cluster) Requests(user string) []Request {
	c.t.Helper()
	path := c.private().AuditLog
	if path == "" {
		c.t.Fatal("the cluster has no audit log: start it with Options.Audit")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	var requests []Request
	whole := text[:bytes.LastIndexByte(text, '\n')+1] // the rest is still being written
	for line := range bytes.Lines(whole) {
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			c.t.Fatalf("audit log: %v: %s", err, line)
		}
		if event.counts() && (user == "" || event.User.Username == user) {
			requests = append(requests, event.request())
		}
	}
	return requests
}

// counts reports whether this is the event of its request that Requests returns.
func (e auditEvent) counts() bool {
	if e.Verb == "watch" {
		return e.Stage == "ResponseStarted"
	}
	return e.Stage == "ResponseComplete" || e.Stage == "Panic"
}

func (e auditEvent) request() Request {
	r := Request{
		User: e.User.Username, Verb: e.Verb, Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource,
		Subresource: e.ObjectRef.Subresource, Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		Code: e.ResponseStatus.Code, UserAgent: e.UserAgent, At: e.RequestReceivedTimestamp,
	}
	if uri, err := url.ParseRequestURI(e.RequestURI); err == nil {
		r.Query = uri.Query()
	}
	return r
}
