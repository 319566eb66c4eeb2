//go:build linux

package main

import (
	"bytes"
	"context"
)

// A server is a program that runs until it is stopped.
type server struct {
	stop  func()          // returns when it has ended
	ended <-chan struct{} // closed when it has
	log   *bytes.Buffer   // only read once it has: until then it writes to it
}

func startServer(ctx context.Context, program string, args []string) (server, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx, program, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		return server{}, err
	}
	ended := make(chan struct{})
	go waitFor(cmd, ended)
	return server{stop: func() { cancel(); <-ended }, ended: ended, log: &log}, nil
}

// said stops the server and returns its last lines.
func (s server) said() string {
	s.stop()
	return lastLines(s.log.String(), 3)
}
