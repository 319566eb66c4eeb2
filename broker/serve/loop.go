package serve

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/internal/systemd"
)

// appEvery is how often an App that is missing is looked for.
const appEvery = 5 * time.Second

// run serves until a signal comes.
func (d *daemon) run(ctx context.Context, f *config.File, signals <-chan os.Signal) error {
	doors, err := d.doors(f)
	if err != nil {
		return err
	}
	failed := make(chan error, len(doors))
	for _, o := range doors {
		go o.start(failed)
	}
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){d.watch, d.findApp, d.watchClock, d.reconcile} {
		loops.Go(func() { loop(ctx) })
	}
	for _, o := range doors {
		d.log.Info("the broker listens", "address", o.Addr().Network()+":"+o.Addr().String())
	}
	if err := systemd.Notify(d.getenv, systemd.Ready); err != nil {
		d.log.Warn("systemd cannot be told", "error", err.Error())
	}
	err = d.wait(ctx, signals, failed)
	d.drain(doors, d.config.file().Limits.Drain, signals)
	cancel()
	loops.Wait()
	return err
}

// wait returns when the broker is to end.
func (d *daemon) wait(ctx context.Context, signals <-chan os.Signal, failed <-chan error) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return nil
			}
			d.goOn()
			go d.app.renew(ctx) // a second signal need not wait for the store
			d.config.look(ctx, true)
			setLevel(d.config.file(), &d.level)
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// goOn has the audit log go on in another file where this one was renamed.
func (d *daemon) goOn() {
	err := d.journal.Reopen()
	was := d.reopenFailed()
	d.reopen.Store(&err)
	if err != nil && (was == nil || was.Error() != err.Error()) {
		d.log.Error("the audit log stays in its old file", "error", err.Error())
	}
}

// every calls f at once, and then again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for ctx.Err() == nil {
		f()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// watch looks at the configuration and at the place of the audit log.
func (d *daemon) watch(ctx context.Context) {
	every(ctx, lookEvery, func() {
		d.goOn()
		d.config.look(ctx, false)
		setLevel(d.config.file(), &d.level)
	})
}

// findApp looks for an App until there is one, and again when there is none.
func (d *daemon) findApp(ctx context.Context) {
	every(ctx, appEvery, func() { _, _ = d.app.get(ctx) }) // it is in the log, and /readyz says so
}
