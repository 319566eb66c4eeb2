package config

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A named file is one that the configuration names.
type named struct {
	kind, path string
	refused    fs.FileMode // to group and others
}

// distrusted says which of the named files another user can use to the broker's
// harm. One that is missing, or cannot be opened, is for its reader to tell.
func (f *File) distrusted() error {
	var bad []error
	for _, one := range f.named() {
		if one.path == "" {
			continue
		}
		file, err := trustedfile.Open(one.kind, one.path, one.refused)
		if err == nil {
			err = file.Close()
		}
		if _, ok := errors.AsType[*fs.PathError](err); err != nil && !ok {
			bad = append(bad, err)
		}
	}
	return usererr.Join(bad...)
}

// UnusableFiles reads the files that callers are proved by, and says which cannot be
// used. A start goes on without them, since they may come later.
func (f *File) UnusableFiles() (warnings []string) {
	callers := slices.Clone(f.Callers)
	for _, o := range f.Operators {
		callers = append(callers, o.Caller)
	}
	for _, c := range callers {
		if err := c.checkFiles(); err != nil && !slices.Contains(warnings, err.Error()) { // rules often name the same file
			warnings = append(warnings, err.Error())
		}
	}
	return warnings
}

func (c Caller) checkFiles() error {
	switch {
	case c.OIDC != nil:
		return c.OIDC.CheckFiles()
	case c.MTLS != nil:
		return c.MTLS.CheckFiles()
	}
	return nil
}

func (f *File) named() []named {
	files := []named{
		{"the certificate", f.TLS.CertFile, trustedfile.Writing},
		{"the certificate's key", f.TLS.KeyFile, trustedfile.ReadingAndWriting},
		{"upstream_ca", f.Upstream.CAFile, trustedfile.Writing},
		{"the login of upstream_proxy", f.Upstream.LoginFile, trustedfile.ReadingAndWriting},
		{"the webhook's secret", f.Webhook.SecretFile, trustedfile.ReadingAndWriting},
	}
	for _, c := range f.Callers {
		files = append(files, c.named()...)
	}
	for _, o := range f.Operators {
		files = append(files, o.Caller.named()...)
	}
	return files
}

func (c Caller) named() (files []named) {
	if c.OIDC != nil {
		files = append(files, named{"the issuer's keys", c.OIDC.JWKSFile, trustedfile.Writing}, named{"the issuer's authorities", c.OIDC.CAFile, trustedfile.Writing})
		if r := c.OIDC.TokenReview; r != nil {
			files = append(files, named{"the cluster's authorities", r.CAFile, trustedfile.Writing}, named{"the broker's own token", r.TokenFile, trustedfile.ReadingAndWriting})
		}
	}
	if c.MTLS != nil {
		files = append(files, named{"the authorities", c.MTLS.CAFile, trustedfile.Writing}, named{"the bundle", c.MTLS.BundleFile, trustedfile.Writing})
	}
	return files
}
