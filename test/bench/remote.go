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
	// authtypeSince is the first git version that takes a ready Authorization header
	// from a helper, which saves a request.
	authtypeSince = 46 // of git 2
)

// A remoteBench measures the cost of authentication to git.
type remoteBench struct{ *bench }

// remote compares git ls-remote over HTTPS, with the newest git available.
func (b remoteBench) remote() ([]row, error) {
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

// remoteNewest runs this program with the newest git of test/components. There it sees
// only a folder of programs, at /gatepass.
func (b remoteBench) remoteNewest() ([]row, error) {
	stage, err := b.tempDir("newest")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(stage, "bin"), os.DirFS(b.bin)); err != nil {
		return nil, err
	}
	components := filepath.Join(stage, "components")
	err = firstOf(b.goBuild(components, "./test/components"), b.goBuild(filepath.Join(stage, "bin", "bench"), "./test/bench"))
	if err != nil {
		return nil, err
	}
	args := []string{"shell", "git-newest", "--", "/gatepass/bench", "-here", "-json", "-rounds", "1", "-only", "remote", "-bin", "/gatepass"}
	if b.quick {
		args = append(args, "-quick")
	}
	cmd := exec.CommandContext(b.ctx, components, args...)
	cmd.Dir, cmd.Stderr = stage, b.log
	// A nonzero exit code means that a promise was missed, which the rows say as well.
	text, err := cmd.Output()
	var rows []row
	if jsonErr := json.Unmarshal(text, &rows); jsonErr != nil {
		return nil, firstOf(err, jsonErr)
	}
	return rows, nil
}

// A loginCost is the cost of one way to authenticate.
type loginCost struct {
	requests int // requests of one warm ls-remote
	took     timing
}

// remoteHere compares with the git on PATH: against a server that offers only Basic, as
// github.com does, and against one that offers more. proactiveAuth is git's own setting
// to send a credential before the server asks.
func (b remoteBench) remoteHere() ([]row, error) {
	h, err := b.startHub(requestDelay)
	if err != nil {
		return nil, err
	}
	defer h.close()
	c, err := h.compare(b.runs(40), ourUser, cacheUser, ourUser.proactive(), cacheUser.proactive())
	if err != nil {
		return nil, err
	}
	rows := b.compareRows("", c[0], c[1])
	if b.knowsAuthtype() {
		rows = append(rows, c[2].beside("  with proactiveAuth=basic", gitsCache+", the same", c[3])...)
	}
	if err := h.offerMore(); err != nil {
		return nil, err
	}
	c, err = h.compare(b.runs(40), ourUser, cacheUser)
	if err != nil {
		return nil, err
	}
	return append(rows, b.compareRows(", two schemes offered", c[0], c[1])...), nil
}

// compareRows compares ours with git's cache, if git lets a helper save a request.
func (b remoteBench) compareRows(where string, ours, peer loginCost) []row {
	rows := ours.beside("ls-remote, git "+b.git+where, gitsCache, peer)
	for i := range rows {
		if b.knowsAuthtype() {
			rows[i] = rows[i].judged(fewerThanPeer())
		} else {
			rows[i].Verdict = missing
			rows[i].Note = "takes git 2.46, which make test-real sets up"
		}
	}
	return rows
}

// beside returns a row for the requests and one for the time.
func (c loginCost) beside(what, peerName string, peer loginCost) []row {
	return []row{
		row{Promise: what + ": requests", Ours: count(c.requests, unitRequests)}.beside(peerName, count(peer.requests, unitRequests)),
		row{Promise: what + ": time", Ours: c.took.figure()}.beside(peerName, peer.took.figure()),
	}
}

func (b remoteBench) knowsAuthtype() bool {
	var major, minor int
	_, err := fmt.Sscanf(b.git, "%d.%d", &major, &minor)
	return err == nil && (major > 2 || major == 2 && minor >= authtypeSince)
}

// A setting is how one user's git authenticates.
type setting struct{ gitsCache, unasked bool }

var ourUser, cacheUser = setting{}, setting{gitsCache: true}

func (s setting) proactive() setting { s.unasked = true; return s }

// contender sets up a user.
func (h *hub) contender(s setting) (*testUser, error) {
	w, err := h.user("remote")
	if err != nil {
		return nil, err
	}
	if s.gitsCache {
		err = w.useGitsCache(h.host, h.token, "")
	} else {
		err = w.install()
	}
	if err == nil && s.unasked {
		_, err = w.do("", "git", "config", "--global", "http."+h.url+".proactiveAuth", "basic")
	}
	return w, err
}

// compare warms up every user, counts the requests of one operation, and then races
// them.
func (h *hub) compare(runs int, settings ...setting) ([]loginCost, error) {
	contenders := make([]loginCost, len(settings))
	var commands []command
	for i, s := range settings {
		w, err := h.contender(s)
		if err != nil {
			return nil, err
		}
		defer w.close()
		c := h.lsRemote(w)
		commands = append(commands, c)
		for range 2 { // the second is warm
			h.github.ResetRequests()
			if _, err := c.run(); err != nil {
				return nil, err
			}
		}
		contenders[i].requests = len(h.github.Requests())
	}
	times, err := h.bench.race(runs, commands...)
	for i := range times {
		contenders[i].took = times[i]
	}
	return contenders, err
}
