package hub

import "strconv"

func (r request) releaseTagged(args object) (any, *failure) {
	for _, x := range r.st.releases {
		if x.tag == text(args, "tagName") {
			return r.releaseEntity(x), nil
		}
	}
	return nil, nil
}

func (r request) latest() any {
	if x := r.st.latest(); x != nil {
		return r.releaseEntity(x)
	}
	return nil
}

func (r request) releaseEntity(x *release) entity {
	return entity{"Release", object{
		"id": nodeID("RE", r.repo.ID, strconv.FormatInt(x.id, 10)), "databaseId": x.id, "name": x.name, "tagName": x.tag, "description": x.body,
		"createdAt": timestamp(x.created), "publishedAt": maybe(x.published), "isDraft": x.draft, "isPrerelease": x.prerelease, "isLatest": x == r.st.latest(),
		"url": r.html("/releases/tag/%s", x.tag), "author": actor(r.Call, x.author), "tagCommit": nil,
	}}
}
