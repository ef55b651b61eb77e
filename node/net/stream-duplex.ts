/** A libp2p stream as a stream of node:stream, for whoever takes sockets: TLS above all. */
import { Duplex } from 'node:stream'
import type { Stream } from '@libp2p/interface'

/** Breaking off either breaks off both; nothing is read that nobody asks for. */
export function duplexOf(stream: Stream): Duplex {
  const duplex = new Duplex({
    read: () => stream.resume(),
    write(bytes: Uint8Array, _encoding, done) {
      try {
        if (stream.send(bytes)) return done()
        stream.onDrain().then(
          () => done(),
          (error: unknown) => done(error as Error),
        )
      } catch (error) {
        done(error as Error)
      }
    },
    final(done) {
      stream.close().then(
        () => done(),
        () => done(),
      )
    },
    destroy(error, done) {
      if (stream.status === 'open' || stream.status === 'closing') stream.abort(error ?? new Error('closed'))
      done(error)
    },
  })
  stream.addEventListener('message', ({ data }) => {
    if (!duplex.push(data instanceof Uint8Array ? data : data.subarray())) stream.pause()
  })
  // 'remoteCloseWrite' comes before what waits to be read, 'end' after it, but also when the stream breaks off.
  stream.addEventListener('end', () => {
    if (stream.status !== 'aborted' && stream.status !== 'reset') duplex.push(null)
  })
  stream.addEventListener('close', ({ error }) => {
    // What came before a graceful end can still be read.
    if (error || duplex.readableEnded) duplex.destroy()
    else duplex.once('end', () => duplex.destroy()).read(0)
  })
  // Without a listener an error that comes at any time would end the process; 'close' follows it.
  duplex.on('error', () => undefined)
  return duplex
}

/** The first `length` bytes, with whatever follows left to read. Errors: it ended before, or `signal`. */
export async function readExactly(duplex: Duplex, length: number, signal?: AbortSignal): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const look = (): void => {
    const bytes = duplex.read(length) as Buffer | null
    if (bytes === null) return
    if (bytes.length < length) reject(new Error('it ended early'))
    else resolve(bytes)
  }
  const ended = (): void => reject(new Error('it ended early'))
  const stopped = (): void => reject(signal?.reason as Error)
  duplex.on('readable', look)
  // A side may end and stay open the other way.
  duplex.once('end', ended)
  duplex.once('close', ended)
  signal?.addEventListener('abort', stopped, { once: true })
  try {
    if (signal?.aborted) stopped()
    look()
    // Nothing tells of what has been already.
    if (duplex.readableEnded || duplex.destroyed) ended()
    return await promise
  } finally {
    duplex.off('readable', look)
    duplex.off('end', ended)
    duplex.off('close', ended)
    signal?.removeEventListener('abort', stopped)
  }
}
