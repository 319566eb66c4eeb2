// Package command has what the commands of gatepass share: their environment, usage errors,
// the options of the issuing side, tables, questions, and requests to the agent.
package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// An Environment is everything outside the program that the commands use.
type Environment struct {
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Asking         *Dialog // set by CanAsk
}

// A UsageError reports a command line that cannot be understood.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// Usage returns an error with what is wrong with the command line of c, and the help to
// read.
func Usage(c *cli.Context, wrong string) error {
	name := c.Command.HelpName
	if command, ok := strings.CutPrefix(name, "gatepass "); ok {
		wrong = command + ": " + wrong
	}
	return &UsageError{wrong + "; see " + name + " --help"}
}

// NoArguments refuses arguments to a command that takes none.
func NoArguments(c *cli.Context) error {
	if c.Args().Present() {
		return Usage(c, fmt.Sprintf("unexpected argument %q", c.Args().First()))
	}
	return nil
}

// JSONFlag is the option --json.
func JSONFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text", DisableDefaultText: true}
}

// WriteJSON writes v as JSON in one write.
func WriteJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := usererr.JSONWriter(w).Write(b.Bytes())
	return err
}

// Note prints something that is neither data nor an error.
func (a *Environment) Note(text string) {
	_, _ = a.Stderr.Write([]byte("note: " + usererr.Escape(text) + "\n"))
}

// Count returns n and the word for what, in the plural unless n is 1.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ReadBounded reads a file of up to limit bytes that the command line names. The error
// does not repeat its name.
func ReadBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return nil, pathErr.Err
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is longer than %d bytes", limit)
	}
	return data, nil
}
