import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run } from '../../cli/run.ts'
import type { FetchRequest, ManifestView, P2pnsNode, Transfer, Verified } from '../../node/contract.ts'
import { ERRORS, P2pnsError } from '../../node/core/errors.ts'
import { CID, fakeWorld, runFake } from './fake-world.ts'

const TRANSFER: Transfer = {
  id: 'k3xmq',
  target: 'alice.p2p',
  cid: CID,
  out: '/work/alice',
  state: 'running',
  done: 5_000_000,
  total: 20_000_000,
  chunks: { have: 20, total: 80 },
  peers: [
    { peer: '12D3KooWOne', path: 'lan', bytes: 4_000_000, rate: 1_000_000.4 },
    { peer: '12D3KooWTwo', path: 'relayed', bytes: 1_000_000, rate: 500_000 },
  ],
  banned: [{ peer: '12D3KooWBad', why: 'it sent a wrong chunk' }],
}
const ROW = 'k3xmq  running  25 %  5.0 MB of 20.0 MB  1.5 MB/s from 2 peers  alice.p2p -> /work/alice\n'
const PAUSED: Transfer = {
  ...TRANSFER,
  state: 'paused',
  peers: [],
  banned: [],
  why: 'stopped; `p2pns transfers resume k3xmq` goes on',
}

/** On a running node with these methods. */
function onNode(argv: string[], node: Partial<P2pnsNode>) {
  return runFake(argv, { running: true, node })
}

test('a range is given as in HTTP, and the node is asked for its first byte and one more than its last', async () => {
  for (const [text, range] of [
    ['0-99', { start: 0, end: 100 }],
    ['7-7', { start: 7, end: 8 }],
    ['100-', { start: 100 }],
    ['-100', { start: -100 }],
  ] as const) {
    const asked: unknown[] = []
    let closed = 0
    const { code, out, err } = await onNode(['cat', 'alice.p2p/a.txt', `--range=${text}`], {
      openRange: async (target, wanted) => {
        asked.push(target, wanted)
        const bytes = (async function* () {
          yield Buffer.from('one ')
          yield Buffer.from('two\x1b')
        })()
        return { cid: CID, size: 200, start: 0, end: 8, bytes, close: async () => void closed++ }
      },
    })
    assert.deepEqual([code, err, closed], [0, '', 1])
    assert.equal(out, 'one two\x1b', 'the bytes as they are')
    assert.deepEqual(asked, ['alice.p2p/a.txt', range])
  }
})

test('a cat that breaks off ends its links and tells why', async () => {
  let closed = 0
  const { code, out, err } = await onNode(['cat', 'alice.p2p/a.txt'], {
    openRange: async () => {
      const bytes = (async function* () {
        yield Buffer.from('half')
        throw new P2pnsError('peer_unreachable', 'nobody has the rest')
      })()
      return { cid: CID, size: 8, start: 0, end: 8, bytes, close: async () => void closed++ }
    },
  })
  assert.deepEqual([code, out, closed], [ERRORS.peer_unreachable.exit, 'half', 1])
  assert.equal(err, `error: nobody has the rest. ${ERRORS.peer_unreachable.next}\n`)
})

test('what cannot be meant is a usage error before a node is asked', async () => {
  for (const [argv, message] of [
    [['cat', 'x', '--range', '9-1'], /The last byte comes before the first/],
    [['cat', 'x', '--range=-'], /It looks like 0-99, 100- or -100/],
    [['cat'], /missing required argument 'target'/],
    [['fetch', 'x', '--wait', 'long'], /'--wait <seconds>' argument 'long' is invalid/],
    [['fetch', 'x', '--down-limit', '0'], /It looks like 8MiB, 500kB or 4096/],
    [['fetch', 'x', '--up-limit', '8 miles'], /It looks like 8MiB/],
    [['limits', '--up', 'fast'], /It looks like 8MiB, 500kB, 4096 or none/],
    [['probe', 'x', '--size', 'much'], /It looks like 8MiB/],
    [['manifest', 'verify', 'x'], /missing required argument 'path'/],
    [['transfers', 'pause'], /missing required argument 'id'/],
    [['transfers', 'stop', 'k3xmq'], /^error: /],
  ] as const) {
    const { code, out, err, calls } = await runFake([...argv])
    assert.equal(code, 2, argv.join(' '))
    assert.equal(out, '')
    assert.match(err, message)
    assert.deepEqual(calls, [])
  }
})

