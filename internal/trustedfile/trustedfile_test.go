package trustedfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read("the file", path, Writing, 4); string(got) != "four" || err != nil {
		t.Errorf("Read of as much as there is = %q, %v", got, err)
	}
	if got, err := Read("the file", path, Writing, 3); got != nil || err == nil || !strings.Contains(err.Error(), "longer than 3 bytes") {
		t.Errorf("Read of less = %q, %v, want an error", got, err)
	}
	if got, err := Read("the file", path+"x", Writing, 3); got != nil || !os.IsNotExist(err) {
		t.Errorf("Read of no file = %q, %v", got, err)
	}
}
