package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/usererr"
)

// systemAuthorities are the files in which systems keep the certificates of their
// authorities: Debian and Alpine, Fedora and RHEL, SUSE, macOS and the BSDs.
var systemAuthorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// authorityBundle returns the path of a file with the certificates of the system's
// authorities and those of ca: SSL_CERT_FILE replaces the system's authorities, and a
// command may call other hosts than the gateway. The file is beside the agent's socket,
// and its name contains a hash of its content. If this user has no folder for it,
// authorityBundle returns ca.
func authorityBundle(getenv func(string) string, ca, workspaceFile string) (string, error) {
	own, err := os.ReadFile(ca)
	if err != nil {
		return "", usererr.Wrap("use the gateway's authorities "+ca, bare(err), "name the file with gatepass install --gateway-ca FILE")
	}
	whole := append(append(readFirst(systemAuthorities), '\n'), own...)
	place, err := agent.Locate(workspaceFile, getenv)
	if err != nil {
		return ca, nil //nolint:nilerr // there is no folder of this user's alone, and the gateway is what the command needs
	}
	sum := sha256.Sum256(whole)
	path := filepath.Join(place.Directory, "authorities-"+hex.EncodeToString(sum[:8])+".pem")
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, whole) {
		return path, nil
	}
	return path, replaceFile(path, whole)
}

// readFirst returns the text of the first file that it can read, or nil.
func readFirst(paths []string) []byte {
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			return text
		}
	}
	return nil
}

// replaceFile replaces a file atomically, so that readers never see half of it.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".authorities-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the file may have been renamed already
	}
	return err
}
