import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolvingNode } from '../../cli/resolving-node.ts'
import { run } from '../../cli/run.ts'
import { ERRORS, type ErrorCode, P2pnsError } from '../../node/core/errors.ts'
import { CID, fakeNode, fakeWorld, KEY_NAME, runFake, STATUS } from './fake-world.ts'

const COMMANDS = ['up', 'introducer', 'register', 'resolve', 'share', 'fetch', 'status', 'peers', 'keys', 'cache clear']

test('every command shows examples in its help, on stdout', async () => {
  for (const command of COMMANDS) {
    const { code, out, err } = await runFake([...command.split(' '), '--help'])
    assert.equal(code, 0)
    assert.match(out, new RegExp(`Examples:\n  # .+\n  \\$ p2pns ${command.split(' ')[0]}`), command)
    assert.match(out, /--home <dir>/)
    assert.equal(err, '')
  }
})

test('a bare p2pns shows its help on stderr and is a usage error', async () => {
  const { code, out, err } = await runFake([])
  assert.equal(code, 2)
  assert.equal(out, '')
  assert.match(err, /^Usage: p2pns/)
})

test('the version is that of the package', async () => {
  assert.match((await runFake(['--version'])).out, /^\d+\.\d+\.\d+\n$/)
})

test('a usage error is one line that says what was meant, and exits 2', async () => {
  const cases: [string[], RegExp][] = [
    [['resolv', 'alice.p2p'], /^error: unknown command 'resolv' \(Did you mean resolve\?\)\. See `p2pns --help`\.\n$/],
    [['resolve', 'alice.p2p', '--polic', 'network'], /^error: unknown option '--polic' \(Did you mean --policy\?\)/],
    [['resolve'], /^error: missing required argument 'name'/],
    [['resolve', 'alice.p2p', 'A', 'B'], /^error: too many arguments/],
    [['resolve', 'alice.p2p', '--policy', 'maybe'], /Allowed choices are cache-only, cache-first, network/],
    [['register', 'alice.p2p', '--ttl', 'soon'], /^error: option '--ttl <seconds>' argument 'soon' is invalid/],
    [['register', 'alice.p2p', '--srv', 'x'], /^error: --srv "x" is not/],
    [['up', '--dns', 'here'], /^error: option '--dns <host:port>' argument 'here' is invalid/],
  ]
  for (const [argv, message] of cases) {
    const { code, out, err } = await runFake(argv)
    assert.equal(code, 2, argv.join(' '))
    assert.equal(out, '')
    assert.match(err, message)
    assert.equal(err.split('\n').length, 2, 'one line')
  }
})

test('with --json an error is one object on stdout', async () => {
  const { code, out, err } = await runFake(['resolve', 'alice.p2p', '--jsonn', '--json'])
  assert.equal(code, 2)
  assert.equal(err, '')
  assert.equal((JSON.parse(out) as { error: { code: string } }).error.code, 'usage')
})

test('every error of the table leaves with its own exit code', async () => {
  for (const [code, { exit, next }] of Object.entries(ERRORS)) {
    const error = new P2pnsError(code as ErrorCode, 'It did not work')
    const result = await runFake(['keys'], { running: true, node: { keys: () => Promise.reject(error) } })
    assert.equal(result.code, exit)
    assert.equal(result.err, `error: It did not work. ${next}\n`)
  }
})

test('an error that is not ours is reported as a bug, in one line, with exit code 1', async () => {
  const broken = () => Promise.reject(new TypeError('x is not\n a function.'))
  const { code, err } = await runFake(['keys'], { running: true, node: { keys: broken } })
  assert.equal(code, 1)
  assert.equal(err, `error: x is not a function. ${ERRORS.internal.next}\n`)
})

test('control characters from outside never reach the terminal', async () => {
  const peer = {
    peer: '12D3\x1b[2J',
    address: '/ip4/1.2.3.4/\u202Etcp',
    path: 'lan',
    introducer: false,
    use: 'control' as const,
  }
  const { out } = await runFake(['peers'], { running: true, node: { peers: async () => [peer] } })
  assert.equal(out, '12D3\\u{1b}[2J  lan  -  /ip4/1.2.3.4/\\u{202e}tcp\n')
})

test('a running node is used and only disconnected from', async () => {
  const { calls } = await runFake(['cache', 'clear', '--home', '/h'])
  assert.deepEqual(calls, [['connectNode', '/h'], ['clearCache'], ['stop']])
})

