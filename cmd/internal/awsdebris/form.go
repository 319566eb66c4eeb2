package awsdebris

import (
	"strings"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

const (
	place = "{workspace}"

	// firstSystemsKey is how the first system names the key of a sandbox.
	firstSystemsKey form = aliases + "km-github-token-" + place

	aliases = "alias/"

	// leastFixed is how many letters of an alias tell a workspace's key from others.
	leastFixed = 3
)

// A form is how the keys of workspaces are named: "alias/gatepass-{workspace}".
type form string

// forms are those of this store's workspaces. One that would fit nearly every alias
// is an error.
func (a *Account) forms() ([]form, error) {
	var all []form
	if a.isFirstSystems() {
		all = append(all, firstSystemsKey)
	}
	own, ok := formOf(a.store.KMSKey())
	switch {
	case !ok || own == firstSystemsKey && len(all) > 0:
		return all, nil
	case own.fixed() < leastFixed:
		return nil, oneline.New("tell the keys of workspaces", "kms_key="+a.store.KMSKey()+" fits any alias", "name them so that they can be told from others, as alias/gatepass-{workspace}")
	}
	return append(all, own), nil
}

// formOf reads the kms_key of a store's URL, which is an alias or its ARN where
// there is one for each workspace.
func formOf(key string) (form, bool) {
	if part := strings.SplitN(key, ":", 6); len(part) == 6 {
		key = part[5]
	}
	return form(key), strings.HasPrefix(key, aliases) && strings.Contains(key, place)
}

// fixed is how many characters after "alias/" are the same for all workspaces.
func (f form) fixed() int {
	return len(strings.ReplaceAll(strings.TrimPrefix(string(f), aliases), place, ""))
}

// workspaceOf returns the workspace for which an alias is of that form, exactly.
func (f form) workspaceOf(alias string) (id string, ok bool) {
	before, _, _ := strings.Cut(string(f), place)
	times := strings.Count(string(f), place)
	room := len(alias) - (len(f) - times*len(place))
	if times == 0 || room <= 0 || room%times != 0 || len(before)+room/times > len(alias) {
		return "", false
	}
	id = alias[len(before) : len(before)+room/times]
	return id, store.CheckWorkspace(id) == nil && strings.ReplaceAll(string(f), place, id) == alias
}
