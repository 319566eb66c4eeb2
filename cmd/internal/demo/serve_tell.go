package demo

import "path/filepath"

// invite prints what runs and what to try.
func (p *playground) invite() {
	t := p.show
	t.home = "" // absolute paths, because the commands are for another shell
	t.paragraph(bold, "A playground is running: a double of GitHub, an App in a store, a broker with its git gateway.")
	t.paragraph("", "GitHub           https://"+p.github.host()+"   acme/widgets, acme/payroll, globex/gadgets")
	t.paragraph("", "operators' page  http://"+p.address+"   token: "+p.operator)
	t.paragraph("", "files            "+p.home+"   broker.yaml, profile.yaml, workspace.yaml, gateway.yaml, audit.jsonl")
	t.paragraph("", "")
	p.try(1, "A sandbox: clone, push an allowed branch, and see another one refused", []string{
		". " + quote(filepath.Join(p.home, "workspace.sh")),
		"git clone " + p.github.url("acme/widgets") + " && cd widgets",
		"git commit --allow-empty -m 'Try it'",
		"git push origin HEAD:agent/try",
		"git push origin HEAD:main",
	})
	p.try(2, "Revoke its tokens and block it, on the page or as here", []string{
		`curl -sS -X POST -H "Authorization: Bearer $OPERATOR" $BROKER/v1/workspaces/` + workspaceID + "/revoke",
		"git fetch # the token is gone",
		"git fetch # and the broker gives no other",
		`curl -sS -X DELETE -H "Authorization: Bearer $OPERATOR" $BROKER/v1/workspaces/` + workspaceID + "/block # unblocks it",
	})
	p.try(3, "A CI job without any token: git goes through the gateway, which decides on pushes", []string{
		". " + quote(filepath.Join(p.home, "gateway.sh")),
		"git clone " + p.github.url("acme/widgets") + " job && cd job",
		"git commit --allow-empty -m 'Try the gateway'",
		"git push --no-verify origin HEAD:main",
		"gatepass token --repo acme/widgets",
	})
	p.try(4, "The issuing side: a workspace whose tokens are delivered to the store", []string{
		"cd " + quote(p.home) + " && gatepass workspace create profile.yaml --id sb-2",
		"gatepass workspace show sb-2",
		"gatepass workspace destroy sb-2",
	})
	p.try(5, "What was decided, and why", []string{
		"gatepass audit search audit.jsonl",
		"gatepass policy explain",
		"gatepass doctor --online",
	})
	t.paragraph(bold, "ctrl-C ends it and removes everything.")
}

func (p *playground) try(n int, what string, commands []string) {
	p.show.paragraph(bold, "# "+string(rune('0'+n))+". "+what)
	for _, c := range commands {
		p.show.copied(c)
	}
	p.show.paragraph("", "")
}

// farewell prints what remains.
func (p *playground) farewell() {
	if p.opts.Keep {
		p.show.paragraph("", "kept: "+p.dir)
		return
	}
	p.show.paragraph("", "The playground has ended, and nothing of it is left.")
}
