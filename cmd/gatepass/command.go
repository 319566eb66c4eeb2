package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// An Environment is everything outside the program that the commands use.
type Environment struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	asking         *dialog // set by canAsk
}

// A usageError reports a command line that cannot be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// usage returns an error with what is wrong with the command line of c, and the help to
// read.
func usage(c *cli.Context, wrong string) error {
	name := c.Command.HelpName
	if command, ok := strings.CutPrefix(name, "gatepass "); ok {
		wrong = command + ": " + wrong
	}
	return &usageError{wrong + "; see " + name + " --help"}
}

// noArguments refuses arguments to a command that takes none.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usage(c, fmt.Sprintf("unexpected argument %q", c.Args().First()))
	}
	return nil
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text", DisableDefaultText: true}
}

// writeJSON writes v as JSON in one write.
func writeJSON(w io.Writer, v any) error {
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

// note prints something that is neither data nor an error.
func (a *Environment) note(text string) {
	_, _ = a.stderr.Write([]byte("note: " + usererr.Escape(text) + "\n"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
