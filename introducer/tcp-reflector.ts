/** Tells whoever asks over TCP where they come from, and keeps the connection for as long as they want it (docs/spec/reaching.md). */
import type { Socket } from 'node:net'
import { seenBytes, TCP_QUESTION } from '../node/core/datagram.ts'
import { equalBytes } from '../node/core/encoding.ts'
import { plainHost } from '../node/core/hosts.ts'
import { readExactly } from '../node/net/stream-duplex.ts'
import { addressBlock } from './limits.ts'

const QUESTION_TIME = 5_000
/** Connections of one address block, and of all. */
const MAX_EACH = 64
const MAX_ALL = 4096

const open = new Map<string, number>()

/** Takes a connection that begins as a question. */
export function tellWhere(socket: Socket): void {
  const host = plainHost(socket.remoteAddress ?? '')
  const block = addressBlock(host) ?? host
  const count = (open.get(block) ?? 0) + 1
  const all = [...open.values()].reduce((sum, one) => sum + one, 0)
  socket.on('error', () => socket.destroy())
  if (count > MAX_EACH || all >= MAX_ALL) return void socket.destroy()
  open.set(block, count)
  socket.once('close', () => {
    const left = (open.get(block) ?? 1) - 1
    if (left === 0) open.delete(block)
    else open.set(block, left)
  })
  void answer(socket, host).catch(() => socket.destroy())
}

async function answer(socket: Socket, host: string): Promise<void> {
  const question = await readExactly(socket, TCP_QUESTION.length, AbortSignal.timeout(QUESTION_TIME))
  if (!equalBytes(question, TCP_QUESTION)) throw new Error('that is no question')
  socket.setKeepAlive(true, 60_000)
  socket.write(seenBytes({ host, port: socket.remotePort ?? 0 }))
  // Nothing else is asked over it: who talks on is cut off.
  socket.once('data', () => socket.destroy())
}
