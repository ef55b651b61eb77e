/**
 * `npx node test/bench/mutants.ts [--packets N] [--udp N] [--tcp N] [--seed 1] [--way batch|dgram] [--from N]`: mutated packets straight
 * into the resolver, and over UDP and TCP to a server; 10 million each, 1 million over TCP. Nothing may be thrown, hang or grow, and
 * good queries in between are answered. What fails is printed with the packet; `--from` begins with the packet of that number.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { SingleBar } from 'cli-progress'
import { Inside } from '../resolver/mutants/inside.ts'
import type { Tally } from '../resolver/mutants/tally.ts'
import { Server, TcpFlood, UdpFlood } from './mutants-net.ts'

const { values } = parseArgs({
  options: {
    packets: { type: 'string', default: '10000000' },
    udp: { type: 'string' },
    tcp: { type: 'string' },
    seed: { type: 'string', default: '1' },
    way: { type: 'string', default: 'batch' },
    from: { type: 'string', default: '0' },
  },
})
const packets = Number(values.packets)
const [seed, from] = [Number(values.seed), Number(values.from)]
/** Packets between two looks at the progress. */
const STEP = 20_000
/** ms between two looks at the memory. */
const SAMPLE = 3_000
/** After this part of the packets caches and heaps have their sizes; then memory may grow by so many MB. */
const WARM = 0.5
const GROWTH = 64
const MAX_SHOWN = 10

let failed = false

class Memory {
  readonly samples: { part: number; mb: number }[] = []

  /** At the start, and after each tenth of the packets. */
  text(): string {
    const tenths = Array.from({ length: 11 }, (_, i) => this.samples.findLast(({ part }) => part <= i / 10 + 0.01)?.mb)
    return `RSS by tenths ${[this.samples[0]?.mb, ...tenths.slice(1)].map((mb) => mb ?? '-').join(' ')} MB`
  }

  get warm(): number {
    return this.samples.find(({ part }) => part >= WARM)?.mb ?? 0
  }

  get grew(): number {
    return (this.samples.at(-1)?.mb ?? 0) - this.warm
  }
}

/** Runs to `total` by steps, looking at the memory now and then. */
async function measured(
  what: string,
  total: number,
  tally: Tally,
  rss: () => number,
  run: (from: number, to: number) => Promise<void>,
  more: () => string,
  close: () => void = () => undefined,
): Promise<void> {
  if (total === 0) return close()
  const memory = new Memory()
  const bar = new SingleBar({
    format: `${what} {bar} {percentage} % {value}/{total} {eta_formatted}`,
    clearOnComplete: true,
  })
  if (process.stderr.isTTY) bar.start(total, 0)
  const start = performance.now()
  let sampled = Number.NEGATIVE_INFINITY
  try {
    for (let at = 0; at < total && tally.failures.length < MAX_SHOWN; at += STEP) {
      await run(from + at, from + Math.min(at + STEP, total))
      if (process.stderr.isTTY) bar.update(tally.packets)
      const now = performance.now()
      if (now - sampled < SAMPLE && at > 0 && at + STEP < total) continue
      memory.samples.push({ part: (at + STEP) / total, mb: rss() })
      sampled = now
    }
  } catch (error) {
    failed = true
    console.error(error)
  }
  bar.stop()
  close()
  const seconds = (performance.now() - start) / 1000
  if (memory.grew > GROWTH) console.log(`${what}: memory grew by ${memory.grew} MB in the second half`)
  if (tally.failures.length > 0 || memory.grew > GROWTH) failed = true
  console.log(`${what}: ${tally.packets} packets in ${seconds.toFixed(0)} s; ${more()}`)
  console.log(`  ${tally.rcodeText()}; ${tally.silent} deserved no answer and got none`)
  console.log(`  ${tally.valid} good queries in between answered; ${memory.text()}; ${tally.failures.length} failures`)
  for (const failure of tally.failures.slice(0, MAX_SHOWN)) console.log(JSON.stringify(failure))
}

async function inside(): Promise<void> {
  const one = new Inside(seed)
  const crashed = (error: unknown): void => one.crashed(error instanceof Error ? (error.stack ?? '') : String(error))
  process.on('unhandledRejection', crashed)
  process.on('uncaughtException', crashed)
  const rss = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20)
  await measured(
    'inside',
    packets,
    one.tally,
    rss,
    (a, b) => one.run(a, b),
    () => {
      const { taken, refused } = one.tally
      return `${taken} responses of others taken, ${refused} refused; the slowest 128 took ${one.slowest.toFixed(0)} ms`
    },
  )
  process.off('unhandledRejection', crashed)
  process.off('uncaughtException', crashed)
}

await inside()
const server = await Server.start(values.way === 'dgram' ? 'dgram' : 'batch')
const udp = new UdpFlood(seed, server)
await udp.open()
await measured(
  'UDP',
  Number(values.udp ?? packets),
  udp.tally,
  () => server.rss(),
  (a, b) => udp.run(a, b),
  () => `${udp.unanswered} unanswered; ${udp.lost} good queries sent again`,
  () => udp.close(),
)
const tcp = new TcpFlood(seed, server)
await measured(
  'TCP',
  Number(values.tcp ?? packets / 10),
  tcp.tally,
  () => server.rss(),
  (a, b) => tcp.run(a, b),
  () => {
    return `${tcp.connections} connections; ${tcp.unanswered} cut off by what came after them`
  },
)
await delay(100)
if (server.gone !== undefined) {
  failed = true
  console.log(`the server is gone: ${server.gone}`)
}
await server.stop()
process.exit(failed ? 1 : 0)