test('fetch hands over what is wanted, how long to wait and how fast, each only when given', async () => {
  const asked: Partial<FetchRequest>[] = []
  const fetch: P2pnsNode['fetch'] = async (_target, { out, only, wait, limits }) => {
    asked.push({ out, only, wait, limits })
    return { cid: CID, path: out, bytes: 9, seconds: 0.2, resumed: 9, peers: [] }
  }
  const many = ['--only', '*.txt', '--only', '2026/**', '--wait', '0', '--up-limit', '1MiB', '--down-limit', '500kB']
  const { err } = await onNode(['fetch', 'alice.p2p', ...many], { fetch })
  assert.equal(err, '9 B in 0.2 s from 0 peers; 9 B were already here\n')
  await onNode(['fetch', 'alice.p2p', '--down-limit', '4096'], { fetch })
  await onNode(['fetch', 'alice.p2p'], { fetch })
  const nothing = { out: '/work/alice.p2p', only: undefined, wait: undefined, limits: undefined }
  assert.deepEqual(asked, [
    { ...nothing, only: ['*.txt', '2026/**'], wait: 0, limits: { up: 1_048_576, down: 500_000 } },
    { ...nothing, limits: { down: 4096 } },
    nothing,
  ])
})

test('transfers shows a line for each and why it does not move; with --json one object each', async () => {
  const transfers = async () => [TRANSFER, { ...PAUSED, total: 0, done: 0 }]
  const { out, err } = await onNode(['transfers'], { transfers })
  const paused =
    'k3xmq  paused  -  0 B of 0 B  alice.p2p -> /work/alice\n  stopped; `p2pns transfers resume k3xmq` goes on\n'
  assert.equal(out, ROW + paused)
  assert.equal(err, '')
  const json = await onNode(['transfers', '--json'], { transfers })
  assert.deepEqual(
    json.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
    await transfers(),
  )
})

test('a home without transfers says so to a person, and nothing with --json', async () => {
  const transfers = async () => []
  const { code, out, err } = await onNode(['transfers'], { transfers })
  assert.deepEqual([code, out, err], [0, '', 'no transfers\n'])
  const json = await onNode(['transfers', '--json'], { transfers })
  assert.deepEqual([json.code, json.out, json.err], [0, '', ''])
})

test('one transfer is shown with its peers and those that are asked no more; an unknown one is not found', async () => {
  const transfers = async () => [TRANSFER]
  const { out } = await onNode(['transfers', 'show', 'k3xmq'], { transfers })
  assert.equal(
    out,
    `${ROW}  from  12D3KooWOne  lan      4.0 MB  1.0 MB/s
  from  12D3KooWTwo  relayed  1.0 MB  500.0 kB/s
  not asked any more  12D3KooWBad  it sent a wrong chunk
`,
  )
  const unknown = await onNode(['transfers', 'show', 'other'], { transfers })
  assert.equal(unknown.code, 3)
  assert.equal(unknown.err, `error: there is no transfer other. ${ERRORS.transfer_not_found.next}\n`)
})

test('pause, resume and remove name the transfer; files go only when asked for', async () => {
  const asked: unknown[] = []
  const answer = async (...args: unknown[]): Promise<Transfer> => {
    asked.push(args)
    return PAUSED
  }
  const node = { pauseTransfer: answer, resumeTransfer: answer, removeTransfer: answer }
  const shown = /^k3xmq {2}paused {2}25 % .*\n {2}stopped; `p2pns transfers resume k3xmq` goes on\n$/
  assert.match((await onNode(['transfers', 'pause', 'k3xmq'], node)).out, shown)
  assert.match((await onNode(['transfers', 'resume', 'k3xmq'], node)).out, shown)
  assert.equal((await onNode(['transfers', 'remove', 'k3xmq'], node)).out, 'k3xmq is forgotten\n')
  assert.equal((await onNode(['transfers', 'remove', 'k3xmq', '--files'], node)).out, 'k3xmq is forgotten\n')
  const json = await onNode(['transfers', 'remove', 'k3xmq', '--json'], node)
  assert.deepEqual(JSON.parse(json.out), PAUSED)
  assert.deepEqual(asked, [['k3xmq'], ['k3xmq'], ['k3xmq', {}], ['k3xmq', { files: true }], ['k3xmq', {}]])
})

test('resume and limits need a running node, and start none', async () => {
  for (const argv of [
    ['transfers', 'resume', 'k3xmq'],
    ['limits', '--up', '1MiB'],
  ]) {
    const { code, err, calls } = await runFake(argv, {})
    assert.equal(code, 2)
    assert.match(err, /^error: No node runs in \/home\/alice\/\.local\/share\/p2pns[:;] .*p2pns up/)
    assert.deepEqual(calls, [['connectNode', '/home/alice/.local/share/p2pns']])
  }
})

test('limits sets what is named and takes the rest away', async () => {
  const asked: unknown[] = []
  const setLimits: P2pnsNode['setLimits'] = async (limits) => {
    asked.push(limits)
    return limits
  }
  const { out, calls } = await onNode(['limits', '--up', '8MiB', '--down', 'none'], { setLimits })
  assert.equal(out, 'up 8.4 MB/s, down unlimited\n')
  assert.deepEqual(calls.at(-1), ['stop'])
  assert.equal((await onNode(['limits', '--down', '1.5M', '--json'], { setLimits })).out, '{"down":1500000}\n')
  assert.equal((await onNode(['limits'], { setLimits })).out, 'up unlimited, down unlimited\n')
  assert.deepEqual(asked, [{ up: 8_388_608 }, { down: 1_500_000 }, {}])
})

