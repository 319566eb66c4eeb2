package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatepass/gatepass/internal/oneline"
)

// A dialog asks a person at the terminal, line by line. Questions go to standard
// error, so that standard output has nothing but the result.
type dialog struct {
	in  *bufio.Reader
	out io.Writer
}

// dialog returns nil where nobody can be asked.
func (w *world) dialog() *dialog {
	if !isTerminal(w.stdin) || !isTerminal(w.stderr) {
		return nil
	}
	return &dialog{bufio.NewReader(w.stdin), w.stderr}
}

// ask puts one question and waits for a line that is not empty. A signal ends
// the wait.
func (d *dialog) ask(ctx context.Context, question string) (string, error) {
	type line struct {
		text string
		err  error
	}
	for range 3 {
		if _, err := fmt.Fprintf(d.out, "%s: ", question); err != nil {
			return "", err
		}
		read := make(chan line, 1)
		go func() {
			text, err := d.in.ReadString('\n')
			read <- line{strings.TrimSpace(text), err}
		}()
		select {
		case <-ctx.Done():
			return "", oneline.New("ask for the "+question, "it was interrupted", "")
		case got := <-read:
			if got.text != "" {
				return got.text, nil
			}
			if got.err != nil && !errors.Is(got.err, io.EOF) {
				return "", oneline.Wrap("ask for the "+question, got.err, "")
			}
			if got.err != nil {
				return "", oneline.New("ask for the "+question, "nothing was typed", "")
			}
		}
	}
	return "", oneline.New("ask for the "+question, "nothing was typed", "")
}
