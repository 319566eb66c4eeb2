package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// pgUser has all rights in pgDatabase.
const pgUser, pgDatabase = "gatepass", "gatepass"

// load adds rows with COPY, which is a hundred times as fast as the store's own writes.
func (s *pgServer) load(ctx context.Context, st template, from, to int) error {
	out, err := s.copyOut(ctx, "COPY (SELECT * FROM gatepass_entries WHERE name LIKE '%stencil%') TO STDOUT")
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
	return s.copyIn(ctx, "COPY gatepass_entries FROM STDIN", read)
}

// bytesMark begins a column of bytes that plain has decoded from hexadecimal.
const bytesMark = "\x00"

// plain decodes a column of COPY, with bytes in binary form.
func plain(column string) string {
	digits, ok := strings.CutPrefix(column, `\\x`)
	value, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return column
	}
	return bytesMark + string(value)
}

// quoted is the inverse of plain.
func quoted(column string) string {
	value, ok := strings.CutPrefix(column, bytesMark)
	if !ok {
		return column
	}
	return `\\x` + hex.EncodeToString([]byte(value))
}

// copyOut returns the output of a COPY … TO STDOUT.
func (s *pgServer) copyOut(ctx context.Context, statement string) (string, error) {
	conn, err := s.connect(ctx, pgDatabase)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var out bytes.Buffer
	_, err = conn.CopyTo(ctx, &out, statement)
	return out.String(), err
}

// copyIn runs a COPY … FROM STDIN with the input.
func (s *pgServer) copyIn(ctx context.Context, statement string, in io.Reader) error {
	conn, err := s.connect(ctx, pgDatabase)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.CopyFrom(ctx, in, statement); err != nil {
		return err
	}
	return conn.Exec(ctx, "VACUUM ANALYZE").Close()
}

// connect returns a direct connection to the server.
func (s *pgServer) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, "postgres://"+pgUser+"@"+s.address+"/"+database+"?sslmode=disable")
}

// age makes the configuration an hour old.
func (s *pgServer) age(ctx context.Context) error {
	conn, err := s.connect(ctx, pgDatabase)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Exec(ctx, "UPDATE gatepass_entries SET modified = modified - interval '1 hour' WHERE name LIKE 'config/%'").Close()
}
