package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/workspace"
	"github.com/urfave/cli/v2"
)

// A previewReport is what "workspace create --dry-run" says.
type previewReport struct {
	Workspace   string            `json:"workspace"`
	Profile     string            `json:"profile,omitempty"`
	Permissions map[string]string `json:"permissions"`
	Optional    map[string]string `json:"optional_permissions,omitempty"`
	Tokens      []previewToken    `json:"tokens"`
	Refs        []string          `json:"refs"` // what may be pushed
	DryRun      bool              `json:"dry_run"`
}

type previewToken struct {
	Owner        string   `json:"owner"`
	Installation int64    `json:"installation_id,omitempty"` // 0: the store knows none
	Repositories []string `json:"repositories"`
	Stored       string   `json:"stored"` // below the store's prefix
}

// preview shows what create would do. It mints and writes nothing.
func (w *app) preview(c *cli.Context, i *workspace.Issuer, id string, p *workspace.Profile) error {
	tokens, err := workspace.Previews(c.Context, i.Store, id, p)
	if err != nil {
		return usererr.Wrap("preview workspace "+id, err, "")
	}
	r := previewReport{Workspace: id, Profile: p.Name, Permissions: p.Permissions.Levels(), Optional: p.Optional.Levels(), Tokens: []previewToken{}, Refs: []string{}, DryRun: true}
	for _, t := range tokens {
		shown := previewToken{Owner: t.Owner, Installation: t.Installation, Stored: t.Stored.String()}
		for _, pattern := range t.Patterns {
			shown.Repositories = append(shown.Repositories, pattern.String())
		}
		r.Tokens = append(r.Tokens, shown)
	}
	for _, e := range p.RefsOf(id) {
		r.Refs = append(r.Refs, e.Ref)
	}
	if c.Bool("json") {
		return writeJSON(w.stdout, r)
	}
	_, err = io.WriteString(w.stdout, r.String())
	return err
}

func (r previewReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "workspace %s: nothing was minted or written\n", r.Workspace)
	if len(r.Tokens) == 0 {
		b.WriteString("no token: the profile allows no repository\n")
	} else {
		t := newTable("OWNER", "REPOSITORIES", "PERMISSIONS", "INSTALLATION", "STORED AS")
		for _, token := range r.Tokens {
			installation := number(token.Installation)
			if installation == "" {
				installation = "not known; GitHub is asked"
			}
			t.row(token.Owner, strings.Join(token.Repositories, ", "), levels(r.Permissions), installation, token.Stored)
		}
		b.WriteString(t.String())
	}
	if len(r.Refs) == 0 {
		b.WriteString("refs: nothing may be pushed\n")
	} else {
		b.WriteString(usererr.Escape("refs: "+strings.Join(r.Refs, ", ")) + "\n")
	}
	return b.String()
}