test('up and share start a node with the limits given; a running node keeps its own and that is said', async () => {
  for (const argv of [
    ['up', '--no-dns'],
    ['share', 'photos'],
  ]) {
    const world = fakeWorld()
    const ended = run([...argv, '--up-limit', '2MiB', '--down-limit', '1k'], world)
    await world.firstLine
    world.press('SIGINT')
    assert.equal(await ended, 0)
    const created = world.calls.find(([call]) => call === 'createNode')?.[1] as { limits: unknown }
    assert.deepEqual(created.limits, { up: 2_097_152, down: 1000 })
  }
  const { err } = await runFake(['share', 'photos', '--up-limit', '2MiB'])
  assert.match(err, /^note: a node runs in this home; `p2pns limits` changes its limits\n/)
})

test('a manifest is listed with mode, size and path, and what was left out is told', async () => {
  const view: ManifestView = {
    cid: CID,
    publisher: 'key.p2p',
    created: '2026-11-20T10:20:00.000Z',
    hint: 'photos',
    bytes: 300_021,
    files: 3,
    entries: [
      { path: '2026', type: 'folder', size: 0, mode: 0o755 },
      { path: '2026/beach\x1b.raw', type: 'file', size: 300_000, mode: 0o644 },
      { path: 'run.sh', type: 'file', size: 21, mode: 0o5 },
    ],
  }
  const asked: unknown[] = []
  const manifest: P2pnsNode['manifest'] = async (target, options) => {
    asked.push([target, options?.all])
    return view
  }
  const { out, err } = await onNode(['manifest', 'show', 'alice.p2p'], { manifest })
  assert.equal(
    out,
    `cid        ${CID}
publisher  key.p2p
created    2026-11-20T10:20:00.000Z
name       photos
content    3 files, 300.0 kB

755  -         2026/
644  300.0 kB  2026/beach\\u{1b}.raw
005  21 B      run.sh
`,
  )
  assert.equal(err, '1 file more; --all shows them\n')
  const json = await onNode(['manifest', 'show', 'alice.p2p', '--all', '--json'], { manifest })
  assert.deepEqual(JSON.parse(json.out), view)
  assert.deepEqual(asked, [
    ['alice.p2p', undefined],
    ['alice.p2p', true],
  ])
})

test('a folder that differs from its manifest is listed by what is wrong, and the exit code is 4', async () => {
  const right: Verified = { cid: CID, path: '/work/x', ok: true, files: 3, missing: [], changed: [], extra: [] }
  const wrong: Verified = { ...right, ok: false, missing: ['a'], changed: ['b', 'c'], extra: ['d'] }
  const verifier = (verified: Verified) => ({
    verifyManifest: async (target: string, path: string) => {
      assert.deepEqual([target, path], ['alice.p2p', '/work/x'])
      return verified
    },
  })
  const argv = ['manifest', 'verify', 'alice.p2p', 'x']
  const good = await onNode(argv, verifier(right))
  assert.deepEqual([good.code, good.out, good.err], [0, 'all 3 files are right\n', ''])
  const bad = await onNode(argv, verifier(wrong))
  assert.equal(bad.code, 4)
  assert.equal(bad.out, 'missing  a\nchanged  b\nchanged  c\nextra    d\n')
  assert.match(bad.err, /^error: \/work\/x is not what alice\.p2p stands for\. /)
  const [first, second] = (await onNode([...argv, '--json'], verifier(wrong))).out.split('\n')
  assert.deepEqual(JSON.parse(first ?? ''), wrong)
  assert.equal((JSON.parse(second ?? '') as { error: { code: string } }).error.code, 'content_differs')
})

test('probe tells the path, the round trip and the rate of a peer', async () => {
  const probed = { peer: '12D3KooWPeer', path: 'lan', rtt: 0.42, bytes: 1_048_576, seconds: 0.5, rate: 2_097_152 }
  const asked: unknown[] = []
  const probe: P2pnsNode['probe'] = async (whom, options) => {
    asked.push([whom, options?.size])
    return probed
  }
  const { out } = await onNode(['probe', 'alice.p2p'], { probe })
  assert.equal(
    out,
    'peer        12D3KooWPeer\npath        lan\nround trip  0.4 ms\ntransfer    1.0 MB in 0.5 s\nrate        2.1 MB/s\n',
  )
  const json = await onNode(['probe', 'alice.p2p', '--size', '1MiB', '--json'], { probe })
  assert.deepEqual(JSON.parse(json.out), probed)
  assert.deepEqual(asked, [
    ['alice.p2p', undefined],
    ['alice.p2p', 1_048_576],
  ])
})
