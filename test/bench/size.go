package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

// sizes measures the files that go into an image.
func (b *bench) sizes() ([]row, error) {
	floor, err := b.baselineProgram()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, p := range []struct {
		program string
		limit   float64
	}{{helperProgram, 3}, {askpassProgram, 3}, {guardProgram, 5}} {
		info, err := os.Stat(filepath.Join(b.bin, p.program))
		if err != nil {
			return nil, err
		}
		r := row{Promise: "size of " + p.program, Ours: megabytes(info.Size())}
		if info, err := os.Stat(floor); err == nil {
			r = r.beside("a Go program that does nothing", megabytes(info.Size()))
		}
		rows = append(rows, r.judged(atMost(p.limit)))
	}
	return rows, nil
}

// manyTokens is how many tokens an agent caches in a busy workspace.
const manyTokens = 100

// memory measures the agent, and git's cache, with tokens of that many repositories.
func (b *bench) memory() ([]row, error) {
	br, err := b.startBroker(github, "", 0)
	if err != nil {
		return nil, err
	}
	defer br.close()
	ours, err := b.newUser("memory")
	if err != nil {
		return nil, err
	}
	defer ours.close()
	if err := ours.configure(br.line()); err != nil {
		return nil, err
	}
	paths := make([]string, manyTokens)
	for i := range paths {
		paths[i] = fmt.Sprintf("acme/repo-%d.git", i)
		get := getting(ours.command(helperProgram, "get"))
		get.stdin = request(github, paths[i])
		if _, err := get.run(); err != nil {
			return nil, err
		}
	}
	resident, err := ours.agentMemory(manyTokens)
	if err != nil {
		return nil, err
	}
	r := row{Promise: fmt.Sprintf("resident agent, %d tokens", manyTokens), Ours: megabytes(resident)}
	if peer, err := b.cacheMemory(paths); err == nil {
		r = r.beside(gitsCache+"--daemon", megabytes(peer))
	}
	return []row{r.judged(atMost(30))}, nil
}

// agentMemory returns the resident bytes of this user's agent, which must have cached
// the given number of tokens.
func (w *testUser) agentMemory(tokens int) (int64, error) {
	reply, found, err := agent.AskRunning(agent.Call{Operation: agent.Status, Config: w.config}, w.getenv, time.Now().Add(5*time.Second))
	if err != nil || !found {
		return 0, firstOf(err, fmt.Errorf("the agent is gone"))
	}
	var state struct {
		PID    int               `json:"pid"`
		Tokens []json.RawMessage `json:"tokens"`
	}
	if err := json.Unmarshal(reply.Stdout, &state); err != nil {
		return 0, err
	}
	if len(state.Tokens) != tokens {
		return 0, fmt.Errorf("the agent holds %d tokens, want %d", len(state.Tokens), tokens)
	}
	return resident(state.PID)
}

// cacheMemory returns the resident bytes of git's daemon with a credential for
// each path.
func (b *bench) cacheMemory(paths []string) (int64, error) {
	w, err := b.newUser("cache-memory")
	if err != nil {
		return 0, err
	}
	defer w.close()
	if err := w.useGitsCache(github, credentialtest.Secret(1), paths...); err != nil {
		return 0, err
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range commands {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte("credential-cache--daemon")) && bytes.Contains(line, []byte(w.dir+"/")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				return 0, err
			}
			return resident(pid)
		}
	}
	return 0, fmt.Errorf("git's cache has no daemon")
}
