package ssmstore

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/gatepass/gatepass/store"
)

// Parameter returns the name of the parameter that holds an entry.
func (s *Store) Parameter(name store.Name) string { return s.full(name) }

// full returns the parameter name of an entry.
func (s *Store) full(name store.Name) string {
	if _, ok := name.Workspace(); ok {
		return s.workspaces + "/" + name.String()
	}
	return s.prefix + "/" + name.String()
}

// A folder is a part of Parameter Store's hierarchy that holds our entries.
type folder struct {
	root  string       // the part before an entry's name
	below store.Prefix // which names are included
}

func (f folder) path() string { return strings.TrimSuffix(f.root+"/"+f.below.String(), "/") + "/" }

// folders returns the folders that hold entries below a prefix.
func (s *Store) folders(below store.Prefix) []folder {
	all, workspaces := below == store.Everything(), store.Workspaces()
	if all && s.workspaces != s.prefix {
		return []folder{{s.prefix, below}, {s.workspaces, workspaces}}
	}
	if below == workspaces || strings.HasPrefix(below.String(), workspaces.String()+"/") {
		return []folder{{s.workspaces, below}}
	}
	return []folder{{s.prefix, below}}
}

// List implements [store.Store]. It decrypts nothing.
func (s *Store) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		for _, f := range s.folders(below) {
			for e, err := range s.entries(ctx, f) {
				if !yield(e.Name, err) || err != nil {
					return
				}
			}
		}
	}
}

// Records implements [store.Ledger]. One call returns ten records.
func (s *Store) Records(ctx context.Context) iter.Seq2[store.NamedEntry, error] {
	plain := types.ParameterStringFilter{Key: aws.String("Type"), Option: aws.String("Equals"), Values: []string{string(types.ParameterTypeString)}}
	return func(yield func(store.NamedEntry, error) bool) {
		for e, err := range s.entries(ctx, folder{s.workspaces, store.Workspaces()}, plain) {
			if err == nil && !e.Name.IsRecord() {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// entries yields all entries below a folder, page after page, without decrypting them.
func (s *Store) entries(ctx context.Context, f folder, filters ...types.ParameterStringFilter) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		op := operation{"list SSM parameters below " + f.path(), "ssm:GetParametersByPath", "nothing"}
		input := &ssm.GetParametersByPathInput{Path: aws.String(f.path()), Recursive: aws.Bool(true), ParameterFilters: filters}
		for {
			var page *ssm.GetParametersByPathOutput
			began := time.Now()
			err := s.call(ctx, op, false, func(ctx context.Context, c *storeClient) (err error) {
				options, end := s.reads.begin(ctx)
				defer end()
				page, err = c.Service.GetParametersByPath(ctx, input, options)
				return err
			})
			if err != nil {
				yield(store.NamedEntry{}, err)
				return
			}
			took := time.Since(began)
			if !s.yieldNames(page, f, yield) || aws.ToString(page.NextToken) == "" {
				return
			}
			if err := store.Pause(ctx, took); err != nil {
				yield(store.NamedEntry{}, err)
				return
			}
			input.NextToken = page.NextToken
		}
	}
}

// yieldNames passes on parameters that are where this store would write them.
func (s *Store) yieldNames(page *ssm.GetParametersByPathOutput, f folder, yield func(store.NamedEntry, error) bool) bool {
	for _, p := range page.Parameters {
		full := aws.ToString(p.Name)
		rest, ours := strings.CutPrefix(full, f.root+"/")
		name, err := store.ParseName(rest)
		if !ours || err != nil || !f.below.Has(name) || s.full(name) != full {
			continue
		}
		entry := store.Entry{Value: store.NewSecret(aws.ToString(p.Value)), Modified: aws.ToTime(p.LastModifiedDate)}
		if !yield(store.NamedEntry{Name: name, Entry: entry}, nil) {
			return false
		}
	}
	return true
}
