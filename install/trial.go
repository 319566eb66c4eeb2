package install

// TrialRemote is the remote that [TrialOptions] makes.
const TrialRemote = "gatepass-trial"

// TrialOptions returns options of git for a push that tries the guard. Git and
// its hooks see TrialRemote at url, with the user's url.insteadOf applied. The
// push goes to the bare repository dir on this machine, and url is never
// contacted: git reaches a remote that has a vcs through the helper of that
// name, and looks for a helper among its aliases too. So no program has to be
// written to a place that might not let it run.
func TrialOptions(url, dir string) []string {
	helper := "!f() { unset $(git rev-parse --local-env-vars); while read -r line; do case $line in " +
		`capabilities) printf 'connect\n\n' ;; ` +
		"'connect git-receive-pack') echo; exec git receive-pack " + shellQuote(dir) + " ;; " +
		"*) exit 1 ;; esac; done; }; f"
	return []string{
		"-c", "remote." + TrialRemote + ".url=" + url,
		"-c", "remote." + TrialRemote + ".vcs=" + TrialRemote,
		"-c", "protocol." + TrialRemote + ".allow=always",
		"-c", "alias.remote-" + TrialRemote + "=" + helper,
	}
}
