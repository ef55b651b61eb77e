/** Mutated packets over real sockets to a server in a process of its own: as many as it takes, with valid queries in between. */
import { type ChildProcess, fork } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Socket as Connection, connect } from 'node:net'
import * as path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ask, opt, option, readReply } from '../resolver/conformance/packet.ts'
import type { Transport } from '../resolver/conformance/run.ts'
import { judged, type Seen, see } from '../resolver/mutants/judge.ts'
import { mutated, randomOf } from '../resolver/mutants/mutate.ts'
import { QUERIES } from '../resolver/mutants/seeds.ts'
import { Tally } from '../resolver/mutants/tally.ts'
import type { FromServer } from './mutants-server.ts'

/** Datagrams before valid queries follow: less than what a socket's buffer holds. */
const BURST = 200
/** How long a valid query may take, in ms, and how often it may be lost. */
const PATIENCE = 2_000
const TRIES = 3
/** Ids of mutants; the valid queries have those above. */
const IDS = 0xff00
/** Queries in one write over TCP, and connections at once. */
const PIPELINE = 40
const LANES = 4
/** How many frames over TCP say another length than they have. */
const BROKEN = 0.02
const MAX_TCP_QUERY = 4_096
const ALICE = 'alice.p2p A 192.0.2.1,alice.p2p A 192.0.2.2'

export class Server {
  readonly port: number
  /** Why it is gone; undefined while it lives. */
  gone: string | undefined
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
    child.on('message', (message: FromServer) => {
      if ('crash' in message) this.gone = message.crash
    })
    child.on('exit', (code, signal) => (this.gone ??= `it ended with ${code ?? signal}`))
  }

  static async start(way: 'batch' | 'dgram'): Promise<Server> {
    const child = fork(path.join(import.meta.dirname, 'mutants-server.ts'), [way])
    const [said] = (await once(child, 'message')) as [FromServer]
    if ('crash' in said) throw new Error(said.crash)
    return new Server(child, said.port)
  }

  /** MB. */
  rss(): number {
    if (this.gone !== undefined) return 0
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
  }

  async stop(): Promise<void> {
    if (this.gone !== undefined) return
    this.#child.kill()
    await once(this.#child, 'exit')
  }
}

/** A mutant that was sent, and what it deserves. */
interface Sent {
  index: number
  packet: Buffer
  seen: Seen
}

/** What both transports do with an answer. */
abstract class Flood {
  readonly tally = new Tally()
  /** Valid queries that had to be sent again, and mutants that deserved an answer and got none. */
  lost = 0
  unanswered = 0
  protected readonly seed: number
  protected readonly server: Server
  readonly #transport: Transport

  constructor(seed: number, server: Server, transport: Transport) {
    this.seed = seed
    this.server = server
    this.#transport = transport
  }

  protected make(index: number): Sent {
    const random = randomOf(this.seed, index)
    const packet = mutated(random.pick(QUERIES), random, QUERIES)
    // Its id says which it is, whatever else became of it.
    if (packet.length >= 2) packet.writeUInt16BE(index % IDS)
    this.tally.packets++
    return { index, packet, seen: see(packet) }
  }

