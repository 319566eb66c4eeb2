package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
)

// load copies rows of the table by COPY, which is a hundred times as fast as the store's
// own writes.
func (s *pgServer) load(ctx context.Context, st stencil, from, to int) error {
	out, err := s.psql(ctx, nil, "COPY (SELECT * FROM gatepass_entries) TO STDOUT")
	if err != nil {
		return err
	}
	var models [][]string // by column
	for line := range strings.Lines(out) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i, column := range columns {
			columns[i] = plain(column)
		}
		if st.isOf(strings.Join(columns, "\t")) {
			models = append(models, columns)
		}
	}
	read, write := io.Pipe()
	go func() {
		w := bufio.NewWriter(write)
		for k := from; k < to; k++ {
			change := st.copy(k)
			for _, columns := range models {
				for i, column := range columns {
					if i > 0 {
						w.WriteByte('\t')
					}
					w.WriteString(quoted(change.Replace(column)))
				}
				w.WriteByte('\n')
			}
		}
		write.CloseWithError(w.Flush())
	}()
	if _, err := s.psql(ctx, read, "COPY gatepass_entries FROM STDIN"); err != nil {
		return err
	}
	_, err = s.psql(ctx, nil, "VACUUM ANALYZE gatepass_entries")
	return err
}

// bytesMark begins a column of bytes where plain has taken the hexadecimal digits away.
const bytesMark = "\x00"

// plain is a column as COPY writes it, with bytes as they are.
func plain(column string) string {
	digits, ok := strings.CutPrefix(column, `\\x`)
	value, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return column
	}
	return bytesMark + string(value)
}

// quoted is the reverse of plain.
func quoted(column string) string {
	value, ok := strings.CutPrefix(column, bytesMark)
	if !ok {
		return column
	}
	return `\\x` + hex.EncodeToString([]byte(value))
}

// psql runs one statement.
func (s *pgServer) psql(ctx context.Context, stdin io.Reader, statement string) (string, error) {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "psql"), "-h", host, "-p", port, "-U", "gatepass", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, "gatepass")
	cmd.Dir, cmd.Env, cmd.Stdin = s.dir, []string{"HOME=" + s.dir}, stdin
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("psql: %w: %.300s", err, said.String())
	}
	return out.String(), nil
}
