import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { honestHost, meet } from '../helpers/hosts.ts'

/** Sends `size` bytes of an endless length prefix; resolves when the other side has hung up. */
async function flood(port: number, size: number): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  await once(socket, 'connect')
  const block = new Uint8Array(16 * 1024).fill(0xff)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  for (let sent = 0; sent < size && !socket.destroyed; sent += block.length) {
    if (!socket.write(block)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed])
  }
  await closed
}

test('a stranger who sends no handshake but megabytes is cut off', async (t) => {
  const host = await honestHost(t, 'host', { role: 'introducer' })
  const [address] = host.libp2p.getMultiaddrs()
  const port = Number(address?.getComponents().find(({ name }) => name === 'tcp')?.value)
  const pending = performance.now()
  await flood(port, 8_000_000)
  // Without the limit the connection stays until the upgrade times out, after 10 s.
  assert.ok(performance.now() - pending < 8_000)
  await meet(await honestHost(t, 'guest'), host)
})

test('a peer that has shaken hands may send more than the limit', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  await meet(a, b)
  let received = 0
  const whole = Promise.withResolvers<void>()
  await b.libp2p.handle('/test/1', (stream) => {
    stream.addEventListener('message', ({ data }) => {
      received += data.byteLength
      if (received === 200_000) whole.resolve()
    })
  })
  const stream = await a.libp2p.dialProtocol(b.libp2p.peerId, '/test/1')
  stream.send(new Uint8Array(200_000))
  await whole.promise
})
