// Command lambdazip writes the zip file for AWS Lambda of a program, with the same
// bytes for the same files. "make lambda" runs it, because zip(1) may be missing.
package main

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: lambdazip ZIP UNIXTIME PROGRAM [FILE...]")
	}
	seconds, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	out, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer out.Close()
	if err := write(out, time.Unix(seconds, 0).UTC(), args[2], args[3:]); err != nil {
		return err
	}
	return out.Close()
}

// write writes the program first, under the name that the runtime starts
// (https://docs.aws.amazon.com/lambda/latest/dg/golang-package.html).
func write(w io.Writer, modified time.Time, program string, files []string) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	if err := add(z, "bootstrap", 0o755, modified, program); err != nil {
		return err
	}
	for _, file := range files {
		if err := add(z, filepath.Base(file), 0o644, modified, file); err != nil {
			return err
		}
	}
	return z.Close()
}

func add(z *zip.Writer, name string, mode os.FileMode, modified time.Time, path string) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: modified}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
