/**
 * The DHT without its wires: storing nodes that judge by the real rules, hostile ones among them, and the real client in front,
 * to which only the library's query is played.
 */
import { EventTypes, type KadDHT, MessageType } from '@libp2p/kad-dht'
import { MemoryDatastore } from 'datastore-core'
import { type Bytes, compareBytes, toHex, utf8 } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { sha256 } from '../../node/core/keys.ts'
import { compareRecords } from '../../node/core/records.ts'
import { Dht } from '../../node/net/dht.ts'
import { RecordGuard } from '../../node/net/record-guard.ts'
import type { Machine } from './machine.ts'
import { call } from './wire.ts'

export const HOSTILITIES = ['rollback', 'refusal', 'garbage', 'silence'] as const
export type Hostility = (typeof HOSTILITIES)[number]

/** Peers that a query of the library reaches, and how many of them it asks at a time. */
const CLOSEST = 20
const AT_A_TIME = 3
/** Milliseconds that a peer which says nothing costs. */
const PEER_TIMEOUT = 2_000

/** Keeps records for others; with a `hostility` it does that instead. */
export class StoringNode {
  readonly machine: Machine
  readonly id: Bytes
  readonly hostility: Hostility | undefined
  readonly #guard: RecordGuard
  /** What a node that rolls back keeps: the first record that it saw of each key. */
  readonly #first = new Map<string, Bytes>()

  constructor(machine: Machine, hostility?: Hostility) {
    this.machine = machine
    this.id = sha256(utf8(machine.name))
    this.hostility = hostility
    this.#guard = new RecordGuard(new MemoryDatastore(), machine.now, this.id)
  }

  async get(key: Bytes): Promise<Bytes | undefined> {
    switch (this.hostility) {
      case undefined:
        return this.#guard.value(key)
      case 'rollback':
        return this.#first.get(toHex(key))
      case 'refusal':
        return undefined
      case 'garbage':
        return damaged(this.machine, (await this.#guard.value(key)) ?? this.machine.world.random.bytes(200))
      default:
        return new Promise(() => {})
    }
  }

  async put(key: Bytes, value: Bytes): Promise<void> {
    switch (this.hostility) {
      case 'rollback':
        if (!this.#first.has(toHex(key))) this.#first.set(toHex(key), value)
        return
      case 'refusal':
        throw new P2pnsError('record_older', 'A newer record is held, says who holds none')
      case 'silence':
        return new Promise(() => {})
      default:
        await this.#guard.store(key, value)
    }
  }
}

/** A good record with a few bytes wrong. */
function damaged(machine: Machine, value: Bytes): Bytes {
  const { random } = machine.world
  const bytes = Uint8Array.from(value)
  for (let i = random.between(1, 4); i > 0; i--) bytes[random.between(0, bytes.length - 1)] = random.between(0, 255)
  return bytes
}

/** The newest record that an honest node holds at this moment, whether or not anybody can reach it. */
export async function newestHeld(nodes: readonly StoringNode[], key: Bytes, now: number): Promise<Bytes | undefined> {
  let best: Bytes | undefined
  for (const node of closest(nodes, key)) {
    if (node.hostility !== undefined) continue
    const value = await node.get(key)
    if (value !== undefined && (best === undefined || compareRecords(key, value, best, now) > 0)) best = value
  }
  return best
}

function closest(nodes: readonly StoringNode[], key: Bytes): StoringNode[] {
  const target = sha256(key)
  const distance = ({ id }: StoringNode) => id.map((byte, i) => byte ^ (target[i] as number))
  return nodes
    .map((node) => ({ node, distance: distance(node) }))
    .sort((a, b) => compareBytes(a.distance, b.distance))
    .slice(0, CLOSEST)
    .map(({ node }) => node)
}

/** The real client of the DHT on `machine`, over these nodes. */
export function dhtOn(machine: Machine, nodes: readonly StoringNode[]): Dht {
  const kad = {
    get: (key: Bytes, { signal }: { signal: AbortSignal }) =>
      query(machine, closest(nodes, key), signal, async (node) => {
        const value = await node.get(key)
        return { type: EventTypes.PEER_RESPONSE, ...(value ? { record: { key, value } } : {}) }
      }),
    put: (key: Bytes, value: Bytes, { signal }: { signal: AbortSignal }) =>
      query(machine, closest(nodes, key), signal, async (node) => {
        await node.put(key, value)
        return { type: EventTypes.PEER_RESPONSE, messageType: MessageType.PUT_VALUE, record: { key, value } }
      }),
  }
  // As a client: it stores nothing itself.
  return new Dht(
    kad as unknown as KadDHT,
    new RecordGuard(new MemoryDatastore(), machine.now, sha256(utf8(machine.name))),
    machine.now,
  )
}

/** The answers of `nodes` as they come, a few being asked at a time; one that fails or is silent has none. */
async function* query<T>(
  machine: Machine,
  nodes: readonly StoringNode[],
  signal: AbortSignal,
  ask: (node: StoringNode) => Promise<T>,
): AsyncGenerator<T> {
  const waiting = [...nodes]
  const answers: T[] = []
  let running = 0
  let wake = () => {}
  const next = () => {
    const node = waiting.shift()
    if (node === undefined || signal.aborted) return
    running++
    void call(machine, node.machine, PEER_TIMEOUT, () => ask(node))
      .then((answer) => void answers.push(answer))
      .catch(() => {})
      .finally(() => {
        running--
        next()
        wake()
      })
  }
  signal.addEventListener('abort', () => wake(), { once: true })
  for (let i = 0; i < AT_A_TIME; i++) next()
  for (;;) {
    const answer = answers.shift()
    if (answer !== undefined) yield answer
    else if (signal.aborted) throw signal.reason
    else if (running === 0) return
    else
      await new Promise<void>((resolve) => {
        wake = resolve
      })
  }
}
