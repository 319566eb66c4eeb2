package hub

import (
	"strconv"
	"strings"
)

func atoi(text string) int {
	n, _ := strconv.Atoi(text) // a binary file has "-", which counts as 0
	return n
}

func (r request) refNamed(args object) (any, *failure) {
	name := text(args, "qualifiedName")
	if !strings.HasPrefix(name, "refs/") {
		name = "refs/heads/" + name
	}
	return r.refOrNull(name), nil
}

func (r request) refOrNull(full string) any {
	if r.git().ref(full) == "" {
		return nil
	}
	return r.refEntity(full)
}

func (r request) refsBelow(args object) (any, *failure) {
	prefix := text(args, "refPrefix")
	out, _ := r.git().run("for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags")
	var refs []string
	for line := range strings.Lines(out) {
		if ref := strings.TrimSpace(line); strings.HasPrefix(ref, prefix) && strings.Contains(ref, text(args, "query")) {
			refs = append(refs, ref)
		}
	}
	return connection("RefConnection", func() []entity { return entities(refs, r.refEntity) })(args)
}

func (r request) refEntity(full string) entity {
	at := strings.Index(strings.TrimPrefix(full, "refs/"), "/") + len("refs/") + 1
	return entity{"Ref", object{
		"id": nodeID("REF", r.repo.ID, full), "name": full[at:], "prefix": full[:at], "branchProtectionRule": nil,
		"repository": lazy(func(object) (any, *failure) { return r.repositoryEntity(), nil }),
		"target":     lazy(func(object) (any, *failure) { return r.objectEntity(r.git().ref(full)), nil }),
		"associatedPullRequests": r.guarded("pull_requests:read", func(args object) (any, *failure) {
			return r.pullsOf(object{"headRefName": full[at:], "first": args["first"], "last": args["last"], "states": args["states"]})
		}),
	}}
}

// gitObject answers repository.object, for an OID or an expression such as
// main:README.md.
func (r request) gitObject(args object) (any, *failure) {
	if oid := text(args, "oid"); oid != "" {
		if !r.git().object(oid, "") {
			return nil, nil
		}
		return r.objectEntity(oid), nil
	}
	name, path, in := strings.Cut(text(args, "expression"), ":")
	if name == "HEAD" {
		name = "main"
	}
	sha := r.git().commit(name)
	if sha == "" || in && !goodPath(path) && path != "" {
		return nil, nil
	}
	if in {
		var err error
		if sha, err = r.git().run("rev-parse", "--verify", "--quiet", sha+":"+path); err != nil {
			return nil, nil
		}
	}
	return r.objectEntity(sha), nil
}

func (r request) objectEntity(sha string) any {
	kind, err := r.git().run("cat-file", "-t", sha)
	if err != nil {
		return nil
	}
	switch kind {
	case "commit":
		return r.commitEntity(sha)
	case "blob":
		return r.blobEntity(sha)
	}
	kind = strings.ToUpper(kind[:1]) + kind[1:]
	return entity{kind, object{"id": nodeID(kind, r.repo.ID, sha), "oid": sha, "abbreviatedOid": sha[:7]}}
}

func (r request) blobEntity(sha string) entity {
	text, _ := r.git().run("cat-file", "blob", sha)
	size, _ := r.git().run("cat-file", "-s", sha)
	return entity{"Blob", object{
		"id": nodeID("B", r.repo.ID, sha), "oid": sha, "abbreviatedOid": sha[:7], "text": text, "byteSize": atoi(size), "isBinary": strings.ContainsRune(text, 0), "isTruncated": false,
	}}
}

func (r request) commitEntity(sha string) entity {
	c, _ := r.git().read(sha)
	signed := func(p person) entity {
		return entity{"GitActor", object{"name": p.Name, "email": p.Email, "date": p.Date, "user": nil}}
	}
	return entity{"Commit", object{
		"id": nodeID("C", r.repo.ID, sha), "oid": sha, "abbreviatedOid": sha[:7], "message": c.message, "messageHeadline": c.headline(), "messageBody": c.body(),
		"url": r.html("/commit/%s", sha), "commitUrl": r.html("/commit/%s", sha), "committedDate": c.committer.Date, "authoredDate": c.author.Date,
		"author": signed(c.author), "committer": signed(c.committer), "authors": connection("GitActorConnection", func() []entity { return []entity{signed(c.author)} }),
		"tree":    lazy(func(object) (any, *failure) { return r.objectEntity(c.tree), nil }),
		"parents": connection("CommitConnection", func() []entity { return entities(c.parents, r.commitEntity) }),
		"history": lazy(func(args object) (any, *failure) {
			out, _ := r.git().run("rev-list", "--max-count=1000", sha)
			return connection("CommitHistoryConnection", func() []entity { return entities(strings.Fields(out), r.commitEntity) })(args)
		}),
		"statusCheckRollup": r.rollup(sha), "status": nil,
		"repository": lazy(func(object) (any, *failure) { return r.repositoryEntity(), nil }),
	}}
}
