/** Sends the packets of cases to a server and says in what its answers differ from what must come back. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { ask, type Reply, readReply } from './packet.ts'

export type Expect =
  | 'nothing'
  | (Partial<Omit<Reply, 'options' | 'size' | 'opt'>> & {
      /** Null: there must be none. */
      opt?: Partial<NonNullable<Reply['opt']>> | null
      /** How each begins, in their order. */
      options?: string[]
      maxSize?: number
    })

export type Transport = 'udp' | 'tcp'

export interface Case {
  name: string
  /** Number and section. */
  rfc: string
  packet: Buffer
  /** What is sent next, made from the answer to `packet`; the answer to that counts. */
  next?: (reply: Reply) => Buffer
  expect: Expect
  /** What is expected over TCP, where that is something else. */
  tcp?: Expect
  /** Default: both. */
  over?: Transport
  /** Default: one with nothing set. */
  server?: 'upstream' | 'strict'
  /** It is about our network or our settings, and says nothing of others. */
  ours?: true
}

export const transportsOf = ({ over }: Case): Transport[] => (over ? [over] : ['udp', 'tcp'])

/** The last answer of a case; undefined for none. `patience`: ms to wait for it, where no sentinel may be sent. */
export async function answerTo(
  one: Case,
  port: number,
  transport: Transport,
  patience?: number,
): Promise<Buffer | undefined> {
  const send = transport === 'udp' ? overUdp : overTcp
  const first = await send(port, one.packet, patience)
  return one.next && first ? send(port, one.next(readReply(first)), patience) : first
}

/** What differs, in words; empty when nothing does. */
export function differences(one: Case, transport: Transport, answer: Buffer | undefined): string[] {
  const expect = transport === 'tcp' ? (one.tcp ?? one.expect) : one.expect
  if (expect === 'nothing') return answer ? [`an answer: ${show(answer)}`] : []
  if (!answer) return ['no answer']
  let reply: Reply
  try {
    reply = readReply(answer)
  } catch (error) {
    return [`unreadable: ${String(error)}`]
  }
  const { opt, options, maxSize, ...plain } = { ...echo(one), ...expect }
  const wrong: string[] = []
  const check = (what: string, fine: boolean, is: unknown, wanted: unknown): void => {
    if (!fine) wrong.push(`${what}: ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`)
  }
  for (const [key, wanted] of Object.entries(plain)) {
    const is = reply[key as keyof Reply]
    check(key, JSON.stringify(unordered(is)) === JSON.stringify(unordered(wanted)), is, wanted)
  }
  if (opt === null) check('opt', reply.opt === undefined, reply.opt, 'none')
  for (const [key, wanted] of Object.entries(opt ?? {})) {
    const is = reply.opt?.[key as keyof typeof reply.opt]
    check(`opt ${key}`, is === wanted, is, wanted)
  }
  if (options) {
    const fine =
      options.length === reply.options.length && options.every((text, i) => reply.options[i]?.startsWith(text))
    check('options', fine, reply.options, options)
  }
  if (maxSize !== undefined) check('size', reply.size <= maxSize, reply.size, `at most ${maxSize}`)
  const id = answer.readUInt16BE(0)
  check('id', id === one.packet.readUInt16BE(0), id, 'that of the query')
  return wrong
}

/** The question must come back byte for byte, but for the answers that are a header only. */
function echo({ packet, next }: Case): { question?: string } {
  return next ? {} : { question: packet.toString('hex', 12, endOf(packet)) }
}

function endOf(packet: Buffer): number {
  let at = 12
  while (packet[at]) at += 1 + (packet[at] as number)
  return at + 5
}

/** Records of one set have no order; aliases stand before what they lead to anyway. */
function unordered(value: unknown): unknown {
  return Array.isArray(value) ? value.map((item) => JSON.stringify(item)).sort() : value
}

export function show(answer: Buffer | undefined): string {
  if (!answer) return 'nothing'
  try {
    const { rcode, flags, answer: answers, authority, options } = readReply(answer)
    const records = [...answers.slice(0, 3), ...(answers.length > 3 ? [`+${answers.length - 3}`] : []), ...authority]
    return [`rcode ${rcode}`, flags, ...records, ...options].join('; ')
  } catch (error) {
    return String(error)
  }
}

const SENTINEL = ask('sentinel.invalid')
SENTINEL.writeUInt16BE(0xffff)

/** Without `patience` a second query follows; when that is answered, nothing will come for the first. */
async function overUdp(port: number, packet: Buffer, patience?: number): Promise<Buffer | undefined> {
  const socket = createSocket('udp4')
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
  const timer = patience === undefined ? undefined : setTimeout(() => resolve(undefined), patience)
  let waiting = false
  socket.on('message', (message) => {
    if (message.readUInt16BE(0) !== 0xffff) resolve(message)
    // What takes a turn longer than the sentinel, because a zone is looked up, may still come.
    else if (!waiting) {
      waiting = true
      setImmediate(() => setImmediate(() => resolve(undefined)))
    }
  })
  // Nobody listens there (yet).
  socket.on('error', () => resolve(undefined))
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.send(packet)
  if (patience === undefined && isSilent(packet)) socket.send(SENTINEL)
  const answer = await promise
  clearTimeout(timer)
  socket.close()
  return answer
}

/** Only these deserve no answer (RFC 8906 and good practice): anything else is waited for. */
function isSilent(packet: Buffer): boolean {
  return packet.length < 12 || ((packet[2] as number) & 0x80) !== 0
}

async function overTcp(port: number, packet: Buffer, patience = 10_000): Promise<Buffer | undefined> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.setTimeout(patience, () => socket.destroy())
  socket.on('error', () => {})
  socket.write(Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet]))
  let received = Buffer.alloc(0)
  try {
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer])
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) return received.subarray(2)
    }
  } catch {
    // It hung up.
  } finally {
    socket.destroy()
  }
  return undefined
}
