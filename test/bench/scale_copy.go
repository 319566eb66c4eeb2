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

// pgUser may do everything in pgDatabase.
const pgUser, pgDatabase = "gatepass", "gatepass"

// load copies rows of the table by COPY, which is a hundred times as fast as the store's
// own writes.
func (s *pgServer) load(ctx context.Context, st stencil, from, to int) error {
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

// copyOut returns what a COPY … TO STDOUT writes.
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

// copyIn has a COPY … FROM STDIN read.
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

// connect makes a connection with nothing in between.
func (s *pgServer) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, "postgres://"+pgUser+"@"+s.address+"/"+database+"?sslmode=disable")
}

// age has the configuration be an hour old.
func (s *pgServer) age(ctx context.Context) error {
	conn, err := s.connect(ctx, pgDatabase)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Exec(ctx, "UPDATE gatepass_entries SET modified = modified - interval '1 hour' WHERE name LIKE 'config/%'").Close()
}
