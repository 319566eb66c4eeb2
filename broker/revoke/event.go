package revoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/gitname"
)

// payload has the fields that are needed from any event
// (https://docs.github.com/webhooks/webhook-events-and-payloads); others are ignored.
type payload struct {
	Action       string `json:"action"`
	Installation struct {
		Account  account `json:"account"`
		AppID    int64   `json:"app_id"`
		ClientID string  `json:"client_id"`
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

// A form says which keys an event's body has.
type form struct {
	needs []string // at least one of these
	may   []string // and these, besides those of every event
}

var (
	// forms are the forms of the events that are read
	// (https://docs.github.com/webhooks/webhook-events-and-payloads). No body fits two
	// of them. Events about issues also have an action and a repository: if their other
	// keys were ignored, they could pass for events about the repository.
	forms = map[string]form{
		"ping":                      {needs: []string{"zen"}, may: []string{"hook", "hook_id", "repository"}},
		"installation":              {needs: []string{"installation"}, may: []string{"repositories", "requester"}},
		"installation_repositories": {needs: []string{"repositories_added", "repositories_removed"}, may: []string{"repository_selection", "requester"}},
		"installation_target":       {needs: []string{"account"}, may: []string{"changes", "target_type"}},
		"repository":                {needs: []string{"repository"}, may: []string{"changes"}},
	}
	everyForm = []string{"action", "enterprise", "installation", "organization", "sender"}
)

// checkForm refuses the body of another event, because the event's name is not signed.
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
		return fmt.Errorf("it is not an event %s: it has no %s", event, strings.Join(f.needs, " or "))
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(slices.Concat(everyForm, f.needs, f.may), key) {
			return fmt.Errorf("it is not an event %s: it has the key %.60q", event, key)
		}
	}
	return nil
}

var errNotJSON = errors.New("it is not the expected JSON")

// ParseEvent parses the body of a delivery with the given event name. GitHub's page of
// deliveries shows its error.
func ParseEvent(event string, body []byte) (Change, error) {
	if err := checkForm(event, body); err != nil {
		return Change{}, err
	}
	read := map[string]func(payload) (Change, error){
		"installation":              installationEvent,
		"installation_repositories": repositoriesEvent,
		"installation_target":       targetEvent,
		"repository":                repositoryEvent,
	}[event]
	if read == nil {
		return Change{}, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return Change{}, errNotJSON
	}
	c, err := read(p)
	if err == nil && !c.IsNothing() {
		c.what = event + " " + p.Action
	}
	return c, err
}

func installationEvent(p payload) (Change, error) {
	isTaken, known := map[string]bool{
		"created": false, "unsuspend": false, "new_permissions_accepted": false,
		"deleted": true, "suspend": true,
	}[p.Action]
	if !known {
		return Change{}, nil
	}
	owner, err := p.Installation.Account.owner()
	return Change{owner: owner, isRemoval: isTaken, apps: p.apps()}, err
}

func repositoriesEvent(p payload) (Change, error) {
	switch p.Action {
	case "added":
		names, err := fullNames(p.Added)
		return Change{repositories: names}, err
	case "removed":
		names, err := fullNames(p.Removed)
		return Change{repositories: names, isRemoval: true, apps: p.apps()}, err
	}
	return Change{}, nil
}

// apps returns the client ID and the number of the installation's App: a store may have
// either. It returns nothing where the event does not have both.
func (p payload) apps() []string {
	if p.Installation.AppID == 0 || p.Installation.ClientID == "" {
		return nil
	}
	return []string{p.Installation.ClientID, strconv.FormatInt(p.Installation.AppID, 10)}
}

// targetEvent is about a renamed account. A profile with the old name now matches no
// account.
func targetEvent(p payload) (Change, error) {
	if p.Action != "renamed" {
		return Change{}, nil
	}
	owner, err := account{p.Changes.Login.From}.owner()
	return Change{owner: owner, isRemoval: true}, err
}

// repositoryEvent is about a repository name that now means another repository. The
// change touches the old and the new name.
func repositoryEvent(p payload) (Change, error) {
	if !slices.Contains([]string{"renamed", "transferred", "deleted", "privatized"}, p.Action) {
		return Change{}, nil
	}
	names, err := fullNames([]repository{p.Repository})
	if err != nil {
		return Change{}, err
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
			return Change{}, err
		}
		names = append(names, old...)
	}
	return Change{repositories: names, isRemoval: p.Action != "privatized"}, nil
}

func (a account) owner() (string, error) {
	owner, _, ok := gitname.Path(a.Login + "/x")
	if !ok {
		return "", errors.New("it does not name an account")
	}
	return owner, nil
}

// fullNames returns the names in lower case.
func fullNames(repositories []repository) ([]string, error) {
	names := map[string]bool{}
	for _, r := range repositories {
		owner, name, ok := gitname.Path(r.FullName)
		if !ok || len(r.FullName) != len(owner)+1+len(name) {
			return nil, errors.New("it does not name a repository")
		}
		names[owner+"/"+name] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}
