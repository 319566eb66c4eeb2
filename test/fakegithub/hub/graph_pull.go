package hub

import "strings"

func (r request) pullEntity(i *issue) entity {
	p := i.pull
	fields := r.shared("PR", i)
	fields["baseRefName"], fields["baseRefOid"], fields["headRefName"], fields["headRefOid"] = p.base, p.baseSHA, p.head, p.headSHA
	fields["baseRef"] = lazy(func(object) (any, *failure) { return r.refOrNull("refs/heads/" + p.base), nil })
	fields["headRef"] = lazy(func(object) (any, *failure) { return r.refOrNull("refs/heads/" + p.head), nil })
	own := lazy(func(object) (any, *failure) { return r.repositoryEntity(), nil })
	fields["headRepository"], fields["baseRepository"], fields["headRepositoryOwner"] = own, own, actor(r.Call, r.repo.Owner)
	fields["isDraft"], fields["isCrossRepository"], fields["isInMergeQueue"], fields["isMergeQueueEnabled"] = p.draft, false, false, false
	fields["maintainerCanModify"], fields["merged"], fields["mergedAt"], fields["mergedBy"] = false, !p.merged.IsZero(), maybe(p.merged), nil
	if p.mergedBy != "" {
		fields["mergedBy"] = actor(r.Call, p.mergedBy)
	}
	fields["mergeCommit"], fields["potentialMergeCommit"], fields["autoMergeRequest"] = nil, nil, r.autoMergeEntity(i)
	if p.mergeSHA != "" {
		fields["mergeCommit"] = r.commitEntity(p.mergeSHA)
	}
	fields["mergeable"] = lazy(func(object) (any, *failure) { return r.mergeableWord(i), nil })
	fields["mergeStateStatus"] = lazy(func(object) (any, *failure) { return r.mergeState(i), nil })
	fields["reviewDecision"], fields["viewerCanUpdate"], fields["permalink"] = i.decision(), r.Allows(r.repo, "pull_requests", "write"), r.page(i)
	reviews := connection("PullRequestReviewConnection", func() []entity {
		return entities(p.reviews, func(v *review) entity { return r.reviewEntity(i, v) })
	})
	fields["reviewRequests"], fields["reviews"], fields["latestReviews"] = empty("ReviewRequestConnection"), reviews, reviews
	fields["reviewThreads"], fields["closingIssuesReferences"], fields["participants"] = empty("PullRequestReviewThreadConnection"), empty("IssueConnection"), empty("UserConnection")
	fields["commits"] = connection("PullRequestCommitConnection", func() []entity { return entities(r.pullCommits(i), r.pullCommit) })
	fields["files"] = connection("PullRequestChangedFileConnection", func() []entity { return r.changedFiles(i) })
	fields["statusCheckRollup"] = r.rollup(p.headSHA)
	for n, key := range []string{"additions", "deletions", "changedFiles"} {
		fields[key] = lazy(func(object) (any, *failure) {
			added, removed, files := r.diffStat(i)
			return []int{added, removed, files}[n], nil
		})
	}
	return entity{"PullRequest", fields}
}

// pullCommits returns the commits of a pull request, oldest first; of a merged one, the
// commits of its merge.
func (r request) pullCommits(i *issue) []string {
	from := i.pull.baseSHA
	if c, is := r.git().read(i.pull.mergeSHA); is && len(c.parents) > 0 {
		from = c.parents[0]
	}
	return r.git().commits(from, i.pull.headSHA)
}

func (r request) pullCommit(sha string) entity {
	return entity{"PullRequestCommit", object{"id": nodeID("PRC", r.repo.ID, sha), "commit": r.commitEntity(sha), "url": r.html("/commit/%s", sha)}}
}

func (r request) changedFiles(i *issue) []entity {
	out, _ := r.git().run("diff", "--numstat", i.pull.baseSHA+"..."+i.pull.headSHA)
	var files []entity
	for line := range strings.Lines(out) {
		f := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		if len(f) == 3 {
			files = append(files, entity{"PullRequestChangedFile", object{"path": f[2], "additions": atoi(f[0]), "deletions": atoi(f[1]), "changeType": "MODIFIED", "viewerViewedState": "UNVIEWED"}})
		}
	}
	return files
}

func (r request) autoMergeEntity(i *issue) any {
	if i.pull.autoMerge == "" {
		return nil
	}
	return entity{"AutoMergeRequest", object{
		"authorEmail": nil, "commitBody": nil, "commitHeadline": nil, "mergeMethod": strings.ToUpper(i.pull.autoMerge), "enabledAt": timestamp(i.updated),
		"enabledBy": actor(r.Call, i.pull.autoCall.Bot()),
	}}
}

func (r request) mergeableWord(i *issue) string {
	switch {
	case !i.open():
		return "UNKNOWN"
	case r.mergeable(i):
		return "MERGEABLE"
	}
	return "CONFLICTING"
}

func (r request) mergeState(i *issue) string {
	switch {
	case !i.open():
		return "UNKNOWN"
	case i.pull.draft:
		return "DRAFT"
	case i.pull.held:
		return "BLOCKED"
	case !r.mergeable(i):
		return "DIRTY"
	}
	return "CLEAN"
}

// rollup returns the state of a commit's checks: those of the runs that were added for
// it.
func (r request) rollup(sha string) lazy {
	return r.guarded("checks:read,statuses:read", func(object) (any, *failure) {
		var checks []entity
		for _, x := range r.st.runs {
			for _, j := range x.jobs {
				if x.sha == sha {
					checks = append(checks, r.checkEntity(x, j))
				}
			}
		}
		if checks == nil {
			return nil, nil
		}
		return entity{"StatusCheckRollup", object{"id": nodeID("SCR", r.repo.ID, sha), "state": "SUCCESS", "contexts": contexts(checks)}}, nil
	})
}

func contexts(checks []entity) lazy {
	return func(args object) (any, *failure) {
		e, f := connection("StatusCheckRollupContextConnection", func() []entity { return checks })(args)
		if f != nil {
			return nil, f
		}
		fields := e.(entity).fields
		fields["checkRunCount"], fields["statusContextCount"], fields["statusContextCountsByState"] = len(checks), 0, []any{}
		fields["checkRunCountsByState"] = []entity{{"CheckRunStateCount", object{"state": "SUCCESS", "count": len(checks)}}}
		return e, nil
	}
}

func (r request) checkEntity(x *run, j *job) entity {
	at, page := timestamp(x.created), r.html("/actions/runs/%d/job/%d", x.id, j.id)
	suite := entity{"CheckSuite", object{"workflowRun": entity{"WorkflowRun", object{"event": x.event, "workflow": entity{"Workflow", object{"name": x.workflow.name}}}}}}
	return entity{"CheckRun", object{
		"name": j.name, "status": "COMPLETED", "conclusion": "SUCCESS", "startedAt": at, "completedAt": at, "detailsUrl": page, "url": page,
		"checkSuite": suite, "isRequired": false,
	}}
}
