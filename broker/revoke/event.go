package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
)

// A change is what an event means for what is kept and given.
type change struct {
	what string // for the audit log, in words of ours
	// An owner or repositories ("owner/name", lower case) to which what is
	// remembered does not fit any more.
	owner        string
	repositories []string
	// isTaken says that access was taken away: tokens are revoked. Else what is
	// remembered as refused is asked for again.
	isTaken bool
}

func (c change) isNothing() bool { return c.owner == "" && len(c.repositories) == 0 }

// touches reports whether a repository is meant.
func (c change) touches(owner, name string) bool {
	return strings.EqualFold(c.owner, owner) || slices.Contains(c.repositories, strings.ToLower(owner+"/"+name))
}

// payload has the fields that are needed of any event
// (https://docs.github.com/webhooks/webhook-events-and-payloads); others are
// passed over.
type payload struct {
	Action       string `json:"action"`
	Installation struct {
		Account account `json:"account"`
	} `json:"installation"`
	Account    account      `json:"account"` // of installation_target
	Repository repository   `json:"repository"`
	Added      []repository `json:"repositories_added"`
	Removed    []repository `json:"repositories_removed"`
	Changes    struct {
		Login struct {
			From string `json:"from"`
		} `json:"login"`
		Repository struct {
			Name struct {
				From string `json:"from"`
			} `json:"name"`
		} `json:"repository"`
		Owner struct {
			From struct {
				User         account `json:"user"`
				Organization account `json:"organization"`
			} `json:"from"`
		} `json:"owner"`
	} `json:"changes"`
}

type account struct {
	Login string `json:"login"`
}

type repository struct {
	FullName string `json:"full_name"`
}

// A form is which keys an event's body has.
type form struct {
	needs []string // one of these
	may   []string // and these, beside those of every event
}

var (
	// forms are those of the events that are read
	// (https://docs.github.com/webhooks/webhook-events-and-payloads). No body has two:
	// what happens to an issue has an action and a repository as well, and it would
	// pass for what happens to the repository if its other keys were passed over.
	forms = map[string]form{
		"ping":                      {needs: []string{"zen"}, may: []string{"hook", "hook_id", "repository"}},
		"installation":              {needs: []string{"installation"}, may: []string{"repositories", "requester"}},
		"installation_repositories": {needs: []string{"repositories_added", "repositories_removed"}, may: []string{"repository_selection", "requester"}},
		"installation_target":       {needs: []string{"account"}, may: []string{"changes", "target_type"}},
		"repository":                {needs: []string{"repository"}, may: []string{"changes"}},
	}
	everyForm = []string{"action", "enterprise", "installation", "organization", "sender"}
)

