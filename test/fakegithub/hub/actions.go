package hub

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// A workflow is a workflow file.
type workflow struct {
	id         int64
	name, path string
	dispatches bool
}

// A run is a finished run. Active runs are not modeled.
type run struct {
	id        int64
	number    int
	workflow  *workflow
	event     string
	branch    string
	sha       string
	actor     string
	jobs      []*job
	artifacts []*artifact
	created   time.Time
	logs      string // in storage
}

type job struct {
	id    int64
	name  string
	steps []string
	log   string // in storage
}

type artifact struct {
	id      int64
	name    string
	file    string // in storage
	size    int64
	run     *run
	created time.Time
}

// A Run is a workflow run that succeeded, with its logs and artifacts.
type Run struct {
	Workflow string // name of the workflow, as in CI
	Branch   string
	Jobs     []Job
	// Artifacts are zip files made of these texts, by the artifact's name and the
	// file's path.
	Artifacts map[string]map[string]string
}

// A Job is a job of a run.
type Job struct {
	Name  string
	Steps []Step
}

// A Step is a step of a job.
type Step struct{ Name, Log string }

// AddRun adds a run to a repository and returns its ID.
func (h *Hub) AddRun(owner, name string, in Run) (int64, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return 0, fmt.Errorf("add run: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.of(repo)
	sha, err := h.s.GitIn(background, repo, nil, "rev-parse", "--verify", "refs/heads/"+in.Branch)
	if err != nil {
		return 0, fmt.Errorf("add run: branch %s: %w", in.Branch, err)
	}
	w := st.workflow(h, in.Workflow)
	made := &run{
		id: h.s.NextID(), number: len(st.runs) + 1, workflow: w, event: "push", branch: in.Branch, sha: sha, actor: owner, created: h.s.Now(),
	}
	if err := h.fillRun(made, in); err != nil {
		return 0, err
	}
	st.runs = append(st.runs, made)
	st.artifacts = append(st.artifacts, made.artifacts...)
	return made.id, nil
}

// AddArtifact adds an artifact of any size to a run. content is read when the artifact
// is downloaded.
func (h *Hub) AddArtifact(owner, name string, runID int64, artifactName string, content io.ReaderAt, size int64) error {
	repo, _ := h.s.Repository(owner, name)
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.of(repo)
	for _, made := range st.runs {
		if made.id == runID {
			file := h.storage.put(stored{artifactName + ".zip", "application/zip", content, size})
			a := &artifact{h.s.NextID(), artifactName, file, size, made, h.s.Now()}
			made.artifacts = append(made.artifacts, a)
			st.artifacts = append(st.artifacts, a)
			return nil
		}
	}
	return errors.New("add artifact: no such run")
}

// AddWorkflow adds a workflow that can be dispatched, and returns its ID. A dispatched
// run does nothing and succeeds.
func (h *Hub) AddWorkflow(owner, name, workflowName string) (int64, error) {
	repo, there := h.s.Repository(owner, name)
	if !there {
		return 0, fmt.Errorf("add workflow: no repository %s/%s", owner, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.of(repo).workflow(h, workflowName)
	w.dispatches = true
	return w.id, nil
}

func (st *repository) workflow(h *Hub, name string) *workflow {
	for _, w := range st.workflows {
		if w.name == name {
			return w
		}
	}
	w := &workflow{id: h.s.NextID(), name: name, path: ".github/workflows/" + name + ".yml"}
	st.workflows = append(st.workflows, w)
	return w
}

// fillRun stores logs and artifacts in the format of GitHub's own archives.
func (h *Hub) fillRun(made *run, in Run) error {
	logs := map[string]string{}
	for n, j := range in.Jobs {
		added := &job{id: h.s.NextID(), name: j.Name}
		whole := ""
		for k, step := range j.Steps {
			added.steps = append(added.steps, step.Name)
			text := stamped(step.Log, made.created)
			logs[fmt.Sprintf("%s/%d_%s.txt", j.Name, k+1, step.Name)] = text
			whole += text
		}
		logs[fmt.Sprintf("%d_%s.txt", n, j.Name)] = whole
		added.log = h.storage.put(stored{"log.txt", "text/plain; charset=utf-8", bytes.NewReader([]byte(whole)), int64(len(whole))})
		made.jobs = append(made.jobs, added)
	}
	raw, err := zipped(logs)
	if err != nil {
		return err
	}
	made.logs = h.storage.put(stored{"logs.zip", "application/zip", bytes.NewReader(raw), int64(len(raw))})
	for _, name := range slices.Sorted(maps.Keys(in.Artifacts)) {
		raw, err := zipped(in.Artifacts[name])
		if err != nil {
			return err
		}
		file := h.storage.put(stored{name + ".zip", "application/zip", bytes.NewReader(raw), int64(len(raw))})
		made.artifacts = append(made.artifacts, &artifact{h.s.NextID(), name, file, int64(len(raw)), made, made.created})
	}
	return nil
}

// stamped returns a text with a time before it, as in every line of a log.
func stamped(text string, at time.Time) string {
	return at.UTC().Format("2006-01-02T15:04:05.0000000Z") + " " + text + "\n"
}

func zipped(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(f, files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
