package doctor

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
)

// skewedFile is how far in the future a file's time may be before the clock counts as
// wrong.
const skewedFile = 5 * time.Minute

func (c *chart) lookAtWorkspace(context.Context) []Finding {
	if c.loadErr != nil {
		return []Finding{unread(c.loadErr)}
	}
	info, err := os.Stat(c.path)
	if err != nil {
		return []Finding{{Level: Failure, Text: err.Error(), Mend: "look at " + c.path}}
	}
	found := []Finding{c.ownership(info)}
	if ahead := time.Until(info.ModTime()); ahead > skewedFile {
		found = append(found, Finding{
			Level: Warning, Text: c.path + " was written " + ahead.Round(time.Second).String() + " from now: this clock is behind",
			Mend: "set the clock; see timedatectl",
		})
	}
	if c.workspace.Source == nil {
		found = append(found, Finding{Level: Failure, Text: c.path + " names no source of tokens", Mend: "add source: URL to " + c.path})
	}
	return found
}

// unread reports why the workspace file could not be read. It gives the fix only once.
func unread(err error) Finding {
	line, ok := errors.AsType[*usererr.Error](err)
	if !ok {
		return Finding{Level: Failure, Text: err.Error(), Mend: "name the workspace file with " + config.PathVariable}
	}
	text := *line
	text.Hint = ""
	return Finding{Level: Failure, Text: text.Error(), Mend: line.Hint}
}

// ownership reports who can change the file. The file could be read, so it belongs to
// root or this user.
func (c *chart) ownership(info os.FileInfo) Finding {
	if owner, known := ownerOf(info); known && owner != 0 {
		return Finding{
			Level: Warning, Text: c.path + " is your own: whatever runs as you can widen it",
			Mend: "sudo chown root " + usererr.Quote(c.path) + " && sudo chmod 644 " + usererr.Quote(c.path),
		}
	}
	return Finding{Level: OK, Text: c.path + " belongs to root, and no one else can write to it"}
}
