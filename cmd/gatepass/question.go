package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A dialog asks a person at the terminal, line by line. Questions go to standard
// error, so that standard output has nothing but the result.
type dialog struct {
	in  *bufio.Reader
	out io.Writer
}

// dialog returns nil where nobody can be asked.
func (w *app) dialog() *dialog {
	if !isTerminal(w.stdin) || !isTerminal(w.stderr) {
		return nil
	}
	return &dialog{bufio.NewReader(w.stdin), w.stderr}
}

// canAsk reports whether there is a person to ask.
func (w *app) canAsk() bool {
	if w.asking == nil {
		w.asking = w.dialog()
	}
	return w.asking != nil
}

// ask puts one question and waits for a line that is not empty. A signal ends
// the wait.
func (d *dialog) ask(ctx context.Context, question string) (string, error) {
	for range 3 {
		text, err := d.hear(ctx, question+": ")
		if err != nil {
			return "", usererr.Wrap("ask for the "+question, err, "")
		}
		if text != "" {
			return text, nil
		}
	}
	return "", usererr.Wrap("ask for the "+question, errNothingTyped, "")
}

// confirm puts a question that yes alone says yes to.
func (d *dialog) confirm(ctx context.Context, question string) (bool, error) {
	text, err := d.hear(ctx, question+" [y/N] ")
	if err != nil && !errors.Is(err, errNothingTyped) {
		return false, usererr.Wrap("ask to "+question, err, "")
	}
	text = strings.ToLower(text)
	return text == "y" || text == "yes", nil
}

var errNothingTyped = errors.New("nothing was typed")

// hear prints a question and returns what is typed, without space around it.
func (d *dialog) hear(ctx context.Context, question string) (string, error) {
	type line struct {
		text string
		err  error
	}
	if _, err := fmt.Fprint(d.out, question); err != nil {
		return "", err
	}
	read := make(chan line, 1)
	go func() {
		text, err := d.in.ReadString('\n')
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.New("it was interrupted")
	case got := <-read:
		switch {
		case got.err == nil || got.text != "":
			return got.text, nil
		case errors.Is(got.err, io.EOF):
			return "", errNothingTyped
		}
		return "", got.err
	}
}
