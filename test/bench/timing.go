package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A command is run many times and timed as a whole process.
type command struct {
	path   string
	args   []string // without the program's name
	env    []string
	dir    string
	stdin  string       // at most what fits into a pipe
	want   string       // text that the output must contain, so that only answers are timed
	before func() error // not timed
	warm   bool         // after the first runs it needs nothing from this process
	quiet  bool         // see await
}

// A sample is one run.
type sample struct {
	took, cpu time.Duration // cpu is user and system time, including children that were waited for
	output    string        // standard output and error
}

// runLimit ends a run that hangs.
const runLimit = 30 * time.Second

// run starts the program with prepared pipes, and waits for its end. The overhead is
// the same for every program.
func (c command) run() (sample, error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return sample{}, err
		}
	}
	stdin, err := filledPipe(c.stdin)
	if err != nil {
		return sample{}, err
	}
	defer stdin.Close()
	output, printed, err := os.Pipe()
	if err != nil {
		return sample{}, err
	}
	defer output.Close()
	attr := &os.ProcAttr{Dir: c.dir, Env: c.env, Files: []*os.File{stdin, printed, printed}}
	argv := append([]string{c.path}, c.args...)

	start := time.Now()
	process, err := os.StartProcess(c.path, argv, attr)
	if err != nil {
		printed.Close()
		return sample{}, err
	}
	var took time.Duration
	if c.quiet {
		if !await(process, runLimit) {
			_ = process.Kill()
		}
		took = time.Since(start)
	}
	limit := time.AfterFunc(runLimit, func() { _ = process.Kill() })
	state, err := process.Wait()
	if !c.quiet {
		took = time.Since(start)
	}
	limit.Stop()
	printed.Close()
	if err != nil {
		return sample{}, err
	}
	text, err := readAvailable(output)
	s := sample{took: took, cpu: state.UserTime() + state.SystemTime(), output: text}
	if err == nil && (!state.Success() || !strings.Contains(text, c.want)) {
		err = fmt.Errorf("%s %s: %s, printed %q, want %q in it", filepath.Base(c.path), strings.Join(c.args, " "), state, text, c.want)
	}
	return s, err
}

func filledPipe(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	_, err = w.WriteString(text)
	return r, err
}

// readAvailable reads to the end. A daemon that the program left behind may keep the
// pipe open, so it stops after a while.
func readAvailable(f *os.File) (string, error) {
	_ = f.SetReadDeadline(time.Now().Add(2 * time.Second))
	text, err := io.ReadAll(f)
	if os.IsTimeout(err) {
		err = nil
	}
	return string(text), err
}

// A timing summarizes the times of many runs of one command.
type timing struct{ lowest, median time.Duration }

func (t timing) figure() figure { return milliseconds(t.lowest, t.median) }

func timingOf(took []time.Duration) timing {
	slices.Sort(took)
	return timing{took[0], took[len(took)/2]}
}

// fewest is the smallest number of runs in a race.
const fewest = 10

func (b *bench) raceLimit() time.Duration {
	if b.quick {
		return 1500 * time.Millisecond
	}
	return 8 * time.Second
}

// race runs the commands n times each, in turns and in shuffled order, so that other
// work on the machine, and the effects of one command on the next, affect all alike. On
// a busy machine it makes fewer runs, so as not to take long.
func (b *bench) race(n int, commands ...command) ([]timing, error) {
	took := make([][]time.Duration, len(commands))
	enough := time.Now().Add(b.raceLimit())
	for i := range n {
		if i >= fewest && time.Now().After(enough) {
			break
		}
		for _, k := range rand.Perm(len(commands)) {
			c := commands[k]
			c.quiet = c.warm && i >= fewest
			s, err := c.run()
			if err := firstOf(err, b.ctx.Err()); err != nil {
				return nil, err
			}
			took[k] = append(took[k], s.took)
		}
	}
	timings := make([]timing, len(commands))
	for k := range took {
		timings[k] = timingOf(took[k])
	}
	return timings, nil
}
