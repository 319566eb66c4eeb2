"""Does one operation of git with libgit2 (pygit2) or dulwich, as their documentation shows it.

    client.py pygit2|dulwich version
    client.py pygit2|dulwich clone URL DIR DEPTH
    client.py pygit2|dulwich fetch DIR
    client.py pygit2|dulwich push DIR REFSPEC...

The session is in $SESSION, the certificate in the file $CA. It exits with 1 where the
library reports that something did not work.
"""

import os
import sys

USER, SESSION, CA = "x", os.environ.get("SESSION", ""), os.environ.get("CA", "")


class Pygit2:
    def __init__(self):
        import pygit2

        self.pygit2 = pygit2
        if CA:
            pygit2.settings.set_ssl_cert_locations(CA, None)

        class Callbacks(pygit2.RemoteCallbacks):
            failed = False

            def credentials(self, url, username_from_url, allowed_types):
                if getattr(self, "asked", False):  # libgit2 asks again and again
                    raise pygit2.GitError("the gateway does not take the session")
                self.asked = True
                return pygit2.UserPass(USER, SESSION)

            def sideband_progress(self, text):
                print(text, end="")

            def push_update_reference(self, refname, message):
                if message is not None:
                    print(f"{refname}: {message}")
                    self.failed = True

        self.callbacks = Callbacks()

    def version(self):
        print(self.pygit2.LIBGIT2_VERSION, "by pygit2", self.pygit2.__version__)

    def clone(self, url, directory, depth):
        more = {"depth": int(depth)} if int(depth) else {}
        self.pygit2.clone_repository(url, directory, callbacks=self.callbacks, **more)

    def fetch(self, directory):
        self.pygit2.Repository(directory).remotes["origin"].fetch(callbacks=self.callbacks)

    def push(self, directory, *refspecs):
        self.pygit2.Repository(directory).remotes["origin"].push(list(refspecs), callbacks=self.callbacks)
        return not self.callbacks.failed


class Dulwich:
    def __init__(self):
        import dulwich
        from dulwich import client, porcelain
        from dulwich.config import ConfigDict
        from dulwich.repo import Repo

        self.dulwich, self.porcelain, self.repo = dulwich, porcelain, Repo
        self.config = ConfigDict()
        self.config.set((b"http",), b"sslCAInfo", CA.encode())
        self.open = lambda url: client.get_transport_and_path(url, config=self.config, username=USER, password=SESSION)

    def version(self):
        print(".".join(str(part) for part in self.dulwich.__version__))

    def clone(self, url, directory, depth):
        try:
            self.porcelain.clone(url, directory, depth=int(depth) or None, config=self.config, username=USER, password=SESSION)
        except ValueError as error:  # 0.21 fetches an empty repository, and then cannot check it out
            if "neither origin_head nor branch" not in str(error):
                raise
            with self.repo.init(directory, mkdir=not os.path.isdir(directory)) as r:
                config = r.get_config()
                config.set((b"remote", b"origin"), b"url", url.encode())
                config.write_to_path()

    def fetch(self, directory):
        with self.repo(directory) as r:
            self.trust(r)
        self.porcelain.fetch(directory, "origin", username=USER, password=SESSION)

    def trust(self, r):
        config = r.get_config()
        config.set((b"http",), b"sslCAInfo", CA.encode())
        config.write_to_path()

    def push(self, directory, *refspecs):
        """porcelain.push prints what became of each ref, but returns nothing of it: so this
        pushes with the client below it, and reads its result."""
        with self.repo(directory) as r:
            url = r.get_config().get((b"remote", b"origin"), b"url").decode()
            remote, path = self.open(url)

            def update(old):
                new = {}
                for spec in refspecs:
                    source, _, target = spec.lstrip("+").partition(":")
                    new[target.encode()] = r.refs[source.encode()] if source else b"0" * 40
                return new

            result = remote.send_pack(path, update, r.generate_pack_data, progress=lambda text: print(text.decode(), end=""))
            failed = {ref: error for ref, error in (result.ref_status or {}).items() if error is not None}
            for ref, error in failed.items():
                print(f"Push of ref {ref.decode()} failed: {error}")
            return not failed


def main():
    library = {"pygit2": Pygit2, "dulwich": Dulwich}[sys.argv[1]]()
    try:
        if getattr(library, sys.argv[2])(*sys.argv[3:]) is False:
            sys.exit(1)
    except Exception as error:  # as a program shows it that has nothing better to say
        sys.exit(f"{type(error).__name__}: {error}")


main()
