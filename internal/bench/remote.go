package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	// requestDelay is how long the double takes to answer a request, about what
	// github.com does.
	requestDelay = 25 * time.Millisecond
	// authtypeSince is the first git that takes a ready Authorization header
	// from a helper, which saves a request.
	authtypeSince = 46 // of git 2
)

// remote compares git ls-remote over HTTPS, by the newest git that can be had.
func (b *bench) remote() ([]row, error) {
	if b.here {
		return b.remoteHere()
	}
	rows, err := b.remoteNewest()
	if err == nil {
		return rows, nil
	}
	fmt.Fprintf(b.log, "remote: no newer git here (%v); make test-real sets one up, as root\n", err)
	return b.remoteHere()
}

// remoteNewest runs this program under the newest git of internal/components.
// It sees a folder of programs only, at /gatepass.
func (b *bench) remoteNewest() ([]row, error) {
	stage, err := b.beneath("newest")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(stage, "bin"), os.DirFS(b.bin)); err != nil {
		return nil, err
	}
	components := filepath.Join(stage, "components")
	err = firstOf(b.goBuild(components, "./internal/components"), b.goBuild(filepath.Join(stage, "bin", "bench"), "./internal/bench"))
	if err != nil {
		return nil, err
	}
	args := []string{"shell", "git-newest", "--", "/gatepass/bench", "-here", "-json", "-only", "remote", "-bin", "/gatepass"}
	if b.quick {
		args = append(args, "-quick")
	}
	cmd := exec.CommandContext(b.ctx, components, args...)
	cmd.Dir, cmd.Stderr = stage, b.log
	// Its exit code says that a promise was missed, which the rows say as well.
	text, err := cmd.Output()
	var rows []row
	if jsonErr := json.Unmarshal(text, &rows); jsonErr != nil {
		return nil, firstOf(err, jsonErr)
	}
	return rows, nil
}

// A contender is one way to have git authenticate, with what it cost.
type contender struct {
	world    *world
	requests int // of one warm ls-remote
	took     timing
}

// remoteHere compares with the git on PATH: ours, git's cache, and both with
// http.<url>.proactiveAuth, which sends the credential unasked.
func (b *bench) remoteHere() ([]row, error) {
	h, err := b.startHub(requestDelay)
	if err != nil {
		return nil, err
	}
	defer h.close()
	var c [4]contender
	for i := range c {
		if c[i].world, err = h.contender(i%2 == 0, i >= 2); err != nil {
			return nil, err
		}
		defer c[i].world.close()
	}
	if err := h.compare(c[:], b.runs(60)); err != nil {
		return nil, err
	}
	ours, peer, oursProactive, peerProactive := c[0], c[1], c[2], c[3]
	name := fmt.Sprintf("ls-remote, git %s", b.git)
	rows := []row{
		row{Promise: name + ": requests", Ours: count(ours.requests, unitRequests)}.beside(gitsCache, count(peer.requests, unitRequests)),
		row{Promise: name + ": time", Ours: ours.took.figure()}.beside(gitsCache, peer.took.figure()),
	}
	if !b.knowsAuthtype() {
		rows[0].Verdict, rows[1].Verdict = missing, missing
		rows[1].Note = "to have fewer requests than git's cache takes git 2.46, which make test-real sets up"
		return rows, nil
	}
	rows[0], rows[1] = rows[0].judged(fewerThanPeer()), rows[1].judged(fewerThanPeer())
	rows[1].Note = fmt.Sprintf("%d ms for each request", requestDelay.Milliseconds())
	const both = gitsCache + ", the same"
	return append(rows,
		row{Promise: "  with proactiveAuth=basic: requests", Ours: count(oursProactive.requests, unitRequests)}.beside(both, count(peerProactive.requests, unitRequests)),
		row{Promise: "  with proactiveAuth=basic: time", Ours: oursProactive.took.figure()}.beside(both, peerProactive.took.figure())), nil
}

func (b *bench) knowsAuthtype() bool {
	var major, minor int
	_, err := fmt.Sscanf(b.git, "%d.%d", &major, &minor)
	return err == nil && (major > 2 || major == 2 && minor >= authtypeSince)
}

// contender sets up a user with our helper or with git's cache.
func (h *hub) contender(ours, proactive bool) (*world, error) {
	w, err := h.user("remote")
	if err != nil {
		return nil, err
	}
	if ours {
		err = w.install()
	} else {
		err = w.useGitsCache(h.github.Host(), h.token, "")
	}
	if err == nil && proactive {
		_, err = w.do("", "git", "config", "--global", "http."+h.github.URL()+".proactiveAuth", "basic")
	}
	return w, err
}

// compare warms everyone up, counts the requests of one operation, and then
// lets them race.
func (h *hub) compare(c []contender, runs int) error {
	var commands []command
	for i := range c {
		command := h.lsRemote(c[i].world)
		commands = append(commands, command)
		for range 2 { // the second is warm
			h.github.ResetRequests()
			if _, err := command.run(); err != nil {
				return err
			}
		}
		c[i].requests = len(h.github.Requests())
	}
	times, err := h.bench.race(runs, commands...)
	if err != nil {
		return err
	}
	for i := range c {
		c[i].took = times[i]
	}
	return nil
}
