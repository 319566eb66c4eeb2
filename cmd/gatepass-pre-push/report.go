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

// The limits of a broker's reports, in bytes, and of the time that one costs a
// refused push.
const (
	maxRef     = 1024
	maxReason  = 300
	reportWait = 200 * time.Millisecond
)

// tell tells the agent, if one runs and its source is a broker, what was refused,
// for the broker's operators to see. It comes after the user was told, and nothing
// depends on it. What git calls a dry run counts as well: hooks cannot tell it from
// a push.
func (c call) tell(w *config.Workspace, updates []agent.PushUpdate) {
	if w == nil || w.Source == nil || !strings.HasPrefix(w.Source.Scheme, "broker+") || len(updates) == 0 {
		return
	}
	host, repo, ok := repositoryOf(c.args[1], w)
	if !ok {
		return
	}
	report := agent.PushReport{Host: host, Repo: repo, Updates: updates[:min(len(updates), agent.MaxPushUpdates)]}
	call := agent.Call{Operation: agent.PushRefused, Config: w.Path, Payload: agent.AppendPush(nil, report)}
	_ = agent.Tell(call, c.getenv, time.Now().Add(reportWait)) // the push was refused either way
}

// deniedUpdates are those that the policy does not allow.
func deniedUpdates(denials []*refs.DeniedError) []agent.PushUpdate {
	updates := make([]agent.PushUpdate, 0, agent.MaxPushUpdates)
	for _, d := range denials[:min(len(denials), agent.MaxPushUpdates)] {
		updates = append(updates, update(d.Update, string(d.Verb), d.Reason()))
	}
	return updates
}

// allUpdates are those of a push that was refused as a whole.
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

// shown is a text as others may see it: without control characters and what looks
// like a token, and at most so many bytes long. No ref has a backslash, so that an
// escaped one stays the only one that is written so.
func shown(text string, most int) string {
	const mark = "..." // of redact.Text
	text = redact.Text(usererr.Escape(text), most-len(mark))
	for !utf8.ValidString(text) || len(text) > most {
		text = text[:len(text)-1]
	}
	return text
}

// repositoryOf returns the host and the repository of a remote's URL, and never what
// else is in it. ok is false for a path, and for what no GitHub has.
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