  protected judge({ index, packet, seen }: Sent, response: Buffer): void {
    const rcode = judged(packet, seen, this.#transport, response)
    if (typeof rcode === 'number') this.tally.count(rcode)
    else this.fail(index, packet, `${rcode}: ${response.toString('hex')}`)
  }

  protected fail(index: number, packet: Buffer, why: string): void {
    this.tally.failures.push({ seed: this.seed, index, how: this.#transport, why, packet: packet.toString('hex') })
  }

  /** Throws when the server is gone; all that may have done it are failures, the latest last. */
  protected checkAlive(latest: readonly Sent[]): void {
    if (this.server.gone === undefined) return
    for (const { index, packet } of latest) this.fail(index, packet, `the server is gone: ${this.server.gone}`)
    throw new Error(this.server.gone)
  }
}

export class UdpFlood extends Flood {
  constructor(seed: number, server: Server) {
    super(seed, server, 'udp')
  }

  /** By id. */
  readonly #sent: (Sent | undefined)[] = Array.from({ length: IDS })
  readonly #valid = new Map<number, { packet: Buffer; answered: () => void }>()
  #socket: Socket | undefined
  #probes = 0

  async open(): Promise<void> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 2 ** 22 })
    socket.on('message', (response) => this.#heard(response))
    // While nobody listens.
    socket.on('error', () => {})
    socket.connect(this.server.port, '127.0.0.1')
    await once(socket, 'connect')
    this.#socket = socket
  }

  close(): void {
    this.#socket?.close()
    for (const sent of this.#sent) this.#leave(sent)
  }

  async run(from: number, to: number): Promise<void> {
    for (let first = from; first < to; first += BURST) {
      const burst: Sent[] = []
      for (let index = first; index < Math.min(first + BURST, to); index++) {
        const sent = this.make(index)
        const id = index % IDS
        this.#leave(this.#sent[id])
        this.#sent[id] = sent
        burst.push(sent)
        this.#socket?.send(sent.packet)
      }
      // One that the thread answers, and, because of its cookie, one that it hands on.
      await Promise.all([this.#probe(burst, []), this.#probe(burst, [option(10, '0102030405060708')])])
    }
  }

  /** The slot is needed for another. */
  #leave(sent: Sent | undefined): void {
    if (sent === undefined) return
    if (sent.seen.kind === 'silence') this.tally.silent++
    else this.unanswered++
  }

  #heard(response: Buffer): void {
    const id = response.length >= 2 ? response.readUInt16BE(0) : 0
    const valid = this.#valid.get(id)
    if (valid) {
      const rcode = judged(valid.packet, see(valid.packet), 'udp', response)
      if (rcode === 0 && readReply(response).answer.join() === ALICE) valid.answered()
      else this.fail(this.tally.packets, valid.packet, `a good query is answered wrongly: ${response.toString('hex')}`)
      return
    }
    const sent = this.#sent[id]
    // A lost valid query may be answered after all.
    if (id >= IDS) return
    if (!sent) return this.fail(this.tally.packets, response, 'an answer to nothing')
    this.#sent[id] = undefined
    this.judge(sent, response)
  }

  async #probe(burst: readonly Sent[], options: Buffer[]): Promise<void> {
    const id = IDS + (this.#probes++ % (0x10000 - IDS))
    const packet = ask('alice.p2p', 'A', { records: [opt({ options: Buffer.concat(options) })] })
    packet.writeUInt16BE(id)
    const answered = Promise.withResolvers<true>()
    this.#valid.set(id, { packet, answered: () => answered.resolve(true) })
    try {
      for (let tries = 0; tries < TRIES; tries++) {
        this.#socket?.send(packet)
        const timer = new AbortController()
        const late = delay(PATIENCE, false, { signal: timer.signal }).catch(() => false)
        const heard = await Promise.race([answered.promise, late])
        timer.abort()
        if (heard) {
          this.tally.valid++
          return
        }
        this.checkAlive(burst)
        this.lost++
      }
      this.fail(this.tally.packets, packet, `a good query got no answer, after ${TRIES} tries`)
    } finally {
      this.#valid.delete(id)
    }
  }
}

/** One connection after the other. */
class Lane {
  readonly sent = new Map<number, Sent>()
  socket: Connection
  closed: Promise<unknown>
  onMessage: (response: Buffer) => void
  #received = Buffer.alloc(0)

  constructor(port: number, onMessage: (response: Buffer) => void) {
    this.onMessage = onMessage
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => this.socket.once('close', resolve))
    this.socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk])
      while (this.#received.length >= 2 && this.#received.length >= 2 + this.#received.readUInt16BE(0)) {
        const end = 2 + this.#received.readUInt16BE(0)
        this.onMessage(this.#received.subarray(2, end))
        this.#received = this.#received.subarray(end)
      }
    })
  }
}

