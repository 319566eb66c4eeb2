// Package controlplane runs a real kube-apiserver with its etcd, and on request two
// controllers. Tests, the command that runs them, and benchmarks use it. The processes
// listen on loopback only. There is no kubelet, so no pod runs.
//
// The processes end with [Plane.Stop], with the context of [Start] and, on Linux, with
// the program that started them, even if that is killed.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// Names of the programs in [Options.Programs].
const (
	Etcd        = "etcd"
	APIServer   = "kube-apiserver"
	Controllers = "controllers"
)

// Users of the API server who have all rights.
const (
	Admin          = "admin"       // of [Plane.Kubeconfig]
	ControllerUser = "controllers" // of the controllers
)

// Options say what to run.
type Options struct {
	// Programs is the folder with the programs.
	Programs string
	// Dir is an empty folder for keys, data and logs. The caller removes it after
	// Stop.
	Dir string
	// Flags are additional flags of the API server, as in
	// "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".
	Flags []string
	// Audit makes the API server write a line about each request to [Plane.AuditLog]
	// before it answers.
	Audit bool
	// Controllers runs the garbage collector and the namespace controller. Without
	// them owner references have no effect, and a deleted namespace stays.
	Controllers bool
}

// A Plane is a running API server with its etcd and controllers. Its methods are not
// safe for concurrent use.
type Plane struct {
	URL        string // of the API server, which is also the issuer of its tokens
	EtcdURL    string
	Kubeconfig string // path of Admin's kubeconfig
	AuditLog   string // path; "" without Options.Audit

	ctx     context.Context // the processes end when it ends
	options Options
	files   files

	etcd, server *process
	controllers  *process // nil without Options.Controllers
}

// Start runs the programs and returns when the API server is ready, after about five
// seconds of one core. The ports are free when they are chosen. If another program
// takes one in the meantime, Start tries others.
func Start(ctx context.Context, o Options) (*Plane, error) {
	var failed error
	for i := range 3 {
		p, err := try(ctx, o, filepath.Join(o.Dir, strconv.Itoa(i)))
		if err == nil {
			return p, nil
		}
		if failed = err; ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("start the Kubernetes API server: %w", failed)
}

func try(ctx context.Context, o Options, dir string) (*Plane, error) {
	f, err := newFiles(dir)
	if err != nil {
		return nil, err
	}
	p := &Plane{URL: f.url(), EtcdURL: f.etcd, Kubeconfig: f.kubeconfig(Admin), ctx: ctx, options: o, files: f}
	if o.Audit {
		p.AuditLog = f.path("audit.log")
	}
	if err := p.start(); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Plane) start() (err error) {
	if p.etcd, err = p.run(Etcd, p.files.etcdFlags()); err != nil {
		return err
	}
	if err := p.etcd.ready(p.ctx, p.files, p.EtcdURL+"/health"); err != nil {
		return err
	}
	if err := p.Resume(); err != nil || !p.options.Controllers {
		return err
	}
	p.controllers, err = p.run(Controllers, []string{p.files.kubeconfig(ControllerUser)})
	return err
}

func (p *Plane) run(program string, flags []string) (*process, error) {
	return run(p.ctx, filepath.Join(p.options.Programs, program), p.files.path(program+".log"), flags)
}

// ServerPID returns the process ID of the API server, to measure its processor time.
func (p *Plane) ServerPID() int { return p.server.pid }

// Kill ends the API server with SIGKILL and returns when it is gone. etcd keeps
// running.
func (p *Plane) Kill() { p.server.kill() }

// Resume starts the API server again after [Plane.Kill], at the same URL with the
// same data, and returns when it is ready.
func (p *Plane) Resume() (err error) {
	flags := p.files.apiServerFlags()
	if p.options.Audit {
		flags = append(flags, p.files.auditFlags(p.AuditLog)...)
	}
	if p.server, err = p.run(APIServer, append(flags, p.options.Flags...)); err != nil {
		return err
	}
	// RBAC's own roles must be ready too; they allow this request.
	return p.server.ready(p.ctx, p.files, p.URL+"/readyz")
}

// Ended returns the output of the programs that ended by themselves; nil if none did.
func (p *Plane) Ended() error {
	var all []error
	for _, one := range []*process{p.etcd, p.server, p.controllers} {
		if one != nil && one.endedItself() {
			all = append(all, fmt.Errorf("%s ended by itself: %s", one.name, one.said()))
		}
	}
	return errors.Join(all...)
}

// Stop ends all processes and returns when they are gone. It may be called twice.
func (p *Plane) Stop() {
	for _, one := range []*process{p.controllers, p.server, p.etcd} {
		if one != nil {
			one.kill()
		}
	}
}
