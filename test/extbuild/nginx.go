package extbuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gatepass/gatepass/internal/usererr"
)

const nginxProgram = "nginx"

// Nginx returns the path of nginx: the program on PATH, or that of the Debian package,
// which is downloaded once and not installed.
func Nginx(ctx context.Context) (string, error) {
	if path, err := exec.LookPath(nginxProgram); err == nil {
		return path, nil
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "nginx")
	program := filepath.Join(dir, "usr/sbin/nginx")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(cache, "nginx-*.partial")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	if err := fetchNginx(ctx, partial); err != nil {
		return "", usererr.Wrap("fetch nginx", err, "put an nginx on PATH")
	}
	return program, os.Rename(partial, dir)
}

// fetchNginx unpacks Debian's package into a folder.
func fetchNginx(ctx context.Context, dir string) error {
	download := exec.CommandContext(ctx, "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", nginxProgram)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download nginx: %w: %.200s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "nginx_*.deb"))
	if err != nil || len(found) != 1 {
		return errors.New("apt-get download nginx leaves no package")
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", found[0], dir).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb -x: %w: %.200s", err, out)
	}
	return nil
}
