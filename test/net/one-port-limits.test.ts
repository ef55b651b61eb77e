import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { MultiaddrConnection, PeerId } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { handshakeLimit } from '../../node/net/handshake-limit.ts'
import { FIRST_BYTE } from '../../node/net/one-port.ts'
import { tcpPortOf } from '../../node/net/peers.ts'
import { honestHost } from '../helpers/hosts.ts'

const [MAX_UNDECIDED, MAX_BLOCK, MAX_PENDING] = [256, 128, 512]
/** An address of loopback is a block of its own. */
const [FEW, MANY] = ['127.0.0.1', '127.0.0.2']

async function onePort(t: TestContext): Promise<(localAddress: string) => Promise<Socket>> {
  const reflect = (socket: Socket): void => void socket.on('error', () => undefined).pipe(socket)
  const host = await honestHost(t, 'one port', { takers: { reflect } })
  const port = tcpPortOf(host.libp2p)
  return async (localAddress) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress }).on('error', () => undefined)
    t.after(() => socket.destroy())
    await once(socket, 'connect')
    return socket
  }
}

async function asks(socket: Socket): Promise<void> {
  socket.write(Uint8Array.of(FIRST_BYTE.reflect))
  await once(socket, 'data')
}

test('a host that floods the port with silence pushes out its own connections, not those of others', async (t) => {
  const come = await onePort(t)
  const first = await come(FEW)
  const silent: Socket[] = []
  for (let i = 0; i < MAX_UNDECIDED; i++) silent.push((await come(MANY)).resume())
  await once(silent[0] as Socket, 'close')
  silent.push((await come(MANY)).resume())
  await once(silent[1] as Socket, 'close')
  await asks(first)
  const last = await come(FEW)
  await asks(last)
  assert.equal(silent.filter(({ closed }) => closed).length, 2)
})

test('a burst of silence pushes out as many as are too many', async (t) => {
  const come = await onePort(t)
  const first = await come(FEW)
  const silent = await Promise.all(Array.from({ length: MAX_UNDECIDED + 9 }, () => come(MANY)))
  const gone = new Set<Socket>()
  await new Promise<void>((resolve) => {
    for (const socket of silent) socket.resume().once('close', () => gone.add(socket).size === 10 && resolve())
  })
  await asks(first)
  assert.equal(gone.size, 10)
})

class Incoming extends EventTarget {
  readonly remoteAddr: Multiaddr
  aborted = false
  received = 0

  constructor(host: string) {
    super()
    this.remoteAddr = multiaddr(`/${host.includes(':') ? 'ip6' : 'ip4'}/${host}/tcp/4001`)
  }

  onData(data: { byteLength: number }): void {
    this.received += data.byteLength
  }

  abort(): void {
    this.aborted = true
    this.close()
  }

  close(): void {
    this.dispatchEvent(new Event('close'))
  }
}

/** What libp2p asks of the gater as connections come in. */
function gate() {
  const gater = handshakeLimit()
  const asLibp2p = (connection: Incoming) => connection as unknown as MultiaddrConnection
  return {
    comes: async (host: string): Promise<Incoming | undefined> => {
      const connection = new Incoming(host)
      return (await gater.denyInboundConnection?.(asLibp2p(connection))) ? undefined : connection
    },
    shakesHands: async (connection: Incoming | undefined): Promise<void> => {
      assert.ok(connection)
      await gater.denyInboundUpgradedConnection?.({} as PeerId, asLibp2p(connection))
    },
  }
}

test('an address block has 128 connections, in a handshake or after it, and others have theirs', async () => {
  const { comes, shakesHands } = gate()
  const held: Incoming[] = []
  for (let i = 0; i < MAX_BLOCK; i++) {
    const connection = await comes(`192.0.2.${i}`)
    if (i % 2 === 0) await shakesHands(connection)
    held.push(connection as Incoming)
  }
  assert.equal(await comes('192.0.2.250'), undefined)
  assert.ok(await comes('192.0.3.1'))
  assert.ok(held.every(({ aborted }) => !aborted))
  held[0]?.close()
  assert.ok(await comes('192.0.2.250'))
  assert.equal(await comes('192.0.2.251'), undefined)
})

test('a block of IPv6 is what a provider gives to one customer', async () => {
  const { comes } = gate()
  for (let i = 0; i < MAX_BLOCK; i++) assert.ok(await comes(`2001:db8:1:${i.toString(16)}::1`))
  assert.equal(await comes('2001:db8:1:ffff::1'), undefined)
  assert.ok(await comes('2001:db8:2::1'))
})

test('private addresses are not counted, since everybody may stand behind a proxy', async () => {
  const { comes, shakesHands } = gate()
  for (const host of ['127.0.0.1', '172.17.0.1', '::1']) {
    for (let i = 0; i <= MAX_BLOCK; i++) await shakesHands(await comes(host))
  }
})

test('handshakes that never end make room for one from elsewhere', async () => {
  const { comes } = gate()
  const first = await comes('198.51.100.1')
  const held: (Incoming | undefined)[] = []
  for (let i = 0; i < MAX_PENDING - 1; i++) held.push(await comes(`192.0.${i % 4}.${i >> 2}`))
  assert.ok(held.every((connection) => connection?.aborted === false))
  const last = await comes('198.51.100.2')
  assert.deepEqual([first?.aborted, last?.aborted], [false, false])
  assert.equal(held.filter((connection) => connection?.aborted).length, 1)
  assert.equal(
    held.findIndex((connection) => connection?.aborted),
    0,
  )
})

test('who has shaken hands does not make room for handshakes', async () => {
  const { comes, shakesHands } = gate()
  const known = await comes('10.0.0.1')
  await shakesHands(known)
  for (let i = 0; i <= MAX_PENDING; i++) await comes('10.0.0.1')
  assert.equal(known?.aborted, false)
})

test('who has shaken hands may send more than the 64 KiB of a handshake', async () => {
  const { comes, shakesHands } = gate()
  const [known, stranger] = [await comes('192.0.2.1'), await comes('192.0.2.2')]
  await shakesHands(known)
  for (const connection of [known, stranger]) connection?.onData(new Uint8Array(64 * 1024 + 1))
  assert.deepEqual([known?.aborted, known?.received], [false, 64 * 1024 + 1])
  assert.deepEqual([stranger?.aborted, stranger?.received], [true, 0])
})