test('with none running a node without DNS is started for the job and stopped after it', async () => {
  const { code, calls } = await runFake(['resolve', 'alice.p2p', '--introducer', 'X', '--introducer', 'Y'], {})
  assert.equal(code, 0)
  assert.deepEqual(calls, [
    ['connectNode', '/home/alice/.local/share/p2pns'],
    ['createNode', { home: '/home/alice/.local/share/p2pns', introducers: ['X', 'Y'], visitor: true }],
    ['resolve', 'alice.p2p', null, { policy: 'cache-first' }],
    ['stop'],
  ])
})

test('a temporary node is stopped also when the job failed', async () => {
  const failing = () => Promise.reject(new P2pnsError('name_not_found', 'alice.p2p was not found'))
  const { code, calls } = await runFake(['resolve', 'alice.p2p'], { node: { resolve: failing } })
  assert.equal(code, 3)
  assert.deepEqual(calls.at(-1), ['stop'])
})

test('resolve prints records as dig does and says how they are known', async () => {
  const { out, err, calls } = await runFake(['resolve', 'alice.p2p', 'any', '--policy', 'network'])
  assert.equal(
    out,
    'alice.p2p.             300  IN  A    192.0.2.7\n_http._tcp.alice.p2p.  60   IN  SRV  0 0 8080 alice.p2p\n',
  )
  assert.equal(err, `; lease signed by 1 of 1 witness, from the DHT\n; key name ${KEY_NAME}\n`)
  assert.deepEqual(calls[1], ['resolve', 'alice.p2p', 'ANY', { policy: 'network' }])
})

test('with --json the answer is one line and nothing else is said', async () => {
  const { out, err } = await runFake(['--json', 'resolve', 'alice.p2p', 'A'])
  assert.equal(err, '')
  assert.equal(out.indexOf('\n'), out.length - 1)
  assert.equal((JSON.parse(out) as { keyName: string }).keyName, KEY_NAME)
})

test('register hands over records, peers and the absolute path of a file', async () => {
  const records = ['--a', '192.0.2.7', '--a', '192.0.2.8', '--txt', 'hi', '--ttl', '60']
  const others = ['--file', 'photos', '--peer', 'self', '--peer', '12D3KooWPeer']
  const { out, err, calls } = await runFake(['register', 'alice.p2p', ...records, ...others])
  assert.deepEqual(calls[1], [
    'register',
    {
      name: 'alice.p2p',
      records: [
        { type: 'A', data: '192.0.2.7', ttl: 60 },
        { type: 'A', data: '192.0.2.8', ttl: 60 },
        { type: 'TXT', data: '"hi"', ttl: 60 },
      ],
      file: '/work/photos',
      peers: ['self', '12D3KooWPeer'],
    },
  ])
  assert.match(out, new RegExp(`^name {6}alice.p2p\nkey name  ${KEY_NAME}\n`))
  assert.equal(err, 'note: mind the gap\n')
})

test('register passes a CID on as it is', async () => {
  const { calls } = await runFake(['register', 'alice.p2p', '--file', CID])
  assert.deepEqual(calls[1], ['register', { name: 'alice.p2p', records: [], file: CID }])
})

test('fetch hands over an absolute target path, named or not', async () => {
  const named = await runFake(['fetch', 'alice.p2p', '-o', 'sub/out', '--force'])
  assert.deepEqual(named.calls[1], ['fetch', 'alice.p2p', { out: '/work/sub/out', force: true }])
  assert.equal(named.out, '/work/sub/out\n')
  assert.equal(
    named.err,
    '20.0 MB in 2.0 s (7.5 MB/s) from 1 peer; 5.0 MB were already here\n  15.0 MB from 12D3KooWPeer (direct-tcp)\n',
  )
  const unnamed = await runFake(['fetch', 'alice.p2p/2026/beach.jpg'])
  assert.deepEqual(unnamed.calls[1], ['fetch', 'alice.p2p/2026/beach.jpg', { out: '/work/beach.jpg' }])
})

test('peers and keys print one object per line with --json', async () => {
  const { out } = await runFake(['peers', '--json'])
  const peers = out.trimEnd().split('\n')
  assert.deepEqual(
    peers.map((line) => (JSON.parse(line) as { peer: string }).peer),
    ['12D3KooWMeet', '12D3KooWPeer'],
  )
  assert.equal((await runFake(['keys'])).out, `zone  alice.p2p  ${KEY_NAME}\n`)
})

