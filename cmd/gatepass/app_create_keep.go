package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// keepWait bounds putting the key where it is to be, for a person who may have
// given up already.
const keepWait = 2 * time.Minute

// keep puts the key into the KMS, where there is to be one, and the credentials
// into the store. The error is an [*unkeptError].
func (o *creation) keep(ctx context.Context, made mint.NewApp) (issuing.Signer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWait)
	defer cancel()
	kept := issuing.Credentials{ID: made.Issuer(), PrivateKey: store.NewSecret(made.PrivateKey.Reveal()), GitHub: o.github}
	key, err := mint.ParseKey([]byte(made.PrivateKey.Reveal()))
	if err != nil {
		return nil, o.rescue(made, kept, usererr.Wrap("read the new App's key", err, ""))
	}
	var signs issuing.Signer = key
	if o.kms != nil {
		if err := o.kms.Import(ctx, key); err != nil {
			return nil, o.rescue(made, kept, err)
		}
		if signs, err = issuing.OpenSigner(o.keyTo); err != nil {
			return nil, o.rescue(made, kept, err)
		}
		kept.PrivateKey, kept.Signer = store.Secret{}, o.keyTo
	}
	if err := o.save(ctx, kept); err != nil {
		return nil, o.rescue(made, kept, err)
	}
	return signs, nil
}

func (o *creation) save(ctx context.Context, kept issuing.Credentials) error {
	if o.pool != "" {
		return issuing.Join(ctx, o.all, o.pool, kept, o.mode)
	}
	return issuing.Save(ctx, o.store, kept, o.mode)
}

// An unkeptError says that an App is made and not kept, where its key is, and
// what finishes it.
type unkeptError struct {
	app, where, command string
	file                bool // where is a file that has to go in the end
	why                 error
}

func (e *unkeptError) Error() string {
	do := e.where + ": when that is mended, run " + e.command
	if e.file {
		do += ", and delete that file"
	}
	return usererr.Wrap("keep the new App "+e.app, e.why, do).Error()
}

func (e *unkeptError) Unwrap() error { return e.why }

// rescue writes a key that no KMS has to a file of the user's.
func (o *creation) rescue(made mint.NewApp, kept issuing.Credentials, why error) error {
	e := &unkeptError{app: made.Name, why: why}
	options := o.given
	if o.github != mint.DefaultGitHub {
		options += " --github-url " + usererr.Quote(o.github)
	}
	if o.mode == store.Replace || errors.Is(why, store.ErrExists) {
		options += " --force"
	}
	add := "gatepass app add --app-client-id " + usererr.Quote(kept.ID)
	if kept.Signer != "" {
		e.where, e.command = "its key is in "+o.flow.KeyGoes, add+" --signer "+usererr.Quote(kept.Signer)+options
		return e
	}
	path, err := o.rescueFile(made)
	if err != nil {
		e.where = "its key could not be written to a file either (" + err.Error() + ") and is lost; make another at " + issuing.SettingsURL(o.github, made.Registration)
		e.command = add + " --private-key-file PEM" + options
		return e
	}
	e.file, e.where = true, "its only key is in "+path+" (mode 0600)"
	e.command = add + " --private-key-file " + usererr.Quote(path) + options
	if o.kms != nil {
		e.command = "gatepass app key import --private-key-file " + usererr.Quote(path) + " --to " + usererr.Quote(o.keyTo) + " && " + add + " --signer " + usererr.Quote(o.keyTo) + options
	}
	return e
}

// rescueFile writes the key where the user will find it: at home, else in the
// working directory, which may be a repository, else among temporary files.
func (o *creation) rescueFile(made mint.NewApp) (path string, err error) {
	var tried []error
	here, _ := os.Getwd() // "" is passed over
	for _, dir := range []string{o.getenv("HOME"), here, os.TempDir()} {
		if !filepath.IsAbs(dir) {
			continue
		}
		path, err := writeOwn(dir, fileName(made), made.PrivateKey.Reveal())
		if err == nil {
			return path, nil
		}
		tried = append(tried, err)
	}
	return "", usererr.Join(tried...)
}

// fileName names the App, whatever GitHub calls it.
func fileName(made mint.NewApp) string {
	slug := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, made.Slug)
	if slug = strings.Trim(slug[:min(len(slug), 64)], "-"); slug == "" {
		slug = fmt.Sprintf("github-app-%d", made.ID)
	}
	return slug + ".private-key"
}

// writeOwn writes a new file that only its owner can use. One that is there is
// left alone.
func writeOwn(dir, name, text string) (path string, err error) {
	for n := 1; n < 100; n++ {
		path = filepath.Join(dir, name+".pem")
		if n > 1 {
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.pem", name, n))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.WriteString(text)
		if err = usererr.Join(err, f.Sync(), f.Close()); err != nil {
			return "", usererr.Join(err, os.Remove(path))
		}
		return path, nil
	}
	return "", fmt.Errorf("%s has a hundred files of that name", dir)
}
