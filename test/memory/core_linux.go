package memory

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

const (
	window = 1 << 20 // bytes of a file that Scan shows at once
	// overlap is how much of a window Scan shows again: more than any token in any
	// encoding.
	overlap = 16 << 10
)

// CoreLimit is shell text that lets the programs it runs write core files of any size.
const CoreLimit = "ulimit -c unlimited"

// Missing returns what keeps this machine from writing core files into the working
// directory of a program that is aborted; nil if it writes them.
var Missing = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "core")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	shell := exec.Command("sh", "-c", CoreLimit+" && kill -ABRT $$")
	shell.Dir = dir
	out, _ := shell.CombinedOutput() // its error is that it was aborted
	switch found, err := CoreFiles(dir); {
	case err != nil:
		return err
	case len(found) > 0:
		return nil
	}
	pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
	return fmt.Errorf("core files: an aborted sh wrote none, core_pattern is %q %s", strings.TrimSpace(string(pattern)), bytes.TrimSpace(out))
})

// CoreFiles returns the core files in a directory.
func CoreFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.Type().IsRegular() && isCore(path) {
			found = append(found, path)
		}
	}
	return found, nil
}

// isCore reads the type in a file's ELF header.
func isCore(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	header := make([]byte, elf.EI_NIDENT+2)
	if _, err := io.ReadFull(f, header); err != nil || string(header[:len(elf.ELFMAG)]) != elf.ELFMAG {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(header[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	return elf.Type(order.Uint16(header[elf.EI_NIDENT:])) == elf.ET_CORE
}

// Scan shows a file of any size to visit in parts that overlap, so that what is shorter
// than the overlap is whole in one of them. It ends when visit returns false.
func Scan(path string, visit func(part []byte) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer, kept := make([]byte, window+overlap), 0
	for {
		n, err := io.ReadFull(f, buffer[kept:])
		part := buffer[:kept+n]
		if n > 0 && !visit(part) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		kept = copy(buffer, part[len(part)-overlap:])
	}
}