test('status shows what the node is, holds and shares', async () => {
  const { out } = await runFake(['status'])
  assert.match(out, /^peer id {6}12D3KooWPeer$/m)
  assert.match(out, /^uptime {7}2 min 5 s$/m)
  assert.match(out, /^introducers {2}\S+ \(connected\)$/m)
  assert.match(out, /^shares {7}bafyrei\S+ {2}\/home\/alice\/photos {2}\(3 files, 20\.0 MB\)$/m)
})

test('share on a running node ends at once, its first line is the CID', async () => {
  const { code, out, err, calls } = await runFake(['share', 'photos', '--as', 'alice.p2p'])
  assert.equal(code, 0)
  assert.equal(out, `${CID}\n`)
  assert.match(err, /^3 files, 20\.0 MB; link p2pns:bafyrei.*\nalice\.p2p leads to it now\n$/)
  assert.deepEqual(calls.slice(1), [['share', '/work/photos', { as: 'alice.p2p' }], ['stop']])
})

test('share without a running node stays, can be used by other commands, and ends with Ctrl-C', async () => {
  const world = fakeWorld()
  const ended = run(['share', 'photos', '--json'], world)
  await world.firstLine
  assert.equal((JSON.parse(world.out()) as { cid: string }).cid, CID)
  world.press('SIGINT')
  assert.equal(await ended, 0)
  assert.deepEqual(
    world.calls.map(([call]) => call),
    ['connectNode', 'createNode', 'serveApi', 'share', 'api stopped', 'stop'],
  )
})

test('up says that it is ready, stays, and stops cleanly', async () => {
  const world = fakeWorld()
  const ended = run(['up', '--introducer', 'X', '--listen', 'L', '--upstream', '192.0.2.53:53', '--json'], world)
  await world.firstLine
  const { peerId, addresses, introducers } = STATUS
  const ready = { event: 'ready', peerId, home: STATUS.home, addresses, dns: '127.0.0.1:5354', introducers }
  assert.deepEqual(JSON.parse(world.out()), ready)
  world.press('SIGTERM')
  assert.equal(await ended, 0)
  const home = '/home/alice/.local/share/p2pns'
  assert.deepEqual(world.calls, [
    ['connectNode', home],
    ['createNode', { introducers: ['X'], listen: ['L'], home }],
    ['createResolver', { host: '127.0.0.1', port: 5354, upstream: ['192.0.2.53:53'] }],
    ['serveApi', home],
    ['api stopped'],
    ['resolver stopped'],
    ['stop'],
  ])
})

test('up takes several upstreams, the word system, and names that may lead to private addresses', async () => {
  const forwarding = async (...args: string[]): Promise<unknown> => {
    const world = fakeWorld()
    const ended = run(['up', '--json', ...args], world)
    await world.firstLine
    world.press('SIGTERM')
    assert.equal(await ended, 0)
    return world.calls.find(([call]) => call === 'createResolver')?.[1]
  }
  const listening = { host: '127.0.0.1', port: 5354 }
  assert.deepEqual(
    await forwarding('--upstream', 'system', '--upstream', '2001:db8::53', '--upstream', '192.0.2.1:5353'),
    {
      ...listening,
      upstream: ['system', '2001:db8::53', '192.0.2.1:5353'],
    },
  )
  assert.deepEqual(await forwarding('--allow-private', 'a.example', '--allow-private', 'p2p'), {
    ...listening,
    upstream: undefined,
    allowPrivate: ['a.example', 'p2p'],
  })
  assert.deepEqual(await forwarding('--allow-private'), { ...listening, upstream: undefined, allowPrivate: true })
  for (const wrong of ['dns.example', 'dns.example:53', '', '192.0.2.1:x']) {
    assert.equal(await run(['up', '--upstream', wrong], fakeWorld()), 2, wrong)
  }
})

test('whatever changes a name on a node with DNS empties the cache of its resolver, also when it failed', async () => {
  const calls: unknown[][] = []
  const failing = () => Promise.reject(new P2pnsError('name_taken', 'it belongs to somebody else'))
  const { engine } = fakeWorld()
  const resolver = await engine.createResolver({
    host: '::1',
    port: 53,
    lookup: failing,
    now: () => 0,
  })
  const node = resolvingNode(fakeNode(calls, { share: failing }), {
    ...resolver,
    clear: () => void calls.push(['cleared']),
  })
  await node.register({ name: 'alice.p2p' })
  await assert.rejects(node.share('/photos', { as: 'alice.p2p' }))
  await node.clearCache()
  await node.resolve('alice.p2p')
  assert.deepEqual(
    calls.map(([call]) => call),
    ['register', 'cleared', 'cleared', 'clearCache', 'cleared', 'resolve'],
  )
  assert.equal((await node.status()).dns, '[::1]:53')
})

