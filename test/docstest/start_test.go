package docstest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestQuickStarts does what the quick starts say, against the double of GitHub.
func TestQuickStarts(t *testing.T) {
	if testing.Short() {
		t.Skip("plays whole pages")
	}
	t.Parallel()
	bin := programs(t)
	archive := pack(t, bin)
	for _, c := range []struct {
		page   string
		claims map[string]any // of the job's identity
		then   func(*stage)
		pushed string // the branch that has come to GitHub in the end
	}{
		{page: "sandbox.md", pushed: "agent/sb-1/readme"},
		{page: "dev-container.md", pushed: "dev/try"},
		{
			page: "github-actions.md", pushed: "release-notes/next",
			claims: map[string]any{"repository_owner_id": "1234", "repository_id": "123", "run_id": "7", "ref": "refs/heads/main"},
			then:   func(s *stage) { s.workflow(filepath.Join(s.project(), ".github/workflows/release-notes.yml")) },
		},
		{
			page: "gitlab-ci.md", pushed: "gitlab",
			claims: map[string]any{"project_id": "42", "job_id": "7", "ref_type": "branch", "ref_protected": "true"},
			then:   func(s *stage) { s.gitlab(filepath.Join(s.project(), ".gitlab-ci.yml")) },
		},
	} {
		t.Run(c.page, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, bin, archive)
			s.ci.claims = c.claims
			s.play(steps(t, "docs/start/"+c.page))
			if c.then != nil && !t.Failed() {
				c.then(s)
			}
			s.has(c.pushed)
			t.Logf("%d blocks of commands were run, %d were not", s.ran, s.notRun)
		})
	}
}

// TestQuickStartsOnAWS does the same for those that use Parameter Store.
func TestQuickStartsOnAWS(t *testing.T) {
	bin, endpoint := programs(t), os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (make test-real sets GATEPASS_TEST_AWS_ENDPOINT)")
	}
	archive := pack(t, bin)
	for page, pushed := range map[string]string{"aws.md": "worker/try", "lambda.md": ""} {
		t.Run(page, func(t *testing.T) {
			s := newStage(t, bin, archive)
			s.env = append(s.env, "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1")
			s.play(steps(t, "docs/start/"+page))
			if pushed != "" {
				s.has(pushed)
				s.pastes("docs/start/" + page)
			}
			t.Logf("%d blocks of commands were run, %d were not", s.ran, s.notRun)
		})
	}
}

// has looks for a branch at GitHub.
func (s *stage) has(branch string) {
	s.t.Helper()
	repo, _ := s.github.Repository("acme", "widgets")
	if _, err := s.github.GitIn(context.Background(), repo, nil, "rev-parse", "--verify", "refs/heads/"+branch); err != nil {
		s.t.Errorf("GitHub has no %s: %v\n%s", branch, err, s.output)
	}
}

// pastes holds what the page pastes into user data against the workspace file that
// gatepass wrote.
func (s *stage) pastes(page string) {
	s.t.Helper()
	_, text, ok := strings.Cut(read(s.t, page), "<<'END'\n")
	text, _, end := strings.Cut(text, "\nEND\n")
	written, err := os.ReadFile(filepath.Join(s.project(), "workspace.yaml"))
	if !ok || !end || err != nil {
		s.t.Fatal(ok, end, err)
	}
	var pasted, made any
	if err := errors.Join(yaml.Unmarshal([]byte(s.here.Replace(text)), &pasted), yaml.Unmarshal(written, &made)); err != nil {
		s.t.Fatal(err)
	}
	if !reflect.DeepEqual(pasted, made) {
		s.t.Errorf("%s pastes\n%s\nand gatepass wrote\n%s", page, text, written)
	}
}

// TestQuickStartsCount says how much of the quick starts is run, and that what is not has
// a reason.
func TestQuickStartsCount(t *testing.T) {
	pages, err := filepath.Glob(root + "/docs/start/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatalf("quick starts: %v, %v", pages, err)
	}
	run, elsewhere, notRun := 0, 0, 0
	for _, page := range pages {
		for _, st := range steps(t, strings.TrimPrefix(page, root+"/")) {
			switch {
			case st.page != strings.TrimPrefix(page, root+"/") || !st.isShell():
			case st.notRun != "":
				notRun++
			case st.runBy != "":
				if _, err := os.Stat(filepath.Join(root, st.runBy)); err != nil {
					t.Errorf("%s: %v", page, err)
				}
				elsewhere++
			default:
				run++
			}
		}
	}
	t.Logf("blocks of commands: %d are run here, %d by other tests, %d are not run", run, elsewhere, notRun)
	if run < 20 || notRun > run {
		t.Errorf("%d blocks of commands are run and %d are not", run, notRun)
	}
}
