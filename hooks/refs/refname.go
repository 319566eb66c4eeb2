package refs

import (
	"errors"
	"fmt"
	"strings"
)

// maxRef is the longest remote ref that is allowed, in bytes. Forges allow far less.
const maxRef = 1024

// CheckRef returns an error unless ref is a full name, "refs/…", that git itself
// accepts (git-check-ref-format) and at most 1024 bytes long.
func CheckRef(ref string) error {
	switch {
	case len(ref) > maxRef:
		return fmt.Errorf("it is longer than %d bytes", maxRef)
	case !strings.HasPrefix(ref, "refs/"):
		return errors.New(`it does not start with "refs/"`)
	case strings.HasSuffix(ref, "."):
		return errors.New("it ends with a dot")
	case strings.Contains(ref, ".."):
		return errors.New(`it holds ".."`)
	case strings.Contains(ref, "@{"):
		return errors.New(`it holds "@{"`)
	}
	if i := strings.IndexFunc(ref, forbidden); i >= 0 {
		return fmt.Errorf("it holds %q, which no ref may", ref[i])
	}
	for segment := range strings.SplitSeq(ref, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

func checkSegment(s string) error {
	switch {
	case s == "":
		return errors.New("a part between slashes is empty")
	case s[0] == '.':
		return errors.New("a part between slashes starts with a dot")
	case strings.HasSuffix(s, ".lock"):
		return errors.New(`a part between slashes ends with ".lock"`)
	}
	return nil
}

// forbidden is git's list of characters that a ref may not contain.
func forbidden(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
}
