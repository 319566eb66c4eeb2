package charttest

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

// servers are the programs that run in pods.
var servers = []string{"gatepass-operator", "gatepass-broker", "gatepass-refresher", "gatepass"}

// a stage is what follows a FROM of a Dockerfile.
type stage struct {
	from  string
	steps [][2]string // instruction and the rest of the line
}

// stages reads the Dockerfile, which has no line that goes on in the next one.
func stages(t *testing.T) (all []stage) {
	t.Helper()
	for line := range strings.Lines(read(t, root+"/deploy/image/Dockerfile")) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case instruction == "" || strings.HasPrefix(instruction, "#"):
		case instruction == "FROM":
			all = append(all, stage{from: rest})
		case len(all) == 0 || strings.HasSuffix(rest, "\\"):
			t.Fatalf("this test does not read %q", line)
		default:
			all[len(all)-1].steps = append(all[len(all)-1].steps, [2]string{instruction, rest})
		}
	}
	if len(all) != 2 {
		t.Fatalf("the Dockerfile has %d stages, want 2", len(all))
	}
	return all
}

// step returns the last step of a stage with an instruction.
func (s stage) step(instruction string) (rest string) {
	for _, step := range s.steps {
		if step[0] == instruction {
			rest = step[1]
		}
	}
	return rest
}

func TestTheImageIsTheProgramAlone(t *testing.T) {
	last := stages(t)[1]
	if last.from != "scratch" || last.step("USER") != "65532:65532" || last.step("RUN") != "" {
		t.Errorf("the image is %+v", last)
	}
	var entry []string
	if err := json.Unmarshal([]byte(last.step("ENTRYPOINT")), &entry); err != nil || !slices.Equal(entry, []string{"/program"}) {
		t.Errorf("the image starts %q, %v", entry, err)
	}
}

// The build stage's last step is run as it is written, but for the compiler: make says
// what it would do.
func TestTheImageIsBuiltByMake(t *testing.T) {
	command, _, _ := strings.Cut(stages(t)[0].step("RUN"), " && ")
	command = strings.Replace(command, " make ", " make --dry-run ", 1)
	for _, name := range servers {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH=arm64", "PROGRAM="+name, "VERSION=v9.9.9")
		output, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "-o /out/"+name+" ./cmd/"+name) || !strings.Contains(string(output), "version.number=v9.9.9") {
			t.Errorf("%s is built by %s, %v", name, output, err)
		}
	}
	ignored := strings.Fields(read(t, root+"/deploy/image/Dockerfile.dockerignore"))
	if !slices.Contains(ignored, "/.git") {
		t.Error("the history is copied into the build")
	}
}

// ko builds what make builds.
func TestKoBuildsWithTheMakefilesFlags(t *testing.T) {
	var file struct{ DefaultEnv, DefaultFlags, DefaultLdflags []string }
	text := regexp.MustCompile(`default[A-Z]\w+`).ReplaceAllStringFunc(read(t, root+"/.ko.yaml"), strings.ToLower)
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "make", "--dry-run", "gatepass-operator", "VERSION={{.Env.VERSION}}")
	cmd.Dir = root
	output, err := cmd.Output()
	want := regexp.MustCompile(`build (-trimpath) -tags (\S+) -ldflags "([^"]*)"`).FindStringSubmatch(string(output))
	if err != nil || want == nil {
		t.Fatalf("make would run %s, %v", output, err)
	}
	if flags := []string{want[1], "-tags=" + want[2]}; !slices.Equal(file.DefaultFlags, flags) {
		t.Errorf("ko builds with %q, want %q", file.DefaultFlags, flags)
	}
	if !slices.Equal(file.DefaultLdflags, []string{want[3]}) || !slices.Equal(file.DefaultEnv, []string{"CGO_ENABLED=0"}) {
		t.Errorf("ko links with %q and %q, want %q", file.DefaultLdflags, file.DefaultEnv, want[3])
	}
}

// With what the last stage copies, and nothing else, a program runs as the image's user.
func TestProgramsRunInTheImage(t *testing.T) {
	bin := os.Getenv("GATEPASS_TEST_BIN_DIR")
	if bin == "" {
		t.Skip("make test sets GATEPASS_TEST_BIN_DIR")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can change the root directory")
	}
	for _, name := range servers {
		checkStatic(t, filepath.Join(bin, name))
		image := t.TempDir()
		for _, step := range stages(t)[1].steps {
			if from, ok := strings.CutPrefix(step[1], "--from=build "); step[0] == "COPY" && ok {
				paths := strings.Fields(from)
				install(t, strings.Replace(paths[0], "/out/program", filepath.Join(bin, name), 1), filepath.Join(image, paths[1]))
			}
		}
		var said bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "/program", "--version")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: image, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		cmd.Env, cmd.Dir = []string{}, "/"
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil || !strings.HasPrefix(said.String(), "gatepass") {
			t.Errorf("%s --version in the image = %q, %v", name, said.String(), err)
		}
	}
}

// checkStatic fails the test where a program needs a loader, which is not in the image.
func checkStatic(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is not static", path)
		}
	}
}

// install copies a file to where anybody can run it.
func install(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
