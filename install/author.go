package install

import (
	"context"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
)

// authorKey is the variable with the NAME <EMAIL> of the commits' author, if New set
// it.
const authorKey = "gatepass.author"

// The git keys of the commits' author.
const (
	nameKey  = "user.name"
	emailKey = "user.email"
)

// author returns the section user for a target, with settings list and with content as
// its text without our block. The author is the workspace file's, or else the
// gateway's. A name or email that the user has set in git stays.
func (pl *planner) author(ctx context.Context, t target, content []byte, list []setting) (section, own []setting, err error) {
	if pl.authorName == "" && pl.gateway.IsZero() {
		return nil, nil, nil
	}
	base, err := pl.git.list(ctx, content)
	if err != nil {
		return nil, nil, err
	}
	ours := authorOwned(list).flat()
	hasName, hasEmail := pl.isSet(ctx, t, base, nameKey, ours), pl.isSet(ctx, t, base, emailKey, ours)
	if hasName && hasEmail {
		return nil, nil, nil
	}
	pl.findAuthor(ctx, list)
	if pl.authorName == "" {
		return nil, nil, nil
	}
	if !hasName {
		section = append(section, setting{key: nameKey, value: pl.authorName})
	}
	if !hasEmail {
		section = append(section, setting{key: emailKey, value: pl.authorEmail})
	}
	return section, []setting{{key: authorKey, value: pl.authorName + " <" + pl.authorEmail + ">"}}, nil
}

// findAuthor asks the gateway once if the workspace file names no author. If the
// gateway cannot be asked, the author of an earlier install, which is in list, stays.
func (pl *planner) findAuthor(ctx context.Context, list []setting) {
	if pl.authorName != "" || pl.askedAuthor {
		return
	}
	pl.askedAuthor = true
	text, why := "", "an image is for several workspaces"
	if pl.Scope != Image && pl.From == "" {
		text, why = pl.askAuthor(ctx)
	}
	if text == "" && why != "" {
		if earlier := valuesOf(list, authorKey); len(earlier) > 0 {
			text = earlier[len(earlier)-1]
		}
	}
	name, email, err := config.ParseAuthor(text)
	if err == nil {
		pl.authorName, pl.authorEmail = name, email
		return
	}
	if why == "" {
		why = "the gateway does not name one"
	}
	pl.plan.Notes = append(pl.plan.Notes, "git has no author of commits ("+why+"): write author: NAME <EMAIL> into the workspace file, or run gatepass install in the workspace")
}

// askAuthor returns the gateway's author, or why it could not be asked.
func (pl *planner) askAuthor(ctx context.Context) (author, why string) {
	w, err := pl.workspace()
	if err == nil && w != nil && pl.Options.Author != nil {
		w, err = w.Through(pl.gateway.Gateway)
	}
	if err != nil || w == nil || pl.Options.Author == nil {
		return "", "the gateway is not asked"
	}
	if author, err = pl.Options.Author(ctx, w); err != nil {
		return "", usererr.Escape(err.Error())
	}
	return author, ""
}

func authorOf(name, email string) []setting {
	return []setting{{key: nameKey, value: name}, {key: emailKey, value: email}}
}

// authorOwned returns the settings of an author that New set.
func authorOwned(list []setting) (b block) {
	for _, text := range valuesOf(list, authorKey) {
		if name, email, err := config.ParseAuthor(text); err == nil {
			b = appendSection(b, present(list, authorOf(name, email)))
		}
	}
	return b
}

// isSet reports whether a key has a value that is not ours, in the settings of a file
// or, for a user, in all files that git reads for the user.
func (pl *planner) isSet(ctx context.Context, t target, list []setting, key string, ours []setting) bool {
	values := valuesOf(list, key)
	if pl.Scope == Global && len(t.gits) > 0 {
		if out, err := t.gits[0].runAsUser(ctx, "config", "-z", "--includes", "--get-all", key); err == nil {
			values = append(values, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")...)
		}
	}
	return slices.ContainsFunc(values, func(value string) bool {
		return !slices.ContainsFunc(ours, setting{key: key, value: value}.same)
	})
}
