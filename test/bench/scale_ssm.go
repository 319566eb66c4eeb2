package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/store"
)

// pageOfParameters is the largest number of parameters that GetParametersByPath
// returns.
const pageOfParameters = 10

// parameterStore is a double of the part of AWS's Parameter Store that gatepass calls.
// It answers at once, so that only the limits in front of it are measured.
type parameterStore struct {
	mu         sync.Mutex // guards the rest
	names      []string   // sorted
	parameters map[string]parameter
	models     map[string]map[string]parameter // the stencils' parameters at their first load
}

type parameter struct {
	Value, Type string
	Version     int64
	modified    time.Time
}

// A parameterError is AWS's error code of a refusal.
type parameterError string

func (e parameterError) Error() string { return string(e) }

// ServeHTTP answers AWS JSON 1.1.
func (s *parameterStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q parameterQuery
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	var answer any
	if err == nil {
		answer, err = s.answer(awsOperation(r), q)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// parameterQuery has the fields of every request.
type parameterQuery struct {
	Name, Path, Type, Value, NextToken string
	Names                              []string
	Overwrite, WithDecryption          bool
	MaxResults                         int
	ParameterFilters                   []struct {
		Key, Option string
		Values      []string
	}
}

func (s *parameterStore) answer(operation string, q parameterQuery) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch operation {
	case "GetParameter":
		p, ok := s.parameters[q.Name]
		if !ok {
			return nil, parameterError("ParameterNotFound")
		}
		return map[string]any{"Parameter": p.shown(q.Name, q.WithDecryption)}, nil
	case "GetParameters":
		return s.several(q), nil
	case "PutParameter":
		return s.put(q)
	case "DeleteParameter":
		if !s.delete(q.Name) {
			return nil, parameterError("ParameterNotFound")
		}
		return struct{}{}, nil
	case "DeleteParameters":
		return s.deleteSeveral(q.Names), nil
	case "GetParametersByPath":
		return s.page(q), nil
	}
	return nil, parameterError("ValidationException")
}

// shown returns a parameter as an answer has it. An encrypted value is decrypted only
// on request.
func (p parameter) shown(name string, isDecrypted bool) map[string]any {
	value := p.Value
	if p.Type == "SecureString" && !isDecrypted {
		value = "AQICAHencrypted"
	}
	return map[string]any{
		"Name": name, "Type": p.Type, "Value": value, "Version": p.Version, "LastModifiedDate": float64(p.modified.UnixMilli()) / 1000,
	}
}

func (s *parameterStore) several(q parameterQuery) map[string]any {
	found, unknown := []any{}, []string{}
	for _, name := range q.Names {
		if p, ok := s.parameters[name]; ok {
			found = append(found, p.shown(name, q.WithDecryption))
		} else {
			unknown = append(unknown, name)
		}
	}
	return map[string]any{"Parameters": found, "InvalidParameters": unknown}
}

func (s *parameterStore) put(q parameterQuery) (any, error) {
	p, ok := s.parameters[q.Name]
	switch {
	case ok && !q.Overwrite:
		return nil, parameterError("ParameterAlreadyExists")
	case !ok:
		p.Type = q.Type
		if s.parameters == nil {
			s.parameters = map[string]parameter{}
		}
		at, _ := slices.BinarySearch(s.names, q.Name)
		s.names = slices.Insert(s.names, at, q.Name)
	}
	p.Value, p.modified = q.Value, time.Now()
	p.Version++
	s.parameters[q.Name] = p
	return map[string]any{"Version": p.Version, "Tier": "Standard"}, nil
}

func (s *parameterStore) delete(name string) bool {
	if _, ok := s.parameters[name]; !ok {
		return false
	}
	delete(s.parameters, name)
	at, _ := slices.BinarySearch(s.names, name)
	s.names = slices.Delete(s.names, at, at+1)
	return true
}

func (s *parameterStore) deleteSeveral(names []string) map[string]any {
	deleted, unknown := []string{}, []string{}
	for _, name := range names {
		if s.delete(name) {
			deleted = append(deleted, name)
		} else {
			unknown = append(unknown, name)
		}
	}
	return map[string]any{"DeletedParameters": deleted, "InvalidParameters": unknown}
}

// page returns ten parameters below a path, at any depth. The page token is the last
// name of the page before.
func (s *parameterStore) page(q parameterQuery) map[string]any {
	path := strings.TrimSuffix(q.Path, "/") + "/"
	size := pageOfParameters
	if q.MaxResults > 0 {
		size = min(size, q.MaxResults)
	}
	from, isFound := slices.BinarySearch(s.names, max(path, q.NextToken))
	if isFound && s.names[from] == q.NextToken {
		from++
	}
	found := []any{}
	for _, name := range s.names[from:] {
		if !strings.HasPrefix(name, path) {
			break
		}
		p := s.parameters[name]
		if !q.takes(p) {
			continue
		}
		if len(found) == size {
			return map[string]any{"Parameters": found, "NextToken": found[size-1].(map[string]any)["Name"]}
		}
		found = append(found, p.shown(name, q.WithDecryption))
	}
	return map[string]any{"Parameters": found}
}

// takes reports whether the filters accept a parameter. gatepass filters by type.
func (q parameterQuery) takes(p parameter) bool {
	for _, f := range q.ParameterFilters {
		if f.Key != "Type" || !slices.Contains(f.Values, p.Type) {
			return false
		}
	}
	return true
}

// ageBlocks makes the block list two hours old.
func (s *parameterStore) ageBlocks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range s.parameters {
		if strings.Contains(name, "/"+store.AllBlocks().String()+"/") {
			p.modified = p.modified.Add(-2 * time.Hour)
			s.parameters[name] = p
		}
	}
}

// load adds copies of the parameters below the prefix of a template.
func (s *parameterStore) load(st template, from, to int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.models == nil {
		s.models = map[string]map[string]parameter{}
	}
	if s.models[st.id] == nil { // brokers delete an expired template
		s.models[st.id] = map[string]parameter{}
		for _, name := range s.names {
			if st.isOf(name) {
				s.models[st.id][name] = s.parameters[name]
			}
		}
	}
	for k := from; k < to; k++ {
		change := st.copy(k)
		for model, p := range s.models[st.id] {
			p.Value, p.Version = change.Replace(p.Value), 1
			s.parameters[change.Replace(model)] = p
		}
	}
	s.names = s.names[:0]
	for name := range s.parameters {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
}
