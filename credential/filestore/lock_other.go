//go:build !unix

package filestore

import (
	"context"
	"errors"
	"os"
)

func lock(context.Context, *os.Root) (unlock func(), err error) {
	return nil, errors.New("file stores need a Unix system")
}
