package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	program, license := filepath.Join(dir, "gatepass-refresher"), filepath.Join(dir, "LICENSE")
	for path, text := range map[string]string{program: "the program", license: "the license"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := time.Unix(1_700_000_000, 0).UTC()
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := write(b, made, program, []string{license}); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(program, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files make two zips")
	}
	z, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil || len(z.File) != 2 {
		t.Fatalf("the zip has %v, %v, want two files", z, err)
	}
	for i, want := range []struct {
		name, text string
		mode       os.FileMode
	}{{"bootstrap", "the program", 0o755}, {"LICENSE", "the license", 0o644}} {
		f := z.File[i]
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || f.Name != want.name || string(text) != want.text || f.Mode() != want.mode || !f.Modified.Equal(made) {
			t.Errorf("file %d is %s, %q, %s, %s (%v), want %+v", i, f.Name, text, f.Mode(), f.Modified, err, want)
		}
	}
}
