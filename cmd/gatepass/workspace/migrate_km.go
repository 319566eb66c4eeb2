package workspace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
	"github.com/urfave/cli/v2"
)

const migrateKMAbout = `Without a profile: reads the parameters below /km/config and /sandbox, and says
what it finds, what to do, and what stays. It changes nothing.

With a profile: says which pushes that profile no longer allows, and takes over
the sandboxes that --id names: each gets a token and a ledger record of gatepass,
and then its old token is revoked.

Two systems that deliver to one sandbox would revoke each other's tokens. km writes
a token every 45 minutes. So gatepass refuses a sandbox with a younger token, and a
sandbox that km still writes to after it was taken over: stop km's schedule for it,
and wait, or add --stopped.

To undo: run "gatepass workspace destroy ID", and start the other system's schedule.

Examples:
  gatepass migrate km
  gatepass migrate km profile.yaml --id sb-1 --dry-run
  gatepass migrate km profile.yaml --id sb-1 --id sb-2 --stopped`

const (
	// kmStore is the store with the first system's parameters.
	kmStore = "ssm:///km?workspaces=/"
	// kMInterval is the time between two tokens that km writes for a sandbox, with two
	// minutes for its Lambda function.
	KMInterval = 47 * time.Minute
)

func (cmd commands) migrateKMCommand() *cli.Command {
	return &cli.Command{
		Name: "km", Usage: "take over the sandboxes of km",
		UsageText:   "gatepass migrate km [--store URL] [--json]\ngatepass migrate km PROFILE --id ID [--id ID]... [--dry-run] [--stopped]",
		Description: migrateKMAbout,
		Flags: command.IssuingFlags(
			&cli.StringSliceFlag{Name: "id", Usage: "take over the sandbox of that `ID`; may be repeated"},
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, and say what would be done", DisableDefaultText: true},
			stoppedFlag(),
		),
		Action: cmd.migrateKM,
	}
}

func (cmd commands) migrateKM(c *cli.Context) error {
	ids := c.StringSlice("id")
	if err := checkKM(c, ids); err != nil {
		return err
	}
	if c.String("store") == "" && cmd.Getenv(issuing.StoreVariable) == "" {
		if err := c.Set("store", kmStore); err != nil {
			return err
		}
	}
	i, _, err := cmd.issuer(c)
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		stop := cmd.Wait("the store")
		found, err := surveyKM(c.Context, i)
		stop()
		if err != nil {
			return usererr.Wrap("read the store", err, "")
		}
		if c.Bool("json") {
			return command.WriteJSON(cmd.Stdout, found)
		}
		_, err = cmd.Stdout.Write([]byte(found.text(cmd.Screen())))
		return err
	}
	return cmd.takeOver(c, i, ids)
}

func checkKM(c *cli.Context, ids []string) error {
	switch {
	case c.NArg() > 1:
		return command.Usage(c, "name one profile at a time")
	case c.NArg() == 0 && len(ids) > 0:
		return command.Usage(c, "the profile's file is missing")
	case c.NArg() == 1 && len(ids) == 0:
		return command.Usage(c, "--id is missing: name the sandboxes that have this profile")
	case c.NArg() == 1 && c.Bool("json"):
		return command.Usage(c, "--json cannot be combined with a profile")
	}
	for _, id := range ids {
		if err := store.CheckWorkspace(id); err != nil {
			return command.Usage(c, "--id: "+err.Error())
		}
	}
	return nil
}

