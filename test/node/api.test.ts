import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import * as http from 'node:http'
import * as net from 'node:net'
import * as path from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { serveApi } from '../../node/api.ts'
import { connectNode, socketPath } from '../../node/api-client.ts'
import type { DnsAnswered, P2pnsNode, Progress } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { nodeWith } from '../helpers/node.ts'

/** A served node, and what the command line sees of it. */
async function served(t: TestContext, methods: Partial<P2pnsNode>) {
  const home = await temporaryFolder(t)
  const api = await serveApi(nodeWith(methods), home)
  t.after(() => api.stop())
  const node = await connectNode(home)
  assert.ok(node)
  return { home, api, node }
}

/** A request as an alien would send it. */
async function raw(
  home: string,
  request: http.RequestOptions,
  body?: string,
): Promise<{ status: number; text: string }> {
  const call = http.request({ socketPath: socketPath(home), method: 'POST', agent: false, ...request })
  call.end(body)
  const [response] = (await once(call, 'response')) as [http.IncomingMessage]
  return { status: response.statusCode ?? 0, text: await text(response) }
}

const JSON_TYPE = { 'content-type': 'application/json' }

test('arguments go there and results come back as they were', async (t) => {
  const calls: unknown[] = []
  const { node } = await served(t, {
    resolve: async (name, type, { policy } = {}) => {
      calls.push([name, type, policy])
      return { name, type: type ?? 'ANY', records: [], ttl: 5, keyName: 'k.p2p', seq: '1', known: KNOWN }
    },
    share: async (target, { as } = {}) => {
      calls.push([target, as])
      return { cid: 'b', bytes: 1, files: 1, skipped: [], link: 'p2pns:b' }
    },
    fetch: async (target, { out, force }) => {
      calls.push([target, out, force])
      return { cid: 'b', path: out, bytes: 1, seconds: 1, resumed: 0, peers: [] }
    },
    clearCache: async () => void calls.push('clear'),
    peers: async () => [],
  })
  assert.equal((await node.resolve('alice.p2p', 'A', { policy: 'network' })).ttl, 5)
  assert.equal((await node.resolve('bob.p2p')).type, 'ANY')
  assert.equal((await node.share('/ünï/"file"\n', { as: 'alice.p2p' })).cid, 'b')
  assert.equal((await node.fetch('b', { out: '/out', force: true })).path, '/out')
  assert.deepEqual(await node.peers(), [])
  await node.clearCache()
  assert.deepEqual(calls, [
    ['alice.p2p', 'A', 'network'],
    ['bob.p2p', undefined, undefined],
    ['/ünï/"file"\n', 'alice.p2p'],
    ['b', '/out', true],
    'clear',
  ])
})

const KNOWN = { kind: 'key', stale: false, source: 'own' } as const

test('progress comes before the result, each change of phase at once', async (t) => {
  const phases: Progress['phase'][] = ['hashing', 'resolving', 'publishing']
  const { node } = await served(t, {
    share: async (_path, { onProgress } = {}) => {
      for (const phase of phases) {
        for (let done = 0; done < 1000; done++) onProgress?.({ phase, done, total: 1000 })
      }
      return { cid: 'b', bytes: 1, files: 1, skipped: [], link: 'p2pns:b' }
    },
  })
  const seen: Progress[] = []
  await node.share('/x', { onProgress: (progress) => seen.push(progress) })
  assert.deepEqual([...new Set(seen.map(({ phase }) => phase))], phases)
  assert.ok(seen.length < 300)
})

test('an error crosses with its code and its words, and one that is none of ours as internal', async (t) => {
  const { node } = await served(t, {
    resolve: async (name) => {
      throw new P2pnsError('name_not_found', `Nobody holds ${name}`)
    },
    status: async () => assert.fail('oops'),
  })
  await assert.rejects(node.resolve('alice.p2p'), {
    code: 'name_not_found',
    what: 'Nobody holds alice.p2p',
    exitCode: 3,
  })
  await assert.rejects(node.status(), { code: 'internal', what: 'oops' })
})

test('only its owner may speak to the socket', async (t) => {
  const { home } = await served(t, {})
  assert.equal((await fs.stat(socketPath(home))).mode & 0o777, 0o600)
})

test('a second node on one home is refused, and the first goes on', async (t) => {
  const { home, node } = await served(t, { keys: async () => [] })
  await assert.rejects(serveApi(nodeWith({}), home), { code: 'node_running' })
  assert.deepEqual(await node.keys(), [])
})

test('after a stop no node runs there, and another can start', async (t) => {
  const { home, api } = await served(t, {})
  await api.stop()
  assert.equal(await connectNode(home), undefined)
  const again = await serveApi(nodeWith({ keys: async () => [] }), home)
  t.after(() => again.stop())
  assert.deepEqual(await (await connectNode(home))?.keys(), [])
})