export class TcpFlood extends Flood {
  constructor(seed: number, server: Server) {
    super(seed, server, 'tcp')
  }

  connections = 0
  #next = 0

  async run(from: number, to: number): Promise<void> {
    this.#next = from
    await Promise.all(Array.from({ length: LANES }, () => this.#lane(to)))
  }

  async #lane(to: number): Promise<void> {
    let lane: Lane | undefined
    while (this.#next < to) {
      lane ??= this.#open()
      lane = (await this.#write(lane, to)) ? lane : undefined
    }
    lane?.socket.destroy()
  }

  #open(): Lane {
    this.connections++
    return new Lane(this.server.port, () => {})
  }

  /**
   * A valid query, then mutants up to one that ends the connection, which comes once the others are answered, or at once. False when it
   * is closed, as it should be.
   */
  async #write(lane: Lane, to: number): Promise<boolean> {
    const valid = ask('alice.p2p')
    valid.writeUInt16BE(IDS)
    const frames = [framed(valid)]
    const sent = new Map<number, Sent>()
    const { promise: answered, resolve } = Promise.withResolvers<boolean>()
    let waiting = 1
    let broken = false
    let closes = false
    while (this.#next < to && sent.size < PIPELINE && !closes) {
      const one = this.make(this.#next++)
      const random = randomOf(this.seed + 1, one.index)
      broken = random.chance(BROKEN)
      closes = broken || one.seen.kind === 'silence' || one.packet.length > MAX_TCP_QUERY
      frames.push(
        framed(one.packet, broken ? random.pick([0, 1, one.packet.length + 1, 4_096, 4_097, 0xffff]) : undefined),
      )
      if (!broken) sent.set(one.index % IDS, one)
      if (!closes) waiting++
      else this.tally.silent++
    }
    lane.onMessage = (response) => {
      const id = response.readUInt16BE(0)
      const one = sent.get(id)
      if (id === IDS) {
        if (readReply(response).answer.join() === ALICE) this.tally.valid++
        else this.fail(this.#next, valid, `a good query is answered wrongly: ${response.toString('hex')}`)
      } else if (one) {
        sent.delete(id)
        this.judge(one, response)
      } else if (!broken) this.fail(this.#next, response, 'an answer to nothing')
      if (--waiting === 0) resolve(true)
    }
    const latest = [...sent.values()]
    const last = closes && randomOf(this.seed + 2, this.#next).chance(0.8) ? frames.pop() : undefined
    lane.socket.write(Buffer.concat(frames))
    const ended = lane.closed.then(() => false)
    let done: boolean | undefined = true
    if (!closes || last) done = await this.#inTime([answered, ended])
    if (done && last) lane.socket.write(last)
    if (done && closes) {
      lane.socket.end()
      done = await this.#inTime([ended])
    }
    this.checkAlive(latest)
    if (done === undefined) {
      this.fail(latest.at(-1)?.index ?? 0, latest.at(-1)?.packet ?? valid, 'the connection hangs')
      lane.socket.destroy()
    } else if (!done && (!closes || (last && waiting > 0))) {
      for (const { index, packet } of sent.values())
        this.fail(index, packet, 'the connection was closed without reason')
    }
    // What came before a packet that ends the connection may still have been answered, or not.
    if (closes) this.unanswered += [...sent.values()].filter(({ seen }) => seen.kind !== 'silence').length
    return done === true
  }

  /** Undefined when it takes too long. */
  async #inTime(waited: Promise<boolean>[]): Promise<boolean | undefined> {
    const timer = new AbortController()
    const late = delay(PATIENCE * 5, undefined, { signal: timer.signal }).catch(() => undefined)
    const done = await Promise.race([...waited, late])
    timer.abort()
    return done
  }
}

/** With its length before it, or with another. */
function framed(packet: Buffer, length = packet.length): Buffer {
  const prefix = Buffer.alloc(2)
  prefix.writeUInt16BE(length)
  return Buffer.concat([prefix, packet])
}
