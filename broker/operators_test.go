package broker

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWhoIsAnOperator(t *testing.T) {
	proved := &counted{caller: Caller{Method: "test", Subject: "who", Claims: map[string]any{"id": "7"}}}
	silent, forged := &counted{err: ErrNoProof}, &counted{err: errors.New("forged")}
	later := &counted{err: &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore}}
	not := Exactly{"id": "8"}
	for _, c := range []struct {
		name   string
		rules  []OperatorRule
		want   Operator
		status int
	}{
		{"nobody, where there are no rules", nil, Operator{}, 403},
		{"everybody that is proved", []OperatorRule{{Name: "a", Key: "k", By: proved}}, Operator{"a", "k", "test", "who"}, 0},
		{"who the second rule is for", []OperatorRule{{Name: "a", By: proved, Match: not}, {Name: "b", Key: "k", By: proved, Match: Exactly{"id": "7"}}}, Operator{"b", "k", "test", "who"}, 0},
		{"who has another proof", []OperatorRule{{Name: "a", By: silent}, {Name: "b", By: forged}, {Name: "c", By: proved}}, Operator{"c", "", "test", "who"}, 0},
		{"nobody that no rule is for", []OperatorRule{{Name: "a", By: proved, Match: not}}, Operator{}, 403},
		{"nobody whom a rule cannot tell", []OperatorRule{{Name: "a", By: proved, Match: unsure{}}, {Name: "b", By: proved}}, Operator{}, 403},
		{"nobody without a proof", []OperatorRule{{Name: "a", By: silent}}, Operator{}, 401},
		{"nobody whose proof does not hold", []OperatorRule{{Name: "a", By: silent}, {Name: "b", By: forged}}, Operator{}, 401},
		{"nobody whose proof cannot be looked at", []OperatorRule{{Name: "a", By: forged}, {Name: "b", By: later}}, Operator{}, 503},
	} {
		proved.asked = 0
		got, err := (&Policy{Operators: c.rules}).Operator(t.Context(), httptest.NewRequest(http.MethodGet, "/", nil))
		status := 0
		if r, ok := errors.AsType[*Refusal](err); ok {
			status = r.Status
		}
		if got != c.want || status != c.status || (err == nil) != (c.status == 0) || proved.asked > 1 {
			t.Errorf("%s: Operator = %+v, %v after %d proofs, want %+v and status %d", c.name, got, err, proved.asked, c.want, c.status)
		}
	}
}

// A session of a rule that is gone, or of none, is nobody's.
func TestOperatorByKey(t *testing.T) {
	p := &Policy{Operators: []OperatorRule{{Name: "a"}, {Name: "b", Key: "k"}}}
	for key, want := range map[string]string{"k": "b", "": "", "other": ""} {
		if rule, ok := p.OperatorByKey(key); rule.Name != want || ok != (want != "") {
			t.Errorf("OperatorByKey(%q) = %q, %v, want %q", key, rule.Name, ok, want)
		}
	}
}