// checkForm refuses a body that is another event's. The event's name is not signed.
func checkForm(event string, body []byte) error {
	f, isRead := forms[event]
	if !isRead {
		return nil
	}
	if err := api.CheckJSON(body, false); err != nil {
		return fmt.Errorf("%w: %w", errNotJSON, err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(body, &keys); err != nil {
		return errNotJSON
	}
	if !slices.ContainsFunc(f.needs, func(key string) bool { return keys[key] != nil }) {
		return fmt.Errorf("it is not of the event %s: it has no %s", event, strings.Join(f.needs, " or "))
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(slices.Concat(everyForm, f.needs, f.may), key) {
			return fmt.Errorf("it is not of the event %s: it has the key %.60q", event, key)
		}
	}
	return nil
}

var errNotJSON = errors.New("it is not the JSON that it should be")

// parseEvent reads a delivery. Events and actions that mean nothing here are no
// change.
func parseEvent(event string, body []byte) (change, error) {
	if err := checkForm(event, body); err != nil {
		return change{}, err
	}
	read := map[string]func(payload) (change, error){
		"installation":              installationEvent,
		"installation_repositories": repositoriesEvent,
		"installation_target":       targetEvent,
		"repository":                repositoryEvent,
	}[event]
	if read == nil {
		return change{}, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return change{}, errNotJSON
	}
	c, err := read(p)
	if err == nil && !c.isNothing() {
		c.what = event + " " + p.Action
	}
	return c, err
}

func installationEvent(p payload) (change, error) {
	isTaken, known := map[string]bool{
		"created": false, "unsuspend": false, "new_permissions_accepted": false,
		"deleted": true, "suspend": true,
	}[p.Action]
	if !known {
		return change{}, nil
	}
	owner, err := p.Installation.Account.owner()
	return change{owner: owner, isTaken: isTaken}, err
}

func repositoriesEvent(p payload) (change, error) {
	switch p.Action {
	case "added":
		names, err := fullNames(p.Added)
		return change{repositories: names}, err
	case "removed":
		names, err := fullNames(p.Removed)
		return change{repositories: names, isTaken: true}, err
	}
	return change{}, nil
}

// targetEvent is about an account with another name. A profile that names the old
// one means nobody now.
func targetEvent(p payload) (change, error) {
	if p.Action != "renamed" {
		return change{}, nil
	}
	owner, err := account{p.Changes.Login.From}.owner()
	return change{owner: owner, isTaken: true}, err
}

// repositoryEvent is about a repository that is not what profiles mean by its
// name any more, under its former and its present name.
func repositoryEvent(p payload) (change, error) {
	if !slices.Contains([]string{"renamed", "transferred", "deleted", "privatized"}, p.Action) {
		return change{}, nil
	}
	names, err := fullNames([]repository{p.Repository})
	if err != nil {
		return change{}, err
	}
	owner, name, _ := strings.Cut(names[0], "/")
	from := p.Changes.Owner.From
	former := repository{FullName: owner + "/" + p.Changes.Repository.Name.From}
	switch p.Action {
	case "transferred":
		login := from.User.Login + from.Organization.Login // one of them is empty
		former.FullName = login + "/" + name
		fallthrough
	case "renamed":
		old, err := fullNames([]repository{former})
		if err != nil {
			return change{}, err
		}
		names = append(names, old...)
	}
	return change{repositories: names, isTaken: p.Action != "privatized"}, nil
}

func (a account) owner() (string, error) {
	owner, _, ok := gitname.Path(a.Login + "/x")
	if !ok {
		return "", errors.New("it names no account")
	}
	return owner, nil
}

// fullNames are the names in lower case.
func fullNames(repositories []repository) ([]string, error) {
	names := map[string]bool{}
	for _, r := range repositories {
		owner, name, ok := gitname.Path(r.FullName)
		if !ok || len(r.FullName) != len(owner)+1+len(name) {
			return nil, errors.New("it names no repository")
		}
		names[owner+"/"+name] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// apply drops what is remembered and revokes what was taken away. It is written
// down first.
func (c *Console) apply(ctx context.Context, id string, ch change) error {
	e := broker.Entry{Time: c.now().UTC(), Kind: broker.KindGitHub, RequestID: id, Method: "webhook", Subject: "github", Target: ch.text(), Detail: ch.what, Policy: c.Server.Policy().Hash}
	if err := c.Server.Journal.Write(ctx, e, true); err != nil {
		return unwritten(err)
	}
	c.installed.forget()
	c.Cache.Drop(func(s broker.Scope, t credential.Token) bool {
		return ch.touches(s.Owner, s.Name) && (ch.isTaken || t.IsZero() || ch.owner == "")
	})
	if !ch.isTaken {
		return nil
	}
	e.Kind, e.Decision = broker.KindRevoked, broker.Granted
	s := &sweep{c: c, by: e, isShared: true}
	err := s.changed(ctx, ch)
	if s.unwritten != nil {
		return unwritten(s.unwritten)
	}
	if err != nil {
		return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: retry, Err: err, Detail: "not everything could be revoked; deliver it again"}
	}
	return nil
}

func (c change) text() string {
	if c.owner != "" {
		return "owner " + c.owner
	}
	shown := c.repositories[:min(len(c.repositories), 20)]
	text := strings.Join(shown, ", ")
	if len(shown) < len(c.repositories) {
		text += ", …"
	}
	return text
}

// isMeant reports whether a token opens what was changed.
func (c change) isMeant(v broker.Vended) bool {
	return slices.ContainsFunc(v.Token.Repositories, func(full string) bool {
		owner, name, _ := strings.Cut(full, "/")
		return c.touches(owner, name)
	})
}
