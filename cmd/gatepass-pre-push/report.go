package main

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Limits of a report to the broker: of its texts in bytes, and of the time by which it
// may delay a refused push.
const (
	maxRef     = 1024
	maxReason  = 300
	reportWait = 200 * time.Millisecond
)

// reportRefused reports the refused refs to the agent, if one runs and its source is a broker,
// so that the broker's operators see them. It runs after the user was told, and nothing
// depends on it. It reports dry runs too: hooks cannot tell them from a push.
func (c call) reportRefused(w *config.Workspace, updates []agent.PushUpdate) {
	if w == nil || w.Source == nil || !strings.HasPrefix(w.Source.Scheme, "broker+") || len(updates) == 0 {
		return
	}
	host, repo, ok := repositoryOf(c.args[1], w)
	if !ok {
		return
	}
	report := agent.PushReport{Host: host, Repo: repo, Updates: updates[:min(len(updates), agent.MaxPushUpdates)]}
	call := agent.Call{Operation: agent.PushRefused, Config: w.Path, Payload: agent.AppendPush(nil, report)}
	_ = agent.Notify(call, c.getenv, time.Now().Add(reportWait)) // the push was refused either way
}

// deniedUpdates returns the updates that the policy does not allow.
func deniedUpdates(denials []*refs.DeniedError) []agent.PushUpdate {
	updates := make([]agent.PushUpdate, 0, agent.MaxPushUpdates)
	for _, d := range denials[:min(len(denials), agent.MaxPushUpdates)] {
		updates = append(updates, update(d.Update, string(d.Verb), d.Reason()))
	}
	return updates
}

// allUpdates returns all updates of a push that was refused as a whole.
func allUpdates(all []refs.RefUpdate, why string) []agent.PushUpdate {
	updates := make([]agent.PushUpdate, 0, agent.MaxPushUpdates)
	for _, u := range all[:min(len(all), agent.MaxPushUpdates)] {
		updates = append(updates, update(u, "unknown", why))
	}
	return updates
}

func update(u refs.RefUpdate, action, reason string) agent.PushUpdate {
	return agent.PushUpdate{Action: action, Ref: shown(u.RemoteRef, maxRef), Reason: shown(reason, maxReason)}
}

// shown returns text in a form that is safe to show: without control characters and
// anything that looks like a token, and at most most bytes long. No ref has a
// backslash, so an escaped ref cannot be confused with another one.
func shown(text string, most int) string {
	const mark = "..." // what redact.Text appends to a shortened text
	text = redact.Text(usererr.Escape(text), most-len(mark))
	for !utf8.ValidString(text) || len(text) > most {
		text = text[:len(text)-1]
	}
	return text
}

// repositoryOf returns the host and the repository of a remote's URL, and nothing else
// of it, such as a password. ok is false for a path and for a name that GitHub does not
// allow.
func repositoryOf(remote string, w *config.Workspace) (host, repo string, ok bool) {
	var path string
	if strings.Contains(remote, "://") {
		u, err := url.Parse(remote)
		if err != nil || u.Scheme == "file" {
			return "", "", false
		}
		host, path = u.Host, u.Path
		if u.Scheme == "ssh" {
			host = strings.TrimSuffix(host, ":22")
		}
	} else { // [USER@]HOST:PATH
		before, after, isRemote := strings.Cut(remote, ":")
		if !isRemote || strings.Contains(before, "/") {
			return "", "", false
		}
		host, path = before[strings.LastIndexByte(before, '@')+1:], after
	}
	host, hostOK := gitname.Host(host)
	if hostOK && host == w.Gateway.Host() {
		host, path = w.Gateway.Repository(strings.TrimPrefix(path, "/"), w.Hosts)
	}
	owner, name, repoOK := gitname.Path(strings.TrimPrefix(path, "/"))
	return host, owner + "/" + name, hostOK && repoOK
}