test('up --no-dns runs without a resolver', async () => {
  const world = fakeWorld()
  const ended = run(['up', '--no-dns'], world)
  await world.firstLine
  world.press('SIGINT')
  assert.equal(await ended, 0)
  assert.ok(!world.calls.some(([call]) => call === 'createResolver'))
})

test('up refuses a home in which a node already runs', async () => {
  const { code, err, calls } = await runFake(['up'])
  assert.equal(code, ERRORS.node_running.exit)
  assert.match(err, /^error: A node already runs in /)
  assert.deepEqual(calls.at(-1), ['stop'], 'it disconnects')
})

test('the first line of an introducer is its address alone', async () => {
  const world = fakeWorld()
  const ended = run(['introducer', '--home', '/h', '--http', '127.0.0.1:8080'], world)
  await world.firstLine
  world.press('SIGINT')
  assert.equal(await ended, 0)
  assert.equal(world.out(), '/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWMeet\n')
  assert.match(world.err(), /^also at \/ip4\/127\.0\.0\.1\S+\nmetrics at http:\/\/127\.0\.0\.1:8080\/metrics\n/)
  assert.deepEqual(world.calls, [
    ['createIntroducer', { home: '/h/introducer', http: { host: '127.0.0.1', port: 8080 } }],
    ['introducer stopped'],
  ])
})

test('an introducer is told of the other witnesses of its realm', async () => {
  const world = fakeWorld()
  const ended = run(['introducer', '--home', '/h', '--witness', 'one', '--witness', 'two', '--json'], world)
  await world.firstLine
  const { realm } = JSON.parse(world.out()) as { realm: { id: string; quorum: number; witnesses: number } }
  world.press('SIGINT')
  assert.equal(await ended, 0)
  assert.deepEqual({ ...realm, id: realm.id.length }, { id: 64, quorum: 1, witnesses: 1 })
  assert.deepEqual(world.calls[0], ['createIntroducer', { home: '/h/introducer', witnesses: ['one', 'two'] }])
})

test('Ctrl-C stops a job through its signal, stops the node and exits 130', async () => {
  const fetching = Promise.withResolvers<void>()
  const world = fakeWorld({
    node: {
      fetch: (_target, options) =>
        new Promise((_, reject) => {
          options?.signal?.addEventListener('abort', () => reject(new Error('aborted by the signal')))
          fetching.resolve()
        }),
    },
  })
  const ended = run(['fetch', 'alice.p2p'], world)
  await fetching.promise
  world.press('SIGINT')
  assert.equal(await ended, 130)
  assert.equal(world.err(), `error: Stopped by SIGINT. ${ERRORS.interrupted.next}\n`)
  assert.deepEqual(world.calls.at(-1), ['stop'])
})

test('a second Ctrl-C ends the process at once, but npm passing the first one on does not', async () => {
  const fetching = Promise.withResolvers<void>()
  const hanging = Promise.withResolvers<never>()
  const world = fakeWorld({
    node: {
      fetch() {
        fetching.resolve()
        return hanging.promise
      },
    },
  })
  const ended = run(['fetch', 'alice.p2p'], world)
  await fetching.promise
  world.press('SIGINT')
  world.clock.now += 20
  world.press('SIGINT')
  assert.deepEqual(world.exits, [])
  world.clock.now += 1000
  world.press('SIGINT')
  assert.deepEqual(world.exits, [130])
  hanging.reject(new Error('over'))
  assert.equal(await ended, 130)
})

test('up shows its numbers where it is told to, and says where', async () => {
  const world = fakeWorld()
  const ended = run(['up', '--json', '--http', '127.0.0.1:9100'], world)
  await world.firstLine
  world.press('SIGINT')
  assert.equal(await ended, 0)
  assert.equal((JSON.parse(world.out()) as { http: string }).http, '127.0.0.1:9100')
  assert.deepEqual(
    world.calls.filter(([call]) => String(call).includes('etrics')),
    [['serveMetrics', { host: '127.0.0.1', port: 9100 }], ['metrics stopped']],
  )
})
