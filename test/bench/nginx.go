package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/test/extbuild"
)

// An nginx is a running reverse proxy.
type nginx struct {
	cmd     *exec.Cmd
	url     string
	version string
}

// nginxConf makes nginx pass everything on without buffering. Like the gateway, it
// keeps connections to the upstream open.
const nginxConf = `daemon off;
user %[1]s;
worker_processes 2;
pid nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size 0;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream github { server %[3]s; keepalive 16; }
  server {
    listen %[2]s;
    location / {
      proxy_pass https://github;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_read_timeout 600s;
      %[4]s
    }
  }
}
`

// startNginx starts nginx in front of an upstream. more is added to the settings of its
// location.
func (b remoteBench) startNginx(upstream, more string) (*nginx, error) {
	program, err := extbuild.Nginx(b.ctx)
	if err != nil {
		return nil, err
	}
	dir, err := b.tempDir("nginx")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := user.Current()
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(nginxConf, self.Username, address, strings.TrimPrefix(upstream, "https://"), more)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	n := &nginx{url: "http://" + address, cmd: exec.CommandContext(b.ctx, program, "-p", dir, "-c", "nginx.conf", "-e", "stderr")}
	if n.version, err = nginxVersion(b.ctx, program); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	n.cmd.Stderr = log
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) } // this ends its workers too
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	if !answers(http.DefaultClient, n.url+"/readyz", startWait) {
		n.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("nginx does not answer: %.500s", said)
	}
	return n, nil
}

func (n *nginx) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	_ = n.cmd.Wait()
}

// nginxVersion asks a program for its version. If the program's libraries are missing,
// the error says so.
func nginxVersion(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "-v").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nginx -v: %w: %.200s", err, out)
	}
	return versionNumber.FindString(string(out)), nil
}
