/**
 * `npx node test/bench/hostile.ts [--size 256MiB] [--rate 40] [--rounds 3]`: one downloader, and sources that may send `rate` MB/s
 * each over real links: an honest one alone, and an honest one beside three liars. Both take turns; the liars change with each
 * round. A liar that was lost comes again after two seconds, as a search would have it, unless the fetch calls it useless.
 */
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type FetchView, fetchContent } from '../../node/files/fetch.ts'
import type { PeerWay } from '../../node/files/peer-link.ts'
import type { PeerAnswer, PeerRequest } from './hostile-peer.ts'
import { fillFile, sizeOf, spread } from './measure.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '256MiB' },
    rate: { type: 'string', default: '40' },
    rounds: { type: 'string', default: '3' },
  },
})
const size = sizeOf(values.size)
const folder = fs.mkdtempSync('/dev/shm/p2pns-hostile-')
const source = path.join(folder, 'source')
const out = path.join(folder, 'out')
const LIES = ['corrupt', 'truncate', 'swap', 'stall']
const COME_AGAIN = 2_000

interface Peer {
  child: ChildProcess
  port: number
}

async function ask(child: ChildProcess, request: PeerRequest): Promise<PeerAnswer> {
  child.send(request)
  const [answer] = await once(child, 'message')
  return answer as PeerAnswer
}

interface Tally {
  links: number
  /** Of those, how many ended because of what came on them: each with the first lie that was looked at. */
  useless: number
}

/** Ways to `peers`, by what each of them says; whoever is lost and not useless comes again. */
async function* ways(
  peers: Map<string, Peer>,
  tallies: Map<string, Tally>,
  signal: AbortSignal,
): AsyncGenerator<PeerWay> {
  const waiting = [...peers.keys()]
  let change = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => change.resolve())
  while (!signal.aborted) {
    for (const name of waiting.splice(0)) {
      const { child, port } = peers.get(name) as Peer
      const { ticket } = await ask(child, { type: 'ticket', lie: name })
      const tally = tallies.get(name) ?? { links: 0, useless: 0 }
      tallies.set(name, tally)
      tally.links++
      const secret = { id: Buffer.from(ticket.id, 'hex'), secret: Buffer.from(ticket.secret, 'hex'), expires: 0 }
      yield {
        peer: name,
        way: { candidates: [{ host: '127.0.0.1', port }], ticket: secret },
        ended: ({ useless }) => {
          if (useless) tally.useless++
          else
            void setTimeout(COME_AGAIN, undefined, { ref: false }).then(() => {
              waiting.push(name)
              change.resolve()
            })
        },
      }
    }
    await change.promise
    change = Promise.withResolvers()
  }
}

async function measure(id: string, sources: Map<string, Peer>): Promise<{ seconds: number; wrong: number }> {
  const stop = new AbortController()
  const tallies = new Map<string, Tally>()
  let view: FetchView | undefined
  for (const { child } of sources.values()) await ask(child, { type: 'lies' })
  const { seconds } = await fetchContent({
    id,
    links: ways(sources, tallies, stop.signal),
    out,
    random: (end) => randomInt(end),
    signal: stop.signal,
    onView: (shown) => (view = shown),
  })
  stop.abort()
  for (const [name, { child }] of sources) {
    if (name === 'honest') continue
    const { lies } = await ask(child, { type: 'lies' })
    const { links, useless } = tallies.get(name) as Tally
    const why = view?.banned.find(({ peer }) => peer === name)?.why ?? 'not banned'
    console.error(`  ${name}: ${useless} bad chunks looked at, ${lies} sent, ${links} links; ${why}`)
  }
  const { stdout } = spawnSync('cmp', ['-l', source, out], { encoding: 'utf8', maxBuffer: 2 ** 30 })
  const wrong = stdout.split('\n').length - 1 + Math.abs(fs.statSync(out).size - size)
  fs.rmSync(out)
  return { seconds, wrong }
}

const children: ChildProcess[] = []
try {
  fillFile(source, size)
  let id = ''
  const peers: Peer[] = []
  for (let i = 0; i < 4; i++) {
    const child = fork(path.join(import.meta.dirname, 'hostile-peer.ts'))
    children.push(child)
    const leaves = path.join(folder, `leaves${i}`)
    const shared = await ask(child, { type: 'share', source, leaves, rate: Number(values.rate) * 1e6 })
    id = shared.id
    peers.push({ child, port: shared.port })
  }
  const [honest, ...others] = peers as [Peer, ...Peer[]]
  const alone: number[] = []
  const among: number[] = []
  let wrong = 0
  for (let round = 0; round < Number(values.rounds); round++) {
    const liars = others.map((peer, i): [string, Peer] => [LIES[(round + i) % LIES.length] as string, peer])
    const first = await measure(id, new Map([['honest', honest]]))
    const second = await measure(id, new Map([...liars, ['honest', honest]]))
    alone.push(first.seconds)
    among.push(second.seconds)
    wrong += first.wrong + second.wrong
    console.error(`round ${round + 1}: alone ${first.seconds.toFixed(2)} s, among liars ${second.seconds.toFixed(2)} s`)
  }
  const ratios = among.map((seconds, i) => seconds / (alone[i] as number))
  console.log(`${values.size}, ${values.rate} MB/s each; median / min / max`)
  console.log(`an honest source alone:      ${spread(alone, 2)} s`)
  console.log(`an honest one, three liars:  ${spread(among, 2)} s`)
  console.log(`times as long: ${spread(ratios, 2)}; goal: at most 1.5`)
  console.log(`wrong bytes: ${wrong}`)
} finally {
  for (const child of children) child.kill('SIGKILL')
  fs.rmSync(folder, { recursive: true, force: true })
}
process.exit()
