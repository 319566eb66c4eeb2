package main

import (
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// helpWidth is how wide help is where it is not written to a terminal, in columns.
const helpWidth = 80

// The library has one printer for all.
func init() { cli.HelpPrinter = printHelp }

// printHelp writes the library's help, folded to the width of the terminal.
func printHelp(out io.Writer, text string, data any) {
	width := columns(out)
	if width <= 0 {
		width = helpWidth
	}
	var b strings.Builder
	cli.HelpPrinterCustom(&b, text, data, nil)
	_, _ = io.WriteString(out, foldHelp(b.String(), width)) // a reader that goes away has read enough
}

// foldHelp folds help to a width. The sentences of a description are set anew. Its deeper
// lines are examples, which are to be copied and stay as they are. A line in columns goes
// on below its second column.
func foldHelp(text string, width int) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			b.WriteString(foldLine("   "+strings.Join(paragraph, " "), 3, width))
			paragraph = nil
		}
	}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		isProse := section == "DESCRIPTION:" && indent == 3
		if isProse {
			paragraph = append(paragraph, strings.TrimSpace(line))
			if !strings.HasSuffix(line, ":") {
				continue
			}
		}
		flush()
		switch {
		case isProse:
		case line == "":
			b.WriteString("\n")
		case indent == 0:
			section = line
			b.WriteString(line + "\n")
		case section == "DESCRIPTION:":
			b.WriteString(line + "\n")
		default:
			b.WriteString(foldLine(line, secondColumn(line, indent), width))
		}
	}
	flush()
	return b.String()
}

var columnGap = regexp.MustCompile(`^ *\S.*?  +`)

// secondColumn is where the text of a line goes on: below its second column, or a little
// further in than it began.
func secondColumn(line string, indent int) int {
	if gap := columnGap.FindString(line); gap != "" && len(gap) <= 32 {
		return len(gap)
	}
	return indent + 4
}

// foldLine breaks a line at blanks, and indents what follows.
func foldLine(line string, indent, width int) string {
	var b strings.Builder
	column := 0
	lead := line[:len(line)-len(strings.TrimLeft(line, " "))]
	rest := line[len(lead):]
	b.WriteString(lead)
	column = len(lead)
	isFirst := true
	for rest != "" {
		blanks := len(rest) - len(strings.TrimLeft(rest, " "))
		word, _, _ := strings.Cut(rest[blanks:], " ")
		room := utf8.RuneCountInString(word)
		if !isFirst && column+blanks+room > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column, blanks = indent, 0
		}
		b.WriteString(strings.Repeat(" ", blanks) + word)
		column += blanks + room
		rest = rest[len(rest)-len(strings.TrimLeft(rest, " "))+len(word):]
		isFirst = false
	}
	return b.String() + "\n"
}