test('the socket file of a killed node is no running node, and is replaced', async (t) => {
  const home = await temporaryFolder(t)
  const code = `require('net').createServer().listen(process.argv[1], () => process.stdout.write('up'))`
  const child = spawn(process.execPath, ['-e', code, socketPath(home)], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.ok((await fs.stat(socketPath(home))).isSocket())
  assert.equal(await connectNode(home), undefined)
  const api = await serveApi(nodeWith({ keys: async () => [] }), home)
  t.after(() => api.stop())
  assert.deepEqual(await (await connectNode(home))?.keys(), [])
})

test('what is no call is refused in the same form as a failed one', async (t) => {
  const { home } = await served(t, {})
  const cases: [http.RequestOptions, string | undefined, number, string][] = [
    [{ path: '/nothing', headers: JSON_TYPE }, '{}', 404, 'usage'],
    [{ path: '/stop', headers: JSON_TYPE }, '{}', 404, 'usage'],
    [{ path: '/constructor', headers: JSON_TYPE }, '{}', 404, 'usage'],
    [{ path: '/a/b/c', headers: JSON_TYPE }, '{}', 404, 'usage'],
    [{ path: '/status', method: 'GET' }, undefined, 404, 'usage'],
    [{ path: '/status', headers: JSON_TYPE }, '{"a":', 400, 'usage'],
    [{ path: '/status', headers: JSON_TYPE }, '', 400, 'usage'],
    [{ path: '/status', headers: JSON_TYPE }, '"text"', 400, 'usage'],
    [{ path: '/status', headers: JSON_TYPE }, '{"__proto__":{"a":1}}', 400, 'usage'],
    [{ path: '/status', headers: { 'content-type': 'text/plain' } }, '{}', 415, 'usage'],
    [{ path: '/status', headers: { 'content-type': 'application/x-www-form-urlencoded' } }, 'a=b', 415, 'usage'],
    [{ path: '/status', headers: JSON_TYPE }, `"${'x'.repeat(65_536)}"`, 413, 'too_large'],
  ]
  for (const [request, body, status, code] of cases) {
    const answer = await raw(home, request, body)
    const { error } = JSON.parse(answer.text) as { error: { code: string; what: string } }
    assert.deepEqual([answer.status, error.code], [status, code], `${request.path} ${body?.slice(0, 20)}`)
    assert.ok(error.what.length > 0)
  }
})

test('arguments that are too large are refused before they are sent', async (t) => {
  const { node } = await served(t, {})
  const records = [{ type: 'TXT', data: 'x'.repeat(100_000) }]
  await assert.rejects(node.register({ name: 'alice.p2p', records }), { code: 'too_large' })
})

test('bytes that are no request do not disturb the node', async (t) => {
  const { home, node } = await served(t, { keys: async () => [] })
  const alien = net.connect(socketPath(home))
  alien.write('\0\x01\x02 not http\r\n\r\n')
  await once(alien.resume(), 'close')
  assert.deepEqual(await node.keys(), [])
})

/** A fetch that ends only when it is told to, and what it saw. */
function endlessFetch() {
  const started = Promise.withResolvers<Parameters<P2pnsNode['fetch']>[1]>()
  const stopped = Promise.withResolvers<void>()
  return {
    started: started.promise,
    stopped: stopped.promise,
    fetch: (async (_target, options) => {
      options.signal?.addEventListener('abort', () => stopped.resolve())
      started.resolve(options)
      await stopped.promise
      options.onProgress?.({ phase: 'finishing', done: 1, total: 1 })
      throw new P2pnsError('interrupted', 'It was stopped')
    }) satisfies P2pnsNode['fetch'],
  }
}

test('an interrupted call cancels the work, and the node goes on', async (t) => {
  const endless = endlessFetch()
  const { node } = await served(t, { fetch: endless.fetch, keys: async () => [] })
  const stop = new AbortController()
  const fetched = node.fetch('b', { out: '/out', signal: stop.signal })
  await endless.started
  stop.abort()
  await assert.rejects(fetched, { code: 'interrupted' })
  await endless.stopped
  assert.deepEqual(await node.keys(), [])
})

test('a call that was interrupted before it began does no work', async (t) => {
  const { node } = await served(t, {})
  await assert.rejects(node.fetch('b', { out: '/out', signal: AbortSignal.abort() }), { code: 'interrupted' })
})

test('a caller that hangs up in the middle cancels the work', async (t) => {
  const endless = endlessFetch()
  const { home, node } = await served(t, { fetch: endless.fetch, keys: async () => [] })
  const request = { socketPath: socketPath(home), method: 'POST', path: '/fetch', headers: JSON_TYPE, agent: false }
  const call = http.request(request)
  call.on('error', () => {})
  call.end('{"target":"b","out":"/out"}')
  const { onProgress } = await endless.started
  onProgress?.({ phase: 'fetching', done: 1, total: 2 })
  await once(call, 'response')
  call.destroy()
  await endless.stopped
  assert.deepEqual(await node.keys(), [])
})

/** A server that is no node: it begins an answer with `begun` and dies. */
async function dying(t: TestContext, begun: string): Promise<P2pnsNode> {
  const home = await temporaryFolder(t)
  const server = http.createServer((request, response) => {
    response.write(begun, () => request.socket.destroy())
  })
  server.listen(socketPath(home))
  await once(server, 'listening')
  t.after(() => server.close())
  return (await connectNode(home)) as P2pnsNode
}

test('a node that dies in the middle of an answer is a clear error', async (t) => {
  for (const begun of ['\n', '{"progress":{"phase":"hashing","done":1,"total":2}}\n', '{"progr', '{"result":{"a":1']) {
    const node = await dying(t, begun)
    await assert.rejects(node.status(), { code: 'peer_unreachable', message: /went away before it answered/ })
  }
})

test('an answer with an error that this version does not know is internal', async (t) => {
  const node = await dying(t, '{"error":{"code":"from_the_future","what":"New"}}\n')
  await assert.rejects(node.status(), { code: 'internal', what: 'New' })
})

test('a home whose path is too long for a socket is a clear error', async (t) => {
  const home = path.join(await temporaryFolder(t), 'x'.repeat(100))
  await fs.mkdir(home)
  await assert.rejects(serveApi(nodeWith({}), home), { code: 'usage', message: /too long for a socket/ })
  assert.equal(await connectNode(home), undefined)
  assert.deepEqual(await fs.readdir(home), [])
})

test('a busy node answers every call', async (t) => {
  const endless = endlessFetch()
  const { node } = await served(t, {
    fetch: endless.fetch,
    resolve: async (name) => ({ name, type: 'A', records: [], ttl: 1, keyName: 'k.p2p', seq: '1', known: KNOWN }),
  })
  const stop = new AbortController()
  const waiting = Array.from({ length: 50 }, () => node.fetch('b', { out: '/out', signal: stop.signal }))
  const names = Array.from({ length: 200 }, (_, i) => `n${i}.p2p`)
  const answers = await Promise.all(names.map((name) => node.resolve(name)))
  assert.deepEqual(
    answers.map(({ name }) => name),
    names,
  )
  stop.abort()
  for (const { status } of await Promise.allSettled(waiting)) assert.equal(status, 'rejected')
})

test('a stop ends calls that are still running, with a clear error', async (t) => {
  const endless = endlessFetch()
  const { api, node } = await served(t, { fetch: endless.fetch })
  const fetched = node.fetch('b', { out: '/out' })
  await endless.started
  const [, outcome] = await Promise.all([api.stop(), fetched.catch((error: unknown) => error)])
  assert.ok(outcome instanceof P2pnsError && ['peer_unreachable', 'interrupted'].includes(outcome.code))
  await endless.stopped
})

test('the log of the resolver goes on until whoever reads it hangs up, and then nobody watches any more', async (t) => {
  const log = { watching: 0 }
  async function* dnsLog(signal?: AbortSignal): AsyncGenerator<DnsAnswered> {
    log.watching++
    try {
      for (;;) {
        yield ANSWERED
        await setImmediate(undefined, { signal })
      }
    } finally {
      log.watching--
    }
  }
  const { node } = await served(t, { dnsLog })
  const ended = new AbortController()
  let lines = 0
  await assert.rejects(async () => {
    for await (const answered of node.dnsLog(ended.signal)) {
      assert.deepEqual(answered, ANSWERED)
      if (++lines === 100) ended.abort()
    }
  })
  while (log.watching > 0) await setImmediate()
})

test('the log of a node without a resolver is an error', async (t) => {
  const { node } = await served(t, {
    dnsLog: () => {
      throw new P2pnsError('usage', 'No DNS resolver runs with this node')
    },
  })
  await assert.rejects(
    async () => {
      for await (const _ of node.dnsLog());
    },
    { code: 'usage', message: /No DNS resolver/ },
  )
})

const ANSWERED: DnsAnswered = {
  at: '2026-01-02T03:04:05.678Z',
  client: '127.0.0.1',
  transport: 'udp',
  name: 'alice.p2p',
  type: 'A',
  rcode: 'NOERROR',
  source: 'cached',
  took: 0.1,
}
