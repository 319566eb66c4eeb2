package doctor

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatepass/gatepass/internal/config"
	"github.com/gatepass/gatepass/internal/oneline"
)

// nobody is what a file's owner looks like that has no number in this user
// namespace.
const nobody = 65534

// skewedFile is how far in the future a file may have been written before the
// clock is suspected.
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

// unread says why the workspace file could not be read. What to do is said once.
func unread(err error) Finding {
	line, ok := errors.AsType[*oneline.Error](err)
	if !ok {
		return Finding{Level: Failure, Text: err.Error(), Mend: "name the workspace file with " + config.PathVariable}
	}
	text := *line
	text.Do = ""
	return Finding{Level: Failure, Text: text.Error(), Mend: line.Do}
}

func (c *chart) ownership(info os.FileInfo) Finding {
	owner, known := ownerOf(info)
	close := "sudo chown root " + quote(c.path) + " && sudo chmod 644 " + quote(c.path)
	switch err := config.CheckOwner(c.path); {
	case known && owner == nobody && os.Geteuid() != nobody:
		return Finding{
			Level: Failure, Text: c.path + " shows as user 65534: its owner has no number in this container, and the push guard refuses it",
			Mend: "map its owner into the container, or copy the file into the image: " + close,
		}
	case err != nil && info.Mode().Perm()&0o022 != 0:
		return Finding{Level: Failure, Text: c.path + " can be changed by others, so the push guard refuses it", Mend: "chmod go-w " + quote(c.path)}
	case err != nil:
		return Finding{Level: Failure, Text: err.Error(), Mend: close}
	case known && owner != 0:
		return Finding{Level: Warning, Text: c.path + " is your own: whatever runs as you can widen it", Mend: close}
	}
	return Finding{Level: OK, Text: c.path + " belongs to root, and no one else can write to it"}
}