// takeOver adds sandboxes to the ledger, or says what that would do.
func (cmd commands) takeOver(c *cli.Context, i *workspace.Issuer, ids []string) error {
	p, err := profile.Load(c.Args().First())
	if err != nil {
		return err
	}
	for _, text := range stricter(p) {
		cmd.Note(text)
	}
	if !hasOneOwner(p.Repositories) {
		cmd.Note("a sandbox of this profile gets a token for each owner, and km-git-askpass reads one: its image needs gatepass first")
	}
	i.Sync(c.Context)
	var problems []error
	for n, id := range ids {
		i.Adopt = false // the survey distinguishes the tokens of both systems
		one, err := surveySandbox(c.Context, i, id)
		if err == nil {
			err = one.refuse(i.Time(), c.Bool("stopped"))
		}
		if c.Bool("dry-run") {
			if err != nil {
				cmd.Note(err.Error())
			}
			problems = append(problems, cmd.preview(c, i, id, p))
			continue
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		i.Adopt = true
		stop := cmd.Wait(fmt.Sprintf("GitHub and the store, for the tokens of %s, sandbox %d of %d", id, n+1, len(ids)))
		r, problem := i.Create(c.Context, id, p, 0)
		stop()
		if r != nil {
			now := cmd.clock(i)
			problem = incomplete(r, now, problem)
			problems = append(problems, printWorkspace(cmd.Stdout, cmd.Screen(), newReport(r, now, problem)))
		}
		problems = append(problems, problem)
	}
	return usererr.Join(problems...)
}

// stricter returns what gatepass refuses but the first system allowed.
func stricter(p *profile.Profile) []string {
	if len(p.Refs) == 0 {
		return []string{"the profile has no allowedRefs, so nothing may be pushed; the other system allowed every ref"}
	}
	said := slices.Clone(p.Warnings)
	for _, e := range p.Refs {
		if strings.Contains(e.Ref, "*") && !strings.Contains(e.Ref, "**") {
			said = append(said, e.Ref+" stays within one path segment; write ** to cross slashes, as the other system did")
		}
	}
	return append(said, "forced pushes, deletions of branches, and tags must be listed: docs/migrating.md")
}

// A KMSurvey is what the first system left, and its state in gatepass.
type KMSurvey struct {
	App           string      `json:"app"` // "" if none is set up
	CannotMint    string      `json:"cannot_mint,omitempty"`
	Installations []string    `json:"installations"` // accounts
	Legacy        int64       `json:"installation_id,omitempty"`
	Sandboxes     []kmSandbox `json:"sandboxes"`
}

// A kmSandbox is one sandbox.
type kmSandbox struct {
	ID    string `json:"id"`
	State string `json:"state"` // taken over, both, theirs or expired
	Token string `json:"token"` // when the token was last written; "" for none

	written time.Time // the time in Token
}

// States of a sandbox.
const (
	kmOurs    = "taken over"
	kmBoth    = "both"    // in the ledger, while the other system still writes its token
	kmTheirs  = "theirs"  // it has a live token that gatepass did not write
	kmExpired = "expired" // its token has expired
)

// surveyKM reads the state. It writes nothing, and asks GitHub only for the time.
func surveyKM(ctx context.Context, i *workspace.Issuer) (s KMSurvey, err error) {
	s = KMSurvey{Installations: []string{}, Sandboxes: []kmSandbox{}}
	if s.App, err = issuing.LoadID(ctx, i.Store); err != nil && !isNotFound(err) {
		return s, err
	}
	if problem := i.CannotMint(); problem != nil {
		s.CannotMint = problem.Error()
	}
	known, err := workspace.StoredInstallations(ctx, i.Store)
	if err != nil {
		return s, err
	}
	for _, in := range known {
		s.Installations = append(s.Installations, in.Account.Login)
	}
	if s.Legacy, err = issuing.LegacyInstallation(ctx, i.Store); err != nil {
		return s, err
	}
	ids := map[string]bool{}
	for name, err := range i.Store.List(ctx, store.Workspaces()) {
		if err != nil {
			return s, err
		}
		if id, ok := name.Workspace(); ok && (name.IsToken() || name.IsRecord()) {
			ids[id] = true
		}
	}
	for id := range ids {
		one, err := surveySandbox(ctx, i, id)
		if err != nil {
			return s, err
		}
		s.Sandboxes = append(s.Sandboxes, one)
	}
	slices.SortFunc(s.Sandboxes, func(a, b kmSandbox) int { return strings.Compare(a.ID, b.ID) })
	return s, nil
}

func surveySandbox(ctx context.Context, i *workspace.Issuer, id string) (kmSandbox, error) {
	one := kmSandbox{ID: id, State: kmExpired}
	name, err := store.OnlyToken(id)
	if err != nil {
		return one, err
	}
	entry, err := i.Store.Get(ctx, name)
	if err != nil && !isNotFound(err) {
		return one, err
	}
	if err == nil {
		one.written = entry.Modified.UTC()
		one.Token = one.written.Format(time.RFC3339)
		if i.Time().Before(entry.Modified.Add(credential.Lifetime)) {
			one.State = kmTheirs
		}
	}
	_, steps, err := i.Inspect(ctx, id)
	switch {
	case isNotFound(err):
	case err != nil:
		return one, err
	case slices.ContainsFunc(steps, func(s workspace.Step) bool { return s.Do == workspace.Leave }):
		one.State = kmBoth
	default:
		one.State = kmOurs
	}
	return one, nil
}

// refuse returns why the sandbox must not be taken over now: the store has no such
// sandbox, or km may still write its next token. stopped is the user's statement that
// km does not.
func (k kmSandbox) refuse(now time.Time, stopped bool) error {
	if k.State == kmExpired && k.Token == "" {
		return usererr.New("take over sandbox "+k.ID, "the store has no such sandbox", "list them: gatepass migrate km, or create one: gatepass workspace create PROFILE --id "+k.ID)
	}
	if stopped || !k.isYoung(now) {
		return nil
	}
	why := "km wrote its token " + agoOf(k.written, now) + " ago and may write the next one"
	if k.State == kmBoth {
		why = "both systems deliver to it: " + why
	}
	return usererr.New("take over sandbox "+k.ID, why, "stop its schedule, then "+k.waits())
}

// isYoung reports whether the other system wrote the sandbox's token so short ago that it
// may write the next one.
func (k kmSandbox) isYoung(now time.Time) bool {
	return (k.State == kmTheirs || k.State == kmBoth) && now.Before(k.written.Add(KMInterval))
}

// waits returns what to do about a young token once the other system is stopped.
func (k kmSandbox) waits() string {
	return "wait until " + k.written.Add(KMInterval).Format("15:04 MST") + " or add --stopped"
}

// mayAdopt returns an error if --adopt is about a token that another system wrote so short
// ago that it may write the next one: two systems revoke each other's tokens. --stopped is
// the user's statement that it does not.
func (cmd commands) mayAdopt(c *cli.Context, i *workspace.Issuer, id string) error {
	switch {
	case c.Bool("stopped") && !c.Bool("adopt"):
		return command.Usage(c, "--stopped is about --adopt, which is missing")
	case c.Bool("stopped") || !c.Bool("adopt"):
		return nil
	}
	i.Sync(c.Context)
	survey := *i
	survey.Adopt = false // it distinguishes the tokens of both systems
	one, err := surveySandbox(c.Context, &survey, id)
	if now := i.Time(); err == nil && one.isYoung(now) {
		err = usererr.New("workspace "+id, "another system wrote its token "+agoOf(one.written, now)+" ago and may write the next one", "stop that system for it, then "+one.waits())
	}
	return err
}

func (s KMSurvey) text(on command.Screen) string {
	var b strings.Builder
	switch {
	case s.App == "":
		b.WriteString("App: none; set it up with your existing key: gatepass app add\n")
	case s.CannotMint != "":
		fmt.Fprintf(&b, "App: %s cannot mint: %s\n", usererr.Escape(s.App), usererr.Escape(s.CannotMint))
	default:
		fmt.Fprintf(&b, "App: %s, used without a change\n", usererr.Escape(s.App))
	}
	fmt.Fprintf(&b, "installed on: %s\n", usererr.Escape(strings.Join(s.Installations, ", ")))
	if s.Legacy != 0 {
		fmt.Fprintf(&b, "stays unused: config/github/installation-id, %d\n", s.Legacy)
	}
	if len(s.Sandboxes) == 0 {
		b.WriteString("sandboxes: none\n")
		return b.String()
	}
	t := command.NewTable("SANDBOX", "STATE", "TOKEN WRITTEN", "NEXT")
	for _, one := range s.Sandboxes {
		t.Row(one.ID, one.State, one.Token, one.next())
	}
	b.WriteString(t.Text(on))
	b.WriteString("stays in running sandboxes: km-git-askpass, which reads the token that gatepass writes for a sandbox of one owner\n")
	b.WriteString("stays in AWS until you remove it: schedules and keys of sandboxes, see docs/migrating.md\n")
	return b.String()
}

// next returns what to do about a sandbox.
func (k kmSandbox) next() string {
	switch k.State {
	case kmOurs:
		return "nothing"
	case kmBoth:
		return "stop km's schedule, then: gatepass workspace refresh " + k.ID + " --adopt"
	}
	return "stop its schedule, then: gatepass migrate km PROFILE --id " + k.ID
}
