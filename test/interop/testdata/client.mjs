// Does one operation of git with isomorphic-git, as its documentation shows it.
//
//     node client.mjs version
//     node client.mjs clone URL DIR DEPTH
//     node client.mjs fetch DIR
//     node client.mjs push DIR REFSPEC...
//
// The library is in the folder $ISOMORPHIC_GIT, the session in $SESSION.
import fs from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(process.env.ISOMORPHIC_GIT + '/')
const git = require('isomorphic-git')
const http = require('isomorphic-git/http/node')

const common = {
  fs,
  http,
  onAuth: () => ({ username: 'x', password: process.env.SESSION }),
  onAuthFailure: () => ({ cancel: true }),
  onMessage: text => process.stdout.write(text),
}

const operations = {
  version: async () => console.log(git.version()),
  clone: (url, dir, depth) => git.clone({ ...common, url, dir, ...(Number(depth) ? { depth: Number(depth) } : {}) }),
  fetch: dir => git.fetch({ ...common, dir, remote: 'origin' }),
  push: async (dir, ...refspecs) => {
    for (const spec of refspecs) {
      const [ref, remoteRef] = spec.replace(/^\+/, '').split(':')
      await git.push({ ...common, dir, remote: 'origin', ref: ref || 'HEAD', remoteRef, force: spec.startsWith('+'), delete: ref === '' })
    }
  },
}

const [verb, ...args] = process.argv.slice(2)
try {
  await operations[verb](...args)
} catch (error) {
  console.log(`${error.name}: ${error.message}`)
  if (error.data?.response) console.log(error.data.response)
  process.exitCode = 1
}
