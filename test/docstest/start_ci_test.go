package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A job is the part of a workflow, or of an action, that this runner knows. A key that it
// does not know is an error.
type job struct {
	Name        string
	On          any
	Permissions map[string]string
	Jobs        map[string]struct {
		RunsOn string `yaml:"runs-on"`
		Steps  []jobStep
	}
	Description string
	Inputs      map[string]struct {
		Description string
		Required    bool
		Default     string
	}
	Runs struct {
		Using string
		Steps []jobStep
	}
}

type jobStep struct {
	Name, Uses, Run, Shell string
	With, Env              map[string]string
}

// readJob reads YAML of GitHub Actions strictly.
func readJob(text string) (job, error) {
	var j job
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(&j)
	return j, err
}

var expression = regexp.MustCompile(`\$\{\{ *([a-z._0-9]+) *\}\}`)

// fill puts values in for expressions. One that has no value is an error.
func (s *stage) fill(text string, values map[string]string) string {
	return expression.ReplaceAllStringFunc(text, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		value, ok := values[name]
		if !ok {
			s.t.Errorf("the runner has no %s", name)
		}
		return value
	})
}

// workflow runs a workflow as a runner does: each step in a shell of its own, with what
// earlier ones wrote to GITHUB_ENV and GITHUB_PATH.
func (s *stage) workflow(path string) {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := readJob(string(text))
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	if w.Permissions["id-token"] == "write" {
		s.env = append(s.env, "ACTIONS_ID_TOKEN_REQUEST_URL="+s.ci.url+"/identity?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+requestToken)
	}
	temp := filepath.Join(s.dir, "runner")
	if err := os.Mkdir(temp, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "RUNNER_TEMP="+temp, "GITHUB_ENV="+temp+"/env", "GITHUB_PATH="+temp+"/path")
	values := map[string]string{"github.server_url": "https://" + s.githubHost(), "github.repository_id": "123"}
	for _, j := range w.Jobs {
		for _, st := range j.Steps {
			s.jobStep(st, values)
		}
	}
}

// jobStep runs a step of a workflow: our action's steps, or commands.
func (s *stage) jobStep(st jobStep, values map[string]string) {
	s.t.Helper()
	if st.Uses == "" {
		s.step(st, values)
		return
	}
	const ours = "gatepass/gatepass/deploy/github-action@"
	if !strings.HasPrefix(st.Uses, ours) {
		s.t.Fatalf("the runner does not have %s", st.Uses)
	}
	a, err := readJob(read(s.t, "deploy/github-action/action.yml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for name := range st.With {
		if _, ok := a.Inputs[name]; !ok {
			s.t.Errorf("the action has no input %s", name)
		}
	}
	for name, input := range a.Inputs {
		value, ok := st.With[name]
		if !ok && input.Required {
			s.t.Errorf("the input %s is missing", name)
		}
		if !ok {
			value = input.Default
		}
		values["inputs."+name] = value
	}
	for _, inner := range a.Runs.Steps {
		s.step(inner, values)
	}
}

// step runs the commands of a step. Expressions in them would be pasted into the shell,
// so only variables may have them.
func (s *stage) step(st jobStep, values map[string]string) {
	s.t.Helper()
	if expression.MatchString(st.Run) {
		s.t.Errorf("the step %q has an expression in its commands: anybody who sets the value chooses what is run", st.Name)
	}
	var before strings.Builder
	for name, value := range st.Env {
		before.WriteString("export " + name + "=" + quoted(s.fill(value, values)) + "\n")
	}
	before.WriteString(`[ ! -e "$GITHUB_ENV" ] || while IFS= read -r line; do export "$line"; done <"$GITHUB_ENV"
[ ! -e "$GITHUB_PATH" ] || while IFS= read -r line; do PATH=$line:$PATH; done <"$GITHUB_PATH"
`)
	out, code := s.sh(before.String() + st.Run)
	s.output += out
	if code != 0 {
		s.t.Errorf("the step %q ended with %d:\n%s\n%s", st.Name, code, out, s.brokerLog())
	}
}

// quoted makes one word of a shell of a text.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// A gitlabJob is what this runner knows of GitLab's jobs.
type gitlabJob struct {
	Image        string
	Rules        []map[string]string
	IDTokens     map[string]struct{ Aud string } `yaml:"id_tokens"`
	Variables    map[string]string
	BeforeScript []string `yaml:"before_script"`
	Script       []string
}

func readGitLab(text string) (map[string]gitlabJob, error) {
	var jobs map[string]gitlabJob
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(&jobs)
	return jobs, err
}

// gitlab runs the jobs of a file as GitLab's runner does.
func (s *stage) gitlab(path string) {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	jobs, err := readGitLab(string(text))
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	for name, j := range jobs {
		s.env = append(s.env, "CI_PROJECT_ID=42", "CI_JOB_ID=7")
		for variable, token := range j.IDTokens {
			s.env = append(s.env, variable+"="+s.ci.token(s.t, token.Aud))
		}
		for variable, value := range j.Variables {
			s.env = append(s.env, variable+"="+value)
		}
		out, code := s.sh(strings.Join(append(j.BeforeScript, j.Script...), "\n"))
		if s.output = out; code != 0 {
			s.t.Errorf("the job %s ended with %d:\n%s\n%s", name, code, out, s.brokerLog())
		}
	}
}
